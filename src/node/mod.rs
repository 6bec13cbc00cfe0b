//! Owns the compute node: a server that does tasks, for any coordinator that asks.

mod blobs;
mod calls;
mod drain;
mod epochs;
mod holdings;
mod load;
mod original;
mod prefetch;
mod slots;

use crate::data::shared::Blob;
use crate::gossip::{self, Facts, Gossip, News, Role, Served};
use crate::jobs::inference::Models;
use crate::jobs::stream::Changes;
use crate::jobs::tuning::Stocks;
use crate::rpc::{Limits, RpcError, Server};
use crate::store::{Blobs, Store};
use crate::types::Digest;
use crossbeam_channel::Receiver;
use drain::Drain;
use epochs::Epochs;
use holdings::Holdings;
use load::Load;
use prefetch::Prefetch;
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
    /// Each task takes so many times what it takes: 1 or more. Simulates a slow machine.
    pub slowdown: f64,
    /// How many tasks run at once; at least 1.
    pub slots: usize,
    /// Where files named by the original system's call are looked up, and nowhere else.
    pub data_dir: PathBuf,
    /// Where the simulated load's random numbers come from.
    pub seed: u64,
    /// Bytes of blobs that are kept in memory at most.
    pub store_limit: usize,
    /// How it takes part in gossip, if it does.
    pub gossip: Option<gossip::Config>,
    /// How long it may take to finish its tasks when it is told to leave.
    pub drain_time: Duration,
    /// The directory of the blobs that are held for others; `None`: a temporary one, made when the first blob comes,
    /// and removed at the end.
    pub store: Option<PathBuf>,
    /// Bytes of blobs that are held for others at most.
    pub disk_limit: u64,
    /// Bytes of models that are loaded at most.
    pub model_memory: usize,
    /// By how much threads that do tasks give way to others, as a nice value; see [`crate::priority`].
    pub nice: u8,
}

impl Default for Config {
    /// One slot, no load, no gossip, files in the working directory, 1 GiB of blobs in memory, 64 GiB for others in a
    /// temporary directory.
    fn default() -> Self {
        Self {
            load_probability: 0.0,
            load_delay: Duration::from_secs(3),
            slowdown: 1.0,
            slots: 1,
            data_dir: PathBuf::from("."),
            seed: 0,
            store_limit: 1 << 30,
            gossip: None,
            drain_time: Duration::from_secs(60),
            store: None,
            disk_limit: 64 << 30,
            model_memory: 2 << 30,
            nice: 5,
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
    /// The listener, the gossip's socket, a thread or the directory of what is held for others cannot be used.
    pub fn start(listener: TcpListener, mut config: Config) -> Result<Self, RpcError> {
        let instance = rand::random();
        let gossip = match config.gossip.take() {
            Some(gossip) => {
                Gossip::start(gossip, Role::Node, instance, |news| hear(&news)).map_err(cannot_serve)?
            }
            None => Gossip::alone(listener.local_addr().map_err(cannot_serve)?, Role::Node, instance),
        };
        let holdings = Holdings::open(config.store.clone(), config.disk_limit);
        let holdings = holdings.map_err(|e| RpcError::CannotServe { source: std::io::Error::other(e) })?;
        let store = Arc::new(Store::new(config.store_limit));
        let shared = Arc::new(Shared {
            load: Load::new(config.load_probability, config.load_delay, config.seed),
            slots: Slots::new(config.slots.max(1)).map_err(cannot_serve)?,
            blobs: Arc::new(Blobs::new(store.clone())),
            store: store.clone(),
            instance: format!("{instance:016x}"),
            gossip: Arc::new(gossip),
            drain: Drain::new(),
            epochs: Epochs::default(),
            models: Models::new(config.model_memory),
            stocks: Stocks::new(config.store_limit),
            changes: Changes::new(config.store_limit / 4),
            prefetch: Prefetch::start(store.clone(), config.nice)?,
            attached: Mutex::default(),
            holdings,
            config,
        });
        let of_connections = shared.clone();
        let server = Server::start(listener, Limits::default(), "node", move |peer| {
            calls::processor(&of_connections, peer)
        })?;
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

    /// Its part in gossip.
    pub fn gossip(&self) -> &Gossip {
        &self.shared.gossip
    }

    /// Told once, when it was asked to leave and has finished its tasks: then it is to be dropped.
    pub fn has_left(&self) -> &Receiver<()> {
        self.shared.drain.is_done()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The good-bye comes before connections break, so that others need not find out.
        self.shared.gossip.stop();
    }
}

fn cannot_serve(error: impl std::error::Error + Send + Sync + 'static) -> RpcError {
    RpcError::CannotServe { source: std::io::Error::other(error) }
}

/// A node has no use for news of others but to tell it.
fn hear(news: &News) {
    log::info!("{}", news.change);
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
    gossip: Arc<Gossip>,
    drain: Drain,
    epochs: Epochs,
    models: Models,
    stocks: Stocks,
    changes: Changes,
    prefetch: Prefetch,
    /// What came along with tasks lately, the oldest first: each round brings new weights, and old ones are not kept.
    attached: Mutex<VecDeque<Digest>>,
}

impl Shared {
    /// A blob that is here: in memory, or held on disk for others.
    fn find(&self, digest: &Digest) -> Option<Arc<Blob>> {
        if let Some(blob) = self.store.get(digest) {
            return Some(blob);
        }
        let blob = Arc::new(Blob::new(self.holdings.read_whole(digest)?));
        // What has no room in memory is read again for the next task.
        (blob.digest() == *digest).then(|| self.store.keep(blob.clone()).unwrap_or(blob))
    }
}

impl Served for Shared {
    fn facts(&self) -> Facts {
        let (held_blobs, held_bytes) = self.holdings.totals();
        Facts {
            held_blobs,
            held_bytes,
            slots: self.config.slots,
            busy: self.slots.taken(),
            load: self.config.load_probability,
            epoch: self.epochs.highest(),
            ..Facts::default()
        }
    }

    fn leave(self: Arc<Self>) -> Result<(), String> {
        if !self.drain.begin() {
            return Ok(());
        }
        log::info!("told to leave: no more tasks; those at work have {:?}", self.config.drain_time);
        self.gossip.set_leaving();
        let thread = std::thread::Builder::new().name("drain".to_owned());
        let drain = move || {
            if !self.drain.wait(self.config.drain_time) {
                log::warn!("tasks are still at work after {:?}, and are given up", self.config.drain_time);
            }
            self.gossip.stop();
            self.drain.finish();
        };
        thread.spawn(drain).map(drop).map_err(|e| format!("it cannot start a thread to leave: {e}"))
    }
}
