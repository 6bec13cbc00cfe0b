//! Owns stores in a directory, which several processes may share.
//!
//! An object is written beside its place under another name (`KEY#1`), brought to the disk, and then linked or moved to
//! its place, so that it is whole whenever it is seen. The `object_store` crate does that; outside of an asynchronous
//! runtime it works on the calling thread, without any other. Its listings are neither in order nor cheap, and what comes
//! in chunks it brings to the disk only at the end, so these are our own.

use super::objects::{bounded, entry, failed, if_there, location};
use super::staged::Staged;
use super::{Backend, BackendError, Entry, SchemeRow, Uploading, check_prefix, component_fault};
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use pollster::block_on;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) const ROW: SchemeRow =
    SchemeRow { name: "", form: "DIR", about: "a directory of this machine", make: |path| open(path, path, true) };

pub(super) const FILE_ROW: SchemeRow = SchemeRow {
    name: "file",
    form: "file:///DIR",
    about: "the same as a URL",
    make: |url| match url.strip_prefix("file://").filter(|path| path.starts_with('/') && !path.contains('%')) {
        Some(path) => open(url, path, true),
        None => {
            let reason = "after file:// comes an absolute path, as it is, without '%'".to_owned();
            Err(BackendError::Open { url: url.to_owned(), reason })
        }
    },
};

/// One whose files are hardly ever read: what comes in chunks does not stay in memory.
///
/// # Errors
/// It cannot be made or opened.
pub fn open_uncached(path: &str) -> Result<Arc<dyn Backend>, BackendError> {
    open(path, path, false)
}

fn open(url: &str, path: &str, cached: bool) -> Result<Arc<dyn Backend>, BackendError> {
    let failed = |reason: String| BackendError::Open { url: url.to_owned(), reason };
    let path = std::path::absolute(path).map_err(|e| failed(e.to_string()))?;
    make_durably(&path).map_err(|e| failed(e.to_string()))?;
    let root = path.canonicalize().map_err(|e| failed(e.to_string()))?;
    let files = LocalFileSystem::new_with_prefix(&root).map_err(|e| failed(e.to_string()))?.with_fsync(true);
    Ok(Arc::new(Directory { files, root, url: url.to_owned(), cached }))
}

