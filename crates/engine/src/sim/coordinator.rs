//! Owns simulated coordinators: a scribe always, and an engine while that leads, as in the real one.

use super::bugs::Plant;
use super::clock::Clock;
use super::network::Site;
use super::store::log_position;
use super::term::Term;
use super::watch::Watch;
use super::world::{Process, World};
use crate::engine::{Event, Outcome};
use crate::ledger::{Ledger, Traffic};
use crate::model::Measured;
use crate::tenure::{Leader, News, Next, Op, Reply, Scribe};
use crate::types::{AttemptId, Digest, JobId, NodeId, Round, Time};
use rand::Rng;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// Something that a coordinator planned, or waits for.
pub(super) enum ForCoordinator {
    /// The engine wanted to be told of the time.
    WakeEngine,
    /// So did the scribe.
    WakeScribe,
    /// The store has answered.
    Reply { serial: u64, reply: Reply },
    /// To look after the leader.
    Look,
    /// The leader has not answered.
    LeaderSilent(u64),
    /// A node has not answered a probe.
    NodeSilent { serial: u64, node: NodeId },
    /// A call must have a connection by now.
    ConnectBy(u64),
    /// The system has asked the other end of a call's connection.
    KeepAlive(u64),
    /// A call that was hung up has ended.
    HungUp { term: u64, attempt: AttemptId },
    /// A model has been measured.
    Evaluated { term: u64, job: JobId, round: Round, measured: Result<Box<Measured>, String> },
    /// Members have found out something about a node.
    Member { address: String, is_up: bool },
}

/// What the thread of the engine is told, in order.
pub(super) enum Heard {
    /// Something for the engine of this term.
    Event(u64, Event),
    /// It leads, with this ledger, and wrote this to the log first.
    Leads(Leader, Box<Ledger>, Option<(u64, Digest)>),
    /// It leads no more.
    Deposed,
    /// Another leads.
    Leader(Leader),
    /// The log grows.
    Grew,
    /// So many records are durable.
    Committed(u64),
}

/// A coordinator.
pub(super) struct Coordinator {
    pub(super) process: Process,
    pub(super) clock: Clock,
    pub(super) scribe: Scribe,
    /// The operation that the scribe waits for.
    asked: Option<u64>,
    /// The scribe has something to do.
    pub(super) wished: bool,
    wakes: [Option<Time>; 2],
    /// What it last wrote to the log, or tried to.
    wrote: Option<(u64, Digest)>,
    pub(super) inbox: VecDeque<Heard>,
    pub(super) term: Option<Term>,
    pub(super) watch: Watch,
}

const ENGINE: usize = 0;
const SCRIBE: usize = 1;

impl Coordinator {
    pub(super) fn new(who: usize) -> Self {
        Self {
            process: Process::default(),
            clock: Clock::default(),
            scribe: Scribe::new(&Site::Coordinator(who).to_string(), ""),
            asked: None,
            wished: false,
            wakes: [None; 2],
            wrote: None,
            inbox: VecDeque::new(),
            term: None,
            watch: Watch::default(),
        }
    }
}

