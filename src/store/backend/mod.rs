//! Owns objects under keys: [`Backend`], a file for each kind of place, and the table [`SCHEMES`].
//!
//! Objects are immutable: they are written once, under a key that nobody else has written, or not at all. That is all
//! that a directory and the clouds have in common, and it is enough to agree on who was first.
//!
//! A key is one or more components between `/`, each of 1 to [`LONGEST_COMPONENT`] lower-case letters, digits and
//! `%+-._`; a component is not `.` or `..`. Such keys mean the same everywhere, also where case does not matter. What is
//! a key is not the first components of another: a directory cannot have both.

mod az;
mod directory;
mod gs;
mod memory;
mod objects;
mod s3;
mod staged;

pub use directory::open_uncached;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The most bytes of a key's component: the rest of 255 is for the mark of an upload that is under way.
pub const LONGEST_COMPONENT: usize = 240;
/// The most bytes of a key.
pub const LONGEST_KEY: usize = 900;

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written, by the backend's clock.
    pub modified: SystemTime,
}

/// A place for objects.
pub trait Backend: Send + Sync {
    /// Where it is, as a user would write it.
    fn url(&self) -> String;

    /// Writes an object unless there is one under this key; true if it was written. It is durable when this returns.
    /// Of several writers, in any process, one is told `true`. Those told `false` can read what the one wrote.
    ///
    /// # Errors
    /// The key is none, or the place fails. The object may then have been written or not.
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, BackendError>;

    /// An object's bytes, if there is one.
    ///
    /// # Errors
    /// The key is none, or the place fails.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BackendError>;

    /// At most `limit` of an object's bytes from `offset` on: fewer at its end, none beyond it.
    ///
    /// # Errors
    /// The key is none, or the place fails.
    fn get_range(&self, key: &str, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, BackendError>;

    /// Whether there is an object, and what is known of it.
    ///
    /// # Errors
    /// The key is none, or the place fails.
    fn head(&self, key: &str) -> Result<Option<Entry>, BackendError>;

    /// The objects below a prefix of whole components (`log/`, or nothing for all), ascending by the bytes of their
    /// keys: those after the key `after`, at most `limit`.
    ///
    /// # Errors
    /// The prefix is none, or the place fails.
    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, BackendError>;

    /// Removes an object; it is fine if there is none.
    ///
    /// # Errors
    /// The key is none, or the place fails.
    fn delete(&self, key: &str) -> Result<(), BackendError>;

    /// Starts an object that is written in parts, and appears whole or not at all. One that is there is replaced: this
    /// is for keys that tell the content.
    ///
    /// # Errors
    /// The key is none, or the place fails.
    fn upload(&self, key: &str) -> Result<Box<dyn Uploading>, BackendError>;

    /// Removes what uploads left behind whose process died, if nothing has been added for `age`; how many there were.
    ///
    /// # Errors
    /// The place fails.
    fn sweep(&self, age: Duration) -> Result<u64, BackendError> {
        let _ = age;
        Ok(0)
    }

    /// How many requests at once it serves sooner than one after the other.
    fn lanes(&self) -> usize {
        1
    }

    /// The most bytes of memory that an upload holds while it is under way.
    fn upload_memory(&self) -> usize {
        0
    }
}

/// An object that is being written in parts. Dropping it leaves nothing behind.
pub trait Uploading: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// The place fails. The upload is then of no use any more.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackendError>;

    /// Makes the object appear. It is durable when this returns.
    ///
    /// # Errors
    /// The place fails.
    fn finish(self: Box<Self>) -> Result<(), BackendError>;
}