/// Makes a directory and those that it is in; they are there after a crash, too.
fn make_durably(path: &std::path::Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    std::fs::create_dir_all(path)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            std::fs::File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

struct Directory {
    files: LocalFileSystem,
    root: PathBuf,
    url: String,
    cached: bool,
}

impl Directory {
    fn failed(&self, doing: &'static str, key: &str) -> impl FnOnce(Error) -> BackendError {
        failed(doing, key, &self.url)
    }

    fn failed_io(&self, doing: &'static str, key: &str) -> impl FnOnce(io::Error) -> BackendError {
        let (key, place) = (key.to_owned(), self.url.clone());
        move |e| BackendError::Failed { doing, key, place, reason: e.to_string() }
    }

    /// What is right below a directory and is wanted: names, with a `/` at the end if it is a directory, in the order
    /// of their bytes. What cannot be part of a key goes to `other`.
    fn children(
        &self,
        directory: &std::path::Path,
        wanted: &dyn Fn(&str) -> bool,
        other: &mut dyn FnMut(PathBuf),
    ) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(mut name) if component_fault(&name).is_none() => {
                    if entry.file_type()?.is_dir() {
                        name.push('/');
                    }
                    if wanted(&name) {
                        found.push(name);
                    }
                }
                _ => other(entry.path()),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn gather(
        &self,
        directory: &std::path::Path,
        prefix: &str,
        after: &str,
        limit: usize,
        found: &mut Vec<Entry>,
    ) -> io::Result<()> {
        // What `after` says of this directory: nothing if it comes before it, and else it is in it.
        let below = after.strip_prefix(prefix).unwrap_or_default();
        let wanted = |name: &str| name > below || (name.ends_with('/') && below.starts_with(name));
        for name in self.children(directory, &wanted, &mut |_| ())? {
            if found.len() >= limit {
                break;
            }
            let (key, path) = (format!("{prefix}{name}"), directory.join(&name));
            if name.ends_with('/') {
                self.gather(&path, &key, after, limit, found)?;
                continue;
            }
            match path.metadata() {
                Ok(meta) => found.push(Entry { key, size: meta.len(), modified: meta.modified()? }),
                // Somebody removed it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn sweep_in(&self, directory: &std::path::Path, before: SystemTime, swept: &mut u64) -> io::Result<()> {
        let mut left = Vec::new();
        let children = self.children(directory, &|name| name.ends_with('/'), &mut |path| left.push(path))?;
        for path in left.into_iter().filter(|path| is_staged(path)) {
            // It may be finished or dropped meanwhile.
            if path.metadata().and_then(|meta| meta.modified()).is_ok_and(|modified| modified < before)
                && std::fs::remove_file(path).is_ok()
            {
                *swept += 1;
            }
        }
        for name in children {
            self.sweep_in(&directory.join(name), before, swept)?;
        }
        Ok(())
    }
}

/// Whether it is what an upload writes to until it is whole.
fn is_staged(path: &std::path::Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let parts = name.and_then(|name| name.rsplit_once('#'));
    parts.is_some_and(|(key, number)| {
        component_fault(key).is_none() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Backend for Directory {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, BackendError> {
        let payload = bytes.to_vec().into();
        match block_on(self.files.put_opts(&location(key)?, payload, PutMode::Create.into())) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) if !self.root.join(key).is_dir() => Ok(false),
            Err(Error::AlreadyExists { .. }) => {
                let reason = "there is a directory of this name".to_owned();
                Err(BackendError::Failed {
                    doing: "writing",
                    key: key.to_owned(),
                    place: self.url.clone(),
                    reason,
                })
            }
            Err(e) => Err(self.failed("writing", key)(e)),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let path = location(key)?;
        let read = async { self.files.get(&path).await?.bytes().await };
        Ok(if_there(block_on(read), self.failed("reading", key))?.map(Vec::from))
    }

    fn get_range(&self, key: &str, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, BackendError> {
        let Some(entry) = self.head(key)? else { return Ok(None) };
        if entry.size <= offset || limit == 0 {
            return Ok(Some(Vec::new()));
        }
        let path = location(key)?;
        let read = async { self.files.get_opts(&path, bounded(offset, limit)).await?.bytes().await };
        Ok(if_there(block_on(read), self.failed("reading", key))?.map(Vec::from))
    }

    fn head(&self, key: &str) -> Result<Option<Entry>, BackendError> {
        Ok(if_there(block_on(self.files.head(&location(key)?)), self.failed("asking for", key))?.map(entry))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, BackendError> {
        let bare = check_prefix(prefix)?;
        let prefix = if bare.is_empty() { String::new() } else { format!("{bare}/") };
        let mut found = Vec::new();
        if !after.starts_with(&prefix) && after > prefix.as_str() {
            return Ok(found);
        }
        let gathered = self.gather(&self.root.join(bare), &prefix, after, limit, &mut found);
        gathered.map_err(self.failed_io("listing", bare))?;
        Ok(found)
    }

    fn delete(&self, key: &str) -> Result<(), BackendError> {
        if_there(block_on(self.files.delete(&location(key)?)), self.failed("removing", key)).map(|_| ())
    }

    fn upload(&self, key: &str) -> Result<Box<dyn Uploading>, BackendError> {
        let path = self.root.join(location(key)?.as_ref());
        let (key, url) = (key.to_owned(), self.url.clone());
        let failed = move |e: io::Error| {
            let (key, place) = (key.clone(), url.clone());
            BackendError::Failed { doing: "writing", key, place, reason: e.to_string() }
        };
        path.parent().map_or(Ok(()), make_durably).map_err(&failed)?;
        Ok(Box::new(Staged::start(path, self.cached, failed)?))
    }

    fn sweep(&self, age: Duration) -> Result<u64, BackendError> {
        let mut swept = 0;
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        self.sweep_in(&self.root, before, &mut swept).map_err(self.failed_io("sweeping", ""))?;
        Ok(swept)
    }
}
