//! Owns what a file's name says: whether it is for training or validation, and its place in the order.

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Training,
    Validation,
}

/// The role that the file's name gives it; `None` for files that are not data.
pub(super) fn role(name: &str) -> Option<Role> {
    if is_pictures(name) {
        let known = [("train", Role::Training), ("t10k", Role::Validation), ("valid", Role::Validation)];
        return known.iter().find(|(start, _)| name.starts_with(start)).map(|&(_, role)| role);
    }
    let (stem, extension) = name.rsplit_once('.')?;
    if !["txt", "csv"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        None
    } else if stem.starts_with("train") {
        Some(Role::Training)
    } else if stem.starts_with("valid") {
        Some(Role::Validation)
    } else {
        None
    }
}

/// Whether the name is that of pictures in an IDX file, packed or not: `train-images-idx3-ubyte`,
/// `train-images.idx3-ubyte.gz` and the like.
pub(super) fn is_pictures(name: &str) -> bool {
    let plain = unpacked(name);
    plain.ends_with("-idx3-ubyte") || plain.ends_with(".idx3-ubyte")
}

/// The names that the labels of these pictures may have, the likeliest first.
pub(super) fn labels_of(pictures: &str) -> Vec<String> {
    let plain = unpacked(pictures);
    let start = plain.strip_suffix("idx3-ubyte").unwrap_or(plain).trim_end_matches(['-', '.']);
    let start = start.replace("images", "labels");
    ["-idx1-ubyte", "-idx1-ubyte.gz", ".idx1-ubyte", ".idx1-ubyte.gz"].map(|end| start.clone() + end).to_vec()
}

/// What names of the same pictures have in common; other names are as they are.
pub(super) fn same(name: &str) -> String {
    match is_pictures(name) {
        true => unpacked(name).replace(".idx3-", "-idx3-"),
        false => name.to_owned(),
    }
}

fn unpacked(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

/// A piece of a name: runs of digits compare by value, all else byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// How many digits, without leading zeros, and which.
    Number(usize, Vec<u8>),
    Byte(u8),
}

/// A key that sorts `train2` before `train10`; names that differ have different keys.
pub(super) fn natural(name: &str) -> (Vec<Piece>, String) {
    let mut pieces = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let run = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if run == 0 {
            pieces.push(Piece::Byte(byte));
            rest = after;
        } else {
            let (digits, after) = rest.split_at(run);
            let digits: Vec<u8> = digits.iter().copied().skip_while(|&digit| digit == b'0').collect();
            pieces.push(Piece::Number(digits.len(), digits));
            rest = after;
        }
    }
    (pieces, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles() {
        for name in ["train.txt", "train_letters1.txt", "train_letters11.CSV", "training.Txt", "train.old.csv"] {
            assert_eq!(role(name), Some(Role::Training), "{name}");
        }
        for name in ["validate_letters.txt", "valid.csv", "validation.TXT"] {
            assert_eq!(role(name), Some(Role::Validation), "{name}");
        }
        for name in
            ["train", "train1.txt~", "train1.txt.swp", ".train.txt", "letters.csv", "README.md", "test.csv", ""]
        {
            assert_eq!(role(name), None, "{name}");
        }
    }

    #[test]
    fn pictures_have_names_of_their_own() {
        for end in ["-idx3-ubyte", ".idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte.gz"] {
            assert_eq!(role(&format!("train-images{end}")), Some(Role::Training));
            assert_eq!(role(&format!("t10k-images{end}")), Some(Role::Validation));
            assert_eq!(same(&format!("t10k-images{end}")), "t10k-images-idx3-ubyte");
            assert_eq!(labels_of(&format!("t10k-images{end}"))[0], "t10k-labels-idx1-ubyte");
        }
        for name in ["train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz", "other-images-idx3-ubyte", "t10k.csv"]
        {
            assert_eq!(role(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_in_names_sort_by_value() {
        let sorted = [
            "train1.csv",
            "train01.txt",
            "train1.txt",
            "train2_9.txt",
            "train2_10.txt",
            "train10.txt",
            "train99999999999999999999998.txt",
            "train99999999999999999999999.txt",
            "train.txt",
            "train_é2.txt",
            "train_é10.txt",
        ];
        let mut names = sorted;
        names.reverse();
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, sorted);
    }
}
