//! Owns the coordinator: a server that takes jobs, and the threads around the engine that get them done.
//!
//! One thread owns the engine (`shell`). Everything else sends it events and performs its actions: a prober and
//! one worker per slot for each node (`link`), an `evaluator`, and the connections of clients (`calls`), which
//! read what is published on the `board`.

mod board;
mod calls;
mod evaluator;
mod link;
mod original;
mod shell;
mod submit;

use crate::engine::Engine;
use crate::policy::PolicyRow;
use crate::rpc::{Address, Limits, RpcError, Server};
use crate::store::{Blobs, Store};
use crate::types::JobId;
use board::Board;
use crossbeam_channel::Sender;
use shell::Message;
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
    /// Bytes of blobs that are kept at most.
    pub store_limit: usize,
}

impl Config {
    /// Files in the working directory, 1 GiB of blobs.
    pub fn new(policy: &'static PolicyRow, nodes: Vec<Address>) -> Self {
        Self { policy, nodes, data_dir: PathBuf::from("."), seed: 0, store_limit: 1 << 30 }
    }
}

/// A coordinator at work, until it is dropped.
pub struct Coordinator {
    server: Option<Server>,
    events: Sender<Message>,
    shell: Option<JoinHandle<()>>,
    board: Arc<Board>,
    address: SocketAddr,
}

impl Coordinator {
    /// Starts serving on a listener, and looking for the nodes.
    ///
    /// # Errors
    /// The listener or a thread cannot be used.
    pub fn start(listener: TcpListener, config: Config) -> Result<Self, RpcError> {
        let store = Arc::new(Store::new(config.store_limit));
        let board = Arc::new(Board::default());
        let addresses: Vec<String> = config.nodes.iter().map(Address::to_string).collect();
        let engine = Engine::new(config.policy, config.seed, &addresses);
        let (events, inbox) = crossbeam_channel::bounded(shell::INBOX);
        let shell = shell::start(engine, &config, &store, &board, events.clone(), inbox)?;
        let shared = Arc::new(Shared {
            config,
            blobs: Arc::new(Blobs::new(store.clone())),
            store,
            board: board.clone(),
            events: events.clone(),
            last_job: AtomicU64::new(0),
        });
        let server = Server::start(listener, Limits::default(), "coordinator", move |peer| {
            calls::processor(&shared, peer)
        })?;
        let address = server.address();
        Ok(Self { server: Some(server), events, shell: Some(shell), board, address })
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

/// What all connections of a coordinator share.
struct Shared {
    config: Config,
    store: Arc<Store>,
    blobs: Arc<Blobs>,
    board: Arc<Board>,
    events: Sender<Message>,
    last_job: AtomicU64,
}

impl Shared {
    fn next_job(&self) -> JobId {
        JobId(self.last_job.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
