//! Owns the blob calls as every server answers them: one [`BlobCalls`] for each connection.

use super::blobs::Incoming;
use super::{Archive, Blobs, StoreError, Upload};
use crate::data::shared::Blob;
use crate::types::Digest;
use crate::wire::{CHUNK, convert};
use std::sync::{Arc, Mutex, PoisonError};

/// The most digests that one question may have.
const MOST_DIGESTS: usize = 65_536;

/// A call that is refused, with a reason for the user.
pub struct Rejection(pub String);

impl From<Rejection> for thrift::Error {
    fn from(Rejection(reason): Rejection) -> Self {
        convert::rejected(reason)
    }
}

impl From<StoreError> for Rejection {
    fn from(e: StoreError) -> Self {
        Self(e.to_string())
    }
}

/// Finds blobs that a server has beside its store.
type Elsewhere = dyn Fn(&Digest) -> Option<Arc<Blob>> + Send + Sync;

/// The blob calls of one connection, with the upload that is under way on it.
pub struct BlobCalls {
    blobs: Arc<Blobs>,
    elsewhere: Box<Elsewhere>,
    upload: Mutex<Option<Current>>,
}

enum Current {
    ToMemory(Upload),
    ToArchive(Incoming),
}

impl BlobCalls {
    /// For a new connection.
    pub fn new(blobs: Arc<Blobs>) -> Self {
        Self { blobs, elsewhere: Box::new(|_| None), upload: Mutex::new(None) }
    }

    /// Lets the calls find blobs that are not in the store, too.
    pub fn or_from(mut self, find: impl Fn(&Digest) -> Option<Arc<Blob>> + Send + Sync + 'static) -> Self {
        self.elsewhere = Box::new(find);
        self
    }

