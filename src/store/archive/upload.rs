//! Owns a blob on its way into the archive.

use super::super::{StoreError, Uploading};
use super::{Archive, blob_key, lock};
use crate::types::Digest;
use sha2::Digest as _;
use std::sync::Arc;
use std::time::Instant;

/// A blob that arrives in chunks. Dropping it leaves nothing behind.
pub struct ArchiveUpload {
    archive: Arc<Archive>,
    digest: Digest,
    total: u64,
    arrived: u64,
    hasher: sha2::Sha256,
    /// From the first chunk to the last.
    writing: Option<Box<dyn Uploading>>,
    /// It failed, or is whole.
    over: bool,
}

impl ArchiveUpload {
    pub(super) fn new(archive: Arc<Archive>, digest: Digest, total: u64) -> Self {
        Self { archive, digest, total, arrived: 0, hasher: sha2::Sha256::new(), writing: None, over: false }
    }

    /// What the bytes are said to be.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes the blob is said to have.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes have come.
    pub fn progress(&self) -> u64 {
        self.arrived
    }

    /// Whether it must be started again.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Adds the bytes from `offset` on; true when the blob is whole, true to its digest, and durable.
    ///
    /// # Errors
    /// The chunk is not the next one, or has a wrong length: the upload may then go on with the right one. Or the bytes
    /// do not have the digest, or the backend fails: it must then be started again.
    pub fn add(&mut self, offset: u64, chunk: &[u8]) -> Result<bool, StoreError> {
        let left = self.total - self.arrived;
        if offset != self.arrived || self.over {
            return Err(StoreError::Offset { offset, expected: if self.over { 0 } else { self.arrived } });
        }
        if chunk.len() as u64 > left || (chunk.is_empty() && left > 0) {
            return Err(StoreError::Length { length: chunk.len(), left });
        }
        // Until this chunk is known to be written.
        self.over = true;
        let mut writing = match self.writing.take() {
            Some(writing) => writing,
            None => self.archive.backend.upload(&blob_key(&self.digest))?,
        };
        writing.write(chunk)?;
        self.hasher.update(chunk);
        self.arrived += chunk.len() as u64;
        if self.arrived == self.total {
            self.finish(writing)?;
            return Ok(true);
        }
        self.writing = Some(writing);
        self.over = false;
        Ok(false)
    }

    fn finish(&mut self, writing: Box<dyn Uploading>) -> Result<(), StoreError> {
        let actual = Digest(std::mem::take(&mut self.hasher).finalize().into());
        if actual != self.digest {
            return Err(StoreError::Digest { claimed: self.digest, actual });
        }
        let known = self.archive.size(&self.digest)?;
        lock(&self.archive.vouched).insert(self.digest, Instant::now());
        writing.finish()?;
        self.archive.count(i128::from(self.total) - i128::from(known.unwrap_or(0)));
        Ok(())
    }
}
