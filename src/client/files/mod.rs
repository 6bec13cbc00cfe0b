//! Owns the client's side of files: put, get, list and delete versions; what goes and comes is checked end to end.
//!
//! Files of any size take a few MiB of memory. What is broken off goes on where it stopped when it is done again:
//! the coordinator keeps what has come of an upload for a while, and a download leaves what it has beside its target.

mod digester;
mod get;
mod part;
mod put;
mod target;

pub use target::inside;

use super::leader::{Connection, Leader};
use crate::rpc::{Address, Dialer, FetchError, RpcError};
use crate::types::Digest;
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use crate::wire::coordinator::{FileVersion, TCoordinatorSyncClient};
use serde::Serialize;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most versions, files or blobs that one answer has.
const PAGE: i32 = 10_000;

/// How long a coordinator that leads is looked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The file.
    pub name: String,
    /// From 1.
    pub version: i64,
    /// SHA-256 of the content, in hexadecimal digits; empty if this version is a deletion.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub created_ms: i64,
    /// The nodes that hold a copy, host:port.
    pub holders: Vec<String>,
}

impl Version {
    /// Whether it says that the file was deleted.
    pub fn is_deletion(&self) -> bool {
        self.sha256.is_empty()
    }

    fn digest(&self) -> Result<Digest, FilesError> {
        Digest::parse(&self.sha256).ok_or_else(|| FilesError::Nonsense(format!("'{}' is no digest", self.sha256)))
    }
}

impl From<FileVersion> for Version {
    fn from(told: FileVersion) -> Self {
        Self {
            name: told.name,
            version: told.version,
            sha256: told.digest,
            size: u64::try_from(told.size).unwrap_or(0),
            created_ms: told.created_ms,
            holders: told.holders,
        }
    }
}

/// What a watcher is told on the way, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So much of the file has been read to find out its digest.
    Read {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// So much has been sent or received, what was there before included.
    Moved {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The coordinator has it all; nodes make their copies.
    Copies,
}

/// What was put.
#[derive(Clone, Debug, Serialize)]
pub struct Put {
    /// The new version.
    #[serde(flatten)]
    pub version: Version,
    /// Bytes that were sent: fewer than the file's if the coordinator had some of it.
    pub sent: u64,
}

/// What was fetched.
#[derive(Clone, Debug, Serialize)]
pub struct Got {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// Bytes that were received: fewer than the file's if some were there.
    pub received: u64,
}

/// What was collected.
#[derive(Clone, Debug, Serialize)]
pub struct Collected {
    /// Versions removed.
    pub versions_removed: i64,
    /// Blobs removed.
    pub blobs_removed: i64,
    /// Their bytes.
    pub bytes_removed: i64,
    /// Blobs that something refers to.
    pub blobs_kept: i64,
}

/// A blob that a node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its SHA-256.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The files of a cluster.
pub struct Files {
    leader: Leader,
    dialer: Dialer,
}

impl Files {
    /// Finds the coordinator that leads; its successor is found, too, should it be gone.
    ///
    /// # Errors
    /// None answers, or none leads.
    pub fn connect(coordinators: &[Address]) -> Result<Self, FilesError> {
        let dialer = Dialer::default();
        let leader = Leader::find(coordinators, dialer.clone(), PATIENCE)?;
        Ok(Self { leader, dialer })
    }

    fn call<T>(&mut self, call: impl Fn(&mut Connection) -> Result<T, RpcError>) -> Result<T, FilesError> {
        self.leader.call(&|| true, call).map_err(refused)
    }

    /// The versions of a file, the newest first, deletions among them; at most `limit`. None if there is no such file.
    ///
    /// # Errors
    /// The coordinator's.
    pub fn versions(&mut self, name: &str, limit: usize) -> Result<Vec<Version>, FilesError> {
        let limit = i32::try_from(limit).unwrap_or(PAGE).min(PAGE);
        let versions = self.call(|leader| leader.call(|c| c.file_versions(name.to_owned(), limit)))?;
        Ok(versions.into_iter().map(Version::from).collect())
    }

    /// One version of a file: that of a number, or the newest.
    ///
    /// # Errors
    /// There is no such file or version, or it is deleted; the coordinator's.
    pub fn version(&mut self, name: &str, number: Option<i64>) -> Result<Version, FilesError> {
        let versions = self.versions(name, if number.is_some() { PAGE as usize } else { 1 })?;
        let Some(newest) = versions.first() else { return Err(FilesError::NoFile { name: name.to_owned() }) };
        let wanted = number.unwrap_or(newest.version);
        let newest = newest.version;
        match versions.into_iter().find(|version| version.version == wanted) {
            Some(version) if version.is_deletion() => {
                Err(FilesError::Deleted { name: name.to_owned(), version: version.version })
            }
            Some(version) => Ok(version),
            None => Err(FilesError::NoVersion { name: name.to_owned(), version: wanted, newest }),
        }
    }

    /// The newest version of each file whose name matches a pattern, by name.
    ///
    /// # Errors
    /// The coordinator's.
    pub fn list(&mut self, pattern: &str) -> Result<Vec<Version>, FilesError> {
        let mut all: Vec<Version> = Vec::new();
        loop {
            let after = all.last().map(|last| last.name.clone()).unwrap_or_default();
            let list = || (pattern.to_owned(), after.clone());
            let page = self.call(|leader| {
                let (pattern, after) = list();
                leader.call(|c| c.list_files(pattern, after, PAGE))
            })?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(Version::from));
        }
    }

    /// Deletes a file; the version that says so.
    ///
    /// # Errors
    /// There is no such file, or it is deleted; the coordinator's.
    pub fn delete(&mut self, name: &str) -> Result<Version, FilesError> {
        let before = self.version(name, None)?;
        let asked = Cell::new(false);
        let deletion = self.call(|leader| {
            // If the answer was lost it may have been done.
            if asked.replace(true)
                && let Some(newest) = newest(leader, name)?
                && newest.version > before.version
                && newest.digest.is_empty()
            {
                return Ok(newest);
            }
            leader.call(|c| c.delete_file(name.to_owned()))
        })?;
        Ok(deletion.into())
    }

    /// Removes all but the newest `keep` versions of each file, and what nothing refers to any more.
    ///
    /// # Errors
    /// The coordinator's.
    pub fn collect(&mut self, keep: i32) -> Result<Collected, FilesError> {
        let report = self.call(|leader| {
            // It may take long.
            leader.set_timeout(None);
            leader.call(|c| c.collect_garbage(keep))
        })?;
        Ok(Collected {
            versions_removed: report.versions_removed,
            blobs_removed: report.blobs_removed,
            bytes_removed: report.bytes_removed,
            blobs_kept: report.blobs_kept,
        })
    }

    /// Where a version may be fetched: the coordinator first, then the nodes that hold it.
    fn sources(&self, version: &Version) -> Vec<Address> {
        let mut sources = vec![self.leader.address()];
        sources.extend(version.holders.iter().filter_map(|holder| holder.parse().ok()));
        sources
    }
}