impl World<'_> {
    /// A coordinator starts, and stands by unless it is to lead at once.
    pub(super) fn start_coordinator(&mut self, who: usize, leads: bool) {
        let coordinator = &mut self.coordinators[who];
        let instance = format!("{who}.{}", coordinator.process.life);
        let process = std::mem::take(&mut coordinator.process);
        let clock = coordinator.clock;
        let scribe = Scribe::new(&Site::Coordinator(who).to_string(), &instance);
        *coordinator = Coordinator { process, clock, scribe, wished: true, ..Coordinator::new(who) };
        coordinator.watch.alive = clock.read(self.now);
        if leads {
            coordinator.scribe.take_over();
        }
        self.in_coordinator(who, self.now, ForCoordinator::Look);
        self.pump(who);
    }

    /// A coordinator is gone.
    pub(super) fn coordinator_crashes(&mut self, who: usize, rude: bool) {
        self.end_term(who, rude);
        let process = &mut self.coordinators[who].process;
        process.life += 1;
        process.rude = rude;
    }

    pub(super) fn coordinator_does(&mut self, who: usize, then: ForCoordinator) {
        let now = self.coordinators[who].clock.read(self.now);
        match then {
            ForCoordinator::WakeEngine => {
                self.coordinators[who].wakes[ENGINE] = None;
                let term = self.coordinators[who].term.as_ref();
                if let Some(term) = term.filter(|term| term.engine.next_wakeup().is_some_and(|at| at <= now)) {
                    let heard = Heard::Event(term.number, Event::Tick);
                    self.coordinators[who].inbox.push_back(heard);
                }
            }
            ForCoordinator::WakeScribe => {
                let coordinator = &mut self.coordinators[who];
                coordinator.wakes[SCRIBE] = None;
                coordinator.wished = true;
            }
            ForCoordinator::Reply { serial, reply } => {
                if self.coordinators[who].asked.take_if(|asked| *asked == serial).is_some() {
                    self.step_scribe(who, Some(reply));
                }
            }
            ForCoordinator::Look => self.look_after_leader(who),
            ForCoordinator::LeaderSilent(serial) => self.leader_answers(who, serial, Some(false)),
            ForCoordinator::NodeSilent { serial, node } => {
                self.unanswered(who, serial, node, "did not answer in time");
            }
            ForCoordinator::ConnectBy(call) => self.connect_by(call),
            ForCoordinator::KeepAlive(call) => self.keep_alive(call),
            ForCoordinator::HungUp { term, attempt } => {
                let outcome = Outcome::Lost { reason: "abandoned".to_owned() };
                self.attempt_ended(who, term, attempt, outcome, Traffic::default());
            }
            ForCoordinator::Evaluated { term, job, round, measured } => {
                self.tell(who, term, Event::Evaluated { job, round, measured });
            }
            ForCoordinator::Member { address, is_up } => {
                let reason = "members say so".to_owned();
                let event = if is_up { Event::Joined { address } } else { Event::Gone { address, reason } };
                if let Some(term) = self.coordinators[who].term.as_ref().map(|term| term.number) {
                    self.tell(who, term, event);
                }
            }
        }
        self.pump(who);
    }

    /// Tells the engine of a term, if there still is that one.
    pub(super) fn tell(&mut self, who: usize, term: u64, event: Event) {
        self.coordinators[who].inbox.push_back(Heard::Event(term, event));
        self.pump(who);
    }

    /// Lets a coordinator do all that it can do now.
    pub(super) fn pump(&mut self, who: usize) {
        if !self.coordinators[who].process.runs() {
            return;
        }
        loop {
            let coordinator = &mut self.coordinators[who];
            if let Some(heard) = coordinator.inbox.pop_front() {
                self.hear(who, heard);
            } else if coordinator.wished && coordinator.asked.is_none() {
                self.step_scribe(who, None);
            } else {
                break;
            }
        }
        let engine = self.coordinators[who].term.as_ref().and_then(|term| term.engine.next_wakeup());
        self.wake(who, ENGINE, engine);
    }

    /// Sees to it that a coordinator is woken at a time of its clock.
    fn wake(&mut self, who: usize, which: usize, at: Option<Time>) {
        let coordinator = &mut self.coordinators[who];
        let Some(at) = at.map(|at| coordinator.clock.when(at).max(self.now)) else { return };
        if coordinator.wakes[which].is_some_and(|before| before <= at) {
            return;
        }
        coordinator.wakes[which] = Some(at);
        let then = if which == ENGINE { ForCoordinator::WakeEngine } else { ForCoordinator::WakeScribe };
        self.in_coordinator(who, at, then);
    }

    /// A clock runs differently from now on: what it was to show, it shows at another time.
    pub(super) fn set_clock(&mut self, who: usize, rate: u64) {
        let coordinator = &mut self.coordinators[who];
        coordinator.clock.set_rate(self.now, rate);
        coordinator.wakes = [None; 2];
        coordinator.wished = true;
        self.pump(who);
    }

    /// Lets the scribe go on, if it waits for nothing.
    pub(super) fn step_scribe(&mut self, who: usize, reply: Option<Reply>) {
        let coordinator = &mut self.coordinators[who];
        if coordinator.asked.is_some() {
            return;
        }
        coordinator.wished = false;
        let (news, next) = coordinator.scribe.step(coordinator.clock.read(self.now), reply);
        for news in news {
            self.take_news(who, news);
        }
        match next {
            Next::Do(op) => {
                if let Op::Put { key, bytes } = &op
                    && let Some(position) = log_position(key)
                {
                    self.coordinators[who].wrote = Some((position, Digest::of(bytes)));
                }
                let serial = self.serial();
                self.coordinators[who].asked = Some(serial);
                self.store_asked(who, serial, op);
            }
            Next::Wait(until) => self.wake(who, SCRIBE, Some(until)),
        }
    }

    /// News is judged when it is made, and heard in its turn.
    fn take_news(&mut self, who: usize, news: News) {
        let coordinator = &mut self.coordinators[who];
        let heard = match news {
            News::Leader(leader) => Heard::Leader(leader),
            News::Grew => Heard::Grew,
            News::Leads(leader) => {
                let ledger = coordinator.scribe.ledger();
                let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.guard.acknowledged(&leader.address, coordinator.wrote);
                Heard::Leads(leader, Box::new(ledger), coordinator.wrote)
            }
            News::Committed { records } => {
                self.guard.acknowledged(&Site::Coordinator(who).to_string(), coordinator.wrote);
                if self.has(Plant::CommitUnheard) && self.chance.random_bool(0.3) {
                    return;
                }
                Heard::Committed(records)
            }
            News::Deposed { .. } => Heard::Deposed,
            News::Lost { .. } | News::Trouble { .. } | News::Better => return,
        };
        self.coordinators[who].inbox.push_back(heard);
    }

    fn hear(&mut self, who: usize, heard: Heard) {
        let coordinator = &mut self.coordinators[who];
        let now = coordinator.clock.read(self.now);
        match heard {
            Heard::Event(term, event) => {
                if coordinator.term.as_ref().is_some_and(|known| known.number == term) {
                    self.handle(who, event);
                }
            }
            Heard::Committed(records) => {
                if coordinator.term.is_some() {
                    self.handle(who, Event::Committed { records });
                }
            }
            Heard::Leads(leader, ledger, wrote) => self.begin_term(who, leader, *ledger, wrote),
            Heard::Deposed => self.end_term(who, false),
            Heard::Leader(leader) => {
                coordinator.watch.leader = Some(leader.address);
                coordinator.watch.grew = Some(now);
            }
            Heard::Grew => coordinator.watch.grew = Some(now),
        }
    }
}
