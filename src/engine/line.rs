//! Owns the line of tasks that wait for a node: by job in the order of submission, and of a job in the order in which
//! they came, but for those that were lost, which go first.

use crate::types::{JobId, TaskId};
use std::collections::BTreeMap;
use std::iter::Peekable;

/// A place in the line; lower ones go first.
pub(super) type Place = (JobId, i64);

/// A task in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) task: TaskId,
    pub(super) cost: f64,
    /// Whether nodes of the original system can do it.
    pub(super) for_originals: bool,
}

/// The line: tasks that any node can do and those that need one of ours, so that neither hides the other.
#[derive(Default)]
pub(super) struct Line {
    ours: BTreeMap<Place, Waiting>,
    anybody: BTreeMap<Place, Waiting>,
    first: i64,
    last: i64,
    cost: f64,
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
        self.cost += waiting.cost;
        self.of(waiting.for_originals).insert(place, waiting);
        place
    }

    pub(super) fn take(&mut self, place: Place) {
        let Some(gone) = self.ours.remove(&place).or_else(|| self.anybody.remove(&place)) else { return };
        // Rounding must not leave a rest behind.
        self.cost = if self.is_empty() { 0.0 } else { (self.cost - gone.cost).max(0.0) };
    }

    fn of(&mut self, for_originals: bool) -> &mut BTreeMap<Place, Waiting> {
        if for_originals { &mut self.anybody } else { &mut self.ours }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.anybody.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ours.len() + self.anybody.len()
    }

    /// The cost of all that waits.
    pub(super) fn cost(&self) -> f64 {
        self.cost
    }

    /// Whether a job has a task in it.
    pub(super) fn has(&self, job: JobId) -> bool {
        let any = |of: &BTreeMap<Place, Waiting>| of.range((job, i64::MIN)..=(job, i64::MAX)).next().is_some();
        any(&self.ours) || any(&self.anybody)
    }

    /// The tasks in order; with `ours` also those that need a node of ours.
    pub(super) fn iter(&self, ours: bool) -> impl Iterator<Item = (Place, Waiting)> {
        let ours = self.ours.iter().filter(move |_| ours);
        Merged { ours: ours.peekable(), anybody: self.anybody.iter().peekable() }
    }
}

/// Both parts of the line as one.
struct Merged<A: Iterator, B: Iterator> {
    ours: Peekable<A>,
    anybody: Peekable<B>,
}

impl<'a, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (&'a Place, &'a Waiting)>,
    B: Iterator<Item = (&'a Place, &'a Waiting)>,
{
    type Item = (Place, Waiting);

    fn next(&mut self) -> Option<Self::Item> {
        let ours_first = match (self.ours.peek(), self.anybody.peek()) {
            (Some((ours, _)), Some((anybody, _))) => ours < anybody,
            (ours, _) => ours.is_some(),
        };
        let next = if ours_first { self.ours.next() } else { self.anybody.next() };
        next.map(|(&place, &waiting)| (place, waiting))
    }
}
