//! Owns the coordinator: a server that takes jobs, and the threads around the engine that get them done.
//!
//! One thread owns the engine (`shell`), as long as this coordinator leads. Everything else sends it events and performs
//! its actions: a prober and one worker per slot for each node (`link`), an `evaluator`, the `keeper` of the log, and the
//! connections of clients (`calls`), which read what is published on the `board`. Who leads stands in the `seat`; one that
//! stands by (`standby`) watches it, and `restore` makes jobs again of what the last leader has left in the log.

mod board;
mod calls;
mod evaluator;
mod feed;
mod files;
mod front;
mod inference;
mod keeper;
mod link;
mod original;
mod restore;
mod seat;
mod shell;
mod standby;
mod submit;
mod tally;
mod told;

use crate::gossip::{self, Facts, Gossip, Role, Served, Standing};
use crate::ledger::Ledger;
use crate::policy::PolicyRow;
use crate::rpc::{Address, Limits, RpcError, Server};
use crate::store::{self, Archive, Backend, BackendError, Blobs, Store};
use crate::tenure::{self, Leader, News};
use board::Board;
use crossbeam_channel::{Receiver, Sender};
pub use files::FileSettings;
use files::{Files, Hooks};
pub use front::{Census, CountedJob, Front, Shown, ShownJob, ShownVersion, Unsaid};
use inference::KnownModels;
use keeper::{Keeper, Wish};
use seat::Seat;
use shell::{Desk, Message, Surroundings};
use standby::Standby;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
pub use tally::TaskCounts;

/// How long a coordinator that is to lead tries at most before it says that it cannot.
const TO_LEAD: Duration = Duration::from_secs(60);

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
    /// How it takes part in gossip, if it does.
    pub gossip: Option<gossip::Config>,
    /// Where jobs and their data are kept: a directory or a URL, as [`store::open`] takes it.
    pub store: String,
    /// It only leads when nobody else does.
    pub standby: bool,
    /// How long a leader may be silent before one that stands by takes over.
    pub leader_patience: Duration,
    /// How files are kept.
    pub files: FileSettings,
}

/// The store that lasts as long as its process.
const IN_MEMORY: &str = "memory:";

impl Config {
    /// Files in the working directory, 1 GiB of blobs, no gossip, nothing durable.
    pub fn new(policy: &'static PolicyRow, nodes: Vec<Address>) -> Self {
        Self {
            policy,
            nodes,
            data_dir: PathBuf::from("."),
            seed: 0,
            store_limit: 1 << 30,
            gossip: None,
            store: IN_MEMORY.to_owned(),
            standby: false,
            leader_patience: Duration::from_secs(1),
            files: FileSettings::default(),
        }
    }
}

/// Why there is no coordinator.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The listener, the gossip's socket or a thread cannot be used.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] BackendError),
    /// Another coordinator leads with this store.
    #[error("{leader} leads with the store {store}; add --standby to stand by for it, or give another --store")]
    Led {
        /// Who.
        leader: String,
        /// Which store.
        store: String,
    },
    /// It could not begin to lead.
    #[error("it cannot lead with the store {store}: {reason}")]
    CannotLead {
        /// Which store.
        store: String,
        /// Why.
        reason: String,
    },
}

/// A coordinator at work, until it is dropped.
pub struct Coordinator {
    server: Option<Server>,
    inbox: Sender<Message>,
    shell: Option<JoinHandle<()>>,
    standby: Option<Standby>,
    board: Arc<Board>,
    gossip: Arc<Gossip>,
    address: SocketAddr,
    has_left: Receiver<()>,
    front: Front,
}

