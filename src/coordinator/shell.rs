//! Owns the event loop: the one thread that has the engine, tells it what happened, and performs its actions.
//!
//! There is an engine only while this coordinator leads. Each has a number, and what is reported to one that is gone is
//! not heard by the next.

use super::board::Board;
use super::evaluator::{self, Measure};
use super::files::Files;
use super::keeper::Wish;
use super::link::{Assignment, Fence, Link};
use super::seat::Seat;
use super::tally::{Tally, TaskCounts};
use super::{Config, restore};
use crate::engine::{self, Action, Engine, Event, Headcount, Outcome, Traffic};
use crate::gossip::{self, Change, Gossip, MemberView, Role, Standing};
use crate::jobs::{Heard, Word};
use crate::ledger::{Ledger, State};
use crate::rpc::{Address, RpcError};
use crate::store::Blobs;
use crate::tenure::Leader;
use crate::types::{Epoch, JobId, NodeId, Time};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many messages may wait; senders wait when there are more.
pub(super) const INBOX: usize = 4096;

/// How long the event loop may take to say what it knows.
const ANSWER: Duration = Duration::from_secs(5);

/// The way back to whoever said something to a job; dropped if there will be no answer.
pub(super) type Tell = Box<dyn FnOnce(Result<Heard, String>) + Send>;

/// What the event loop is told.
pub(super) enum Message {
    /// Something for the engine of this number.
    Event(u64, Event),
    /// This coordinator leads, with what its predecessors have left.
    Leads(Leader, Box<Ledger>),
    /// It leads no more.
    Deposed(String),
    /// A node says to the engine of this number that another leads.
    Outdated(u64, String),
    /// So many records are durable.
    Committed(u64),
    /// A member came or went.
    Member(Box<gossip::News>),
    /// Tell what nodes are at, and for how long.
    Ask(Sender<Vec<(engine::Assignment, Duration)>>),
    /// Somebody says something to a job; the answer goes back this way, or nothing if another leads meanwhile.
    Say(JobId, Word, Tell),
    /// Tell how many nodes there are.
    Count(oneshot::Sender<Headcount>),
    /// Stop.
    Stop,
}

/// Tells the event loop of what concerns one engine.
#[derive(Clone)]
pub(super) struct Teller {
    inbox: Sender<Message>,
    engine: u64,
}

impl Teller {
    /// False if the coordinator is stopping.
    pub(super) fn tell(&self, event: Event) -> bool {
        self.inbox.send(Message::Event(self.engine, event)).is_ok()
    }

    /// A node obeys a later leader.
    pub(super) fn outdated(&self, reason: String) {
        // If the coordinator is stopping it does not matter.
        let _ = self.inbox.send(Message::Outdated(self.engine, reason));
    }
}

/// The way to the engine at work, for clients' calls.
pub(super) struct Desk {
    inbox: Sender<Message>,
    engine: Arc<AtomicU64>,
    tasks: Arc<Tally>,
}

impl Desk {
    /// Tells the engine; false if the coordinator is stopping.
    pub(super) fn tell(&self, event: Event) -> bool {
        self.inbox.send(Message::Event(self.engine.load(Ordering::Acquire), event)).is_ok()
    }

    /// Says something to a job; the answer comes when what follows from it is durable. Nothing comes if another leads
    /// meanwhile: it is to be said again there.
    pub(super) fn say(&self, job: JobId, word: Word) -> Receiver<Result<Heard, String>> {
        let (tell, told) = crossbeam_channel::bounded(1);
        // Who asked may have gone. If the coordinator is stopping nothing comes, too.
        let tell = Box::new(move |heard| drop(tell.try_send(heard)));
        let _ = self.inbox.send(Message::Say(job, word, tell));
        told
    }

    /// The same without waiting: gives all back if there is no room for it now.
    pub(super) fn try_say(&self, job: JobId, word: Word, tell: Tell) -> Result<(), (JobId, Word, Tell)> {
        match self.inbox.try_send(Message::Say(job, word, tell)) {
            Err(TrySendError::Full(Message::Say(job, word, tell))) => Err((job, word, tell)),
            _ => Ok(()),
        }
    }

    /// Has nodes counted; gives the way back if there is no room for it now.
    pub(super) fn try_count(&self, tell: oneshot::Sender<Headcount>) -> Result<(), oneshot::Sender<Headcount>> {
        match self.inbox.try_send(Message::Count(tell)) {
            Err(TrySendError::Full(Message::Count(tell))) => Err(tell),
            _ => Ok(()),
        }
    }

    /// How the tasks of this process have ended.
    pub(super) fn tasks(&self) -> TaskCounts {
        self.tasks.read()
    }

