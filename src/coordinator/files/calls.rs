//! Owns the answers to the calls about files.

use super::super::now_ms;
use super::{Files, copies};
use crate::placement::NodeKey;
use crate::store::{StoreError, Version};
use crate::types::Digest;
use crate::wire::convert;
use crate::wire::coordinator::{FileVersion, GcReport};
use std::sync::PoisonError;
use std::time::Duration;

/// The most versions or files in one answer.
const MOST: usize = 10_000;
/// The most copies that can be asked for.
const MOST_COPIES: i32 = 64;
/// The longest that a put waits for copies.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl Files {
    /// See `put_file` in idl/coordinator.thrift.
    pub(in crate::coordinator) fn put(
        &self,
        name: &str,
        digest: &str,
        size: i64,
        replicas: i32,
        wait_ms: i32,
    ) -> thrift::Result<FileVersion> {
        let digest = parse(digest)?;
        let size =
            u64::try_from(size).map_err(|_| convert::rejected(format!("a file cannot have {size} bytes")))?;
        if !(1..=MOST_COPIES).contains(&replicas) {
            let reason = format!("{replicas} copies are asked for; it must be from 1 to {MOST_COPIES}");
            return Err(convert::rejected(reason));
        }
        let copies = replicas as usize;
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(LONGEST_WAIT);
        copies::write(&self.archive, &digest, copies).map_err(refused)?;
        let committing = self.commits.read().unwrap_or_else(PoisonError::into_inner);
        let version = self.archive.put_version(name, Some((digest, size)), now_ms()).map_err(refused)?;
        self.replicator.want(digest, size, copies, true);
        drop(committing);
        log::debug!("{name} version {}: {size} bytes, {}", version.version, digest.short());
        self.replicator.wait(&digest, copies, wait);
        Ok(self.tell(version))
    }

    /// See `file_versions` in idl/coordinator.thrift.
    pub(in crate::coordinator) fn versions(&self, name: &str, limit: i32) -> thrift::Result<Vec<FileVersion>> {
        let versions = self.archive.versions(name, at_most(limit)).map_err(refused)?;
        Ok(versions.into_iter().map(|version| self.tell(version)).collect())
    }

    /// See `list_files` in idl/coordinator.thrift.
    pub(in crate::coordinator) fn list(
        &self,
        pattern: &str,
        after: &str,
        limit: i32,
    ) -> thrift::Result<Vec<FileVersion>> {
        let versions = self.archive.newest(pattern, after, at_most(limit)).map_err(refused)?;
        Ok(versions.into_iter().map(|version| self.tell(version)).collect())
    }

    /// See `delete_file` in idl/coordinator.thrift.
    pub(in crate::coordinator) fn delete(&self, name: &str) -> thrift::Result<FileVersion> {
        let newest = self.archive.versions(name, 1).map_err(refused)?.pop();
        if newest.is_none_or(|newest| newest.content.is_none()) {
            return Err(convert::rejected(format!("there is no file {name}")));
        }
        let version = self.archive.put_version(name, None, now_ms()).map_err(refused)?;
        log::debug!("{name} is deleted, by version {}", version.version);
        Ok(self.tell(version))
    }

    /// See `collect_garbage` in idl/coordinator.thrift.
    pub(in crate::coordinator) fn collect(&self, keep: i32) -> thrift::Result<GcReport> {
        let keep = usize::try_from(keep).ok().filter(|&keep| keep > 0);
        let keep = keep.ok_or_else(|| convert::rejected("at least one version of each file must be kept"))?;
        let leads = &*self.hooks.leads;
        let in_use = (self.hooks.in_use)();
        let collected = self.archive.collect(keep, &in_use, self.grace, leads).map_err(refused)?;
        if collected.finished {
            // No version comes between the look at what is live and the word that nothing else is.
            let _settled = self.commits.write().unwrap_or_else(PoisonError::into_inner);
            let mut needed = self.archive.live_blobs().map_err(refused)?;
            copies::keep_only(&self.archive, &needed).map_err(refused)?;
            needed.extend(in_use);
            self.replicator.want_only(&needed);
        }
        log::info!("garbage: {collected:?}");
        Ok(GcReport {
            versions_removed: wire(collected.versions_removed),
            blobs_removed: wire(collected.blobs_removed),
            bytes_removed: wire(collected.bytes_removed),
            blobs_kept: wire(collected.blobs_kept),
        })
    }

    fn tell(&self, version: Version) -> FileVersion {
        let holders = version.content.map(|(digest, _)| self.replicator.holders(&digest)).unwrap_or_default();
        FileVersion {
            name: version.name,
            version: i64::from(version.version),
            digest: version.content.map(|(digest, _)| digest.to_string()).unwrap_or_default(),
            size: version.content.map_or(0, |(_, size)| wire(size)),
            created_ms: version.created_ms,
            holders: holders.iter().map(NodeKey::to_string).collect(),
        }
    }
}

fn parse(digest: &str) -> thrift::Result<Digest> {
    let shown: String = digest.chars().take(80).collect();
    Digest::parse(digest)
        .ok_or_else(|| convert::rejected(format!("'{shown}' is no SHA-256 in 64 hexadecimal digits")))
}

fn at_most(limit: i32) -> usize {
    usize::try_from(limit).unwrap_or(0).min(MOST)
}

fn wire(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn refused(error: StoreError) -> thrift::Error {
    convert::rejected(error)
}