impl Coordinator {
    /// Starts serving on a listener. One that is not to stand by leads when this returns.
    ///
    /// # Errors
    /// The listener, a thread or the store cannot be used; or another leads.
    pub fn start(listener: TcpListener, mut config: Config) -> Result<Self, CoordinatorError> {
        let backend = store::open(&config.store)?;
        let (inbox, messages) = crossbeam_channel::bounded(shell::INBOX);
        let gossip = Arc::new(start_gossip(&listener, &mut config, inbox.clone())?);
        let own = gossip.me().address.to_string();
        let memory = Arc::new(Store::new(config.store_limit));
        // What is in memory only has one limit, wherever it is.
        let limit = (config.store == IN_MEMORY).then_some(config.store_limit as u64);
        let archive = Arc::new(Archive::new(backend.clone()));
        let blobs = Arc::new(Blobs::with_archive(memory, Some(archive.clone()), limit));
        let (seat, board) = (Arc::new(Seat::default()), Arc::new(Board::default()));
        let instance = format!("{:016x}", gossip.me().instance);
        let led_by = if config.standby { None } else { led_by(&*backend, &own)? };
        if let Some(leader) = led_by {
            return Err(CoordinatorError::Led { leader, store: config.store });
        }
        let keeper = Keeper::start(backend, &own, &instance, hear(seat.clone(), inbox.clone()))?;
        let files = start_files(&config, archive, &gossip, &seat, &keeper)?;
        let around = Surroundings {
            files: files.clone(),
            board: board.clone(),
            seat: seat.clone(),
            blobs: blobs.clone(),
            gossip: gossip.clone(),
            wishes: keeper.wishes(),
            inbox: inbox.clone(),
        };
        let (desk, shell) = shell::start(&config, around, messages)?;
        let wishes = keeper.wishes();
        if !config.standby {
            // If the keeper is gone, nobody will lead.
            let _ = wishes.send(Wish::TakeOver);
            let store = config.store.clone();
            seat.await_term(TO_LEAD).map_err(|reason| CoordinatorError::CannotLead { store, reason })?;
        }
        let desk = Arc::new(desk);
        let front = Front { board: board.clone(), seat: seat.clone(), desk: desk.clone() };
        let standby = Standby::start(seat.clone(), wishes, config.leader_patience)?;
        let (left, has_left) = crossbeam_channel::bounded(1);
        let shared = Arc::new(Shared {
            config,
            files,
            gossip: gossip.clone(),
            blobs,
            board: board.clone(),
            seat,
            keeper,
            desk,
            instance,
            left,
            models: KnownModels::default(),
        });
        let server = Server::start(listener, Limits::default(), "coordinator", move |peer| {
            calls::processor(&shared, peer)
        })?;
        let address = server.address();
        let (server, shell, standby) = (Some(server), Some(shell), Some(standby));
        Ok(Self { server, inbox, shell, standby, board, gossip, address, has_left, front })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its part in gossip.
    pub fn gossip(&self) -> &Gossip {
        &self.gossip
    }

    /// What it shows to other ways in.
    pub fn front(&self) -> Front {
        self.front.clone()
    }

    /// Told once, when it was asked to leave and another leads: then it is to be dropped.
    pub fn has_left(&self) -> &Receiver<()> {
        &self.has_left
    }
}

/// Takes part in gossip if it is to; the nodes of the list are looked for there, too.
fn start_gossip(listener: &TcpListener, config: &mut Config, inbox: Sender<Message>) -> Result<Gossip, RpcError> {
    let cannot_serve = |error: Box<dyn std::error::Error + Send + Sync>| RpcError::CannotServe {
        source: std::io::Error::other(error),
    };
    let instance = rand::random();
    let Some(mut gossip) = config.gossip.take() else {
        let address = listener.local_addr().map_err(|e| cannot_serve(e.into()))?;
        return Ok(Gossip::alone(address, Role::Coordinator, instance));
    };
    // Those of the original system never answer there, which costs a datagram now and then.
    gossip.seeds.extend(config.nodes.iter().map(Address::to_string));
    let told = move |news: gossip::News| {
        log::info!("{}", news.change);
        // Gossip does not wait: one that is missed is found by its silence.
        let _ = inbox.try_send(Message::Member(Box::new(news)));
    };
    Gossip::start(gossip, Role::Coordinator, instance, told).map_err(|e| cannot_serve(e.into()))
}

/// Starts keeping copies of files on nodes, while this coordinator leads.
fn start_files(
    config: &Config,
    archive: Arc<Archive>,
    gossip: &Gossip,
    seat: &Arc<Seat>,
    keeper: &Keeper,
) -> Result<Arc<Files>, RpcError> {
    let (leads, ledger) = (seat.clone(), keeper.shared_ledger());
    let hooks = Hooks {
        in_use: Box::new(move || ledger.lock().unwrap_or_else(PoisonError::into_inner).digests()),
        leads: Arc::new(move || leads.leads()),
    };
    Files::start(archive, gossip.me().address.into(), &config.files, hooks)
}

/// Passes on what the keeper of the log has to tell.
fn hear(seat: Arc<Seat>, inbox: Sender<Message>) -> impl Fn(News, &Mutex<Ledger>) + Send + 'static {
    move |news, ledger| {
        let message = match news {
            News::Leader(leader) => return seat.see(leader),
            News::Grew => return seat.see_growth(),
            News::Committed { records } => Message::Committed(records),
            News::Leads(leader) => {
                let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Message::Leads(leader, Box::new(ledger))
            }
            News::Deposed { reason } => Message::Deposed(reason),
            News::Lost { reason } => {
                log::info!("does not lead: {reason}");
                return seat.fail(reason);
            }
            News::Trouble { reason } => {
                log::warn!("{reason}; trying again");
                return seat.fail(reason);
            }
            News::Better => return log::info!("the store can be used again"),
        };
        // If the coordinator is stopping there is nobody to be told.
        let _ = inbox.send(message);
    }
}

