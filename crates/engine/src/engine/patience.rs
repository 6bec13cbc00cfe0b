//! Owns how long to wait for a task before a copy of it is worth running elsewhere. It follows from what tasks have
//! taken; which attempts are late is found without looking at all of them.

use super::Attempt;
use crate::types::{AttemptId, Time};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How many of the last tasks count.
const WINDOW: usize = 255;
/// A task is overdue when it has taken the median and so many times the usual distance from it.
const SPREADS: f64 = 6.0;
/// The distance counts as at least this share of the median: the tasks of a quiet hour are all alike.
const LEAST_SPREAD: f64 = 0.25;
/// Below this a copy costs more than it saves: the noise of a busy machine.
const SLACK: Duration = Duration::from_millis(250);
/// As long as no task has been done all of them are overdue after this: the first may lie at nodes that never answer.
const FIRST: Duration = Duration::from_secs(60);
/// When the time after which tasks are overdue falls to this share, attempts are looked at sooner than was planned.
const QUICKER: f64 = 0.5;

/// What a job's tasks have taken, in seconds for a unit of cost.
#[derive(Default)]
pub(super) struct Patience {
    latest: VecDeque<f64>,
    sorted: Vec<f64>,
    /// A task that takes longer for a unit of cost is overdue.
    late: f64,
}

impl Patience {
    pub(super) fn learn(&mut self, taken: Duration, cost: f64) {
        let pace = taken.as_secs_f64() / cost.max(f64::MIN_POSITIVE);
        let oldest = if self.latest.len() == WINDOW { self.latest.pop_front() } else { None };
        if let Some(oldest) = oldest {
            let at = self.sorted.partition_point(|other| other.total_cmp(&oldest).is_lt());
            self.sorted.remove(at);
        }
        self.latest.push_back(pace);
        let at = self.sorted.partition_point(|other| other.total_cmp(&pace).is_lt());
        self.sorted.insert(at, pace);
        let median = self.sorted[self.sorted.len() / 2];
        self.late = median + SPREADS * spread(&self.sorted, median).max(LEAST_SPREAD * median);
    }

    /// The median of what a task of this cost would have taken; `None` before the first answer.
    pub(super) fn usual(&self, cost: f64) -> Option<Duration> {
        let median = self.sorted.get(self.sorted.len() / 2)?;
        Duration::try_from_secs_f64(median * cost).ok()
    }

    /// When a task of this cost is overdue; `None` if never.
    pub(super) fn overdue_after(&self, cost: f64) -> Option<Duration> {
        if self.sorted.is_empty() {
            return Some(FIRST);
        }
        Some(Duration::try_from_secs_f64(self.late * cost).ok()? + SLACK)
    }
}

/// The median distance from the median.
fn spread(sorted: &[f64], median: f64) -> f64 {
    let middle = sorted.len() / 2;
    let (mut below, mut above) = (middle, middle + 1);
    let mut distance = 0.0;
    // Outwards from the middle, the nearer side first.
    for _ in 0..middle {
        let down = below.checked_sub(1).and_then(|at| sorted.get(at)).map_or(f64::INFINITY, |pace| median - pace);
        let up = sorted.get(above).map_or(f64::INFINITY, |pace| pace - median);
        if down <= up {
            below = below.saturating_sub(1);
        } else {
            above += 1;
        }
        distance = down.min(up);
    }
    distance
}

/// A job's attempts in the order in which they will be overdue, as far as was known when that was last looked at.
#[derive(Default)]
pub(super) struct Watch {
    order: BTreeSet<(Time, AttemptId)>,
    /// The most that was late then, for a unit of cost.
    late: Option<f64>,
}

impl Watch {
    /// Watches an attempt; it may be overdue then.
    pub(super) fn add(&mut self, id: AttemptId, attempt: &mut Attempt, patience: &Patience) {
        let at = patience.overdue_after(attempt.cost).map_or(Time(Duration::MAX), |after| attempt.since + after);
        self.late = self.late.map(|late| late.max(patience.late));
        attempt.look = Some(at);
        self.order.insert((at, id));
    }

    pub(super) fn remove(&mut self, id: AttemptId, attempt: &mut Attempt) {
        if let Some(at) = attempt.look.take() {
            self.order.remove(&(at, id));
        }
    }

    /// When the first one may be overdue.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at).filter(|&at| at < Time(Duration::MAX))
    }

    /// The first one, if it may be overdue by now.
    pub(super) fn first_due(&self, now: Time) -> Option<AttemptId> {
        self.order.first().filter(|(at, _)| *at <= now).map(|&(_, id)| id)
    }

    /// All attempts, if tasks have become so quick that they have to be looked at sooner than planned.
    pub(super) fn outdated(&mut self, patience: &Patience) -> Vec<AttemptId> {
        if patience.sorted.is_empty() || self.late.is_some_and(|late| patience.late >= QUICKER * late) {
            return Vec::new();
        }
        self.late = Some(patience.late);
        self.order.iter().map(|&(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_median_distance_from_the_median() {
        let mut state = 7u64;
        for length in 1..60 {
            let mut random = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 40) as f64
            };
            let mut paces: Vec<f64> = (0..length).map(|_| random()).collect();
            paces.sort_by(f64::total_cmp);
            let median = paces[length / 2];
            let mut distances: Vec<f64> = paces.iter().map(|pace| (pace - median).abs()).collect();
            distances.sort_by(f64::total_cmp);
            assert_eq!(spread(&paces, median), distances[length / 2], "{paces:?}");
        }
    }

    #[test]
    fn old_tasks_are_forgotten() {
        let mut patience = Patience::default();
        assert_eq!(patience.overdue_after(1.0), Some(FIRST));
        for _ in 0..WINDOW {
            patience.learn(Duration::from_secs(8), 2.0);
        }
        assert_eq!(patience.usual(1.0), Some(Duration::from_secs(4)));
        assert_eq!(patience.overdue_after(1.0), Some(Duration::from_secs(10) + SLACK));
        for _ in 0..WINDOW {
            patience.learn(Duration::from_secs(1), 1.0);
        }
        assert_eq!(patience.usual(1.0), Some(Duration::from_secs(1)));
        assert_eq!((patience.sorted.len(), patience.latest.len()), (WINDOW, WINDOW));
    }
}
