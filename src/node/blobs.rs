//! Owns the blob calls of a node's connection: what tasks need, in memory, and what it holds for others, on disk.

use super::Shared;
use crate::store::{BlobCalls, Rejection};
use crate::types::Digest;
use std::sync::Arc;

/// The blob calls of one connection.
pub(super) struct NodeBlobs {
    calls: BlobCalls,
    shared: Arc<Shared>,
}

impl NodeBlobs {
    /// For a new connection.
    pub(super) fn new(calls: BlobCalls, shared: Arc<Shared>) -> Self {
        Self { calls, shared }
    }

    /// See `missing_blobs` in idl/blobs.thrift. What is held for others does not count: tasks work on what is in memory.
    pub(super) fn missing(&self, digests: &[String]) -> Result<Vec<String>, Rejection> {
        self.calls.missing(digests)
    }

    /// See `put_blob` in idl/blobs.thrift.
    pub(super) fn put(&self, digest: &str, offset: i64, total: i64, chunk: &[u8]) -> Result<(), Rejection> {
        self.calls.put(digest, offset, total, chunk)
    }

    /// See `blob_progress` in idl/blobs.thrift.
    pub(super) fn progress(&self, digest: &str, total: i64) -> Result<i64, Rejection> {
        self.calls.progress(digest, total)
    }

    /// See `get_blob` in idl/blobs.thrift.
    pub(super) fn get(&self, digest: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Rejection> {
        let place = u64::try_from(offset).ok().zip(usize::try_from(limit).ok());
        if let (Some(digest), Some((offset, limit))) = (Digest::parse(digest), place)
            && let Some(bytes) = self.shared.holdings.read(&digest, offset, limit).map_err(Rejection)?
        {
            return Ok(bytes);
        }
        self.calls.get(digest, offset, limit)
    }
}
