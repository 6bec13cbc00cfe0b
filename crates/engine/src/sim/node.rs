//! Owns simulated compute nodes: slots, load, epochs and pace as in the real one, and the tasks truly done.

use super::calls::{Answer, Message};
use super::network::Site;
use super::world::{Process, What, World};
use crate::jobs::inference::Models;
use crate::jobs::{TaskError, Workbench};
use crate::types::{Epoch, Time};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Something that a node planned.
pub(super) enum ForNode {
    /// The simulated load has delayed a task for long enough.
    Start(u64),
    /// A task is done.
    Done(u64),
}

/// A compute node.
pub(super) struct Node {
    pub(super) process: Process,
    load: ChaCha8Rng,
    /// The highest epoch that it was asked in.
    epoch: Epoch,
    delayed: BTreeSet<u64>,
    waiting: VecDeque<(u64, bool)>,
    working: BTreeMap<u64, Work>,
    /// Faults that slow it down, and by how much.
    pub(super) slow: Vec<(usize, f64)>,
    /// How many faults make it answer nonsense.
    pub(super) garbage: u32,
    /// The life that members know.
    pub(super) known_life: u64,
}

/// A task at work.
struct Work {
    since: Time,
    delayed: bool,
    /// Seconds that it takes from a moment on, at the node's own pace.
    left: (Time, f64),
    due: Time,
}

impl Work {
    /// What is left takes so many times as long from now on.
    fn go_on(&mut self, now: Time, left: f64, slower: f64) {
        let takes = Duration::try_from_secs_f64(left * slower).unwrap_or(Duration::MAX);
        (self.left, self.due) = ((now, left), Time(now.0.saturating_add(takes)));
    }
}

impl Node {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            process: Process::default(),
            load: ChaCha8Rng::seed_from_u64(seed),
            epoch: Epoch(0),
            delayed: BTreeSet::new(),
            waiting: VecDeque::new(),
            working: BTreeMap::new(),
            slow: Vec::new(),
            garbage: 0,
            known_life: 0,
        }
    }

    /// Forgets a task; when it began, if it was at work.
    /// How many times longer than usual its tasks take now.
    fn slower(&self) -> f64 {
        self.slow.iter().map(|(_, factor)| factor).product()
    }

    fn drop_task(&mut self, call: u64) -> Option<Time> {
        self.delayed.remove(&call);
        self.waiting.retain(|(other, _)| *other != call);
        self.working.remove(&call).map(|work| work.since)
    }
}

