//! Owns the line of tasks that wait for a node: jobs take turns by their shares; of a job the tasks are in the order in
//! which they came, but for those that were lost, which go first.

use super::share::Share;
use crate::types::{JobId, NodeId, TaskId};
use std::collections::BTreeMap;
use std::iter::Peekable;

/// A place in the line; of one job, lower ones go first.
pub(super) type Place = (JobId, i64);

/// A task in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) task: TaskId,
    pub(super) cost: f64,
    pub(super) queries: u32,
    /// Whether nodes of the original system can do it.
    pub(super) for_originals: bool,
}

/// The tasks of one job: those that any node can do and those that need one of ours, so that neither hides the other.
#[derive(Default)]
struct OfJob {
    ours: BTreeMap<i64, Waiting>,
    anybody: BTreeMap<i64, Waiting>,
    /// Those of ours that a node was told to get ready for: others take them last.
    reserved: BTreeMap<(NodeId, i64), Waiting>,
    reserved_for: BTreeMap<i64, NodeId>,
    cost: f64,
}

impl OfJob {
    fn len(&self) -> usize {
        self.ours.len() + self.anybody.len() + self.reserved.len()
    }

    fn remove(&mut self, at: i64) -> Option<Waiting> {
        if let Some(node) = self.reserved_for.remove(&at) {
            return self.reserved.remove(&(node, at));
        }
        self.ours.remove(&at).or_else(|| self.anybody.remove(&at))
    }

    /// What is reserved for a node.
    fn reserved_for(&self, node: NodeId) -> impl Iterator<Item = (i64, Waiting)> {
        let all = (node, i64::MIN)..=(node, i64::MAX);
        self.reserved.range(all).map(|(&(_, at), &waiting)| (at, waiting))
    }

    /// The task that this node should have, of those that need one of ours.
    fn best_for(&self, node: NodeId) -> Option<(i64, Waiting)> {
        let unreserved = || self.ours.first_key_value().map(|(&at, &waiting)| (at, waiting));
        let of_others = || self.reserved.first_key_value().map(|(&(_, at), &waiting)| (at, waiting));
        self.reserved_for(node).next().or_else(unreserved).or_else(of_others)
    }

    fn release(&mut self, node: NodeId) {
        let reserved: Vec<(i64, Waiting)> = self.reserved_for(node).collect();
        for (at, waiting) in reserved {
            self.reserved.remove(&(node, at));
            self.reserved_for.remove(&at);
            self.ours.insert(at, waiting);
        }
    }

    fn iter(&self, ours: bool) -> impl Iterator<Item = (i64, Waiting)> {
        let most = if ours { usize::MAX } else { 0 };
        let reserved = self.reserved.iter().take(most).map(|(&(_, at), &waiting)| (at, waiting));
        let ours = self.ours.iter().take(most);
        Merged { ours: ours.peekable(), anybody: self.anybody.iter().peekable() }.chain(reserved)
    }
}

/// The line.
#[derive(Default)]
pub(super) struct Line {
    /// Those with tasks in it.
    jobs: BTreeMap<JobId, OfJob>,
    pub(super) share: Share,
    first: i64,
    last: i64,
    len: usize,
}

impl Line {
    /// Puts a task before all others of its job.
    pub(super) fn put_first(&mut self, job: JobId, waiting: Waiting) -> Place {
        self.first -= 1;
        self.put((job, self.first), waiting)
    }

    /// Puts a task behind all others of its job.
    pub(super) fn put_last(&mut self, job: JobId, waiting: Waiting) -> Place {
        self.last += 1;
        self.put((job, self.last), waiting)
    }

    fn put(&mut self, place: Place, waiting: Waiting) -> Place {
        let of = self.jobs.entry(place.0).or_default();
        of.cost += waiting.cost;
        let part = if waiting.for_originals { &mut of.anybody } else { &mut of.ours };
        part.insert(place.1, waiting);
        self.len += 1;
        self.share.waits(place.0);
        place
    }

    /// Takes a task away: it needs no node any more.
    pub(super) fn take(&mut self, place: Place) {
        if self.bind(place) {
            self.share.waits_no_more(place.0);
        }
    }

