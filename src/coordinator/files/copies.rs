//! Owns how many copies a content is to have where that is not the usual number, in the archive's backend.
//!
//! ```text
//! copies/<SHA-256>-<number>      empty; of several for one content the highest number counts
//! ```

use super::USUAL_COPIES;
use crate::store::{Archive, StoreError};
use crate::types::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// How many entries one request to the backend lists.
const PAGE: usize = 1000;

/// Keeps a number of copies, durably.
pub(super) fn write(archive: &Archive, digest: &Digest, copies: usize) -> Result<(), StoreError> {
    if copies != USUAL_COPIES {
        archive.backend().put_new(&format!("copies/{digest}-{copies}"), &[])?;
    }
    Ok(())
}

/// The numbers that are not the usual one.
pub(super) fn read(archive: &Archive) -> Result<BTreeMap<Digest, usize>, StoreError> {
    let mut numbers: BTreeMap<Digest, usize> = BTreeMap::new();
    each(archive, &mut |_, digest, copies| {
        let most = numbers.entry(digest).or_default();
        *most = copies.max(*most);
        Ok(())
    })?;
    Ok(numbers)
}

/// Removes the numbers of contents that are no longer needed.
pub(super) fn keep_only(archive: &Archive, needed: &BTreeSet<Digest>) -> Result<(), StoreError> {
    each(archive, &mut |key, digest, _| match needed.contains(&digest) {
        true => Ok(()),
        false => Ok(archive.backend().delete(key)?),
    })
}

fn each(
    archive: &Archive,
    each: &mut dyn FnMut(&str, Digest, usize) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let page = archive.backend().list("copies/", &after, PAGE)?;
        for entry in &page {
            let parts = entry.key.strip_prefix("copies/").and_then(|rest| rest.split_once('-'));
            let parts = parts.and_then(|(digest, copies)| Some((Digest::parse(digest)?, copies.parse().ok()?)));
            if let Some((digest, copies)) = parts {
                each(&entry.key, digest, copies)?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.key.clone(),
            _ => return Ok(()),
        }
    }
}
