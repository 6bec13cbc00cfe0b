//! Owns the way to one node: a prober that asks who it is, and one worker per slot that gives it tasks.

mod conversation;

use super::original;
use super::shell::Teller;
use crate::engine::{Event, Hello, Outcome, Traffic};
use crate::jobs::TaskSpec;
use crate::rpc::{self, Address, Client, Dialer, Hangup, RpcError, Timeouts};
use crate::store::Blobs;
use crate::types::{AttemptId, Digest, Epoch, JobId, NodeId};
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// More slots than this are not used.
const MOST_SLOTS: usize = 1024;

type NodeClient = Client<ComputeNodeSyncClient<rpc::Input, rpc::Output>>;

/// A task for the node.
pub(super) struct Assignment {
    pub(super) attempt: AttemptId,
    pub(super) job: JobId,
    pub(super) task: Arc<TaskSpec>,
    /// What the node will probably get next.
    pub(super) next: Option<Arc<TaskSpec>>,
    /// How long to wait for a connection.
    pub(super) patience: Duration,
}

/// A leader's name and epoch: nodes obey the latest.
#[derive(Clone)]
pub(super) struct Fence {
    pub(super) cluster: String,
    pub(super) epoch: Epoch,
    /// host:port
    pub(super) coordinator: String,
}

/// The coordinator's end of a node.
pub(super) struct Link {
    shared: Arc<Shared>,
    probes: Sender<Duration>,
    tasks: Sender<Assignment>,
    /// For workers that are still to be started.
    queue: Receiver<Assignment>,
    workers: usize,
}

/// What the prober and the workers of a node share.
struct Shared {
    node: NodeId,
    address: Address,
    policy: i32,
    /// In whose name tasks are given.
    fence: Option<Fence>,
    blobs: Arc<Blobs>,
    teller: Teller,
    /// It was asked before.
    was_asked: AtomicBool,
    /// It answered the last probe.
    is_up: AtomicBool,
    /// It knows the original system's call only.
    is_original: AtomicBool,
    calls: Mutex<Calls>,
}

/// Calls under way, and what they have brought.
#[derive(Default)]
struct Calls {
    /// The attempts that a worker has, or is to have.
    attempts: BTreeMap<AttemptId, Call>,
    /// Blobs that the node was sent lately. If it has forgotten them it asks.
    sent: VecDeque<Digest>,
    /// The process that answered last.
    instance: String,
}

/// An attempt, as far as ending it is concerned.
enum Call {
    /// It has no connection yet.
    Waiting,
    /// This ends it.
    Made(Hangup),
    /// It has been ended.
    Abandoned,
}

impl Link {
    /// Starts the prober.
    pub(super) fn start(
        node: u32,
        address: Address,
        policy: i32,
        fence: Option<Fence>,
        blobs: Arc<Blobs>,
        teller: Teller,
    ) -> Result<Self, RpcError> {
        let (probes, asked) = crossbeam_channel::bounded(1);
        let (tasks, queue) = crossbeam_channel::bounded(MOST_SLOTS);
        let shared = Arc::new(Shared {
            node: NodeId(node),
            address,
            policy,
            fence,
            blobs,
            teller,
            was_asked: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            is_original: AtomicBool::new(false),
            calls: Mutex::default(),
        });
        let prober = shared.clone();
        spawn("prober", move || asked.into_iter().all(|patience| prober.probe(patience)))?;
        Ok(Self { shared, probes, tasks, queue, workers: 0 })
    }

    pub(super) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Asks the node who it is.
    pub(super) fn probe(&self, patience: Duration) {
        // The engine asks again only after an answer, so there is room.
        let _ = self.probes.try_send(patience);
    }

