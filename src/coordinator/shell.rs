//! Owns the event loop: the one thread that has the engine, tells it what happened, and performs its actions.

use super::board::Board;
use super::evaluator::{self, Measure};
use super::link::{Assignment, Link};
use super::{Config, Shared};
use crate::engine::{Action, Engine, Event, Outcome, Traffic};
use crate::rpc::{Address, RpcError};
use crate::store::Store;
use crate::types::{NodeId, Time};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// How many events may wait; senders wait when there are more.
pub(super) const INBOX: usize = 4096;

/// What the event loop is told.
pub(super) enum Message {
    /// Something for the engine.
    Event(Event),
    /// Stop.
    Stop,
}

impl Shared {
    /// Tells the engine; false if the coordinator is stopping.
    pub(super) fn tell(&self, event: Event) -> bool {
        self.events.send(Message::Event(event)).is_ok()
    }
}

/// What the event loop performs actions with.
struct Shell {
    links: BTreeMap<NodeId, Link>,
    policy: i32,
    store: Arc<Store>,
    events: Sender<Message>,
    /// Records that the engine has had written, all of which count as durable: no log is kept yet.
    records: u64,
    evaluator: Sender<Measure>,
    board: Arc<Board>,
}

/// Starts the event loop and the threads that it needs.
pub(super) fn start(
    engine: Engine,
    config: &Config,
    store: &Arc<Store>,
    board: &Arc<Board>,
    events: Sender<Message>,
    inbox: Receiver<Message>,
) -> Result<JoinHandle<()>, RpcError> {
    let evaluator = evaluator::start(events.clone())?;
    let (policy, store, board) = (config.policy.number, store.clone(), board.clone());
    let shell = Shell { links: BTreeMap::new(), policy, store, events, records: 0, evaluator, board };
    let thread = std::thread::Builder::new().name("engine".to_owned());
    thread.spawn(move || shell.run(engine, &inbox)).map_err(|source| RpcError::CannotServe { source })
}

impl Shell {
    fn run(mut self, mut engine: Engine, inbox: &Receiver<Message>) {
        let start = Instant::now();
        let now = || Time(start.elapsed());
        let mut event = Event::Tick;
        let mut failed = VecDeque::new();
        loop {
            let recorded = self.records;
            for action in engine.handle(now(), event) {
                failed.extend(self.perform(action));
            }
            if self.records > recorded {
                failed.push_back(Event::Committed { records: self.records });
            }
            if let Some(at_once) = failed.pop_front() {
                event = at_once;
                continue;
            }
            event = match next_message(inbox, engine.next_wakeup(), now()) {
                Some(Message::Event(event)) => event,
                None => Event::Tick,
                Some(Message::Stop) => return,
            };
        }
    }

    /// Performs an action; answers with what came of it, if that is known at once.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Connect { node, address } => return self.connect(node, &address),
            Action::Disconnect { node } => drop(self.links.remove(&node)),
            Action::Probe { node, patience } => match self.links.get(&node) {
                Some(link) => link.probe(patience),
                None => return Some(Event::Unreachable { node, reason: "it cannot be connected to".to_owned() }),
            },
            Action::Dispatch { attempt, node, job, task, patience, reason } => {
                let Some(link) = self.links.get_mut(&node) else {
                    let outcome = Outcome::Lost { reason: "it cannot be connected to".to_owned() };
                    return Some(Event::Ended { attempt, outcome, traffic: Traffic::default() });
                };
                log::debug!("job {job} {}: {} ({reason})", task.id, link.address());
                return link.dispatch(Assignment { attempt, job, task, patience });
            }
            Action::Abandon { attempt, node } => {
                if let Some(link) = self.links.get(&node) {
                    link.abandon(attempt);
                }
            }
            Action::Record(_) => self.records += 1,
            Action::Evaluate { job, round, model, validation } => {
                // The evaluator lives as long as the shell.
                let _ = self.evaluator.send(Measure { job, round, model, validation });
            }
            Action::Publish { job, status } => self.board.publish(job, *status),
        }
        None
    }
}

impl Shell {
    fn connect(&mut self, node: NodeId, address: &str) -> Option<Event> {
        let link = address.parse::<Address>().map_err(|e| e.to_string()).and_then(|address| {
            let (store, events) = (self.store.clone(), self.events.clone());
            Link::start(node.0, address, self.policy, store, events).map_err(|e| e.to_string())
        });
        match link {
            Ok(link) => drop(self.links.insert(node, link)),
            Err(reason) => {
                log::error!("{address}: {reason}");
                return Some(Event::Unreachable { node, reason });
            }
        }
        None
    }
}

/// The next message; `None` if none comes until `wakeup`.
fn next_message(inbox: &Receiver<Message>, wakeup: Option<Time>, now: Time) -> Option<Message> {
    let Some(wakeup) = wakeup else { return Some(inbox.recv().unwrap_or(Message::Stop)) };
    match inbox.recv_timeout(wakeup.since(now)) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Message::Stop),
    }
}
