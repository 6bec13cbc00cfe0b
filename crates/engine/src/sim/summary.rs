//! Owns what is measured of a simulated run.

use super::invariants::Violation;
use crate::engine::{State, Status};
use crate::types::{Digest, Round, TaskId, Time};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// In how many parts of equal length the time of a run is cut for [`Summary::utilisation_over_time`].
const PARTS: usize = 200;

/// What a run has come to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Events that engines handled.
    pub events: u64,
    /// Real time that they took for them, if there was a stopwatch.
    pub engine_time: Duration,
    /// The longest of those events.
    pub slowest_event: Duration,
    /// All that happened in the cluster.
    pub happenings: u64,
    /// Virtual time when the run was over.
    pub virtual_time: Duration,
    /// From the client's request to the news that the job has ended; `None`: it has not.
    pub makespan: Option<Duration>,
    /// What [`Setup::lower_bound`](super::Setup::lower_bound) says.
    pub lower_bound: Duration,
    /// The SHA-256 of the weights.
    pub weights: Option<Digest>,
    /// How long each round took, as it was told.
    pub rounds: Vec<Duration>,
    /// For each node, how long its slots were at work.
    pub busy: Vec<Duration>,
    /// For each node, how many tasks it answered.
    pub tasks: Vec<u64>,
    /// The share of all slots that was at work, from start to end of the job in parts of equal length.
    pub utilisation_over_time: Vec<f64>,
    /// How long tasks waited from the start of their round to their first sending, ascending.
    pub waits: Vec<Duration>,
    /// Attempts, refusals and copies included.
    pub dispatched: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Attempts while another of the same task was at work.
    pub copies: u64,
    /// Attempts at tasks that a leader before had had done.
    pub redone: u64,
    /// Messages between processes.
    pub messages: u64,
    /// Operations of the store.
    pub operations: u64,
    /// Bytes written to the store.
    pub bytes_written: u64,
    /// How often a coordinator began to lead.
    pub leaders: u64,
    /// Crashes of nodes: how long until a leader acted on it, where one did.
    pub detections: Vec<Duration>,
    /// The rule that was broken first.
    pub violation: Option<Violation>,
}

impl Summary {
    /// The share of all slots that was at work, from start to end of the job, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        let parts = &self.utilisation_over_time;
        parts.iter().sum::<f64>() / parts.len().max(1) as f64
    }

    /// How many times longer than the lower bound it took; `None` if it has not ended.
    pub fn stretch(&self) -> Option<f64> {
        Some(self.makespan?.as_secs_f64() / self.lower_bound.as_secs_f64())
    }
}

