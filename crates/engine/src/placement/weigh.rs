//! Owns rendezvous hashing: how much each node weighs for each blob, the same on every machine and in every version.

use crate::types::Digest;
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// A node's name among the others: its address, as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeKey(Arc<str>);

impl NodeKey {
    /// The node of this address.
    pub fn new(address: &str) -> Self {
        Self(address.into())
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The nodes that copies may be at, ascending, each once.
#[derive(Clone, Debug, Default)]
pub struct Members {
    keys: Vec<NodeKey>,
    /// Of each key, so that only the last step is done for each blob.
    hashes: Vec<u64>,
}

impl Members {
    /// These nodes.
    pub fn new(keys: impl IntoIterator<Item = NodeKey>) -> Self {
        let mut keys: Vec<NodeKey> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        let hashes = keys.iter().map(|key| hash(key.as_str())).collect();
        Self { keys, hashes }
    }

    /// The nodes, ascending.
    pub fn keys(&self) -> &[NodeKey] {
        &self.keys
    }

    /// Whether a node is among them.
    pub fn contains(&self, key: &NodeKey) -> bool {
        self.keys.binary_search(key).is_ok()
    }

    /// All nodes, by how much they weigh for a blob, the heaviest first.
    pub fn ranked(&self, digest: &Digest) -> impl Iterator<Item = &NodeKey> {
        self.places(digest).into_iter().map(|place| &self.keys[place])
    }

    fn places(&self, digest: &Digest) -> Vec<usize> {
        let word = |at: usize| digest.0[at..at + 8].iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let (first, second) = (word(0), word(8));
        let weight = |hash: u64| mix(mix(hash ^ first) ^ second);
        let mut places: Vec<usize> = (0..self.keys.len()).collect();
        // Of the same weight, which is all but impossible, the first in order counts as heavier.
        places.sort_by_cached_key(|&place| (Reverse(weight(self.hashes[place])), place));
        places
    }
}

/// The places in `members` of the nodes that a blob's copies belong at, the heaviest first; all if there are no more.
pub fn holders(digest: &Digest, members: &[NodeKey], copies: usize) -> Vec<usize> {
    let known = Members::new(members.iter().cloned());
    let place = |key: &NodeKey| members.iter().position(|member| member == key);
    known.ranked(digest).take(copies).filter_map(place).collect()
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The last step of SplitMix64: each bit of the input changes half of the output's.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