/// Another coordinator that leads with a store, if there is one.
fn led_by(backend: &dyn Backend, own: &str) -> Result<Option<String>, BackendError> {
    let mut last = String::new();
    while let Some(entry) = backend.list(tenure::LEADERS, &last, 1000)?.pop() {
        last = entry.key;
    }
    if last.is_empty() {
        return Ok(None);
    }
    let leader = backend.get(&last)?.and_then(|bytes| Leader::from_bytes(&bytes));
    Ok(leader.filter(|leader| leader.address != own && standby::leads(leader)).map(|leader| leader.address))
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.gossip.stop();
        self.board.close();
        drop(self.standby.take());
        // The shell may be gone already, if it panicked. It goes before the connections: the last of these ends the keeper,
        // who waits until nobody can wish anything any more.
        let _ = self.inbox.send(Message::Stop);
        if let Some(shell) = self.shell.take() {
            let _ = shell.join();
        }
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// What all connections of a coordinator share.
struct Shared {
    config: Config,
    blobs: Arc<Blobs>,
    files: Arc<Files>,
    board: Arc<Board>,
    gossip: Arc<Gossip>,
    seat: Arc<Seat>,
    keeper: Keeper,
    desk: Arc<Desk>,
    instance: String,
    left: Sender<()>,
    models: KnownModels,
}

impl Served for Shared {
    fn facts(&self) -> Facts {
        let epoch = self.seat.leader().map_or(0, |leader| leader.epoch.0);
        Facts { leads: self.seat.leads(), epoch, ..Facts::default() }
    }

    fn leave(self: Arc<Self>) -> Result<(), String> {
        let is_standby = |member: &gossip::MemberView| {
            member.role == Role::Coordinator && member.standing == Standing::Alive && *member != self.gossip.me()
        };
        let leads = self.seat.leads();
        if leads && !self.gossip.members().iter().any(is_standby) {
            let advice = "to end it, stop its process: its jobs go on when it is started again with its store";
            return Err(format!("it leads, and there is no standby to take over; {advice}"));
        }
        if self.seat.retire() {
            return Ok(());
        }
        log::info!("told to leave{}", if leads { ": a standby is to take over" } else { "" });
        self.gossip.set_leaving();
        if leads {
            // One that stands by takes over as soon as nobody says that he leads.
            let _ = self.keeper.wishes().send(Wish::StepDown);
        }
        let finish = move || {
            if leads && !self.seat.await_successor(TO_LEAD) {
                log::warn!("no standby has taken over after {TO_LEAD:?}: leaving all the same");
            }
            self.gossip.stop();
            let _ = self.left.try_send(());
        };
        let thread = std::thread::Builder::new().name("leave".to_owned());
        thread.spawn(finish).map(drop).map_err(|e| format!("it cannot start a thread to leave: {e}"))
    }
}
