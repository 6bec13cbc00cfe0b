//! Owns fetching versions: into a file beside the target, which takes the target's place once it is whole and right.

use super::part::Part;
use super::{Files, FilesError, Got, Step, Version};
use crate::rpc::fetch_blob;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

impl Files {
    /// Fetches a version into a file, whole or not at all. What was fetched of it before, and broken off, is used.
    ///
    /// # Errors
    /// The file cannot be written; no copy can be had.
    pub fn get(
        &mut self,
        version: &Version,
        path: &Path,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<Got, FilesError> {
        check_target(path)?;
        let unfinished = beside(path, &format!("{}.part", &version.digest()?.short()));
        let mut file = open(&unfinished)?;
        let received = self.fetch(version, &mut file, 0, &unfinished, watcher)?;
        // As programs that fetch do, it leaves to the system when the bytes reach the disk.
        fs::rename(&unfinished, path).map_err(FilesError::local("write", path))?;
        Ok(Got { version: version.clone(), received })
    }

    /// Fetches versions into one file, each after a line that says which it is and how many bytes follow; a line feed
    /// stands after them. Of a deletion there is only the line.
    ///
    /// # Errors
    /// As [`Files::get`].
    pub fn get_versions(
        &mut self,
        versions: &[Version],
        path: &Path,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<(), FilesError> {
        check_target(path)?;
        let unfinished = beside(path, "versions.part");
        let mut file = open(&unfinished)?;
        let local = || FilesError::local("write", &unfinished);
        file.set_len(0).map_err(local())?;
        for version in versions {
            file.write_all(format!("{}\n", delimiter(version)).as_bytes()).map_err(local())?;
            if !version.is_deletion() {
                let base = file.stream_position().map_err(local())?;
                self.fetch(version, &mut file, base, &unfinished, watcher)?;
                file.seek(SeekFrom::End(0)).map_err(local())?;
                file.write_all(b"\n").map_err(local())?;
            }
        }
        fs::rename(&unfinished, path).map_err(FilesError::local("write", path))
    }

    fn fetch(
        &self,
        version: &Version,
        file: &mut File,
        base: u64,
        path: &Path,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<u64, FilesError> {
        let digest = version.digest()?;
        let total = version.size;
        let mut told = |done| watcher(Step::Moved { done, total });
        let mut part =
            Part::new(file, base, digest, total, &mut told).map_err(FilesError::local("write", path))?;
        let fetched = fetch_blob(&self.dialer, &self.sources(version), &digest, total, &mut part);
        let failed = |source| FilesError::Fetch { name: version.name.clone(), version: version.version, source };
        fetched.map_err(failed)?;
        Ok(part.received())
    }
}

/// The line before a version's bytes.
fn delimiter(version: &Version) -> String {
    let created = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(version.created_ms).unwrap_or(0));
    // Later years than can be written are as wrong as any.
    let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let created = humantime::format_rfc3339_seconds(created.min(latest));
    let Version { name, version: number, size, sha256, .. } = version;
    if version.is_deletion() {
        return format!("===== {name} version {number}, deleted {created} =====");
    }
    format!("===== {name} version {number}, written {created}, {size} bytes, sha256 {sha256} =====")
}

fn check_target(path: &Path) -> Result<(), FilesError> {
    let unfit = |reason| Err(FilesError::Unfit { path: path.to_path_buf(), reason });
    if path.is_dir() {
        return unfit("it is a directory; name the file to write");
    }
    if path.file_name().is_none() {
        return unfit("it names no file");
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.is_dir()) {
        return unfit("there is no such directory");
    }
    Ok(())
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{end}"));
    path.with_file_name(name)
}

/// Opens a file that no other process of ours writes to.
fn open(path: &Path) -> Result<File, FilesError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(FilesError::local("write", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(FilesError::Unfit { path: path.to_path_buf(), reason: "another process fetches the same file" })
        }
        // Where files cannot be locked nobody is kept apart.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}