    /// Gives the node a task; there are never more of them than slots. Answers with how the attempt ended, if it
    /// cannot even begin.
    pub(super) fn dispatch(&mut self, assignment: Assignment) -> Option<Event> {
        let attempt = assignment.attempt;
        let running = {
            let mut calls = self.shared.calls();
            calls.attempts.insert(attempt, Call::Waiting);
            calls.attempts.len()
        };
        if running > self.workers && self.workers < MOST_SLOTS {
            let (shared, queue) = (self.shared.clone(), self.queue.clone());
            match spawn("link", move || shared.work(&queue)) {
                Ok(()) => self.workers += 1,
                Err(e) => log::error!("{}: {e}", self.shared.address),
            }
        }
        if self.workers > 0 && self.tasks.try_send(assignment).is_ok() {
            return None;
        }
        self.shared.calls().attempts.remove(&attempt);
        let outcome = Outcome::Lost { reason: "the coordinator has no thread for it".to_owned() };
        Some(Event::Ended { attempt, outcome, traffic: Traffic::default() })
    }

    /// Ends a call; it is reported like any other.
    pub(super) fn abandon(&self, attempt: AttemptId) {
        let mut calls = self.shared.calls();
        if let Some(call) = calls.attempts.get_mut(&attempt) {
            call.abandon();
        }
    }
}

impl Calls {
    /// This process answers now. Whatever was asked of another at this address is never answered, though nothing may say so:
    /// a machine that lost its power closes no connection. It is asked again.
    fn answered_by(&mut self, instance: String) {
        if !self.instance.is_empty() && self.instance != instance {
            for call in self.attempts.values_mut() {
                if let Call::Made(hangup) = call {
                    hangup.hang_up();
                }
            }
        }
        self.instance = instance;
    }
}

impl Call {
    fn abandon(&mut self) {
        if let Call::Made(hangup) = std::mem::replace(self, Call::Abandoned) {
            hangup.hang_up();
        }
    }
}

impl Drop for Link {
    /// Calls under way end, so that the workers do.
    fn drop(&mut self) {
        self.shared.calls().attempts.values_mut().for_each(Call::abandon);
    }
}

fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<(), RpcError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(|source| RpcError::CannotServe { source })
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) -> bool {
        self.teller.tell(event)
    }

    fn ended(&self, attempt: AttemptId, outcome: Outcome, traffic: Traffic) -> bool {
        self.calls().attempts.remove(&attempt);
        self.tell(Event::Ended { attempt, outcome, traffic })
    }

    /// Asks the node who it is; false if nobody wants to know any more.
    fn probe(&self, patience: Duration) -> bool {
        let node = self.node;
        match self.hello(patience) {
            Ok(hello) => {
                self.was_asked.store(true, Ordering::Relaxed);
                if !self.is_up.swap(true, Ordering::Relaxed) {
                    log::info!("{} is ready: {}, {} slots", self.address, hello.software, hello.slots);
                }
                self.tell(Event::Answered { node, hello })
            }
            Err(e) => {
                let reason = brief(&e);
                if self.was_asked.swap(true, Ordering::Relaxed) {
                    if self.is_up.swap(false, Ordering::Relaxed) {
                        log::warn!("{} does not answer any more: {reason}", self.address);
                    }
                } else {
                    log::warn!("{} does not answer yet: {reason}", self.address);
                }
                self.tell(Event::Unreachable { node, reason })
            }
        }
    }

    fn hello(&self, patience: Duration) -> Result<Hello, RpcError> {
        let timeouts = Timeouts { connect: patience, answer: Some(patience), message: patience, write: patience };
        let mut client =
            Dialer { timeouts, ..Dialer::default() }.dial(&self.address)?.client(ComputeNodeSyncClient::new);
        match client.call(|c| c.hello(crate::wire::PROTOCOL)) {
            Ok(hello) => {
                self.is_original.store(false, Ordering::Relaxed);
                self.calls().answered_by(hello.instance);
                let slots = usize::try_from(hello.slots).unwrap_or(1).clamp(1, MOST_SLOTS);
                Ok(Hello { software: hello.software, slots, is_original: false })
            }
            // A node of the original system: it knows one call, and serves one caller at a time.
            Err(RpcError::UnknownMethod { .. }) => {
                self.is_original.store(true, Ordering::Relaxed);
                Ok(Hello { software: "original".to_owned(), slots: 1, is_original: true })
            }
            Err(e) => Err(e),
        }
    }

    /// Gives tasks to the node, one after the other, until the coordinator stops.
    fn work(&self, queue: &Receiver<Assignment>) {
        let mut connection: Option<NodeClient> = None;
        // How long an answer may take is for the engine to judge, which hangs up if need be.
        let timeouts = Timeouts { answer: None, ..Timeouts::default() };
        let mut dial = Dialer { timeouts, ..Dialer::default() };
        for assignment in queue {
            let attempt = assignment.attempt;
            dial.timeouts.connect = assignment.patience;
            let before = (dial.traffic.sent(), dial.traffic.received());
            let outcome = self.attempt(&mut connection, &dial, &assignment);
            if let Outcome::Lost { reason } = &outcome {
                // What we have ended ourselves says nothing about the node.
                let level = if self.is_wanted(attempt) { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    "job {} {} is lost on {}: {reason}",
                    assignment.job,
                    assignment.task.id,
                    self.address
                );
            }
            let (sent, received) = (dial.traffic.sent() - before.0, dial.traffic.received() - before.1);
            if !self.ended(attempt, outcome, Traffic { sent, received }) {
                return;
            }
        }
    }

    fn attempt(&self, connection: &mut Option<NodeClient>, dial: &Dialer, assignment: &Assignment) -> Outcome {
        let reused = connection.is_some();
        let outcome = self.attempt_once(connection, dial, assignment);
        match outcome {
            // The node may have closed a connection that was idle for long: that says nothing about the node.
            Err(RpcError::Closed { .. }) if reused && self.is_wanted(assignment.attempt) => {
                *connection = None;
                self.attempt_once(connection, dial, assignment)
            }
            other => other,
        }
        .unwrap_or_else(|e| Outcome::Lost { reason: brief(&e) })
    }

    fn is_wanted(&self, attempt: AttemptId) -> bool {
        !matches!(self.calls().attempts.get(&attempt), None | Some(Call::Abandoned))
    }

    fn attempt_once(
        &self,
        connection: &mut Option<NodeClient>,
        dial: &Dialer,
        assignment: &Assignment,
    ) -> Result<Outcome, RpcError> {
        if connection.as_ref().is_none_or(Client::is_broken) {
            *connection = Some(dial.dial(&self.address)?.client(ComputeNodeSyncClient::new));
        }
        let Some(client) = connection else { return Ok(abandoned()) };
        match self.calls().attempts.get_mut(&assignment.attempt) {
            None | Some(Call::Abandoned) => return Ok(abandoned()),
            Some(call) => *call = Call::Made(client.hangup()),
        }
        if self.is_original.load(Ordering::Relaxed) {
            let outcome = original::train(client, &assignment.task, self.policy);
            // It serves one caller at a time: others may be waiting.
            *connection = None;
            return outcome;
        }
        let outcome = self.run_task(client, assignment);
        if matches!(outcome, Err(RpcError::UnknownMethod { .. })) {
            *connection = None;
        }
        outcome
    }
}

fn abandoned() -> Outcome {
    Outcome::Lost { reason: "abandoned".to_owned() }
}

/// An error without the address, which the engine knows.
fn brief(error: &RpcError) -> String {
    match error {
        RpcError::Unreachable { source, .. } | RpcError::Unresolved { source, .. } => source.to_string(),
        RpcError::TimedOut { .. } => "did not answer in time".to_owned(),
        RpcError::Closed { .. } => "closed the connection".to_owned(),
        RpcError::Protocol { reason, .. } => format!("speaks no Thrift of ours: {reason}"),
        other => other.to_string(),
    }
}
