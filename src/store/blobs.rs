//! Owns the blobs of a server for all of its connections: those in memory, those in its archive, and uploads to it.
//!
//! Without an archive blobs are uploaded to memory, and an upload ends with its connection. With one they go to the
//! archive as they come, and an upload whose connection broke stays for a while, so that it can go on at its place.

use super::{Archive, ArchiveUpload, Store, StoreError};
use crate::data::shared::Blob;
use crate::types::Digest;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most uploads that wait to be gone on with; the oldest makes room.
const MOST_PARKED: usize = 64;
/// How long they wait, as far as anybody asks for blobs at all.
const PARKED_FOR: Duration = Duration::from_secs(600);

/// The blobs of a server.
pub struct Blobs {
    room: Arc<Room>,
    parked: Mutex<Vec<Parked>>,
}

/// What uploads need.
struct Room {
    store: Arc<Store>,
    archive: Option<Arc<Archive>>,
    disk_limit: Option<u64>,
    /// Bytes that have come of uploads to the archive that are not whole.
    arriving: Mutex<u64>,
}

struct Parked {
    upload: Incoming,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of the locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blobs {
    /// In memory only.
    pub fn new(store: Arc<Store>) -> Self {
        Self::with_archive(store, None, None)
    }

    /// In memory and, if there is one, in an archive, which may have `disk_limit` bytes of blobs before uploads are
    /// refused. They are counted when the first upload comes (see [`Archive::bytes`]).
    pub fn with_archive(store: Arc<Store>, archive: Option<Arc<Archive>>, disk_limit: Option<u64>) -> Self {
        let room = Arc::new(Room { store, archive, disk_limit, arriving: Mutex::default() });
        Self { room, parked: Mutex::default() }
    }

    /// The blobs in memory.
    pub fn store(&self) -> &Arc<Store> {
        &self.room.store
    }

    /// The archive, if there is one.
    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.room.archive.as_ref()
    }

    /// A blob, from memory or, into memory, from the archive.
    ///
    /// # Errors
    /// No room in memory, a damaged blob, or the backend's.
    pub fn load(&self, digest: &Digest) -> Result<Option<Arc<Blob>>, StoreError> {
        let store = self.store();
        if let Some(known) = store.get(digest) {
            return Ok(Some(known));
        }
        let Some(archive) = self.archive() else { return Ok(None) };
        let Some(size) = archive.size(digest)? else { return Ok(None) };
        // What has no room is not read first.
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        if bytes > store.limit() {
            return Err(StoreError::Full { bytes, limit: store.limit() });
        }
        archive.read(digest)?.map(|blob| store.keep(Arc::new(blob))).transpose()
    }

