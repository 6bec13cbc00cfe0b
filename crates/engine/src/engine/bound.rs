//! Owns the tasks that are bound to one node and wait for a slot of it: by job, and of a job in the order in which they came.

use super::share::Share;
use crate::policy::Reason;
use crate::types::{JobId, TaskId};
use std::collections::{BTreeMap, VecDeque};

/// A task that waits for a slot of one node.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) job: JobId,
    pub(super) task: TaskId,
    pub(super) cost: f64,
    pub(super) reason: Reason,
}

/// All of one node.
#[derive(Default)]
pub(super) struct Queue {
    jobs: BTreeMap<JobId, VecDeque<Bound>>,
    /// The costs of each job's.
    costs: BTreeMap<JobId, f64>,
    len: usize,
}

impl Queue {
    pub(super) fn push(&mut self, bound: Bound) {
        self.len += 1;
        *self.costs.entry(bound.job).or_default() += bound.cost;
        self.jobs.entry(bound.job).or_default().push_back(bound);
    }

    /// The first task of a job.
    pub(super) fn pop(&mut self, job: JobId) -> Option<Bound> {
        let of_job = self.jobs.get_mut(&job)?;
        let bound = of_job.pop_front()?;
        self.len -= 1;
        if of_job.is_empty() {
            self.jobs.remove(&job);
            self.costs.remove(&job);
        } else if let Some(cost) = self.costs.get_mut(&job) {
            *cost -= bound.cost;
        }
        Some(bound)
    }

    /// Takes away all of a job.
    pub(super) fn drop_job(&mut self, job: JobId) {
        self.len -= self.jobs.remove(&job).map_or(0, |of_job| of_job.len());
        self.costs.remove(&job);
    }

    /// The first task of a job, if there is one.
    pub(super) fn first_of(&self, job: JobId) -> Option<&Bound> {
        self.jobs.get(&job)?.front()
    }

    /// The jobs that have tasks in it.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Bound> {
        self.jobs.values().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The seconds that all should take on a usual node.
    pub(super) fn load(&self, share: &Share) -> f64 {
        self.costs.iter().map(|(&job, &cost)| share.load(job, cost.max(0.0))).sum()
    }
}
