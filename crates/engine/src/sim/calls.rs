//! Owns calls: what passes between processes, and connections that break, hang, or outlive one of their ends.
//!
//! A call is a connection with one request and one answer. Packets that are lost are sent again, as TCP does; what a
//! process hears when the other end is gone depends on how it went.

use super::coordinator::ForCoordinator;
use super::network::Site;
use super::world::{What, World};
use crate::engine::Outcome;
use crate::jobs::{TaskOutput, TaskSpec};
use crate::ledger::Traffic;
use crate::types::{AttemptId, Epoch, NodeId, Time};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// After this long in silence the system finds that the other end of a connection is gone.
const KEEPALIVE: Duration = Duration::from_secs(28);
/// After this long, if the machine is back and knows nothing of the connection.
const KEEPALIVE_ASKS: Duration = Duration::from_secs(10);

/// What one process tells another.
pub(super) enum Message {
    /// A coordinator gives a node a task.
    Request(u64),
    /// The node's answer to it.
    Answer(u64, Box<Answer>),
    /// The node's end of the connection is gone.
    Reset(u64),
    /// The coordinator's is.
    HangUp(u64),
    /// A coordinator asks a node who it is.
    Probe { serial: u64, node: NodeId },
    /// How many slots it has; `None`: nothing listens there.
    Hello { serial: u64, node: NodeId, slots: Option<usize> },
    /// A coordinator that stands by asks the leader whether it is there.
    Ask { serial: u64 },
    /// Whether it leads; `None`: nothing listens there.
    Leads { serial: u64, leads: Option<bool> },
}

/// A node's answer to a task.
pub(super) enum Answer {
    Done {
        output: TaskOutput,
        busy_s: f64,
        delayed: bool,
    },
    Refused,
    Failed(String),
    /// It obeys a later leader.
    Deposed,
}

/// A call under way.
pub(super) struct Call {
    pub(super) who: usize,
    pub(super) term: u64,
    pub(super) epoch: Epoch,
    pub(super) attempt: AttemptId,
    pub(super) node: u32,
    /// The engine's number of it.
    pub(super) id: NodeId,
    pub(super) task: Arc<TaskSpec>,
    /// The coordinator waits for its answer.
    pub(super) is_awaited: bool,
    /// The node has it.
    pub(super) is_at_node: bool,
    /// The request has come through, even if the node sleeps.
    pub(super) has_arrived: bool,
    /// The connection is one that was made to this life of the node.
    pub(super) reuses: Option<u64>,
}

/// The calls under way.
#[derive(Default)]
pub(super) struct Calls {
    open: BTreeMap<u64, Call>,
}

impl Calls {
    pub(super) fn get(&mut self, id: u64) -> Option<&mut Call> {
        self.open.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: u64, call: Call) {
        self.open.insert(id, call);
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Forgets a call that neither end knows any more.
    pub(super) fn settle(&mut self, id: u64) {
        if self.open.get(&id).is_some_and(|call| !call.is_awaited && !call.is_at_node) {
            self.open.remove(&id);
        }
    }

    /// Those to a node that wait for something that will not come.
    fn hung(&self, node: u32) -> Vec<u64> {
        let is_hung = |call: &Call| call.node == node && call.is_awaited && !call.is_at_node && call.has_arrived;
        self.open.iter().filter(|(_, call)| is_hung(call)).map(|(&id, _)| id).collect()
    }
}

impl World<'_> {
    pub(super) fn send(&mut self, from: Site, to: Site, message: Message) {
        self.tally.so_far.messages += 1;
        self.transmit(from, to, message, 0);
    }

    pub(super) fn transmit(&mut self, from: Site, to: Site, message: Message, tries: u32) {
        if let Some(delay) = self.network.packet(from, to) {
            self.queue.push(self.now + delay, What::Arrival { from, to, message, tries });
            return;
        }
        match (self.network.resend(tries), message) {
            (Some(pause), message) => {
                self.queue.push(self.now + pause, What::Resend { from, to, message, tries: tries + 1 });
            }
            (None, Message::Request(call) | Message::Answer(call, _)) => self.connection_lost(call),
            (None, Message::HangUp(call)) => self.hung_up(call),
            (None, _) => {}
        }
    }

    /// A packet has come. Whoever sleeps has a system that does not.
    pub(super) fn arrive(&mut self, from: Site, to: Site, message: Message, tries: u32) {
        if let Some(process) = self.process(to)
            && !process.is_up()
        {
            let rude = process.rude;
            return self.nobody_there(from, to, message, tries, rude);
        }
        match (to, message) {
            (Site::Node(node), Message::Request(call)) => self.requested(node, call),
            (Site::Node(_), Message::HangUp(call)) => self.hung_up(call),
            (Site::Node(place), Message::Probe { serial, node }) => {
                let slots = self.setup.nodes.get(place as usize).map(|node| node.slots);
                self.send(to, from, Message::Hello { serial, node, slots });
            }
            (Site::Coordinator(_), Message::Answer(call, answer)) => self.answered(call, *answer),
            (Site::Coordinator(_), Message::Reset(call)) => self.connection_reset(call),
            (Site::Coordinator(who), Message::Hello { serial, node, slots }) => {
                self.hello(who, serial, node, slots);
            }
            (Site::Coordinator(who), Message::Ask { serial }) => {
                let leads = Some(self.coordinators[who].term.is_some());
                self.send(to, from, Message::Leads { serial, leads });
            }
            (Site::Coordinator(who), Message::Leads { serial, leads }) => self.leader_answers(who, serial, leads),
            _ => {}
        }
    }

