//! Owns the names of the store's objects, and what stands in those under `leaders/`.

use crate::types::{Digest, Epoch};
use serde::{Deserialize, Serialize};

/// Where leaders stand, by their epochs.
pub const LEADERS: &str = "leaders/";
pub(super) const LOG: &str = "log/";
pub(super) const SNAPSHOTS: &str = "snapshots/";

/// Who leads from an epoch on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leader {
    /// The epoch, from 1.
    pub epoch: Epoch,
    /// Its address.
    pub address: String,
    /// The process.
    pub instance: String,
    /// The store's name, drawn by its first leader.
    pub cluster: String,
}

impl Leader {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers can be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an object of [`LEADERS`]; `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn read(key: &str, bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| format!("{key} cannot be read: {e}"))
    }
}

pub(super) fn leader(epoch: Epoch) -> String {
    format!("{LEADERS}{epoch:012}")
}

pub(super) fn log(position: u64) -> String {
    format!("{LOG}{position:012}")
}

pub(super) fn snapshot(position: u64) -> String {
    format!("{SNAPSHOTS}{position:012}")
}

/// The number that a key ends in.
pub(super) fn number(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// Where a blob is kept.
pub fn blob_key(digest: &Digest) -> String {
    format!("blobs/{digest}")
}
