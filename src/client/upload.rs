//! Owns putting data up: each set once, and only what the coordinator lacks.

use super::Connection;
use crate::data::{Dataset, Encoded};
use crate::rpc::{self, RpcError};
use crate::types::Digest;
use crate::wire::blobs::TBlobStoreSyncClient;
use crate::wire::coordinator::Shard;

/// The most digests in one question.
const DIGESTS: usize = 4096;

/// A data set as a request names it, and its bytes.
pub(super) struct Named<'a> {
    pub(super) shard: Shard,
    digest: Digest,
    bytes: Encoded<'a>,
}

impl<'a> Named<'a> {
    pub(super) fn new(name: &str, data: &'a Dataset) -> Self {
        let bytes = Encoded::of(data);
        let digest = bytes.digest();
        let shard = Shard { name: name.to_owned(), digest: digest.to_string(), rows: data.rows() as i64 };
        Self { shard, digest, bytes }
    }
}

/// Puts what the coordinator lacks, and tells of bytes sent and of all to be sent; ends early if it is not to go on.
pub(super) fn upload(
    client: &mut Connection,
    sets: &[Named<'_>],
    go_on: &dyn Fn() -> bool,
    told: &mut dyn FnMut(usize, usize),
) -> Result<(), RpcError> {
    let mut missing = Vec::new();
    for some in sets.chunks(DIGESTS) {
        let digests = some.iter().map(|set| set.shard.digest.clone()).collect();
        missing.extend(client.call(|c| c.missing_blobs(digests))?);
    }
    let wanted: Vec<_> = sets.iter().filter(|set| missing.contains(&set.shard.digest)).collect();
    let total = wanted.iter().map(|set| set.bytes.len()).sum();
    let mut sent = 0;
    for Named { digest, bytes, .. } in wanted {
        if !go_on() {
            return Ok(());
        }
        let copy = |start: usize, most: usize| bytes.copy(start, most);
        rpc::put_blob_in_parts(client, digest, bytes.len(), &copy, &mut |part| told(sent + part, total))?;
        sent += bytes.len();
    }
    Ok(())
}