    /// What nodes are at, and for how long; nothing if the engine does not answer in time.
    pub(super) fn assignments(&self) -> Vec<(engine::Assignment, Duration)> {
        let (tell, told) = crossbeam_channel::bounded(1);
        let asked = self.inbox.send(Message::Ask(tell)).is_ok();
        asked.then(|| told.recv_timeout(ANSWER).ok()).flatten().unwrap_or_default()
    }
}

/// What the event loop works with.
pub(super) struct Surroundings {
    pub(super) board: Arc<Board>,
    pub(super) seat: Arc<Seat>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) files: Arc<Files>,
    pub(super) gossip: Arc<Gossip>,
    pub(super) wishes: Sender<Wish>,
    pub(super) inbox: Sender<Message>,
}

/// What it performs actions with.
struct Shell {
    config: Config,
    around: Surroundings,
    engine: Option<Engine>,
    /// Of the engine, or of the last one.
    epoch: Epoch,
    number: Arc<AtomicU64>,
    links: BTreeMap<NodeId, Link>,
    evaluator: Sender<Measure>,
    /// Who said something to the engine, by tickets.
    waiting: BTreeMap<u64, Tell>,
    last_ticket: u64,
    tasks: Arc<Tally>,
}

/// Starts the event loop and the threads that it needs.
pub(super) fn start(
    config: &Config,
    around: Surroundings,
    messages: Receiver<Message>,
) -> Result<(Desk, JoinHandle<()>), RpcError> {
    let number = Arc::new(AtomicU64::new(0));
    let tasks = Arc::new(Tally::default());
    let desk = Desk { inbox: around.inbox.clone(), engine: number.clone(), tasks: tasks.clone() };
    let evaluator = evaluator::start()?;
    let shell = Shell {
        config: config.clone(),
        around,
        engine: None,
        epoch: Epoch(0),
        number,
        links: BTreeMap::new(),
        evaluator,
        waiting: BTreeMap::new(),
        last_ticket: 0,
        tasks,
    };
    let thread = std::thread::Builder::new().name("engine".to_owned());
    let thread = thread.spawn(move || shell.run(&messages)).map_err(|source| RpcError::CannotServe { source })?;
    Ok((desk, thread))
}

impl Shell {
    fn run(mut self, inbox: &Receiver<Message>) {
        let start = Instant::now();
        let now = || Time(start.elapsed());
        loop {
            let wakeup = self.engine.as_ref().and_then(Engine::next_wakeup);
            let event = match next_message(inbox, wakeup, now()) {
                None => Event::Tick,
                Some(Message::Event(engine, event)) if engine == self.number() => event,
                Some(Message::Committed(records)) => Event::Committed { records },
                Some(Message::Member(news)) => match of_node(&news) {
                    Some(event) => event,
                    None => continue,
                },
                Some(Message::Leads(leader, ledger)) => {
                    self.lead(leader, *ledger, now());
                    Event::Tick
                }
                Some(Message::Deposed(reason)) => {
                    self.step_down(&reason);
                    continue;
                }
                Some(Message::Outdated(engine, reason)) => {
                    if engine == self.number() {
                        log::warn!("{reason}");
                        let _ = self.around.wishes.send(Wish::StepDown);
                    }
                    continue;
                }
                Some(Message::Ask(who)) => {
                    let assignments = self.engine.as_ref().map(Engine::assignments).unwrap_or_default();
                    let now = now();
                    // Who asked may have gone.
                    let _ =
                        who.try_send(assignments.into_iter().map(|a| (a.clone(), now.since(a.since))).collect());
                    continue;
                }
                Some(Message::Count(who)) => {
                    // Who asked may have gone.
                    let _ = who.send(self.engine.as_ref().map(Engine::node_counts).unwrap_or_default());
                    continue;
                }
                Some(Message::Say(job, word, who)) => {
                    self.last_ticket += 1;
                    self.waiting.insert(self.last_ticket, who);
                    Event::Said { job, word, ticket: self.last_ticket }
                }
                Some(Message::Event(..)) => continue,
                Some(Message::Stop) => return,
            };
            self.handle(now(), event);
        }
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    fn teller(&self) -> Teller {
        Teller { inbox: self.around.inbox.clone(), engine: self.number() }
    }

    /// Lets the engine handle an event, and whatever follows from it at once.
    fn handle(&mut self, now: Time, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.tell_files(&event);
            self.tasks.note(&event);
            let Some(engine) = &mut self.engine else { return };
            for action in engine.handle(now, event) {
                events.extend(self.perform(action));
            }
        }
    }

