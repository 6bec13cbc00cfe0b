//! Owns the calling end of the blob calls: whole blobs over a client, in chunks.

use super::{Client, RpcError};
use crate::types::Digest;
use crate::wire::CHUNK;
use crate::wire::blobs::TBlobStoreSyncClient;

/// Sends a blob; `sent` is told after each chunk how many bytes have gone.
///
/// # Errors
/// The connection's, or that the server does not take it.
pub fn put_blob<C: TBlobStoreSyncClient>(
    client: &mut Client<C>,
    digest: &Digest,
    bytes: &[u8],
    sent: &mut dyn FnMut(usize),
) -> Result<(), RpcError> {
    let copy = |start: usize, most: usize| bytes[start..bytes.len().min(start + most)].to_vec();
    put_blob_in_parts(client, digest, bytes.len(), &copy, sent)
}

/// As [`put_blob`], of `total` bytes that are nowhere together: `copy` gives those from a place on, as many as are
/// asked for or are there.
///
/// # Errors
/// As [`put_blob`].
pub fn put_blob_in_parts<C: TBlobStoreSyncClient>(
    client: &mut Client<C>,
    digest: &Digest,
    total: usize,
    copy: &dyn Fn(usize, usize) -> Vec<u8>,
    sent: &mut dyn FnMut(usize),
) -> Result<(), RpcError> {
    for offset in (0..total).step_by(CHUNK) {
        let chunk = copy(offset, CHUNK);
        let end = offset + chunk.len();
        client.call(|c| c.put_blob(digest.to_string(), offset as i64, total as i64, chunk))?;
        sent(end);
    }
    Ok(())
}

/// Fetches a blob.
///
/// # Errors
/// The connection's, that the server does not have it, or that it sends other bytes.
pub fn get_blob<C: TBlobStoreSyncClient>(client: &mut Client<C>, digest: &Digest) -> Result<Vec<u8>, RpcError> {
    let mut bytes = Vec::new();
    loop {
        let offset = bytes.len() as i64;
        let chunk = client.call(|c| c.get_blob(digest.to_string(), offset, CHUNK as i64))?;
        let last = chunk.len() < CHUNK;
        bytes.extend_from_slice(&chunk);
        if last {
            break;
        }
    }
    let actual = Digest::of(&bytes);
    if actual != *digest {
        let reason = format!("the blob asked for is {}, the one that came is {}", digest.short(), actual.short());
        return Err(RpcError::Protocol { address: client.address().clone(), reason });
    }
    Ok(bytes)
}