    /// Takes a task away that waits for a slot of a certain node from now on; whether it was there.
    pub(super) fn bind(&mut self, (job, at): Place) -> bool {
        let Some(of) = self.jobs.get_mut(&job) else { return false };
        let Some(gone) = of.remove(at) else { return false };
        of.cost = (of.cost - gone.cost).max(0.0);
        self.len -= 1;
        // Rounding must not leave a rest behind.
        if of.len() == 0 {
            self.jobs.remove(&job);
        }
        true
    }

    /// The task of a job that this node should have, of those that need a node of ours.
    pub(super) fn best_for(&self, job: JobId, node: NodeId) -> Option<(Place, Waiting)> {
        let (at, waiting) = self.jobs.get(&job)?.best_for(node)?;
        Some(((job, at), waiting))
    }

    /// Reserves a task of a job for a node, if there is one that is for nobody yet, and fewer than `most` are for this one.
    pub(super) fn reserve(&mut self, job: JobId, node: NodeId, most: usize) -> Option<TaskId> {
        let of = self.jobs.get_mut(&job)?;
        if of.reserved_for(node).count() >= most {
            return None;
        }
        let (at, waiting) = of.ours.pop_first()?;
        of.reserved.insert((node, at), waiting);
        of.reserved_for.insert(at, node);
        Some(waiting.task)
    }

    /// Nothing is reserved for a node any more.
    pub(super) fn release(&mut self, node: NodeId) {
        self.jobs.values_mut().for_each(|of| of.release(node));
    }

    /// The job that is first in turn.
    pub(super) fn first(&self) -> Option<JobId> {
        self.share.first(self.jobs.keys().copied())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many tasks wait, with those that jobs would hand out if there were room, and the seconds that all of them should
    /// take on usual nodes.
    pub(super) fn work(&self) -> (usize, f64) {
        let of_job = |(&job, of): (&JobId, &OfJob)| {
            let unmade = self.share.unmade(job) as f64;
            let tasks = of.len() as f64 + unmade;
            (tasks, self.share.load(job, of.cost) * tasks / of.len() as f64)
        };
        let sum = |sum: (f64, f64), of: (f64, f64)| (sum.0 + of.0, sum.1 + of.1);
        let (tasks, load) = self.jobs.iter().map(of_job).fold((0.0, 0.0), sum);
        (tasks as usize, load)
    }

    /// Whether a job has a task in it.
    pub(super) fn has(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// The first tasks in the order in which they are to be served, at most so many; with `ours` also those that need a node
    /// of ours.
    pub(super) fn head(&self, ours: bool, most: usize) -> Vec<(Place, Waiting)> {
        if let (1, Some((&job, of))) = (self.jobs.len(), self.jobs.first_key_value()) {
            return of.iter(ours).take(most).map(|(at, waiting)| ((job, at), waiting)).collect();
        }
        let mut tasks = BTreeMap::new();
        for (&job, of) in &self.jobs {
            let mut of_job = of.iter(ours).peekable();
            if of_job.peek().is_some() {
                tasks.insert(job, of_job);
            }
        }
        let mut picks = self.share.picks(tasks.keys().copied());
        let mut head = Vec::with_capacity(most.min(self.len));
        let mut take = |job: JobId| {
            let tasks = tasks.get_mut(&job)?;
            let (at, waiting) = tasks.next()?;
            Some((((job, at), waiting), waiting.queries, waiting.cost, tasks.peek().is_some()))
        };
        while head.len() < most
            && let Some(next) = picks.next(&mut take)
        {
            head.push(next);
        }
        head
    }
}

/// Both parts of a job's tasks as one.
struct Merged<A: Iterator, B: Iterator> {
    ours: Peekable<A>,
    anybody: Peekable<B>,
}

impl<'a, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (&'a i64, &'a Waiting)>,
    B: Iterator<Item = (&'a i64, &'a Waiting)>,
{
    type Item = (i64, Waiting);

    fn next(&mut self) -> Option<Self::Item> {
        let ours_first = match (self.ours.peek(), self.anybody.peek()) {
            (Some((ours, _)), Some((anybody, _))) => ours < anybody,
            (ours, _) => ours.is_some(),
        };
        let next = if ours_first { self.ours.next() } else { self.anybody.next() };
        next.map(|(&place, &waiting)| (place, waiting))
    }
}
