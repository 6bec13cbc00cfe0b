//! Owns how the tasks of this process have ended, in numbers.

use crate::engine::{Event, Outcome};
use std::sync::atomic::{AtomicU64, Ordering};

/// How tasks have ended since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskCounts {
    /// With an answer.
    pub done: u64,
    /// The node was too loaded.
    pub refused: u64,
    /// The node says that they cannot be done.
    pub impossible: u64,
    /// The node went away, or nobody waited any more.
    pub lost: u64,
}

/// The same while it grows.
#[derive(Default)]
pub(super) struct Tally {
    done: AtomicU64,
    refused: AtomicU64,
    impossible: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    /// Counts what is the end of a task.
    pub(super) fn note(&self, event: &Event) {
        let Event::Ended { outcome, .. } = event else { return };
        let count = match outcome {
            Outcome::Done { .. } => &self.done,
            Outcome::Refused => &self.refused,
            Outcome::Impossible { .. } => &self.impossible,
            Outcome::Lost { .. } => &self.lost,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them.
    pub(super) fn read(&self) -> TaskCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Self { done, refused, impossible, lost } = self;
        TaskCounts { done: read(done), refused: read(refused), impossible: read(impossible), lost: read(lost) }
    }
}
