//! Owns files for users: their versions in the archive, and copies of their contents on nodes.
//!
//! The archive decides what there is: a version is durable once it is written there. Copies on nodes are made after
//! that, and restored when a node is lost (`replicator`, by the rules of [`crate::placement`]); when the coordinator's
//! own disk has lost a content it is read from a node, and repaired (`repair`).

mod calls;
mod copies;
mod courier;
mod repair;
mod replicator;

pub(super) use repair::FileBlobs;

use crate::placement::Settings;
use crate::rpc::{Address, RpcError};
use crate::store::{Archive, StoreError};
use crate::types::Digest;
use repair::Repairer;
use replicator::Replicator;
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// How many nodes hold a copy of a content of which nothing else was said.
const USUAL_COPIES: usize = 4;

/// What the files need to know of the coordinator around them.
pub(super) struct Hooks {
    /// Blobs that jobs use, which are no garbage though no file refers to them.
    pub(super) in_use: Box<dyn Fn() -> BTreeSet<Digest> + Send + Sync>,
    /// Whether this coordinator leads: only then are copies ordered, and garbage is collected only as long as it does.
    pub(super) leads: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// How files are to be kept.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Bytes in a second of copies that are restored or moved; the first copies of what is put are not limited.
    pub restore_rate: u64,
    /// What nothing refers to is collected when it is older than this: longer than from an upload to its commit.
    pub grace: Duration,
}

impl Default for FileSettings {
    /// 200 MiB/s, ten minutes.
    fn default() -> Self {
        Self { restore_rate: 200 << 20, grace: Duration::from_secs(600) }
    }
}

/// The files of a cluster.
pub(super) struct Files {
    archive: Arc<Archive>,
    replicator: Arc<Replicator>,
    repairer: Repairer,
    hooks: Hooks,
    grace: Duration,
    /// Held for reading from a version's commit until its copies are asked for.
    commits: RwLock<()>,
}

impl Files {
    /// Starts keeping copies; `own` is where nodes find what the coordinator has.
    pub(super) fn start(
        archive: Arc<Archive>,
        own: Address,
        settings: &FileSettings,
        hooks: Hooks,
    ) -> Result<Arc<Self>, RpcError> {
        let placement = Settings { restore_rate: settings.restore_rate, ..Settings::default() };
        let replicator = Arc::new(Replicator::start(own, placement, archive.clone(), hooks.leads.clone())?);
        let repairer = Repairer::start(archive.clone(), replicator.clone())?;
        Ok(Arc::new(Self {
            archive,
            replicator,
            repairer,
            hooks,
            grace: settings.grace,
            commits: RwLock::default(),
        }))
    }

    /// Nodes answer or do not. Those not named are as they were.
    pub(super) fn nodes_changed(&self, nodes: &[(Address, bool)]) {
        self.replicator.nodes_changed(nodes);
    }

    /// Which nodes answer is not known any more: whoever leads next finds out anew.
    pub(super) fn forget_nodes(&self) {
        self.replicator.forget_nodes();
    }
}

/// What is in an archive that is to have copies: each content with its size and how many.
fn wanted(archive: &Archive) -> Result<Vec<(Digest, u64, usize)>, StoreError> {
    let special = copies::read(archive)?;
    let mut wanted = Vec::new();
    for file in archive.newest("*", "", usize::MAX)? {
        for version in archive.versions(&file.name, usize::MAX)? {
            let Some((digest, size)) = version.content else { continue };
            wanted.push((digest, size, special.get(&digest).copied().unwrap_or(USUAL_COPIES)));
        }
    }
    Ok(wanted)
}
