//! Owns the blobs that are to be looked at, the most urgent first.

use crate::types::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Blobs by urgency, each once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Small is urgent.
    by_urgency: BTreeSet<(usize, Digest)>,
    urgency: BTreeMap<Digest, usize>,
}

impl Queue {
    /// Puts a blob in, or changes its urgency.
    pub(super) fn insert(&mut self, digest: Digest, urgency: usize) {
        self.remove(&digest);
        self.urgency.insert(digest, urgency);
        self.by_urgency.insert((urgency, digest));
    }

    pub(super) fn remove(&mut self, digest: &Digest) {
        if let Some(urgency) = self.urgency.remove(digest) {
            self.by_urgency.remove(&(urgency, *digest));
        }
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.urgency.contains_key(digest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgency.is_empty()
    }

    /// All, the most urgent first.
    pub(super) fn all(&self) -> Vec<Digest> {
        self.by_urgency.iter().map(|&(_, digest)| digest).collect()
    }
}
