//! Owns putting a file: its digest first, then the bytes that the coordinator lacks, then the new version.

use super::{Files, FilesError, Put, Step, connect, refused};
use crate::rpc::RpcError;
use crate::types::Digest;
use crate::wire::CHUNK;
use crate::wire::blobs::TBlobStoreSyncClient;
use crate::wire::coordinator::TCoordinatorSyncClient;
use sha2::Digest as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How often an upload goes on by itself after its connection broke.
const RETRIES: u32 = 5;
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
        self.versions(name, 1)?;
        let (digest, size) = digest_of(&mut file, path, watcher)?;
        let mut sent = 0;
        let wait = COPY_TIME + Duration::from_secs(size / COPY_RATE);
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // A blob that nothing referred to may be collected between the question and the commit: it is sent again.
        for again in [true, false] {
            sent += self.send(&mut file, path, &digest, size, watcher)?;
            watcher(Step::Copies);
            self.client.set_timeout(Some(wait + self.dialer.timeouts.answer.unwrap_or_default()));
            let version = self
                .client
                .call(|c| c.put_file(name.to_owned(), digest.to_string(), size as i64, replicas, wait_ms));
            self.client.set_timeout(self.dialer.timeouts.answer);
            match version {
                Ok(version) => return Ok(Put { version: version.into(), sent }),
                Err(RpcError::Remote { .. }) if again && sent < size => {}
                Err(e) => return Err(refused(e)),
            }
        }
        Err(FilesError::Nonsense(format!("the coordinator does not keep {}", digest.short())))
    }

    /// Sends what the coordinator lacks of a blob; how many bytes that were.
    fn send(
        &mut self,
        file: &mut File,
        path: &Path,
        digest: &Digest,
        size: u64,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<u64, FilesError> {
        let mut sent = 0;
        let mut retries = 0;
        loop {
            match self.send_once(file, path, digest, size, &mut sent, watcher) {
                Err(FilesError::Rpc(e)) if retries < RETRIES => {
                    log::warn!("{e}; going on");
                    std::thread::sleep(Duration::from_millis(100) * 2u32.pow(retries));
                    retries += 1;
                    // Whoever cannot be reached now may be at the next attempt.
                    if let Ok(client) = connect(&self.coordinators, &self.dialer) {
                        self.client = client;
                    }
                }
                other => return other.map(|()| sent),
            }
        }
    }

    fn send_once(
        &mut self,
        file: &mut File,
        path: &Path,
        digest: &Digest,
        size: u64,
        sent: &mut u64,
        watcher: &mut dyn FnMut(Step),
    ) -> Result<(), FilesError> {
        let missing = self.client.call(|c| c.missing_blobs(vec![digest.to_string()])).map_err(refused)?;
        if missing.is_empty() {
            watcher(Step::Moved { done: size, total: size });
            return Ok(());
        }
        let progress = self.client.call(|c| c.blob_progress(digest.to_string(), size as i64)).map_err(refused)?;
        let mut offset = u64::try_from(progress).unwrap_or(0).min(size);
        // The last bytes are what makes a blob whole, so some are sent even if all have come.
        if offset == size {
            offset = 0;
        }
        file.seek(SeekFrom::Start(offset)).map_err(FilesError::local("read", path))?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK.min((size - offset) as usize));
            let wanted = (size - offset).min(CHUNK as u64);
            file.by_ref().take(wanted).read_to_end(&mut chunk).map_err(FilesError::local("read", path))?;
            if (chunk.len() as u64) < wanted {
                return Err(FilesError::Unfit { path: path.to_path_buf(), reason: "it became shorter meanwhile" });
            }
            let put = self.client.call(|c| c.put_blob(digest.to_string(), offset as i64, size as i64, chunk));
            put.map_err(refused)?;
            offset += wanted;
            *sent += wanted;
            watcher(Step::Moved { done: offset, total: size });
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