/// What a node holds, by ascending digest.
///
/// # Errors
/// It does not answer, or is no node.
pub fn held_by(member: &Address) -> Result<Vec<Held>, FilesError> {
    let mut client = Dialer::default().dial(member)?.client(ComputeNodeSyncClient::new);
    let mut all: Vec<Held> = Vec::new();
    loop {
        let after = all.last().map(|last| last.sha256.clone()).unwrap_or_default();
        let page = client.call(|c| c.held_blobs(after, PAGE))?;
        if page.is_empty() {
            return Ok(all);
        }
        let held = |blob: crate::wire::compute_node::HeldBlob| Held {
            size: u64::try_from(blob.size).unwrap_or(0),
            sha256: blob.digest,
        };
        all.extend(page.into_iter().map(held));
    }
}

/// The newest version of a file, as one coordinator tells it.
fn newest(leader: &mut Connection, name: &str) -> Result<Option<FileVersion>, RpcError> {
    Ok(leader.call(|c| c.file_versions(name.to_owned(), 1))?.pop())
}

/// What the coordinator does not take is the user's to mend.
fn refused(error: RpcError) -> FilesError {
    match error {
        RpcError::Remote { address, reason } => FilesError::Refused { address, reason },
        other => other.into(),
    }
}

/// Why a file was not put or fetched.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is no such file in the store.
    #[error("there is no file {name} in the store; `roundtable ls-all '*'` lists what there is")]
    NoFile {
        /// Its name.
        name: String,
    },
    /// There is no such version.
    #[error("{name} has no version {version}; the newest is {newest}, and old ones may have been collected")]
    NoVersion {
        /// The file.
        name: String,
        /// What was asked for.
        version: i64,
        /// The newest.
        newest: i64,
    },
    /// The version is a deletion.
    #[error(
        "{name} was deleted (by version {version}); an older version can be had with --version, see `roundtable ls`"
    )]
    Deleted {
        /// The file.
        name: String,
        /// The version that says so.
        version: i64,
    },
    /// A file name that must not be used here.
    #[error("the file {name} cannot be written under {}: {reason}", directory.display())]
    Outside {
        /// Its name in the store.
        name: String,
        /// The target.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A local file cannot be used as it must be.
    #[error("cannot {what} {}: {source}", path.display())]
    Local {
        /// "read", "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A local file that is of no use.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The coordinator does not take it.
    #[error("the coordinator at {address} does not take it: {reason}")]
    Refused {
        /// The coordinator.
        address: Address,
        /// Its reason.
        reason: String,
    },
    /// The connection.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// No copy is to be had.
    #[error(
        "{name} version {version} cannot be fetched: {source}; what has come is kept, and the same command goes on"
    )]
    Fetch {
        /// The file.
        name: String,
        /// Its version.
        version: i64,
        /// Why.
        source: FetchError,
    },
    /// An answer that is none.
    #[error("{0}")]
    Nonsense(String),
}

impl FilesError {
    /// Whether the user can mend it by asking for something else.
    pub fn is_input(&self) -> bool {
        match self {
            Self::NoFile { .. }
            | Self::NoVersion { .. }
            | Self::Deleted { .. }
            | Self::Outside { .. }
            | Self::Unfit { .. }
            | Self::Refused { .. } => true,
            Self::Local { what, source, .. } => *what == "read" || source.kind() == io::ErrorKind::NotFound,
            Self::Rpc(_) | Self::Fetch { .. } | Self::Nonsense(_) => false,
        }
    }

    fn local(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { what, path: path.to_path_buf(), source }
    }
}
