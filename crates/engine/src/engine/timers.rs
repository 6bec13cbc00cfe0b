//! Owns when the engine has to look at something again: one moment for each thing, and all of them in order.

use crate::types::{JobId, NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// What there is to look at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A node that does not answer is to be probed.
    Probe(NodeId),
    /// A node's pause ends.
    Pause(NodeId),
    /// A node has been at work in silence for long.
    Silence(NodeId),
    /// A node may be sent a task ahead.
    Ahead(NodeId),
    /// The first of a job's attempts may be overdue.
    Overdue(JobId),
    /// A job's time may be up.
    Limit(JobId),
    /// A job may have been without progress for too long.
    GiveUp(JobId),
    /// A job's round may be closed without its last tasks.
    Quorum(JobId),
    /// A job that saves all the time may save again.
    Save(JobId),
    /// Nodes at work should be done, and tasks wait for them.
    Plan,
    /// Records have waited for the store for so long that a user wonders.
    Store,
    /// Those who watch jobs are told how they stand.
    Tell,
}

/// The timers that are set.
#[derive(Default)]
pub(super) struct Timers {
    set: BTreeMap<Timer, Time>,
    order: BTreeSet<(Time, Timer)>,
}

impl Timers {
    /// Sets a timer, instead of what it was set to, or stops it.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Time>) {
        let before = match at {
            Some(at) => self.set.insert(timer, at),
            None => self.set.remove(&timer),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, timer));
        }
        if let Some(at) = at {
            self.order.insert((at, timer));
        }
    }

    /// Sets a timer, unless it is set to an earlier moment.
    pub(super) fn set_by(&mut self, timer: Timer, at: Time) {
        if self.set.get(&timer).is_none_or(|&before| at < before) {
            self.set(timer, Some(at));
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.set.contains_key(&timer)
    }

    /// When the first one rings.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Stops those that have come to their time, and answers with them in order.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some(&(at, timer)) = self.order.first().filter(|(at, _)| *at <= now) {
            self.order.remove(&(at, timer));
            self.set.remove(&timer);
            due.push(timer);
        }
        due
    }

    /// How many are set.
    pub(super) fn count(&self) -> usize {
        self.set.len()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.set.len(), self.order.len());
        self.set.len()
    }
}
