//! Owns blobs in memory: immutable bytes under their SHA-256, up to a limit.
//!
//! When the limit is reached, the blob that has not been used for the longest time makes room; one that somebody
//! holds (a job, a task at work) stays. Bytes of uploads that are under way count too.

use super::StoreError;
use crate::data::shared::Blob;
use crate::types::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blobs by digest, shared by the threads of a server.
pub struct Store {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blobs: HashMap<Digest, Entry>,
    /// Of all blobs.
    bytes: usize,
    /// Of uploads under way.
    uploading: usize,
    /// Counts uses, to tell old from new.
    uses: u64,
}

struct Entry {
    blob: Arc<Blob>,
    last_use: u64,
}

impl Store {
    /// A store of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Keeps bytes; the blob, which may have been there before.
    ///
    /// # Errors
    /// There is no room, even without what nobody holds.
    pub fn put(&self, bytes: Vec<u8>) -> Result<Arc<Blob>, StoreError> {
        self.keep(Arc::new(Blob::new(bytes)))
    }

    /// Keeps a blob.
    ///
    /// # Errors
    /// There is no room, even without what nobody holds.
    pub fn keep(&self, blob: Arc<Blob>) -> Result<Arc<Blob>, StoreError> {
        let mut inner = self.lock();
        if let Some(known) = inner.touch(&blob.digest()) {
            return Ok(known);
        }
        let size = blob.bytes().len();
        inner.make_room(size, self.limit)?;
        inner.bytes += size;
        inner.uses += 1;
        let last_use = inner.uses;
        inner.blobs.insert(blob.digest(), Entry { blob: blob.clone(), last_use });
        Ok(blob)
    }

    /// The blob of this digest, if it is here.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Blob>> {
        self.lock().touch(digest)
    }

    /// Lets a blob go, unless somebody holds it; true if it is not here any more.
    pub fn forget(&self, digest: &Digest) -> bool {
        let mut inner = self.lock();
        match inner.blobs.get(digest) {
            Some(entry) if Arc::strong_count(&entry.blob) > 1 => false,
            _ => {
                inner.remove(digest);
                true
            }
        }
    }

    /// Those that are not here, in the order given.
    pub fn missing(&self, digests: impl IntoIterator<Item = Digest>) -> Vec<Digest> {
        let mut inner = self.lock();
        digests.into_iter().filter(|digest| inner.touch(digest).is_none()).collect()
    }

    /// Bytes of all blobs and of uploads under way.
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        inner.bytes + inner.uploading
    }

    /// The most bytes that it holds.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes room for bytes of an upload that is under way.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.make_room(bytes, self.limit)?;
        inner.uploading += bytes;
        Ok(())
    }

    /// Gives such room back.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().uploading -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock; if one did, the maps would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn touch(&mut self, digest: &Digest) -> Option<Arc<Blob>> {
        self.uses += 1;
        let uses = self.uses;
        let entry = self.blobs.get_mut(digest)?;
        entry.last_use = uses;
        Some(entry.blob.clone())
    }

    fn make_room(&mut self, bytes: usize, limit: usize) -> Result<(), StoreError> {
        while self.bytes + self.uploading + bytes > limit {
            let free = self.blobs.iter().filter(|(_, entry)| Arc::strong_count(&entry.blob) == 1);
            let Some(oldest) = free.min_by_key(|(_, entry)| entry.last_use).map(|(&digest, _)| digest) else {
                return Err(StoreError::Full { bytes, limit });
            };
            self.remove(&oldest);
        }
        Ok(())
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(entry) = self.blobs.remove(digest) {
            self.bytes -= entry.blob.bytes().len();
        }
    }
}

/// A blob that arrives in chunks. Dropping it gives its room back.
pub struct Upload {
    store: Arc<Store>,
    digest: Digest,
    total: usize,
    bytes: Vec<u8>,
}

/// Once this part of a blob has come, room for all of it is reserved: to grow further would copy it at each step.
const BELIEVED: usize = 8;

impl Upload {
    /// Starts an upload of `total` bytes.
    ///
    /// # Errors
    /// A blob of this size can never be kept.
    pub fn start(store: &Arc<Store>, digest: Digest, total: usize) -> Result<Self, StoreError> {
        if total > store.limit {
            return Err(StoreError::Full { bytes: total, limit: store.limit });
        }
        // Nothing is reserved on the word of the sender alone: see `BELIEVED`.
        Ok(Self { store: store.clone(), digest, total, bytes: Vec::new() })
    }

