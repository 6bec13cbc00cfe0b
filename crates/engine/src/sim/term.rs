//! Owns a coordinator's term: the engine, what it is told, and what becomes of its actions.

use super::bugs::Plant;
use super::calls::{Answer, Call, Message};
use super::coordinator::{ForCoordinator, Heard};
use super::mistakes;
use super::network::Site;
use super::workload;
use super::world::World;
use crate::engine::{Action, Engine, Event, Hello, Outcome, State, Status};
use crate::jobs::{Job, Progress, TaskSpec};
use crate::ledger::{History, Ledger, Record, Traffic};
use crate::tenure::Leader;
use crate::types::{AttemptId, Digest, Epoch, JobId, NodeId};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// To measure a model takes this.
const MEASURING: Duration = Duration::from_millis(20);
/// Until the end of a call that was hung up is heard of.
const HANGING_UP: Duration = Duration::from_micros(200);

/// A time of leading.
pub(super) struct Term {
    /// No other term has this number.
    pub(super) number: u64,
    pub(super) epoch: Epoch,
    pub(super) engine: Engine,
    /// Where the nodes are that the engine numbers.
    places: BTreeMap<NodeId, u32>,
    /// The node's life at the last answer: there is a connection to it.
    connected: BTreeMap<NodeId, u64>,
    probes: BTreeMap<NodeId, u64>,
    calls: BTreeMap<AttemptId, u64>,
    records: u64,
    has_job: bool,
}

