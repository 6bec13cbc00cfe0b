//! Owns why a client has no result.

use crate::ingest::IngestError;
use crate::rpc::{Address, RpcError};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] IngestError),
    /// The coordinator.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The data set is not here, and the coordinator cannot use it either.
    #[error("{dataset} is not on this machine, and the coordinator at {address} says: {reason}")]
    Elsewhere {
        /// The directory.
        dataset: String,
        /// The coordinator.
        address: Address,
        /// Its reason.
        reason: String,
    },
    /// The coordinator does not take the job.
    #[error("the coordinator at {address} does not take the job: {reason}")]
    Refused {
        /// The coordinator.
        address: Address,
        /// Its reason.
        reason: String,
    },
    /// Something that cannot be said in our calls.
    #[error("{0}")]
    Request(String),
    /// The job ended without a model.
    #[error("job {job} failed: {reason}")]
    Failed {
        /// Which job.
        job: String,
        /// Why.
        reason: String,
    },
    /// Nobody looks at it any more; it goes on.
    #[error("job {job} goes on; `roundtable watch {job}` looks at it again")]
    Detached {
        /// Which job.
        job: String,
    },
    /// There was no job yet.
    #[error("interrupted before the job was submitted")]
    Interrupted,
    /// Somebody wanted no more of it.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// Which job.
        job: String,
        /// Whether it was this client's wish.
        by_us: bool,
    },
}