impl World<'_> {
    /// A task has come.
    pub(super) fn requested(&mut self, place: u32, id: u64) {
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        let Some(call) = self.calls.get(id) else { return };
        if call.reuses.is_some_and(|life| life != node.process.life) {
            let to = Site::Coordinator(call.who);
            return self.send(Site::Node(place), to, Message::Reset(id));
        }
        (call.is_at_node, call.has_arrived) = (true, true);
        if call.epoch < node.epoch {
            return self.answer(id, Answer::Deposed);
        }
        node.epoch = call.epoch;
        // Two numbers for every task, as in the real one.
        let (refuse, delay) =
            (node.load.random::<f64>() < self.setup.load, node.load.random::<f64>() < self.setup.load);
        if refuse && self.setup.policy.nodes_may_refuse {
            return self.answer(id, Answer::Refused);
        }
        if delay {
            node.delayed.insert(id);
            let life = node.process.life;
            let what = What::Node { node: place, life, then: ForNode::Start(id) };
            return self.queue.push(self.now + self.setup.delay, what);
        }
        node.waiting.push_back((id, false));
        self.start_waiting(place);
    }

    pub(super) fn node_does(&mut self, place: u32, then: ForNode) {
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        match then {
            ForNode::Start(id) => {
                if node.delayed.remove(&id) {
                    node.waiting.push_back((id, true));
                    self.start_waiting(place);
                }
            }
            ForNode::Done(id) => self.task_done(place, id),
        }
    }

    /// Starts what waits for a slot, where there is one.
    fn start_waiting(&mut self, place: u32) {
        let Some(setup) = self.setup.nodes.get(place as usize) else { return };
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        while node.working.len() < setup.slots
            && let Some((id, delayed)) = node.waiting.pop_front()
        {
            let Some(call) = self.calls.get(id) else { continue };
            let seconds = call.task.cost * self.setup.workload.pace / setup.speed;
            let now = self.now;
            let mut work = Work { since: now, delayed, left: (now, seconds), due: now };
            work.go_on(now, seconds, node.slower());
            let what = What::Node { node: place, life: node.process.life, then: ForNode::Done(id) };
            self.queue.push(work.due, what);
            node.working.insert(id, work);
        }
    }

    /// A node's pace changes: what it is at ends sooner, or later, than it would have.
    pub(super) fn change_pace(&mut self, place: u32, change: impl FnOnce(&mut Vec<(usize, f64)>)) {
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        let before = node.slower();
        change(&mut node.slow);
        let (now, life, slower) = (self.now, node.process.life, node.slower());
        for (&id, work) in &mut node.working {
            let (since, left) = work.left;
            work.go_on(now, (left - now.since(since).as_secs_f64() / before).max(0.0), slower);
            self.queue.push(work.due, What::Node { node: place, life, then: ForNode::Done(id) });
        }
    }

    fn task_done(&mut self, place: u32, id: u64) {
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        // It may take longer than was foreseen, or have been done sooner.
        if node.working.get(&id).is_none_or(|work| work.due > self.now) {
            return;
        }
        let Some(Work { since, delayed, .. }) = node.working.remove(&id) else { return };
        let garbage = node.garbage > 0;
        self.tally.worked(place, since, self.now, true);
        if let Some(call) = self.calls.get(id) {
            let task = call.task.clone();
            let work = &self.setup.workload;
            let answer = match (work.kind.run)(
                &task.parameters,
                &work.inputs(&task),
                &Workbench::bare(&|| true, &Models::new(0)),
            ) {
                Ok(mut output) => {
                    if garbage {
                        output.bytes = b"nonsense".to_vec();
                    }
                    Answer::Done { output, busy_s: self.now.since(since).as_secs_f64(), delayed }
                }
                Err(TaskError::Abandoned) => Answer::Failed("abandoned".to_owned()),
                Err(e) => Answer::Failed(e.to_string()),
            };
            self.answer(id, answer);
        }
        self.start_waiting(place);
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        let Some(call) = self.calls.get(id) else { return };
        call.is_at_node = false;
        if call.is_awaited {
            let (from, to) = (Site::Node(call.node), Site::Coordinator(call.who));
            self.send(from, to, Message::Answer(id, Box::new(answer)));
        }
        self.calls.settle(id);
    }

    /// The coordinator's end of a call is gone: nobody waits for it.
    pub(super) fn hung_up(&mut self, id: u64) {
        let Some(call) = self.calls.get(id) else { return };
        call.is_at_node = false;
        let place = call.node;
        if let Some(since) = self.nodes.get_mut(place as usize).and_then(|node| node.drop_task(id)) {
            self.tally.worked(place, since, self.now, false);
        }
        self.calls.settle(id);
        self.start_waiting(place);
    }

    /// A node is gone, with all that it was at.
    pub(super) fn node_crashes(&mut self, place: u32, rude: bool) {
        let Some(node) = self.nodes.get_mut(place as usize) else { return };
        node.process.life += 1;
        node.process.rude = rude;
        node.epoch = Epoch(0);
        let mut calls: Vec<u64> = std::mem::take(&mut node.delayed).into_iter().collect();
        calls.extend(std::mem::take(&mut node.waiting).into_iter().map(|(id, _)| id));
        for (id, work) in std::mem::take(&mut node.working) {
            self.tally.worked(place, work.since, self.now, false);
            calls.push(id);
        }
        for id in calls {
            let Some(call) = self.calls.get(id) else { continue };
            call.is_at_node = false;
            let who = call.who;
            match (call.is_awaited, rude) {
                (true, false) => self.send(Site::Node(place), Site::Coordinator(who), Message::Reset(id)),
                (true, true) => self.will_time_out(id),
                (false, _) => self.calls.settle(id),
            }
        }
        self.tally.crashed(self.now, place);
    }
}
