//! Owns the collection of what nobody refers to any more.
//!
//! # Why nothing is lost
//!
//! Whoever wants to refer to a blob first makes sure that it is here (uploads it, or is told that it is here), and
//! then commits: writes a version of a file, or a job. A collection removes a blob only if all of these hold:
//!
//! 1. No version names it, and neither does `in_use`; both were read after or right before the collection began.
//! 2. By the backend's clock, it was written more than `grace` before the collection began.
//! 3. Nobody was told by this [`Archive`] within `grace` that the blob is here. The word is given under the lock under
//!    which a removal looks for it: either the removal sees it, or who asks is told that the blob is gone.
//!
//! So a commit that comes within `grace` of its upload or of the word finds its blob: if the commit was before the
//! collection began, 1 holds the blob; if it was later, so was the upload or the word within `grace`, and 2 or 3 does.
//! `grace` must therefore be at least the longest time from a blob to its commit, and what the clocks of backend and
//! collector may differ, and the age of `in_use`, together.
//!
//! 3 is known in one process only. So only the leader collects, and whoever commits asks the leader whether the blobs
//! are here (`put_version` does that itself). A leader that is deposed while it collects stops before its next removal
//! (`may_go_on`); the one removal that is under way can hit a blob that is older than `grace`, that nothing referred
//! to, and that the new leader vouched for in that moment. Whoever then reads it is told that it is missing.

use super::super::StoreError;
use super::versions::key;
use super::{Archive, blob_key, lock};
use crate::types::Digest;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// For how long an upload may pause before it is taken for one whose process died.
const PAUSE: Duration = Duration::from_secs(3600);

/// What a pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Versions of files.
    pub versions: u64,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Versions of files that it removed.
    pub versions_removed: u64,
    /// Blobs that it removed.
    pub blobs_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Blobs that it left.
    pub blobs_kept: u64,
    /// Whether it came to its end; if not, it was told to stop.
    pub finished: bool,
}

impl Archive {
    /// Removes all but the newest `keep` versions of each file, but never the newest. A file whose newest version is
    /// its deletion keeps that one only, whatever `keep` says: who deletes a file wants its room. The deletion itself
    /// stays, so that a number that once meant a content never means another.
    ///
    /// # Errors
    /// The backend's.
    pub fn prune_versions(&self, keep: usize) -> Result<Pruned, StoreError> {
        self.prune(keep, &|| true).map(|(pruned, _)| pruned)
    }

    fn prune(&self, keep: usize, may_go_on: &dyn Fn() -> bool) -> Result<(Pruned, bool), StoreError> {
        let mut pruned = Pruned::default();
        for (directory, numbers) in self.files()? {
            let newest = numbers.last().map(|&number| self.undamaged(&key(&directory, number)));
            // A damaged version may be anything, a deletion or not; those before it may be what is left to be saved.
            let keep = match newest.transpose()?.flatten() {
                Some(newest) if newest.content.is_none() => 1,
                Some(_) => keep.max(1),
                None => continue,
            };
            for number in numbers.iter().rev().skip(keep).rev() {
                if !may_go_on() {
                    return Ok((pruned, false));
                }
                let key = key(&directory, *number);
                self.backend.delete(&key)?;
                self.forget_version(&key);
                pruned.versions += 1;
            }
        }
        Ok((pruned, true))
    }

    /// Prunes versions, then removes the blobs that neither a version nor `in_use` names and that have been here for
    /// longer than `grace`; asks `may_go_on` before each removal. The module's documentation says why this is safe beside
    /// writers, and what `grace` must be.
    ///
    /// # Errors
    /// The backend's, or [`StoreError::Entry`]: what a damaged version refers to is not known, so no blob is removed.
    pub fn collect(
        &self,
        keep: usize,
        in_use: &BTreeSet<Digest>,
        grace: Duration,
        may_go_on: &dyn Fn() -> bool,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let before = SystemTime::now().checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let (pruned, finished) = self.prune(keep, may_go_on)?;
        collected.versions_removed = pruned.versions;
        if !finished {
            return Ok(collected);
        }
        let live = self.live_blobs()?;
        let mut after = None;
        loop {
            let page = self.blobs(after, super::PAGE)?;
            let Some(&(last, ..)) = page.last() else { break };
            for (digest, size, modified) in page {
                let candidate = modified < before && !live.contains(&digest) && !in_use.contains(&digest);
                if candidate && !may_go_on() {
                    return Ok(collected);
                }
                if candidate && self.remove_unless_vouched(&digest, grace)? {
                    collected.blobs_removed += 1;
                    collected.bytes_removed += size;
                    self.count(-i128::from(size));
                } else {
                    collected.blobs_kept += 1;
                }
            }
            after = Some(last);
        }
        let swept = self.backend.sweep(grace.max(PAUSE))?;
        if swept > 0 {
            log::info!("{}: removed what {swept} broken uploads had left", self.backend.url());
        }
        lock(&self.vouched).retain(|_, since| since.elapsed() < grace);
        log::debug!("{}: {collected:?}", self.backend.url());
        // Others may have added something, too.
        *lock(&self.bytes) = None;
        collected.finished = true;
        Ok(collected)
    }

    fn remove_unless_vouched(&self, digest: &Digest, grace: Duration) -> Result<bool, StoreError> {
        // Held until the blob is gone: who asks meanwhile waits, and then does not find it.
        let vouched = lock(&self.vouched);
        if vouched.get(digest).is_some_and(|since| since.elapsed() < grace) {
            return Ok(false);
        }
        self.backend.delete(&blob_key(digest))?;
        Ok(true)
    }
}