impl World<'_> {
    /// A coordinator leads: an engine with the jobs of the ledger.
    pub(super) fn begin_term(&mut self, who: usize, leader: Leader, ledger: Ledger, wrote: Option<(u64, Digest)>) {
        self.end_term(who, false);
        let number = self.serial();
        let address = |node: u32| Site::Node(node).to_string();
        let nodes = self.setup.nodes.len() as u32;
        let fixed: Vec<String> = if self.setup.by_gossip { 0..0 } else { 0..nodes }.map(address).collect();
        let running = ledger.jobs().iter().filter(|(_, history)| history.state == State::Running);
        let running: Vec<(JobId, History)> = running.map(|(&job, history)| (job, history.clone())).collect();
        let ended = ledger.jobs().iter().filter(|(_, history)| history.state != State::Running);
        let ended: Vec<(JobId, Status)> = ended.map(|(&job, history)| (job, as_ended(history))).collect();
        self.guard.term_begins(&leader.address, number, &ledger, wrote);
        self.tally.so_far.leaders += 1;
        self.coordinators[who].term = Some(Term {
            number,
            epoch: leader.epoch,
            engine: Engine::new(self.setup.policy, self.setup.seed, &fixed),
            places: BTreeMap::new(),
            connected: BTreeMap::new(),
            probes: BTreeMap::new(),
            calls: BTreeMap::new(),
            records: 0,
            has_job: !ledger.jobs().is_empty(),
        });
        let members = self.members.iter().filter(|_| self.setup.by_gossip);
        let joined = members.map(|&node| Event::Joined { address: address(node) });
        let mut events: Vec<Event> = std::iter::once(Event::Tick).chain(joined).collect();
        for (job, mut history) in running {
            mistakes::at_restore(self.setup.bug, &mut history);
            match self.made_again(&history) {
                Ok(work) => {
                    events.push(Event::Restore { job, work, history: Box::new(history), resumed: false });
                }
                Err(reason) => {
                    self.guard.broken(super::Rule::Durable, format!("job {job} cannot be made again: {reason}"));
                }
            }
        }
        let heard = events.into_iter().map(|event| Heard::Event(number, event));
        self.coordinators[who].inbox.extend(heard);
        for (job, status) in ended {
            self.publish(who, job, &status);
        }
    }

    fn made_again(&self, history: &History) -> Result<Box<dyn Job>, String> {
        let work = &self.setup.workload;
        let (parameters, corpus) = (&history.order.parameters, work.corpus.clone());
        let job = match &history.saved {
            Some(saved) => (work.kind.resume)(parameters, corpus.into(), saved),
            None => (work.kind.start)(parameters, corpus.into()),
        };
        Ok(mistakes::in_job(self.setup.bug, job.map_err(|e| e.to_string())?))
    }

    /// A coordinator leads no more, or is gone: without an engine nobody waits for its calls.
    pub(super) fn end_term(&mut self, who: usize, rude: bool) {
        let Some(term) = self.coordinators[who].term.take() else { return };
        self.guard.term_ends(term.number);
        for call in term.calls.into_values() {
            self.hang_up(call, rude);
        }
    }

    /// The client asks for its job.
    pub(super) fn submit(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        let Some(term) = coordinator.term.as_mut().filter(|term| !term.has_job && coordinator.process.runs())
        else {
            return;
        };
        let work = &self.setup.workload;
        // It was made once before, so it can be made.
        let Ok(job) = (work.kind.start)(&work.order.parameters, work.corpus.clone().into()) else { return };
        term.has_job = true;
        let ledger = coordinator.scribe.ledger();
        let last = ledger.lock().unwrap_or_else(PoisonError::into_inner).last_job();
        let (job, work, order) = (JobId(last.0 + 1), mistakes::in_job(self.setup.bug, job), work.order.clone());
        let number = term.number;
        self.tell(who, number, Event::Submit { job, work, order });
    }

    /// The engine handles an event.
    pub(super) fn handle(&mut self, who: usize, event: Event) {
        let coordinator = &mut self.coordinators[who];
        let Some(term) = &mut coordinator.term else { return };
        let (number, now) = (term.number, coordinator.clock.read(self.now));
        let before = (self.stopwatch)();
        let actions = term.engine.handle(now, event);
        let took = (self.stopwatch)().saturating_sub(before);
        let sizes = term.engine.sizes();
        let seen = &mut self.tally.so_far;
        seen.events += 1;
        seen.engine_time += took;
        seen.slowest_event = seen.slowest_event.max(took);
        for action in actions {
            self.perform(who, number, action);
        }
        self.guard.holds(&Site::Coordinator(who).to_string(), sizes);
    }

    fn term(&mut self, who: usize) -> Option<&mut Term> {
        self.coordinators[who].term.as_mut()
    }

    fn perform(&mut self, who: usize, number: u64, action: Action) {
        match action {
            Action::Connect { node, address } => {
                let place = address.rsplit(':').next().and_then(|place| place.parse().ok());
                if let (Some(term), Some(place)) = (self.term(who), place) {
                    term.places.insert(node, place);
                }
            }
            Action::Disconnect { node } => {
                if let Some(term) = self.term(who) {
                    term.places.remove(&node);
                    term.connected.remove(&node);
                    term.probes.remove(&node);
                }
            }
            Action::Probe { node, patience } => self.probe(who, node, patience),
            Action::Dispatch { attempt, node, job, task, patience, .. } => {
                self.guard.dispatched(number, job, task.id);
                self.tally.dispatched(self.now, task.id);
                self.dispatch(who, attempt, node, task, patience);
            }
            Action::Abandon { attempt, .. } => {
                let Some(call) = self.term(who).and_then(|term| term.calls.remove(&attempt)) else { return };
                self.hang_up(call, false);
                if !self.has(Plant::SlotNotFreed) {
                    let then = ForCoordinator::HungUp { term: number, attempt };
                    self.in_coordinator(who, self.now + HANGING_UP, then);
                }
            }
            Action::Record(record) => self.record(who, number, record),
            Action::Evaluate { job, round, model, validation } => {
                let measured = workload::measure(&model, &validation).map(Box::new);
                let then = ForCoordinator::Evaluated { term: number, job, round, measured };
                self.in_coordinator(who, self.now + MEASURING, then);
            }
            Action::Publish { job, status } => self.publish(who, job, &status),
            // Nobody says anything to jobs here.
            Action::Heard { .. } => {}
        }
    }

    /// Those who watch a job are told.
    fn publish(&mut self, who: usize, job: JobId, status: &Status) {
        self.is_taken = true;
        self.tally.told(status);
        if self.guard.told(&Site::Coordinator(who).to_string(), job, status) {
            self.over.get_or_insert(self.now);
            self.tally.ended(self.now);
        }
    }

    fn record(&mut self, who: usize, number: u64, record: Record) {
        self.guard.recorded(number, &record);
        if let Record::Answered { task, .. } = &record {
            self.tally.answered(*task);
        }
        let too_early = self.has(Plant::ToldTooEarly);
        let coordinator = &mut self.coordinators[who];
        coordinator.scribe.record(record);
        coordinator.wished = true;
        if let Some(term) = coordinator.term.as_mut() {
            term.records += 1;
            let records = term.records;
            if too_early {
                coordinator.inbox.push_back(Heard::Event(number, Event::Committed { records }));
            }
        }
        // The thread of the log does not wait for all that one event brings.
        if self.chance.random_bool(0.2) {
            self.step_scribe(who, None);
        }
    }

    fn probe(&mut self, who: usize, node: NodeId, patience: Duration) {
        let serial = self.serial();
        let Some(term) = self.term(who) else { return };
        let Some(&place) = term.places.get(&node) else { return };
        term.probes.insert(node, serial);
        let until = self.now + self.coordinators[who].clock.truly(patience);
        self.in_coordinator(who, until, ForCoordinator::NodeSilent { serial, node });
        self.send(Site::Coordinator(who), Site::Node(place), Message::Probe { serial, node });
    }

    /// A node has answered a probe, or its system has said that nobody is there.
    pub(super) fn hello(&mut self, who: usize, serial: u64, node: NodeId, slots: Option<usize>) {
        let Some(slots) = slots else { return self.unanswered(who, serial, node, "connection refused") };
        let Some(term) = self.term(who) else { return };
        if term.probes.get(&node) == Some(&serial) {
            term.probes.remove(&node);
            let number = term.number;
            let hello = Hello { software: "simulated".to_owned(), slots, is_original: false };
            self.tell(who, number, Event::Answered { node, hello });
        }
    }

    pub(super) fn unanswered(&mut self, who: usize, serial: u64, node: NodeId, reason: &str) {
        let now = self.now;
        let Some(term) = self.term(who) else { return };
        if term.probes.get(&node) == Some(&serial) {
            term.probes.remove(&node);
            term.connected.remove(&node);
            let (number, place) = (term.number, term.places.get(&node).copied());
            if let Some(place) = place {
                self.tally.noticed(now, place);
            }
            self.tell(who, number, Event::Unreachable { node, reason: reason.to_owned() });
        }
    }

    fn dispatch(&mut self, who: usize, attempt: AttemptId, id: NodeId, task: Arc<TaskSpec>, patience: Duration) {
        let serial = self.serial();
        let Some(term) = self.term(who) else { return };
        let Some(&node) = term.places.get(&id) else { return };
        term.calls.insert(attempt, serial);
        let reuses = term.connected.get(&id).copied();
        let (term, epoch) = (term.number, term.epoch);
        let (is_awaited, is_at_node, has_arrived) = (true, false, false);
        let call = Call { who, term, epoch, attempt, node, id, task, is_awaited, is_at_node, has_arrived, reuses };
        self.calls.insert(serial, call);
        match reuses {
            Some(_) => self.send(Site::Coordinator(who), Site::Node(node), Message::Request(serial)),
            None => self.connect_for(serial, who, node, patience),
        }
    }

    /// A node has answered a task.
    pub(super) fn answered(&mut self, id: u64, answer: Answer) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_awaited) else { return };
        let (who, node, place) = (call.who, call.id, call.node as usize);
        let life = self.nodes.get(place).map(|node| node.process.life);
        if let (Some(term), Some(life)) = (self.term(who), life) {
            term.connected.insert(node, life);
        }
        let mut received = 128;
        let outcome = match answer {
            Answer::Done { output, busy_s, delayed } => {
                received += (output.bytes.len() + output.metrics.len()) as u64;
                Outcome::Done { output, busy_s, delayed }
            }
            Answer::Refused => {
                self.tally.so_far.refused += 1;
                Outcome::Refused
            }
            Answer::Failed(reason) => Outcome::Impossible { reason },
            Answer::Deposed => {
                let coordinator = &mut self.coordinators[who];
                coordinator.scribe.step_down();
                coordinator.wished = true;
                Outcome::Lost { reason: "another leads".to_owned() }
            }
        };
        self.end_call(id, outcome, received);
    }

    /// The end of an attempt, for the engine that made it.
    pub(super) fn attempt_ended(
        &mut self,
        who: usize,
        number: u64,
        attempt: AttemptId,
        outcome: Outcome,
        traffic: Traffic,
    ) {
        let Some(term) = self.term(who).filter(|term| term.number == number) else { return };
        term.calls.remove(&attempt);
        if self.has(Plant::LossUnheard) && matches!(outcome, Outcome::Lost { .. }) {
            return;
        }
        self.tell(who, number, Event::Ended { attempt, outcome, traffic });
    }
}

/// What a leader tells of a job that ended before it led: perhaps nobody else has, who wrote its end to the log and was
/// deposed.
fn as_ended(history: &History) -> Status {
    Status {
        state: history.state.clone(),
        figures: None,
        stream: None,
        versions: Vec::new(),
        progress: Progress::default(),
        queries: None,
        closed: history.closed.clone(),
        nodes_busy: 0,
        nodes_ready: 0,
        nodes_known: 0,
        notice: String::new(),
        nodes: Vec::new(),
        node_ids: Vec::new(),
        wall: history.elapsed,
        finish: None,
    }
}
