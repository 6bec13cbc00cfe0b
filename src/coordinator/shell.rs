//! Owns the event loop: the one thread that has the engine, tells it what happened, and performs its actions.

use super::board::Board;
use super::evaluator::{self, Measure};
use super::link::{Assignment, Link};
use super::{Config, Shared};
use crate::engine::{Action, Engine, Event};
use crate::rpc::RpcError;
use crate::store::Store;
use crate::types::Time;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::VecDeque;
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
    links: Vec<Link>,
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
    let policy = config.policy.number;
    let link = |(place, address): (usize, &crate::rpc::Address)| {
        Link::start(place as u32, address.clone(), policy, store.clone(), events.clone())
    };
    let links = config.nodes.iter().enumerate().map(link).collect::<Result<Vec<_>, _>>()?;
    let evaluator = evaluator::start(events)?;
    let shell = Shell { links, evaluator, board: board.clone() };
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
            for action in engine.handle(now(), event) {
                failed.extend(self.perform(action));
            }
            if let Some(at_once) = failed.pop_front() {
                event = at_once;
                continue;
            }
            event = match next_message(inbox, engine.next_wakeup(now()), now()) {
                Some(Message::Event(event)) => event,
                None => Event::Tick,
                Some(Message::Stop) => return,
            };
        }
    }

    /// Performs an action; answers with what came of it, if that is known at once.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Probe { node, patience } => self.links[node.0 as usize].probe(patience),
            Action::Dispatch { attempt, node, job, task, patience, reason } => {
                let link = &mut self.links[node.0 as usize];
                log::debug!("job {job} {}: {} ({reason})", task.id, link.address());
                return link.dispatch(Assignment { attempt, job, task, patience });
            }
            Action::Abandon { attempt, node } => self.links[node.0 as usize].abandon(attempt),
            Action::Evaluate { job, round, model, validation } => {
                // The evaluator lives as long as the shell.
                let _ = self.evaluator.send(Measure { job, round, model, validation });
            }
            Action::Publish { job, status } => self.board.publish(job, *status),
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
