//! Owns what can go wrong with a store.

use super::BackendError;
use crate::types::Digest;

/// Why something is not kept or not found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// No room in memory.
    #[error(
        "no room for {bytes} bytes: the store holds at most {limit}, and what is there is in use; --memory allows more"
    )]
    Full {
        /// Wanted.
        bytes: usize,
        /// Allowed in all.
        limit: usize,
    },
    /// No room in the archive.
    #[error("no room for {bytes} bytes: the durable store has {used} bytes of blobs, and may have {limit}")]
    DiskFull {
        /// Wanted.
        bytes: u64,
        /// There already, uploads under way among them.
        used: u64,
        /// Allowed in all.
        limit: u64,
    },
    /// A chunk out of order.
    #[error("the chunk starts at byte {offset}, but byte {expected} is next")]
    Offset {
        /// Where it starts.
        offset: u64,
        /// Where it must.
        expected: u64,
    },
    /// A chunk that is empty or goes past the end.
    #[error("the chunk has {length} bytes, but {left} are left")]
    Length {
        /// The chunk's bytes.
        length: usize,
        /// The blob's bytes that have not come yet.
        left: u64,
    },
    /// Other bytes than announced.
    #[error("the bytes announced as {claimed} are {actual}")]
    Digest {
        /// As announced.
        claimed: Digest,
        /// As computed.
        actual: Digest,
    },
    /// A blob of the archive that is not what its key says.
    #[error(
        "{key} is damaged: its {size} bytes have the SHA-256 {actual}; remove it, and send the blob again or restore it"
    )]
    Corrupt {
        /// Its key; the digest in it is what was expected.
        key: String,
        /// The bytes that are there.
        size: u64,
        /// Their digest.
        actual: Digest,
    },
    /// An entry of the archive that cannot be read.
    #[error("{key} is damaged: {reason}; restore it, or remove it to do without")]
    Entry {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A version of a file was to refer to a blob that is not there.
    #[error("the durable store has no blob {digest}: send it first")]
    Absent {
        /// The blob.
        digest: Digest,
    },
    /// A version of a file was to refer to a blob of another size.
    #[error("the blob {digest} has {actual} bytes, not {claimed}")]
    Size {
        /// The blob.
        digest: Digest,
        /// As announced.
        claimed: u64,
        /// As it is.
        actual: u64,
    },
    /// Not the name of a file.
    #[error("'{name}' cannot be the name of a file: {reason}")]
    Name {
        /// As given, cut to a length that can be shown.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file has as many versions as can be numbered.
    #[error("'{name}' has had {most} versions, and cannot have more")]
    Versions {
        /// The file.
        name: String,
        /// The highest number.
        most: u32,
    },
    /// The backend's.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
