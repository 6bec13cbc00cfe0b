//! Owns how a file's name becomes a key, on every kind of place.
//!
//! A name's bytes other than `a-z`, `0-9`, `-`, `_` and `.` are written as `%` and two hexadecimal digits, `/` and
//! capitals among them, so that names differ where case does not matter, too. What is then too long is cut, and gets
//! `+` and the SHA-256 of the name; `+` stands nowhere else.

use super::super::StoreError;
use crate::types::Digest;
use std::fmt::Write;

/// The most bytes of a file's name.
pub const LONGEST_NAME: usize = 1024;

/// The longest written name that is not cut, in bytes.
const LONGEST_WRITTEN: usize = 200;
/// How much of a longer one stays, to be recognised by people.
const RECOGNISED: usize = 120;

pub(super) fn check(name: &str) -> Result<(), StoreError> {
    let reason = match name {
        "" => "it is empty",
        _ if name.len() > LONGEST_NAME => "it has more than 1024 bytes",
        _ if name.contains('\0') => "it has a NUL",
        _ if name.starts_with('/') => "it begins with '/'",
        _ if name.split('/').any(|part| part == "." || part == "..") => "it has '.' or '..' between its '/'",
        _ => return Ok(()),
    };
    Err(StoreError::Name { name: name.chars().take(80).collect(), reason })
}

/// The directory of a file's versions, with `/` at its end.
pub(super) fn directory(name: &str) -> Result<String, StoreError> {
    check(name)?;
    let mut written = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte) {
            written.push(byte as char);
        } else {
            // Writing to a string does not fail.
            let _ = write!(written, "%{byte:02x}");
        }
    }
    if written.len() > LONGEST_WRITTEN {
        written.truncate(RECOGNISED);
        let _ = write!(written, "+{}", Digest::of(name.as_bytes()));
    }
    Ok(format!("files/{written}/"))
}

/// The name that a directory is of, unless it was cut.
pub(super) fn whole_name(directory: &str) -> Option<String> {
    let written = directory.strip_prefix("files/")?.strip_suffix('/')?;
    let mut bytes = Vec::new();
    let mut rest = written.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => return None,
            b'%' => {
                let digit = |byte: u8| (byte as char).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Whether a name matches a pattern: `*` is any text, `/` too; `?` is any character.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` does not match: with one more character under it.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (p, n) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_written_for_every_kind_of_place() {
        assert_eq!(directory("runs/a-1_b.txt").unwrap(), "files/runs%2fa-1_b.txt/");
        assert_eq!(directory("README é").unwrap(), "files/%52%45%41%44%4d%45%20%c3%a9/");
        assert_eq!(directory("...").unwrap(), "files/.../");
        let long = directory(&"ä".repeat(400)).unwrap();
        assert_eq!(long.len(), 6 + 120 + 1 + 64 + 1, "{long}");
        assert_eq!(whole_name(&long), None);
        let too_long = "a".repeat(LONGEST_NAME + 1);
        for name in ["", "/a", "a/../b", "..", "./a", "a\0b", &too_long] {
            assert!(matches!(directory(name), Err(StoreError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn patterns_are_those_of_shells_but_across_slashes() {
        for (pattern, name) in
            [("*", ""), ("*", "a/b"), ("a*c", "abbc"), ("a*c", "ac"), ("?", "é"), ("*.txt", "a/b.txt"), ("a", "a")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("?", ""), ("a*c", "abd"), ("a?", "a"), ("*.txt", "a.txt.gz"), ("a", "A")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)), "and soon enough");
    }

    proptest! {
        #[test]
        fn distinct_names_have_distinct_keys_that_tell_them(names in prop::collection::vec("[aA./%+é\u{1}#-]{1,90}", 2..20)) {
            let mut keys = BTreeMap::new();
            for name in names {
                let Ok(key) = directory(&name) else { continue };
                if let Some(told) = whole_name(&key) {
                    prop_assert_eq!(&told, &name);
                }
                prop_assert_eq!(&key, &key.to_lowercase());
                if let Some(other) = keys.insert(key, name.clone()) {
                    prop_assert_eq!(other, name);
                }
            }
        }

        #[test]
        fn patterns_agree_with_a_slow_matcher(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.first(), name.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&pattern[1..], name) || (!name.is_empty() && slow(pattern, &name[1..])),
                    (Some(b'?'), Some(_)) => slow(&pattern[1..], &name[1..]),
                    (Some(p), Some(n)) => p == n && slow(&pattern[1..], &name[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
