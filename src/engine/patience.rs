//! Owns how long to wait for a task before a copy of it is worth running elsewhere, and when to ask whether a silent
//! node is still there. All of it follows from what tasks and probes have taken.

use super::{Action, Attempt, Engine};
use crate::types::{AttemptId, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// How many of the last tasks count.
const WINDOW: usize = 63;
/// A task is overdue when it has taken this many times the median.
const FACTOR: f64 = 4.0;
/// Below this a copy costs more than it saves: the noise of a busy machine.
const SLACK: Duration = Duration::from_millis(250);
/// A node that works in silence is asked at least this often whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What a job's tasks have taken, in seconds for a unit of cost.
#[derive(Default)]
pub(super) struct Patience {
    paces: VecDeque<f64>,
    median: Option<f64>,
}

impl Patience {
    pub(super) fn learn(&mut self, taken: Duration, cost: f64) {
        if self.paces.len() == WINDOW {
            self.paces.pop_front();
        }
        self.paces.push_back(taken.as_secs_f64() / cost);
        let mut sorted: Vec<f64> = self.paces.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        self.median = sorted.get(sorted.len() / 2).copied();
    }

    /// The median of what a task of this cost would have taken; `None` before the first answer.
    pub(super) fn usual(&self, cost: f64) -> Option<Duration> {
        Duration::try_from_secs_f64(self.median? * cost).ok()
    }

    /// When a task of this cost is overdue; `None` as long as nothing is known.
    pub(super) fn overdue_after(&self, cost: f64) -> Option<Duration> {
        Some(self.usual(cost)?.mul_f64(FACTOR) + SLACK)
    }
}

/// How long a node may work in silence: no longer than a task may take.
fn probe_every(overdue_after: Option<Duration>) -> Duration {
    overdue_after.map_or(PROBE_EVERY, |after| after.min(PROBE_EVERY))
}

impl Engine {
    /// When an attempt next needs a look: it becomes overdue, or its node is to be probed.
    pub(super) fn next_look_at(&self, attempt: &Attempt) -> Option<Time> {
        if attempt.abandoned {
            return None;
        }
        let run = self.jobs.get(&attempt.job)?;
        let patience = run.patience.overdue_after(attempt.cost);
        let overdue = patience.filter(|_| !attempt.overdue).map(|after| attempt.since + after);
        let node = &self.nodes[attempt.node.0 as usize];
        let probe = node.next_silence_probe(attempt.since, probe_every(patience));
        overdue.into_iter().chain(probe).min()
    }

    /// Asks for copies of overdue tasks, and probes nodes that have been silent for long.
    pub(super) fn look_after_attempts(&mut self, now: Time, actions: &mut Vec<Action>) {
        let due =
            self.attempts.iter().filter(|(_, attempt)| self.next_look_at(attempt).is_some_and(|at| at <= now));
        let due: Vec<AttemptId> = due.map(|(&id, _)| id).collect();
        for id in due {
            let Some(attempt) = self.attempts.get_mut(&id) else { continue };
            let Some(run) = self.jobs.get_mut(&attempt.job) else { continue };
            let patience = run.patience.overdue_after(attempt.cost);
            if !attempt.overdue && patience.is_some_and(|after| attempt.since + after <= now) {
                attempt.overdue = true;
                run.wait_last(attempt.task);
            }
            let node = &mut self.nodes[attempt.node.0 as usize];
            if node.next_silence_probe(attempt.since, probe_every(patience)).is_some_and(|at| at <= now) {
                actions.push(node.probe(now));
            }
        }
        let due = self.nodes.iter_mut().filter(|node| node.next_probe().is_some_and(|at| at <= now));
        actions.extend(due.map(|node| node.probe(now)));
    }

    /// How long to leave a node alone that has refused a task: a part of what the task would have taken.
    pub(super) fn refusal_pause(&self, attempt: &Attempt) -> Duration {
        let usual = self.jobs.get(&attempt.job).and_then(|run| run.patience.usual(attempt.cost));
        let pause = usual.map_or(Duration::from_millis(5), |usual| usual / 2);
        pause.clamp(Duration::from_millis(1), Duration::from_secs(1))
    }
}