    /// A process that is down: its system refuses, unless the machine is off.
    fn nobody_there(&mut self, from: Site, to: Site, message: Message, tries: u32, rude: bool) {
        match (message, rude) {
            (Message::Request(call), false) => self.send(to, from, Message::Reset(call)),
            (Message::Probe { serial, node }, false) => {
                self.send(to, from, Message::Hello { serial, node, slots: None });
            }
            (Message::Ask { serial }, false) => self.send(to, from, Message::Leads { serial, leads: None }),
            (Message::Request(call), true) => match self.network.resend(tries) {
                Some(pause) => {
                    let again = What::Resend { from, to, message: Message::Request(call), tries: tries + 1 };
                    self.queue.push(self.now + pause, again);
                }
                None => self.connection_lost(call),
            },
            _ => {}
        }
    }

    /// Ends a call for the coordinator's side; its engine hears of it, if it is still the same.
    pub(super) fn end_call(&mut self, id: u64, outcome: Outcome, received: u64) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_awaited) else { return };
        call.is_awaited = false;
        let (who, term, attempt) = (call.who, call.term, call.attempt);
        let (task, node) = (call.task.id, call.node);
        let sent = call.task.parameters.len() as u64 + 128;
        self.calls.settle(id);
        self.tally.ended_attempt(task);
        if matches!(outcome, Outcome::Lost { .. }) {
            self.tally.noticed(self.now, node);
        }
        self.attempt_ended(who, term, attempt, outcome, Traffic { sent, received });
    }

    fn connection_lost(&mut self, call: u64) {
        self.end_call(call, Outcome::Lost { reason: "the connection was lost".to_owned() }, 0);
    }

    /// The node's end is gone. If the connection was used before, that may be long ago: it is made anew once.
    fn connection_reset(&mut self, id: u64) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_awaited) else { return };
        if call.reuses.take().is_none() {
            return self.end_call(id, Outcome::Lost { reason: "closed the connection".to_owned() }, 0);
        }
        call.has_arrived = false;
        let (who, node) = (call.who, call.node);
        self.connect_for(id, who, node, Duration::from_secs(1));
    }

    /// Sends a request on a new connection, which must be there in time.
    pub(super) fn connect_for(&mut self, id: u64, who: usize, node: u32, patience: Duration) {
        let at = self.now + self.coordinators[who].clock.truly(patience);
        self.in_coordinator(who, at, ForCoordinator::ConnectBy(id));
        self.send(Site::Coordinator(who), Site::Node(node), Message::Request(id));
    }

    /// The time to connect is over.
    pub(super) fn connect_by(&mut self, id: u64) {
        if self.calls.get(id).is_some_and(|call| !call.has_arrived && call.reuses.is_none()) {
            self.end_call(id, Outcome::Lost { reason: "did not answer in time".to_owned() }, 0);
        }
    }

    /// Hangs up on a call.
    pub(super) fn hang_up(&mut self, id: u64, rude: bool) {
        let Some(call) = self.calls.get(id).filter(|call| call.is_awaited) else { return };
        call.is_awaited = false;
        let (who, node, task) = (call.who, call.node, call.task.id);
        match (call.is_at_node, rude) {
            (true, false) => self.send(Site::Coordinator(who), Site::Node(node), Message::HangUp(id)),
            // The node's system asks the coordinator's, and has no answer.
            (true, true) => self.queue.push(self.now + KEEPALIVE, What::HungUp(id)),
            (false, _) => {}
        }
        self.tally.ended_attempt(task);
        self.calls.settle(id);
    }

    /// A node's machine is gone without a word: the system of the other end finds out.
    pub(super) fn will_time_out(&mut self, id: u64) {
        let Some(call) = self.calls.get(id) else { return };
        let who = call.who;
        self.in_coordinator(who, self.now + KEEPALIVE, ForCoordinator::KeepAlive(id));
    }

    /// A node's machine is back, and knows nothing of its connections.
    pub(super) fn forgets_connections(&mut self, node: u32) {
        for id in self.calls.hung(node) {
            let Some(who) = self.calls.get(id).map(|call| call.who) else { continue };
            let at: Time = self.now + KEEPALIVE_ASKS.mul_f64(self.chance.random());
            self.in_coordinator(who, at, ForCoordinator::KeepAlive(id));
        }
    }

    /// The system has asked the other end of a connection, in vain.
    pub(super) fn keep_alive(&mut self, id: u64) {
        if self.calls.get(id).is_some_and(|call| !call.is_at_node) {
            self.connection_lost(id);
        }
    }
}
