//! Owns the places that the suite runs on.

use roundtable::store::{self, Archive, Backend};
use std::path::PathBuf;
use std::sync::Arc;

/// A place for a test, gone at its end.
pub struct Place {
    pub backend: Arc<dyn Backend>,
    /// Opens the same place once more, as another process would; the memory of a process is opened by nobody else.
    pub url: String,
    /// Where its files are, if it is a directory.
    pub directory: Option<PathBuf>,
    _held: Option<tempfile::TempDir>,
}

impl Place {
    pub fn memory() -> Self {
        let backend = store::open("memory:").unwrap();
        Self { backend, url: "memory:".to_owned(), directory: None, _held: None }
    }

    pub fn directory() -> Self {
        let held = tempfile::tempdir().unwrap();
        let directory = held.path().join("new/store");
        let url = directory.to_str().unwrap().to_owned();
        Self { backend: store::open(&url).unwrap(), url, directory: Some(directory), _held: Some(held) }
    }

    pub fn at(url: &str) -> Self {
        Self { backend: store::open(url).unwrap(), url: url.to_owned(), directory: None, _held: None }
    }

    /// Another one that sees the same objects.
    pub fn again(&self) -> Arc<dyn Backend> {
        if self.url == "memory:" { self.backend.clone() } else { store::open(&self.url).unwrap() }
    }

    pub fn archive(&self) -> Arc<Archive> {
        Arc::new(Archive::new(self.backend.clone()))
    }

    /// What is in the files below the directory, those that no listing shows among them.
    pub fn files(&self) -> Vec<String> {
        fn walk(directory: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path.to_string_lossy().into_owned()) }
            }
        }
        let mut found = Vec::new();
        if let Some(directory) = &self.directory {
            walk(directory, &mut found);
        }
        found
    }
}

/// Functions of a module as tests on places that an expression makes, with an attribute or without: `[]`.
macro_rules! suite {
    ($attribute:tt $name:ident, $place:expr, $module:path, [$($test:ident),* $(,)?]) => {
        mod $name {
            use $module as suite;
            $($crate::place::suite!(@one $attribute $test $place);)*
        }
    };
    (@one [] $test:ident $place:expr) => {
        #[test]
        fn $test() {
            suite::$test(&$place);
        }
    };
    (@one [$attribute:meta] $test:ident $place:expr) => {
        #[test]
        #[$attribute]
        fn $test() {
            suite::$test(&$place);
        }
    };
}

pub(crate) use suite;