    pub(super) fn is_of(&self, digest: &Digest, total: usize) -> bool {
        self.digest == *digest && self.total == total
    }

    /// Adds the bytes from `offset` on; true when the blob is whole and kept.
    ///
    /// # Errors
    /// The chunk is not the next one, or too long; there is no room; or the bytes do not have the digest. The upload
    /// must then be started again.
    pub fn add(&mut self, offset: usize, chunk: &[u8]) -> Result<bool, StoreError> {
        let expected = self.bytes.len();
        if offset != expected {
            return Err(StoreError::Offset { offset: offset as u64, expected: expected as u64 });
        }
        if chunk.len() > self.total - expected || (chunk.is_empty() && expected < self.total) {
            return Err(StoreError::Length { length: chunk.len(), left: (self.total - expected) as u64 });
        }
        self.store.charge(chunk.len())?;
        if expected + chunk.len() >= self.total / BELIEVED {
            self.bytes.reserve_exact(self.total - expected);
        }
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() < self.total {
            return Ok(false);
        }
        self.store.release(self.bytes.len());
        let blob = Blob::new(std::mem::take(&mut self.bytes));
        if blob.digest() != self.digest {
            return Err(StoreError::Digest { claimed: self.digest, actual: blob.digest() });
        }
        self.store.keep(Arc::new(blob))?;
        Ok(true)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.release(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(store: &Arc<Store>, bytes: &[u8], chunk: usize) -> Result<bool, StoreError> {
        let mut upload = Upload::start(store, Digest::of(bytes), bytes.len())?;
        let mut done = false;
        for (place, chunk_bytes) in bytes.chunks(chunk).enumerate() {
            done = upload.add(place * chunk, chunk_bytes)?;
        }
        Ok(done)
    }

    #[test]
    fn the_oldest_unused_makes_room_and_the_held_stays() {
        let store = Store::new(100);
        let held = store.put(vec![1; 40]).unwrap();
        let old = store.put(vec![2; 30]).unwrap().digest();
        let young = store.put(vec![3; 30]).unwrap().digest();
        assert!(store.get(&old).is_some(), "now it is the younger of the two");
        store.put(vec![4; 30]).unwrap();
        assert_eq!(store.missing([held.digest(), old, young]), [young]);
        assert_eq!(store.bytes(), 100);
        assert_eq!(store.put(vec![5; 70]).unwrap_err(), StoreError::Full { bytes: 70, limit: 100 });
    }

    #[test]
    fn what_somebody_holds_is_not_forgotten() {
        let store = Store::new(100);
        let held = store.put(vec![1; 40]).unwrap();
        let digest = held.digest();
        assert!(!store.forget(&digest));
        drop(held);
        assert!(store.forget(&digest) && store.get(&digest).is_none());
        assert_eq!(store.bytes(), 0);
        assert!(store.forget(&digest), "what is not here is forgotten");
    }

    #[test]
    fn an_upload_is_kept_when_whole_and_true() {
        let store = Arc::new(Store::new(1000));
        assert_eq!(whole(&store, b"some bytes", 3), Ok(true));
        assert!(store.get(&Digest::of(b"some bytes")).is_some());
        assert_eq!(store.bytes(), 10);
        let mut liar = Upload::start(&store, Digest::of(b"other"), 4).unwrap();
        assert!(matches!(liar.add(0, b"lies"), Err(StoreError::Digest { .. })));
        drop(liar);
        assert_eq!(store.bytes(), 10, "the room of a failed upload is given back");
    }

    #[test]
    fn an_upload_takes_only_the_next_chunk() {
        let store = Arc::new(Store::new(1000));
        let mut upload = Upload::start(&store, Digest::of(b"abcdef"), 6).unwrap();
        assert_eq!(upload.add(0, b"abc"), Ok(false));
        assert_eq!(upload.add(0, b"abc"), Err(StoreError::Offset { offset: 0, expected: 3 }));
        assert_eq!(upload.add(3, b"defg"), Err(StoreError::Length { length: 4, left: 3 }));
        assert_eq!(upload.add(3, b""), Err(StoreError::Length { length: 0, left: 3 }));
        assert_eq!(store.bytes(), 3);
        drop(upload);
        assert_eq!(store.bytes(), 0);
        assert!(Upload::start(&store, Digest::of(b""), usize::MAX).is_err());
    }
}