    /// Files have copies on nodes that answer.
    fn tell_files(&self, event: &Event) {
        let told = |address: &Address, is_there| self.around.files.nodes_changed(&[(address.clone(), is_there)]);
        let address = |node: &NodeId| self.links.get(node).map(Link::address);
        match event {
            // Nodes of the original system hold nothing for others.
            Event::Answered { node, hello } if !hello.is_original => {
                address(node).into_iter().for_each(|address| told(address, true));
            }
            Event::Unreachable { node, .. } => address(node).into_iter().for_each(|address| told(address, false)),
            Event::Gone { address, .. } | Event::Leaving { address } => {
                address.parse::<Address>().iter().for_each(|address| told(address, false));
            }
            _ => {}
        }
    }

    /// Begins a term: an engine with the jobs of the ledger and the nodes that there are.
    fn lead(&mut self, leader: Leader, ledger: Ledger, now: Time) {
        self.number.fetch_add(1, Ordering::AcqRel);
        let addresses: Vec<String> = self.config.nodes.iter().map(Address::to_string).collect();
        self.engine = Some(Engine::new(self.config.policy, self.config.seed, &addresses));
        self.epoch = leader.epoch;
        self.around.board.open_term(&ledger);
        self.around.seat.take(leader.clone());
        let running = ledger.jobs().iter().filter(|(_, history)| history.state == State::Running);
        let running: Vec<_> = running.map(|(&job, history)| (job, history.clone())).collect();
        log::info!("leads in epoch {}, with {} jobs to go on with", leader.epoch, running.len());
        self.handle(now, Event::Tick);
        for member in self.around.gossip.members() {
            if let Some(event) = of_member(&member, self.around.gossip.given_as(member.address)) {
                self.handle(now, event);
            }
        }
        for (job, history) in running {
            let work = restore::work(&history, &self.around.blobs);
            self.handle(now, Event::Restore { job, work, history: Box::new(history), resumed: false });
        }
    }

    /// Ends a term: whoever waits for its jobs is sent to the next leader.
    fn step_down(&mut self, reason: &str) {
        log::warn!("leads no more: {reason}");
        self.number.fetch_add(1, Ordering::AcqRel);
        self.around.seat.leave();
        self.engine = None;
        self.waiting.clear();
        self.links.clear();
        self.around.files.forget_nodes();
        self.around.board.close_term();
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
            Action::Dispatch { attempt, node, job, task, patience, reason, share, next } => {
                let Some(link) = self.links.get_mut(&node) else {
                    let outcome = Outcome::Lost { reason: "it cannot be connected to".to_owned() };
                    return Some(Event::Ended { attempt, outcome, traffic: Traffic::default() });
                };
                log::debug!("job {job} {}: {} ({reason}; {share})", task.id, link.address());
                return link.dispatch(Assignment { attempt, job, task, next, patience });
            }
            Action::Abandon { attempt, node } => {
                if let Some(link) = self.links.get(&node) {
                    link.abandon(attempt);
                }
            }
            Action::Record(record) => {
                // The keeper lives as long as the shell.
                let _ = self.around.wishes.send(Wish::Record(self.epoch, record));
            }
            Action::Evaluate { job, round, model, validation } => {
                // The evaluator lives as long as the shell.
                let _ = self.evaluator.send(Measure { job, round, model, validation, teller: self.teller() });
            }
            Action::Heard { ticket, heard } => {
                if let Some(tell) = self.waiting.remove(&ticket) {
                    tell(heard);
                }
            }
            Action::Publish { job, status } => self.around.board.publish(job, *status),
        }
        None
    }

    fn connect(&mut self, node: NodeId, address: &str) -> Option<Event> {
        let fence = self.around.seat.leader().map(|leader| Fence {
            cluster: leader.cluster,
            epoch: leader.epoch,
            coordinator: leader.address,
        });
        let link = address.parse::<Address>().map_err(|e| e.to_string()).and_then(|address| {
            let (blobs, policy) = (self.around.blobs.clone(), self.config.policy.number);
            Link::start(node.0, address, policy, fence, blobs, self.teller()).map_err(|e| e.to_string())
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

/// What gossip's news means for the engine, if it is about a node. A node of the list is called as the list calls it.
fn of_node(news: &gossip::News) -> Option<Event> {
    let address = |member: &MemberView| news.given_as.clone().unwrap_or_else(|| member.address.to_string());
    match &news.change {
        Change::Up(member) if member.role == Role::Node => Some(Event::Joined { address: address(member) }),
        Change::Leaving(member) if member.role == Role::Node => Some(Event::Leaving { address: address(member) }),
        Change::Down(member, why) if member.role == Role::Node => {
            Some(Event::Gone { address: address(member), reason: why.to_string() })
        }
        _ => None,
    }
}

/// What a member means for an engine that has just begun.
fn of_member(member: &MemberView, given_as: Option<String>) -> Option<Event> {
    let address = given_as.unwrap_or_else(|| member.address.to_string());
    match member.standing {
        _ if member.role != Role::Node => None,
        Standing::Alive | Standing::Suspect => Some(Event::Joined { address }),
        _ => None,
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
