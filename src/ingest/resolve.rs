//! Owns the fence around the data directory: which file a path from a request means.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::IngestError;

/// Characters of a refused path that its error repeats.
const SHOWN: usize = 200;

/// The file or directory that `requested`, which may have come over the network, means inside `data_dir`: its
/// path without symbolic links.
///
/// A relative path is looked up in `data_dir`. An absolute path must begin with `data_dir`, as given or without
/// links. `..` is refused everywhere, even where it would lead back, for it would tell whether what it passes
/// through exists. Whoever can change `data_dir` while this runs is trusted.
///
/// # Errors
/// [`IngestError::Outside`], the same for what is outside and for what does not exist;
/// [`IngestError::Read`] if `data_dir` itself cannot be read.
pub fn resolve(data_dir: &Path, requested: &str) -> Result<PathBuf, IngestError> {
    let root =
        fs::canonicalize(data_dir).map_err(|source| IngestError::Read { path: data_dir.to_owned(), source })?;
    within(data_dir, &root, requested)
        .ok_or_else(|| IngestError::Outside { requested: requested.chars().take(SHOWN).collect() })
}

fn within(data_dir: &Path, root: &Path, requested: &str) -> Option<PathBuf> {
    let path = Path::new(requested);
    if requested.is_empty()
        || requested.contains('\0')
        || path.components().any(|part| part == Component::ParentDir)
    {
        return None;
    }
    let relative = match path.has_root() {
        true => path.strip_prefix(root).or_else(|_| path.strip_prefix(data_dir)).ok()?,
        false => path,
    };
    let found = fs::canonicalize(root.join(relative)).ok()?;
    found.starts_with(root).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// `outer/secret.txt`, `outer/data/letters/train1.txt`, and links of all kinds.
    fn house() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(outer.path()).unwrap();
        let data = root.join("data");
        fs::create_dir_all(data.join("letters")).unwrap();
        fs::create_dir(root.join("data-of-others")).unwrap();
        fs::write(root.join("secret.txt"), "1,A\n").unwrap();
        fs::write(root.join("data-of-others/train.txt"), "1,A\n").unwrap();
        fs::write(data.join("letters/train1.txt"), "1,A\n").unwrap();
        symlink(root.join("secret.txt"), data.join("leak.txt")).unwrap();
        symlink("../..", data.join("letters/up")).unwrap();
        symlink(root.join("nowhere"), data.join("dangling")).unwrap();
        symlink("letters", data.join("alias")).unwrap();
        symlink(&data, root.join("link-to-data")).unwrap();
        (outer, data)
    }

    #[test]
    fn paths_inside_are_found() {
        let (_outer, data) = house();
        let file = data.join("letters/train1.txt");
        for requested in
            ["letters/train1.txt", "./letters//train1.txt", "alias/train1.txt", file.to_str().unwrap()]
        {
            assert_eq!(resolve(&data, requested).unwrap(), file, "{requested}");
        }
        assert_eq!(resolve(&data, "letters/").unwrap(), data.join("letters"));
        assert_eq!(resolve(&data, ".").unwrap(), data);
        assert_eq!(resolve(&data, data.to_str().unwrap()).unwrap(), data);
    }

    #[test]
    fn the_data_directory_may_be_a_link_itself() {
        let (_outer, data) = house();
        let link = data.with_file_name("link-to-data");
        let file = data.join("letters/train1.txt");
        for requested in [link.join("letters/train1.txt"), file.clone(), "letters/train1.txt".into()] {
            assert_eq!(resolve(&link, requested.to_str().unwrap()).unwrap(), file);
        }
    }

    #[test]
    fn everything_else_is_refused_in_the_same_words() {
        let (_outer, data) = house();
        let outer = data.parent().unwrap().to_str().unwrap();
        for requested in [
            "",
            "..",
            "../secret.txt",
            "../nowhere.txt",
            "../data/letters/train1.txt",
            "letters/../letters/train1.txt",
            "letters/../../secret.txt",
            "leak.txt",
            "letters/up/secret.txt",
            "letters/up/nowhere.txt",
            "letters/up/data/letters/train1.txt/",
            "dangling",
            "nowhere",
            "letters/train1.txt\0",
            "\0",
            "/",
            "/etc/passwd",
            "/nowhere",
            &format!("{outer}/secret.txt"),
            &format!("{outer}/nowhere.txt"),
            &format!("{outer}/data/../secret.txt"),
            &format!("{outer}/data-of-others/train.txt"),
            &format!("{outer}/link-to-data/letters/train1.txt"),
            &format!("{outer}/data/leak.txt"),
        ] {
            let error = resolve(&data, requested).unwrap_err();
            assert!(matches!(error, IngestError::Outside { .. }), "{requested:?}: {error}");
            assert_eq!(error.to_string(), format!("there is no {requested:?} in the data directory"));
        }
    }

    #[test]
    fn a_long_path_is_not_repeated_in_full() {
        let (_outer, data) = house();
        let error = resolve(&data, &"é/".repeat(1 << 20)).unwrap_err().to_string();
        assert!(error.len() < 500, "{} bytes", error.len());
    }

    #[test]
    fn a_data_directory_that_is_missing_is_the_operators_error() {
        let error = resolve(Path::new("no/such/directory"), "letters").unwrap_err();
        assert!(matches!(error, IngestError::Read { .. }), "{error}");
    }
}
