//! Owns the blob calls as every server answers them: one [`BlobCalls`] for each connection.

use super::{Store, StoreError, Upload};
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
    store: Arc<Store>,
    elsewhere: Box<Elsewhere>,
    upload: Mutex<Option<Upload>>,
}

impl BlobCalls {
    /// For a new connection.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, elsewhere: Box::new(|_| None), upload: Mutex::new(None) }
    }

    /// Lets the calls find blobs that are not in the store, too.
    pub fn or_from(mut self, find: impl Fn(&Digest) -> Option<Arc<Blob>> + Send + Sync + 'static) -> Self {
        self.elsewhere = Box::new(find);
        self
    }

    /// Where the blobs are.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// See `missing_blobs` in idl/blobs.thrift.
    ///
    /// # Errors
    /// Too many digests, or one that is none.
    pub fn missing(&self, digests: &[String]) -> Result<Vec<String>, Rejection> {
        if digests.len() > MOST_DIGESTS {
            return Err(Rejection(format!("{} digests in one question; at most {MOST_DIGESTS}", digests.len())));
        }
        let digests = digests.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.store.missing(digests).iter().map(Digest::to_string).collect())
    }

    /// See `put_blob` in idl/blobs.thrift.
    ///
    /// # Errors
    /// As [`Upload::add`].
    pub fn put(&self, digest: &str, offset: i64, total: i64, chunk: &[u8]) -> Result<(), Rejection> {
        let digest = parse(digest)?;
        let (Ok(offset), Ok(total)) = (usize::try_from(offset), usize::try_from(total)) else {
            return Err(Rejection(format!("offset {offset} and total {total} must not be negative")));
        };
        if chunk.len() > CHUNK {
            return Err(Rejection(format!("the chunk has {} bytes; at most {CHUNK}", chunk.len())));
        }
        let mut upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner);
        if offset == 0 {
            *upload = Some(Upload::start(&self.store, digest, total)?);
        }
        let Some(current) = upload.as_mut().filter(|current| current.digest == digest && current.total == total)
        else {
            return Err(Rejection("the upload was not started on this connection".to_owned()));
        };
        match current.add(offset, chunk) {
            Ok(false) => Ok(()),
            Ok(true) => {
                *upload = None;
                Ok(())
            }
            Err(e) => {
                *upload = None;
                Err(e.into())
            }
        }
    }

    /// See `blob_progress` in idl/blobs.thrift.
    ///
    /// # Errors
    /// The digest is none.
    pub fn progress(&self, digest: &str, total: i64) -> Result<i64, Rejection> {
        let digest = parse(digest)?;
        Ok(if self.store.get(&digest).is_some() { total.max(0) } else { 0 })
    }

    /// See `get_blob` in idl/blobs.thrift.
    ///
    /// # Errors
    /// The blob is not here, or there is no such place in it.
    pub fn get(&self, digest: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Rejection> {
        let digest = parse(digest)?;
        let blob = self.store.get(&digest).or_else(|| (self.elsewhere)(&digest));
        let blob = blob.ok_or_else(|| Rejection(format!("there is no blob {digest} here")))?;
        let start = usize::try_from(offset).ok().filter(|&start| start <= blob.bytes().len());
        let (Some(start), Ok(limit)) = (start, usize::try_from(limit)) else {
            let size = blob.bytes().len();
            return Err(Rejection(format!("offset {offset}, limit {limit}: the blob has {size} bytes")));
        };
        let end = blob.bytes().len().min(start.saturating_add(limit.min(CHUNK)));
        Ok(blob.bytes()[start..end].to_vec())
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
