//! Owns putting a file: its digest first, then the bytes that the coordinator lacks, then the new version.

use super::{Connection, Files, FilesError, Put, Step, Version, newest};
use crate::types::Digest;
use crate::wire::CHUNK;
use crate::wire::blobs::TBlobStoreSyncClient;
use crate::wire::coordinator::TCoordinatorSyncClient;
use sha2::Digest as _;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How long copies are waited for, beside the time that their bytes take.
const COPY_TIME: Duration = Duration::from_secs(10);
/// Bytes in a second that copies are expected to be made at, at the least.
const COPY_RATE: u64 = 10 << 20;

impl Files {
    /// Makes a local file the next version of `name`, and has `replicas` nodes hold copies.
    ///
    /// # Errors
    /// The file cannot be read or changes meanwhile; the coordinator's.
    pub fn put(
        &mut self,
        path: &Path,
        name: &str,
        replicas: i32,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<Put, FilesError> {
        let mut file = open(path)?;
        // A name that is not taken is told before anything is read or sent.
        let before = self.versions(name, 1)?.first().map_or(0, |newest| newest.version);
        let (digest, size) = digest_of(&mut file, path, watcher)?;
        let mut upload = Upload { file, path, digest, size, sent: 0, watcher };
        // A blob that nothing referred to may be collected between the question and the commit: it is sent again.
        for again in [true, false] {
            self.send(&mut upload)?;
            (upload.watcher)(Step::Copies);
            match self.commit(name, &digest, size, replicas, before) {
                Ok(version) => return Ok(Put { version, sent: upload.sent }),
                Err(FilesError::Refused { .. }) if again => {}
                Err(e) => return Err(e),
            }
        }
        Err(FilesError::Nonsense(format!("the coordinator does not keep {}", digest.short())))
    }

    /// Makes a blob the next version; `before` was the newest.
    fn commit(
        &mut self,
        name: &str,
        digest: &Digest,
        size: u64,
        replicas: i32,
        before: i64,
    ) -> Result<Version, FilesError> {
        let wait = COPY_TIME + Duration::from_secs(size / COPY_RATE);
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let usual = self.dialer.timeouts.answer;
        let asked = Cell::new(false);
        let version = self.call(|leader| {
            // If the answer was lost it may have been done.
            if asked.replace(true)
                && let Some(newest) = newest(leader, name)?
                && newest.version > before
                && newest.digest == digest.to_string()
            {
                return Ok(newest);
            }
            leader.call_within(wait + usual.unwrap_or_default(), |c| {
                c.put_file(name.to_owned(), digest.to_string(), size as i64, replicas, wait_ms)
            })
        })?;
        Ok(version.into())
    }

    /// Sends what the coordinator lacks of a blob, to its successor if it is gone meanwhile.
    fn send(&mut self, upload: &mut Upload<'_>) -> Result<(), FilesError> {
        let upload = RefCell::new(upload);
        // An error of the file here is none of the connection's.
        self.call(|leader| match upload.borrow_mut().send(leader) {
            Err(FilesError::Rpc(e)) => Err(e),
            other => Ok(other),
        })?
    }
}

/// A file on its way.
struct Upload<'a> {
    file: File,
    path: &'a Path,
    digest: Digest,
    size: u64,
    /// Bytes that were sent, in all attempts.
    sent: u64,
    watcher: &'a mut dyn FnMut(Step),
}

impl Upload<'_> {
    fn send(&mut self, leader: &mut Connection) -> Result<(), FilesError> {
        let (digest, size) = (self.digest, self.size);
        let missing = leader.call(|c| c.missing_blobs(vec![digest.to_string()]))?;
        if missing.is_empty() {
            (self.watcher)(Step::Moved { done: size, total: size });
            return Ok(());
        }
        let progress = leader.call(|c| c.blob_progress(digest.to_string(), size as i64))?;
        // The last bytes are what makes a blob whole, so some are sent even if all have come.
        let mut offset = u64::try_from(progress).ok().filter(|&progress| progress < size).unwrap_or(0);
        let unreadable = || FilesError::local("read", self.path);
        self.file.seek(SeekFrom::Start(offset)).map_err(unreadable())?;
        loop {
            let wanted = (size - offset).min(CHUNK as u64);
            let mut chunk = Vec::with_capacity(wanted as usize);
            self.file.by_ref().take(wanted).read_to_end(&mut chunk).map_err(unreadable())?;
            if (chunk.len() as u64) < wanted {
                let reason = "it became shorter meanwhile";
                return Err(FilesError::Unfit { path: self.path.to_path_buf(), reason });
            }
            leader.call(|c| c.put_blob(digest.to_string(), offset as i64, size as i64, chunk))?;
            offset += wanted;
            self.sent += wanted;
            (self.watcher)(Step::Moved { done: offset, total: size });
            if offset >= size {
                return Ok(());
            }
        }
    }
}

fn open(path: &Path) -> Result<File, FilesError> {
    let file = File::open(path).map_err(FilesError::local("read", path))?;
    let kind = file.metadata().map_err(FilesError::local("read", path))?;
    if !kind.is_file() {
        // What has no end or no second reading cannot be named by its digest.
        return Err(FilesError::Unfit { path: path.to_path_buf(), reason: "only plain files can be put" });
    }
    Ok(file)
}

fn digest_of(file: &mut File, path: &Path, watcher: &mut dyn FnMut(Step)) -> Result<(Digest, u64), FilesError> {
    let total = file.metadata().map_err(FilesError::local("read", path))?.len();
    let mut hasher = sha2::Sha256::new();
    let mut bytes = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let count = file.read(&mut bytes).map_err(FilesError::local("read", path))?;
        if count == 0 {
            return Ok((Digest(hasher.finalize().into()), done));
        }
        hasher.update(&bytes[..count]);
        done += count as u64;
        watcher(Step::Read { done, total: total.max(done) });
    }
}
