//! Owns the compute node: a server that does tasks, for any coordinator that asks.

mod blobs;
mod calls;
mod holdings;
mod load;
mod original;
mod slots;

use crate::rpc::{Limits, RpcError, Server};
use crate::store::{Blobs, Store};
use crate::types::Digest;
use holdings::Holdings;
use load::Load;
use slots::Slots;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a node is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// The probability, 0 to 1, that a task is delayed, and that it is refused where that is allowed.
    pub load_probability: f64,
    /// How long such a task is delayed.
    pub load_delay: Duration,
    /// How many tasks run at once; at least 1.
    pub slots: usize,
    /// Where files named by the original system's call are looked up, and nowhere else.
    pub data_dir: PathBuf,
    /// Where the simulated load's random numbers come from.
    pub seed: u64,
    /// Bytes of blobs that are kept in memory at most.
    pub store_limit: usize,
    /// The directory of the blobs that are held for others; `None`: a temporary one, made when the first blob comes,
    /// and removed at the end.
    pub store: Option<PathBuf>,
    /// Bytes of blobs that are held for others at most.
    pub disk_limit: u64,
}

impl Default for Config {
    /// One slot, no load, files in the working directory, 1 GiB of blobs in memory, 64 GiB for others in a temporary
    /// directory.
    fn default() -> Self {
        Self {
            load_probability: 0.0,
            load_delay: Duration::from_secs(3),
            slots: 1,
            data_dir: PathBuf::from("."),
            seed: 0,
            store_limit: 1 << 30,
            store: None,
            disk_limit: 64 << 30,
        }
    }
}

/// A compute node at work, until it is dropped.
pub struct Node {
    server: Server,
    shared: Arc<Shared>,
}

impl Node {
    /// Starts serving on a listener.
    ///
    /// # Errors
    /// The listener, a thread or the directory of what is held for others cannot be used.
    pub fn start(listener: TcpListener, config: Config) -> Result<Self, RpcError> {
        let holdings = Holdings::open(config.store.clone(), config.disk_limit);
        let holdings = holdings.map_err(|e| RpcError::CannotServe { source: std::io::Error::other(e) })?;
        let store = Arc::new(Store::new(config.store_limit));
        let shared = Arc::new(Shared {
            load: Load::new(config.load_probability, config.load_delay, config.seed),
            slots: Slots::new(config.slots.max(1)),
            blobs: Arc::new(Blobs::new(store.clone())),
            store,
            instance: format!("{:016x}", rand::random::<u64>()),
            attached: Mutex::default(),
            holdings,
            config,
        });
        let serving = shared.clone();
        let serve = move |peer| calls::processor(&serving, peer);
        let server = Server::start(listener, Limits::default(), "node", serve)?;
        Ok(Self { server, shared })
    }

    /// How many blobs it holds for others, and their bytes.
    pub fn held(&self) -> (u64, u64) {
        self.shared.holdings.totals()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// What all connections of a node share.
struct Shared {
    config: Config,
    load: Load,
    slots: Slots,
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    holdings: Holdings,
    instance: String,
    /// What came along with tasks lately, the oldest first: each round brings new weights, and old ones are not kept.
    attached: Mutex<VecDeque<Digest>>,
}