/// What went wrong with a backend.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BackendError {
    /// A URL of a kind that is not known.
    #[error("'{url}' is no place for a store: write {known}", known = schemes())]
    Scheme {
        /// As given.
        url: String,
    },
    /// A place that cannot be opened.
    #[error("the store '{url}' cannot be opened: {reason}")]
    Open {
        /// As given.
        url: String,
        /// Why.
        reason: String,
    },
    /// Not a key.
    #[error("'{key}' is no key of a store: {reason}")]
    Key {
        /// As given.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The place fails.
    #[error("{doing} {key} in {place}: {reason}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// The object or the prefix.
        key: String,
        /// The backend's URL.
        place: String,
        /// What the place says.
        reason: String,
    },
}

/// A kind of place as users name it.
pub struct SchemeRow {
    /// What its URLs begin with; empty for plain paths.
    pub name: &'static str,
    /// How its URLs look.
    pub form: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Opens one, from a whole URL.
    pub make: fn(&str) -> Result<Arc<dyn Backend>, BackendError>,
}

/// All kinds of places. To add one, write its file and add its row.
pub static SCHEMES: &[SchemeRow] = &[directory::ROW, directory::FILE_ROW, s3::ROW, gs::ROW, az::ROW, memory::ROW];

/// The table as a line of help: "DIR (a directory), ...".
pub fn schemes() -> String {
    let rows: Vec<String> = SCHEMES.iter().map(|row| format!("{} ({})", row.form, row.about)).collect();
    rows.join(", ")
}

/// Opens a store by its URL or directory; a directory that is not there is made.
///
/// # Errors
/// No such kind of place, or it cannot be opened. Clouds are not asked yet: what they refuse is told later.
pub fn open(url: &str) -> Result<Arc<dyn Backend>, BackendError> {
    let name = match url.split_once(':') {
        Some((name, rest)) if rest.starts_with("//") || name == "memory" => name,
        _ => "",
    };
    let unknown = || BackendError::Scheme { url: url.to_owned() };
    let row = SCHEMES.iter().find(|row| row.name == name).filter(|_| !url.is_empty());
    (row.ok_or_else(unknown)?.make)(url)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"%+-._".contains(&byte)
}

/// Whether a file or a directory may be part of a key.
fn component_fault(component: &str) -> Option<&'static str> {
    match component {
        "" => Some("a component is empty"),
        "." | ".." => Some("'.' and '..' are no components"),
        _ if component.len() > LONGEST_COMPONENT => Some("a component has more than 240 bytes"),
        _ if !component.bytes().all(is_plain) => Some("only a-z, 0-9 and %+-._ may stand between its '/'"),
        _ => None,
    }
}

fn check(key: &str) -> Result<(), BackendError> {
    let too_long = (key.len() > LONGEST_KEY).then_some("it has more than 900 bytes");
    match too_long.or_else(|| key.split('/').find_map(component_fault)) {
        Some(reason) => Err(BackendError::Key { key: key.chars().take(80).collect(), reason }),
        None => Ok(()),
    }
}

/// A prefix without the `/` at its end.
fn check_prefix(prefix: &str) -> Result<&str, BackendError> {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    if !bare.is_empty() {
        check(bare)?;
    }
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scheme_is_told_what_there_is() {
        for url in ["ftp://there/dir", "", "S3://bucket"] {
            let error = open(url).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(SCHEMES.iter().all(|row| error.contains(row.form)), "{url}: {error}");
        }
    }

    #[test]
    fn keys_stay_inside_and_mean_the_same_everywhere() {
        for key in ["log/000000000042", "a", "files/a%2fb.txt/00000001", "..."] {
            assert_eq!(check(key), Ok(()), "{key}");
        }
        let long = "a".repeat(LONGEST_COMPONENT + 1);
        for key in ["", "/a", "a/", "a//b", "../a", "a/./b", "A", "a b", "a#1", "ä", "a\\b", "a\0", &long] {
            assert!(check(key).is_err(), "{key}");
        }
        assert!(check(&["a"; 451].join("/")).is_err());
        assert_eq!(check_prefix("log/"), Ok("log"));
        assert_eq!(check_prefix(""), Ok(""));
        assert!(check_prefix("..").is_err());
    }
}
