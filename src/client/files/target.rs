//! Owns where a file of the store goes under a directory here: inside it, whatever its name.

use super::FilesError;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The path of a file of the store under a directory; directories in between are made.
///
/// # Errors
/// The name leads elsewhere, or something other than a directory is in the way: a link might lead elsewhere, too.
pub fn inside(directory: &Path, name: &str) -> Result<PathBuf, FilesError> {
    let outside =
        |reason: String| FilesError::Outside { name: name.to_owned(), directory: directory.to_path_buf(), reason };
    let relative = Path::new(name);
    let plain = |component| matches!(component, Component::Normal(_));
    if name.is_empty() || name.contains('\0') || !relative.components().all(plain) {
        return Err(outside("its name leads out of there".to_owned()));
    }
    // `a/` and `a/./b` have only plain components, but are not the names of these.
    if relative.components().count() != name.split('/').count() {
        return Err(outside("its name is not that of a file".to_owned()));
    }
    let mut path = directory.to_path_buf();
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        path.push(component);
        let there = fs::symlink_metadata(&path);
        if components.peek().is_none() {
            return match there {
                Ok(there) if there.is_dir() => Err(outside(format!("{} is a directory", path.display()))),
                _ => Ok(path),
            };
        }
        match there {
            Ok(there) if there.is_dir() => {}
            Ok(_) => return Err(outside(format!("{} is no directory", path.display()))),
            Err(_) => fs::create_dir(&path).map_err(FilesError::local("write", &path))?,
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(inside(at, "a.txt").unwrap(), at.join("a.txt"));
        assert_eq!(inside(at, "d/e/a.txt").unwrap(), at.join("d/e/a.txt"));
        assert!(at.join("d/e").is_dir());
        for hostile in ["..", "../x", "a/../../x", "/etc/passwd", "", ".", "a/./b", "a//b", "a/", "x\0y", "d/e"] {
            assert!(inside(at, hostile).is_err(), "{hostile:?}");
        }
        std::os::unix::fs::symlink("/tmp", at.join("link")).unwrap();
        let error = inside(at, "link/x").unwrap_err().to_string();
        assert!(error.contains("is no directory"), "{error}");
        std::fs::write(at.join("file"), "").unwrap();
        assert!(inside(at, "file/x").is_err());
    }
}
