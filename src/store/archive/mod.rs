//! Owns what a durable store holds: blobs under their digests, and versions of files that refer to them.
//!
//! ```text
//! blobs/<SHA-256>                immutable bytes
//! files/<name>/<8 digits>        a version of a file: which blob, its size, when; or that the file is deleted
//! ```
//!
//! Jobs and leadership have keys of their own in the same [`Backend`]; who writes them owns them.

mod collect;
mod lanes;
mod names;
mod upload;
mod versions;

pub use collect::{Collected, Pruned};
pub use names::LONGEST_NAME;
pub use upload::ArchiveUpload;
pub use versions::Version;

use super::{Backend, StoreError};
use crate::data::shared::Blob;
use crate::types::Digest;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// How many entries one request to the backend lists.
const PAGE: usize = 1000;

/// A blob of the archive: its digest, its bytes, and when it was written, by the backend's clock.
pub type StoredBlob = (Digest, u64, SystemTime);

/// A durable store. Several processes may use one place at once.
pub struct Archive {
    backend: Arc<dyn Backend>,
    /// Until when a blob may be counted on, by those who were told that it is here: see `collect`.
    vouched: Mutex<HashMap<Digest, Instant>>,
    /// Bytes of all blobs, once somebody has asked.
    bytes: Mutex<Option<u64>>,
    /// Versions that have been read, by their keys. They never change.
    read: Mutex<BTreeMap<String, Arc<Version>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of the locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blob_key(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

impl Archive {
    /// What is in this place.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, vouched: Mutex::default(), bytes: Mutex::default(), read: Mutex::default() }
    }

    /// The place.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Whether a blob is here. If it is, it stays for the time of grace of a collection: see [`Archive::collect`].
    ///
    /// # Errors
    /// The backend's.
    pub fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.size(digest)?.is_some())
    }

    /// Those that are not here, in the order given. The others stay, as with [`Archive::contains`].
    ///
    /// # Errors
    /// The backend's.
    pub fn missing(&self, digests: Vec<Digest>) -> Result<Vec<Digest>, StoreError> {
        let found = lanes::each(self.backend.lanes(), &digests, &|digest| self.contains(digest));
        let mut missing = Vec::new();
        for (digest, found) in digests.into_iter().zip(found) {
            if !found? {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    /// A blob's bytes, if it is here. It then stays, as with [`Archive::contains`].
    ///
    /// # Errors
    /// The backend's.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        // First the word, then the look: a collection that came between would see the word and spare the blob.
        let before = lock(&self.vouched).insert(*digest, Instant::now());
        let found = self.backend.head(&blob_key(digest));
        if before.is_none() && !matches!(found, Ok(Some(_))) {
            lock(&self.vouched).remove(digest);
        }
        Ok(found?.map(|entry| entry.size))
    }

    /// A whole blob, if it is here.
    ///
    /// # Errors
    /// The backend's, or [`StoreError::Corrupt`].
    pub fn read(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let key = blob_key(digest);
        let Some(bytes) = self.backend.get(&key)? else { return Ok(None) };
        let blob = Blob::new(bytes);
        if blob.digest() == *digest {
            return Ok(Some(blob));
        }
        Err(StoreError::Corrupt { key, size: blob.bytes().len() as u64, actual: blob.digest() })
    }

    /// At most `limit` bytes of a blob from `offset` on, if it is here: fewer at its end, none beyond. They are not
    /// compared with anything: who has all of them can do that.
    ///
    /// # Errors
    /// The backend's.
    pub fn read_range(&self, digest: &Digest, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.backend.get_range(&blob_key(digest), offset, limit)?)
    }

    /// Keeps a blob that is in memory. It is durable when this returns, and stays as with [`Archive::contains`].
    ///
    /// # Errors
    /// The backend's.
    pub fn write(&self, blob: &Blob) -> Result<(), StoreError> {
        let digest = blob.digest();
        lock(&self.vouched).insert(digest, Instant::now());
        if self.backend.put_new(&blob_key(&digest), blob.bytes())? {
            self.count(blob.bytes().len() as i128);
        }
        Ok(())
    }

    /// Starts a blob of `total` bytes that arrives in chunks. Nothing is written before the first has come, and
    /// memory is needed for no more than one.
    ///
    /// # Errors
    /// None so far: the first chunk meets them.
    pub fn upload(self: &Arc<Self>, digest: Digest, total: u64) -> Result<ArchiveUpload, StoreError> {
        Ok(ArchiveUpload::new(self.clone(), digest, total))
    }

    /// The blobs after `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// The backend's.
    pub fn blobs(&self, after: Option<Digest>, limit: usize) -> Result<Vec<StoredBlob>, StoreError> {
        let mut from = after.map(|digest| blob_key(&digest)).unwrap_or_default();
        let mut blobs = Vec::new();
        while blobs.len() < limit {
            let asked = (limit - blobs.len()).min(PAGE);
            let page = self.backend.list("blobs/", &from, asked)?;
            let last = page.len() < asked;
            from = page.last().map(|entry| entry.key.clone()).unwrap_or_default();
            // What else somebody has put there is no blob.
            let named = |entry: super::Entry| {
                let digest = entry.key.strip_prefix("blobs/").and_then(Digest::parse)?;
                Some((digest, entry.size, entry.modified))
            };
            blobs.extend(page.into_iter().filter_map(named));
            if last {
                break;
            }
        }
        Ok(blobs)
    }

    /// Removes a blob, whoever refers to it; it is fine if there is none.
    ///
    /// # Errors
    /// The backend's.
    pub fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let key = blob_key(digest);
        let size = self.backend.head(&key)?.map_or(0, |entry| entry.size);
        lock(&self.vouched).remove(digest);
        self.backend.delete(&key)?;
        self.count(-i128::from(size));
        Ok(())
    }

    /// Bytes of all blobs. They are counted when this is called for the first time, and then what this process adds
    /// and removes; what others do is seen after the next collection.
    ///
    /// # Errors
    /// The backend's.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = lock(&self.bytes);
        if let Some(bytes) = *bytes {
            return Ok(bytes);
        }
        let counted = self.blobs(None, usize::MAX)?.iter().map(|(_, size, _)| size).sum();
        *bytes = Some(counted);
        Ok(counted)
    }

    fn count(&self, change: i128) {
        if let Some(bytes) = lock(&self.bytes).as_mut() {
            *bytes = u64::try_from((i128::from(*bytes) + change).max(0)).unwrap_or(u64::MAX);
        }
    }
}