    /// Where the blobs are.
    pub fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// See `missing_blobs` in idl/blobs.thrift.
    ///
    /// # Errors
    /// Too many digests, or one that is none, or the archive's.
    pub fn missing(&self, digests: &[String]) -> Result<Vec<String>, Rejection> {
        if digests.len() > MOST_DIGESTS {
            return Err(Rejection(format!("{} digests in one question; at most {MOST_DIGESTS}", digests.len())));
        }
        let digests = digests.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.blobs.missing(digests)?.iter().map(Digest::to_string).collect())
    }

    /// See `put_blob` in idl/blobs.thrift.
    ///
    /// # Errors
    /// As [`Upload::add`] or [`super::ArchiveUpload::add`].
    pub fn put(&self, digest: &str, offset: i64, total: i64, chunk: &[u8]) -> Result<(), Rejection> {
        let digest = parse(digest)?;
        let (Ok(offset), Ok(total)) = (usize::try_from(offset), usize::try_from(total)) else {
            return Err(Rejection(format!("offset {offset} and total {total} must not be negative")));
        };
        if chunk.len() > CHUNK {
            return Err(Rejection(format!("the chunk has {} bytes; at most {CHUNK}", chunk.len())));
        }
        let mut upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner);
        match self.blobs.archive() {
            Some(archive) => self.put_in_archive(archive, &mut upload, digest, [offset, total], chunk),
            None => self.put_in_memory(&mut upload, digest, [offset, total], chunk),
        }
    }

    fn put_in_memory(
        &self,
        upload: &mut Option<Current>,
        digest: Digest,
        [offset, total]: [usize; 2],
        chunk: &[u8],
    ) -> Result<(), Rejection> {
        if offset == 0 {
            *upload = Some(Current::ToMemory(Upload::start(self.blobs.store(), digest, total)?));
        }
        let Some(Current::ToMemory(current)) = upload.as_mut().filter(|current| current.is_of(&digest, total))
        else {
            return Err(Rejection("the upload was not started on this connection".to_owned()));
        };
        let added = current.add(offset, chunk);
        if added != Ok(false) {
            *upload = None;
        }
        Ok(added.map(|_| ())?)
    }

    fn put_in_archive(
        &self,
        archive: &Arc<Archive>,
        upload: &mut Option<Current>,
        digest: Digest,
        [offset, total]: [usize; 2],
        chunk: &[u8],
    ) -> Result<(), Rejection> {
        let (place, bytes) = (offset as u64, total as u64);
        if offset == 0 {
            *upload = Some(Current::ToArchive(self.blobs.start(archive, digest, bytes)?));
        } else if !upload.as_ref().is_some_and(|current| current.is_of(&digest, total)) {
            let waiting = self.blobs.parked(&digest, bytes);
            if let Some(expected) = waiting.filter(|&progress| progress != place) {
                return Err(StoreError::Offset { offset: place, expected }.into());
            }
            *upload = self.blobs.take(&digest, bytes).map(Current::ToArchive);
        }
        let Some(Current::ToArchive(current)) = upload else {
            let reason = "no upload of this blob was broken off here: begin it, at byte 0, or see 'blob_progress'";
            return Err(Rejection(reason.to_owned()));
        };
        let added = current.add(archive, place, chunk);
        if added == Ok(true) || current.is_over() {
            *upload = None;
        }
        Ok(added.map(|_| ())?)
    }

    /// See `blob_progress` in idl/blobs.thrift.
    ///
    /// # Errors
    /// The digest is none, or the archive's.
    pub fn progress(&self, digest: &str, total: i64) -> Result<i64, Rejection> {
        let digest = parse(digest)?;
        if self.blobs.missing(vec![digest])?.is_empty() {
            return Ok(total.max(0));
        }
        let Ok(bytes) = u64::try_from(total) else { return Ok(0) };
        let upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner);
        let here = match upload.as_ref() {
            Some(Current::ToArchive(current)) if current.is_of(&digest, bytes) => Some(current.progress()),
            _ => self.blobs.parked(&digest, bytes),
        };
        // It is less than `total`, which came as this type.
        Ok(here.and_then(|progress| i64::try_from(progress).ok()).unwrap_or(0))
    }

    /// See `get_blob` in idl/blobs.thrift.
    ///
    /// # Errors
    /// The blob is not here, or there is no such place in it.
    pub fn get(&self, digest: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Rejection> {
        let digest = parse(digest)?;
        let (Ok(start), Ok(limit)) = (u64::try_from(offset), usize::try_from(limit)) else {
            return Err(Rejection(format!("offset {offset} and limit {limit} must not be negative")));
        };
        let limit = limit.min(CHUNK);
        let beyond = |size| Rejection(format!("offset {offset}, limit {limit}: the blob has {size} bytes"));
        if let Some(blob) = self.blobs.store().get(&digest).or_else(|| (self.elsewhere)(&digest)) {
            let bytes = blob.bytes();
            let start = usize::try_from(start).ok().filter(|&start| start <= bytes.len());
            let start = start.ok_or_else(|| beyond(bytes.len() as u64))?;
            return Ok(bytes[start..bytes.len().min(start.saturating_add(limit))].to_vec());
        }
        let absent = || Rejection(format!("there is no blob {digest} here"));
        let archive = self.blobs.archive().ok_or_else(absent)?;
        let bytes = archive.read_range(&digest, start, limit)?.ok_or_else(absent)?;
        if bytes.is_empty() {
            let size = archive.size(&digest)?.ok_or_else(absent)?;
            return if start > size { Err(beyond(size)) } else { Ok(bytes) };
        }
        Ok(bytes)
    }
}

impl Current {
    fn is_of(&self, digest: &Digest, total: usize) -> bool {
        match self {
            Current::ToMemory(upload) => upload.is_of(digest, total),
            Current::ToArchive(upload) => upload.is_of(digest, total as u64),
        }
    }
}

impl Drop for BlobCalls {
    fn drop(&mut self) {
        let upload = self.upload.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Current::ToArchive(upload)) = upload {
            self.blobs.park(upload);
        }
    }
}

fn parse(text: &str) -> Result<Digest, Rejection> {
    Digest::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Rejection(format!("'{shown}' is no SHA-256 in 64 hexadecimal digits"))
    })
}

/// Answers the generated handler's blob calls from a field of this type.
macro_rules! answer_blob_calls {
    ($handler:ty, $field:ident) => {
        impl $crate::wire::blobs::BlobStoreSyncHandler for $handler {
            fn handle_missing_blobs(&self, digests: Vec<String>) -> thrift::Result<Vec<String>> {
                Ok(self.$field.missing(&digests)?)
            }

            fn handle_put_blob(
                &self,
                digest: String,
                offset: i64,
                total: i64,
                chunk: Vec<u8>,
            ) -> thrift::Result<()> {
                Ok(self.$field.put(&digest, offset, total, &chunk)?)
            }

            fn handle_get_blob(&self, digest: String, offset: i64, limit: i64) -> thrift::Result<Vec<u8>> {
                Ok(self.$field.get(&digest, offset, limit)?)
            }

            fn handle_blob_progress(&self, digest: String, total: i64) -> thrift::Result<i64> {
                Ok(self.$field.progress(&digest, total)?)
            }
        }
    };
}

pub(crate) use answer_blob_calls;
