//! Owns the names of the changes from outside that were applied last, so that none is applied twice.

use crate::types::Digest;
use std::collections::{BTreeMap, VecDeque};

/// So many are remembered.
const MOST: usize = 4096;
/// Bytes of a name's digest that are kept; two names that are the same in them are taken for one.
const NAME: usize = 16;
/// With the version.
const ENTRY: usize = NAME + 8;

/// A name, shortened.
type Name = [u8; NAME];

/// The last names, and the versions that have their changes.
#[derive(Default)]
pub(super) struct Seen {
    order: VecDeque<Name>,
    versions: BTreeMap<Name, u64>,
}

impl Seen {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The version that has the change of this name.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.versions.get(&name(id)).copied()
    }

    pub(super) fn add(&mut self, id: &str, version: u64) {
        self.insert(name(id), version);
    }

    fn insert(&mut self, name: Name, version: u64) {
        if self.versions.insert(name, version).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.order.len() * ENTRY);
        for name in &self.order {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&self.versions.get(name).copied().unwrap_or_default().to_le_bytes());
        }
        bytes
    }

    /// `None` if these are not the bytes of names.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if !rest.is_empty() || entries.len() > MOST {
            return None;
        }
        let mut seen = Self::default();
        for entry in entries {
            let (name, version) = entry.split_first_chunk::<NAME>()?;
            seen.insert(*name, u64::from_le_bytes(*version.first_chunk()?));
        }
        Some(seen)
    }
}

fn name(id: &str) -> Name {
    let digest = Digest::of(id.as_bytes());
    std::array::from_fn(|at| digest.0[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_and_read_back() {
        let mut seen = Seen::default();
        (0..5000).for_each(|number| seen.add(&number.to_string(), number));
        assert_eq!((seen.find("903"), seen.find("904"), seen.find("4999")), (None, Some(904), Some(4999)));
        let back = Seen::from_bytes(&seen.to_bytes()).unwrap();
        assert_eq!((back.to_bytes(), back.find("2000")), (seen.to_bytes(), Some(2000)));
        assert!(Seen::from_bytes(&[0; 25]).is_none());
        assert!(Seen::from_bytes(&[0; ENTRY * (MOST + 1)]).is_none());
    }
}
