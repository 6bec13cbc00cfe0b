//! Owns the coordinator: a server that takes jobs, and the threads around the engine that get them done.
//!
//! One thread owns the engine (`shell`). Everything else sends it events and performs its actions: a prober and
//! one worker per slot for each node (`link`), an `evaluator`, and the connections of clients (`calls`), which
//! read what is published on the `board`.

mod board;
mod calls;
mod evaluator;
mod files;
mod link;
mod original;
mod shell;
mod submit;

use crate::engine::Engine;
use crate::policy::PolicyRow;
use crate::rpc::{Address, Limits, RpcError, Server};
use crate::store::{self, Archive, Blobs, Store};
use crate::types::JobId;
use board::Board;
use crossbeam_channel::Sender;
pub use files::FileSettings;
use files::{Files, Hooks, Watch};
use shell::Message;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// How a coordinator is to be.
#[derive(Clone)]
pub struct Config {
    /// How nodes are chosen.
    pub policy: &'static PolicyRow,
    /// The compute nodes.
    pub nodes: Vec<Address>,
    /// Where directories that a client does not have itself are looked up, and nowhere else.
    pub data_dir: PathBuf,
    /// Where the policy's random numbers come from.
    pub seed: u64,
    /// Bytes of blobs that are kept in memory at most.
    pub store_limit: usize,
    /// The durable store: a directory or a URL, as `store::open` takes it.
    pub store: String,
    /// How files are kept.
    pub files: FileSettings,
}

impl Config {
    /// Files in the working directory, 1 GiB of blobs, a durable store that is none: it lasts as long as the process.
    pub fn new(policy: &'static PolicyRow, nodes: Vec<Address>) -> Self {
        Self {
            policy,
            nodes,
            data_dir: PathBuf::from("."),
            seed: 0,
            store_limit: 1 << 30,
            store: "memory:".to_owned(),
            files: FileSettings::default(),
        }
    }
}

/// A coordinator at work, until it is dropped.
pub struct Coordinator {
    server: Option<Server>,
    events: Sender<Message>,
    shell: Option<JoinHandle<()>>,
    board: Arc<Board>,
    /// Before `files`, which it tells of nodes.
    _watch: Watch,
    _files: Arc<Files>,
    address: SocketAddr,
}

impl Coordinator {
    /// Starts serving on a listener, and looking for the nodes.
    ///
    /// # Errors
    /// The listener, a thread or the durable store cannot be used.
    pub fn start(listener: TcpListener, config: Config) -> Result<Self, RpcError> {
        let store = Arc::new(Store::new(config.store_limit));
        let board = Arc::new(Board::default());
        let addresses: Vec<String> = config.nodes.iter().map(Address::to_string).collect();
        let engine = Engine::new(config.policy, config.seed, &addresses);
        let (events, inbox) = crossbeam_channel::bounded(shell::INBOX);
        let shell = shell::start(engine, &config, &store, &board, events.clone(), inbox)?;
        let archive = open(&config.store)?;
        // What is in memory only has one limit, wherever it is.
        let limit = (config.store == "memory:").then_some(config.store_limit as u64);
        let blobs = Arc::new(Blobs::with_archive(store.clone(), Some(archive.clone()), limit));
        let own = listener.local_addr().map_err(|source| RpcError::CannotServe { source })?;
        let hooks = Hooks { in_use: Box::new(BTreeSet::new), leads: Arc::new(|| true) };
        let files = Files::start(archive, own.into(), &config.files, hooks)?;
        let watch = Watch::start(&config.nodes, &Arc::downgrade(&files))?;
        let shared = Arc::new(Shared {
            config,
            store,
            blobs,
            files: files.clone(),
            board: board.clone(),
            events: events.clone(),
            last_job: AtomicU64::new(0),
        });
        let server = Server::start(listener, Limits::default(), "coordinator", move |peer| {
            calls::processor(&shared, peer)
        })?;
        let address = server.address();
        Ok(Self { server: Some(server), events, shell: Some(shell), board, _watch: watch, _files: files, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.board.close();
        if let Some(server) = self.server.take() {
            server.stop();
        }
        // The shell may be gone already, if it panicked.
        let _ = self.events.send(Message::Stop);
        if let Some(shell) = self.shell.take() {
            let _ = shell.join();
        }
    }
}

fn open(url: &str) -> Result<Arc<Archive>, RpcError> {
    let opened = store::open(url).map(|backend| Arc::new(Archive::new(backend)));
    opened.map_err(|e| RpcError::CannotServe { source: std::io::Error::other(e) })
}

/// What all connections of a coordinator share.
struct Shared {
    config: Config,
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    files: Arc<Files>,
    board: Arc<Board>,
    events: Sender<Message>,
    last_job: AtomicU64,
}

impl Shared {
    fn next_job(&self) -> JobId {
        JobId(self.last_job.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