/// Of some durations the one that is longer than a share (0 to 1) of them; zero if there are none.
pub fn quantile(of: &[Duration], share: f64) -> Duration {
    let mut sorted = of.to_vec();
    sorted.sort();
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

/// A run being measured.
pub(super) struct Tally {
    pub(super) so_far: Summary,
    slots: usize,
    /// When the request came, when each round began to be handed out, when the end was told.
    started: Option<Time>,
    round_began: BTreeMap<u32, Time>,
    /// Attempts at work, and whether there was any, for tasks of the latest rounds.
    at_task: BTreeMap<TaskId, (u32, bool)>,
    /// Those that were answered, to whatever leader.
    answered: BTreeSet<TaskId>,
    last_told: Round,
    /// When each slot was at work.
    spans: Vec<(Time, Time)>,
    /// Nodes that crashed, and when, until it is noticed.
    crashed: BTreeMap<u32, Time>,
}

impl Tally {
    pub(super) fn new(nodes: usize, slots: usize) -> Self {
        let so_far = Summary { busy: vec![Duration::ZERO; nodes], tasks: vec![0; nodes], ..Summary::default() };
        Self {
            so_far,
            slots,
            started: None,
            round_began: BTreeMap::new(),
            at_task: BTreeMap::new(),
            answered: BTreeSet::new(),
            last_told: Round(0),
            spans: Vec::new(),
            crashed: BTreeMap::new(),
        }
    }

    pub(super) fn started(&mut self, now: Time) {
        self.started.get_or_insert(now);
    }

    pub(super) fn ended(&mut self, now: Time) {
        if self.so_far.makespan.is_none() {
            self.so_far.makespan = self.started.map(|start| now.since(start));
        }
    }

    pub(super) fn dispatched(&mut self, now: Time, task: TaskId) {
        self.so_far.dispatched += 1;
        self.so_far.redone += u64::from(self.answered.contains(&task));
        if let Entry::Vacant(began) = self.round_began.entry(task.round.0) {
            began.insert(now);
            // Nobody is interested in rounds long ago.
            let old = TaskId { round: Round(task.round.0.saturating_sub(2)), shard: 0 };
            self.at_task = self.at_task.split_off(&old);
            self.answered = self.answered.split_off(&old);
        }
        let began = self.round_began.get(&task.round.0).copied().unwrap_or(now);
        let (at_work, sent) = self.at_task.entry(task).or_default();
        if !std::mem::replace(sent, true) {
            self.so_far.waits.push(now.since(began));
        }
        self.so_far.copies += u64::from(*at_work > 0);
        *at_work += 1;
    }

    /// A leader has taken an answer.
    pub(super) fn answered(&mut self, task: TaskId) {
        self.answered.insert(task);
    }

    /// Watchers are told.
    pub(super) fn told(&mut self, status: &Status) {
        for closed in &status.closed {
            if closed.round > self.last_told {
                self.last_told = closed.round;
                self.so_far.rounds.push(closed.wall);
            }
        }
        if let State::Done { weights } = &status.state {
            self.so_far.weights = Some(*weights);
        }
    }

    /// Nobody waits for an attempt any more.
    pub(super) fn ended_attempt(&mut self, task: TaskId) {
        if let Some((at_work, _)) = self.at_task.get_mut(&task) {
            *at_work = at_work.saturating_sub(1);
        }
    }

    pub(super) fn worked(&mut self, node: u32, from: Time, to: Time, answered: bool) {
        self.spans.push((from, to));
        let place = node as usize;
        if let (Some(busy), Some(tasks)) = (self.so_far.busy.get_mut(place), self.so_far.tasks.get_mut(place)) {
            *busy += to.since(from);
            *tasks += u64::from(answered);
        }
    }

    pub(super) fn crashed(&mut self, now: Time, node: u32) {
        self.crashed.insert(node, now);
    }

    /// A leader has found out that a node does not answer.
    pub(super) fn noticed(&mut self, now: Time, node: u32) {
        if let Some(since) = self.crashed.remove(&node) {
            self.so_far.detections.push(now.since(since));
        }
    }

    pub(super) fn finish(mut self, now: Time) -> Summary {
        let mut summary = std::mem::take(&mut self.so_far);
        summary.virtual_time = now.0;
        summary.waits.sort();
        let start = self.started.unwrap_or_default();
        let whole = summary.makespan.unwrap_or(now.since(start));
        summary.utilisation_over_time = self.utilisation(start, whole);
        summary
    }

    fn utilisation(&self, start: Time, whole: Duration) -> Vec<f64> {
        let part = whole.as_secs_f64() / PARTS as f64;
        if part == 0.0 {
            return Vec::new();
        }
        let mut busy = vec![0.0; PARTS];
        for (from, to) in &self.spans {
            let (from, to) = (from.since(start).as_secs_f64() / part, to.since(start).as_secs_f64() / part);
            let places = (from as usize)..=(to as usize).min(PARTS - 1);
            for place in places {
                let inside = to.min(place as f64 + 1.0) - from.max(place as f64);
                if let Some(busy) = busy.get_mut(place) {
                    *busy += inside.max(0.0);
                }
            }
        }
        busy.into_iter().map(|busy| busy / self.slots.max(1) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilisation_is_the_share_of_slots_at_work() {
        let second = |s| Time(Duration::from_secs(s));
        let mut tally = Tally::new(2, 2);
        tally.started(second(1));
        tally.worked(0, second(1), second(5), true);
        tally.worked(1, second(3), second(5), true);
        tally.ended(second(5));
        let summary = tally.finish(second(9));
        assert!((summary.utilisation() - 0.75).abs() < 1e-9, "{}", summary.utilisation());
        assert!((summary.utilisation_over_time[0] - 0.5).abs() < 1e-9);
        assert!((summary.utilisation_over_time[PARTS - 1] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_copy_is_an_attempt_beside_another() {
        let task = |shard| TaskId { round: Round(1), shard };
        let mut tally = Tally::new(1, 1);
        tally.dispatched(Time::default(), task(0));
        tally.dispatched(Time::default(), task(1));
        tally.dispatched(Time::default(), task(0));
        tally.ended_attempt(task(1));
        tally.dispatched(Time(Duration::from_secs(1)), task(1));
        assert_eq!((tally.so_far.copies, tally.so_far.waits.len()), (1, 2));
    }

    #[test]
    fn quantiles() {
        let of: Vec<Duration> = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!((quantile(&of, 0.5).as_secs(), quantile(&of, 0.99).as_secs()), (51, 100));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