    /// Those that are not here, in the order given. With an archive, here means there: a blob that is in memory only
    /// is written to it, so that whoever is told that it is here may count on it.
    ///
    /// # Errors
    /// The backend's.
    pub fn missing(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, StoreError> {
        let Some(archive) = self.archive() else { return Ok(self.store().missing(digests)) };
        let mut missing = Vec::new();
        for digest in archive.missing(digests)? {
            match self.store().get(&digest) {
                Some(blob) => archive.write(&blob)?,
                None => missing.push(digest),
            }
        }
        Ok(missing)
    }

    /// Starts an upload to the archive from its first byte; one of this blob that waits is given up.
    pub(super) fn start(
        &self,
        archive: &Arc<Archive>,
        digest: Digest,
        total: u64,
    ) -> Result<Incoming, StoreError> {
        drop(self.take(&digest, total));
        let known = archive.size(&digest)? == Some(total);
        let upload = archive.upload(digest, total)?;
        Ok(Incoming { upload, room: self.room.clone(), memory: 0, disk: 0, known: known.then_some(0) })
    }

    /// An upload whose connection broke.
    pub(super) fn take(&self, digest: &Digest, total: u64) -> Option<Incoming> {
        let mut parked = self.waiting();
        let place = parked.iter().position(|parked| parked.upload.is_of(digest, total))?;
        Some(parked.remove(place).upload)
    }

    /// How much has come of such an upload.
    pub(super) fn parked(&self, digest: &Digest, total: u64) -> Option<u64> {
        let parked = self.waiting();
        parked.iter().find(|parked| parked.upload.is_of(digest, total)).map(|parked| parked.upload.progress())
    }

    /// Keeps an upload whose connection broke, if there is anything to keep.
    pub(super) fn park(&self, upload: Incoming) {
        if upload.is_over() || upload.progress() == 0 {
            return;
        }
        let mut parked = self.waiting();
        // The other one of the same blob is not the one that was asked about last.
        parked.retain(|other| !other.upload.is_of(&upload.upload.digest(), upload.upload.total()));
        if parked.len() >= MOST_PARKED {
            parked.remove(0);
        }
        parked.push(Parked { upload, since: Instant::now() });
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Parked>> {
        let mut parked = lock(&self.parked);
        parked.retain(|parked| parked.since.elapsed() < PARKED_FOR);
        parked
    }
}

impl Room {
    fn take_disk(&self, archive: &Archive, bytes: u64) -> Result<(), StoreError> {
        let Some(limit) = self.disk_limit else { return Ok(()) };
        let there = archive.bytes()?;
        let mut arriving = lock(&self.arriving);
        let used = there.saturating_add(*arriving);
        if used.saturating_add(bytes) > limit {
            return Err(StoreError::DiskFull { bytes, used, limit });
        }
        *arriving += bytes;
        Ok(())
    }
}

/// An upload to the archive, with the room that it takes. Dropping it gives that back.
pub(super) struct Incoming {
    upload: ArchiveUpload,
    room: Arc<Room>,
    /// Taken from the limit of the store in memory.
    memory: usize,
    /// Taken from the limit of the archive.
    disk: u64,
    /// The blob was here when the upload began: how many bytes have been sent in vain.
    known: Option<u64>,
}

impl Incoming {
    pub fn is_of(&self, digest: &Digest, total: u64) -> bool {
        self.upload.digest() == *digest && self.upload.total() == total
    }

    pub fn progress(&self) -> u64 {
        self.known.unwrap_or_else(|| self.upload.progress())
    }

    pub fn is_over(&self) -> bool {
        self.upload.is_over()
    }

    /// As [`ArchiveUpload::add`], within the limits.
    pub fn add(&mut self, archive: &Archive, offset: u64, chunk: &[u8]) -> Result<bool, StoreError> {
        let total = self.upload.total();
        if let Some(sent) = &mut self.known {
            if offset != *sent {
                return Err(StoreError::Offset { offset, expected: *sent });
            }
            let left = total - *sent;
            if chunk.len() as u64 > left || (chunk.is_empty() && left > 0) {
                return Err(StoreError::Length { length: chunk.len(), left });
            }
            *sent += chunk.len() as u64;
            return Ok(*sent == total);
        }
        // Nothing is taken on the word of the sender alone, only for what has come.
        let memory = archive.backend().upload_memory();
        if self.memory == 0 && memory > 0 {
            self.room.store.charge(memory)?;
            self.memory = memory;
        }
        if self.room.disk_limit.is_some() {
            self.room.take_disk(archive, chunk.len() as u64)?;
            self.disk += chunk.len() as u64;
        }
        self.upload.add(offset, chunk)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.room.store.release(self.memory);
        let mut arriving = lock(&self.room.arriving);
        *arriving = arriving.saturating_sub(self.disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_upload_does_not_wait_for_ever() {
        let archive = Arc::new(Archive::new(super::super::open("memory:").unwrap()));
        let blobs = Blobs::with_archive(Arc::new(Store::new(100)), Some(archive.clone()), Some(100));
        let digest = Digest::of(b"some bytes");
        let mut upload = blobs.start(&archive, digest, 10).unwrap();
        assert_eq!(upload.add(&archive, 0, b"some"), Ok(false));
        blobs.park(upload);
        assert_eq!(blobs.parked(&digest, 10), Some(4));
        assert_eq!(*lock(&blobs.room.arriving), 4);
        lock(&blobs.parked)[0].since -= PARKED_FOR;
        assert_eq!(blobs.parked(&digest, 10), None);
        assert_eq!(*lock(&blobs.room.arriving), 0, "its room is free again");
    }
}
