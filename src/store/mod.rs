//! Owns what servers keep: blobs in memory, and the durable store behind it on a disk or in a cloud.
//!
//! | part | owns |
//! |---|---|
//! | [`Store`] | blobs in memory, up to a limit |
//! | [`Backend`], [`open`] | objects under keys on a disk, in a cloud, or in memory |
//! | [`Archive`] | what a durable store holds: blobs and versions of files |
//! | [`Blobs`], [`BlobCalls`] | the blob calls of a server, from memory and archive, and uploads that are under way |
//! | [`pull`] | a blob on its way from other servers into an archive |
//!
//! Everything is blocking; what the clouds' clients need beyond that stays inside their backends.

mod archive;
mod backend;
mod blobs;
mod cache;
mod calls;
mod error;
mod pull;

pub use archive::{Archive, ArchiveUpload, Collected, LONGEST_NAME, Pruned, StoredBlob, Version};
pub use backend::{Backend, BackendError, Entry, SCHEMES, SchemeRow, Uploading, open, open_uncached, schemes};
pub use blobs::Blobs;
pub use cache::{Store, Upload};
pub(crate) use calls::answer_blob_calls;
pub use calls::{BlobCalls, Rejection};
pub use error::StoreError;
pub use pull::pull;
