//! Owns how fast a node is beside others: 1 is usual, 2 takes twice as long.

use super::share::Share;
use crate::types::{JobId, Time};
use std::time::Duration;

/// The weight of the newest observation in the running means.
pub(super) const NEWEST: f64 = 0.25;

/// What is known of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// From all that it did, and when that was learnt.
    known: Option<(f64, Time)>,
    /// The same of tasks that it has done, without those that were given up.
    proven: Option<(f64, Time)>,
    /// The job that it was learnt from last, and what a unit of cost of that job usually took then.
    from: Option<(JobId, f64)>,
}

/// A task and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) job: JobId,
    pub(super) cost: f64,
    pub(super) time: Duration,
}

impl Pace {
    /// A task is done.
    pub(super) fn done(&mut self, now: Time, taken: Taken, share: &Share) {
        self.took(now, taken, share);
        self.proven = renewed(self.proven, now, taken, share);
    }

    /// A task took so long, or longer: it may have been given up.
    pub(super) fn took(&mut self, now: Time, taken: Taken, share: &Share) {
        self.rebase(taken.job, share);
        self.known = renewed(self.known, now, taken, share);
    }

    /// A task would have taken longer than this: that it was given up early makes no node faster.
    pub(super) fn took_longer_than(&mut self, now: Time, taken: Taken, share: &Share) {
        let expected = self.now(share).map(|(pace, _)| pace * share.load(taken.job, taken.cost));
        if expected.is_none_or(|expected| taken.time.as_secs_f64() > expected) {
            self.took(now, taken, share);
        }
    }

    /// That tasks took long says nothing, unless they were done.
    pub(super) fn forget_unproven(&mut self) {
        self.known = self.proven;
    }

    /// What is known, and since when.
    pub(super) fn now(&self, share: &Share) -> Option<(f64, Time)> {
        self.known.map(|(pace, at)| (pace * self.drift(share), at))
    }

    /// By how much all that is known of the node has changed because what is usual has.
    fn drift(&self, share: &Share) -> f64 {
        let since = |(job, then): (JobId, f64)| Some(then / share.pace(job)?);
        self.from.and_then(since).unwrap_or(1.0)
    }

    fn rebase(&mut self, job: JobId, share: &Share) {
        let drift = self.drift(share);
        for pace in [&mut self.known, &mut self.proven] {
            *pace = pace.map(|(pace, at)| (pace * drift, at));
        }
        self.from = share.pace(job).map(|pace| (job, pace));
    }
}

/// A pace with what was learnt of one more task.
fn renewed(known: Option<(f64, Time)>, now: Time, taken: Taken, share: &Share) -> Option<(f64, Time)> {
    let load = share.load(taken.job, taken.cost);
    let newest = taken.time.as_secs_f64() / load.max(f64::MIN_POSITIVE);
    let known = known.map_or(newest, |(known, _)| known);
    Some((known + NEWEST * (newest - known), now))
}
