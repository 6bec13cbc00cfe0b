//! Owns a blob in memory: its bytes, and the data set that they decode to, decoded once for all who use it.

use super::{DataError, Dataset};
use crate::types::Digest;
use std::sync::{Arc, OnceLock};

/// Immutable bytes under their digest.
#[derive(Debug)]
pub struct Blob {
    /// Made when it is first asked for, by whoever asks.
    digest: OnceLock<Digest>,
    bytes: Arc<Vec<u8>>,
    decoded: OnceLock<Arc<Dataset>>,
}

impl Blob {
    /// Takes bytes; they are named when their name is first asked for.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        // What grew as it came may have twice the room that it needs.
        bytes.shrink_to_fit();
        Self { digest: OnceLock::new(), bytes: Arc::new(bytes), decoded: OnceLock::new() }
    }

    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(&self.bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes as a data set with labels below `classes`, or with values if `classes` is 0. It shares the bytes; what
    /// it needs beside them are the labels or values, four bytes a row.
    ///
    /// # Errors
    /// The bytes are no data set, or have a label that is no class.
    pub fn dataset(&self, classes: usize) -> Result<Arc<Dataset>, DataError> {
        if let Some(known) = self.decoded.get().filter(|known| known.classes() == classes) {
            return Ok(known.clone());
        }
        let dataset = Arc::new(super::decode(self.bytes.clone(), classes)?);
        // Another thread may have been first, with an equal data set.
        Ok(self.decoded.get_or_init(|| dataset.clone()).clone())
            .map(|kept| if kept.classes() == classes { kept } else { dataset })
    }
}
