//! Owns how much the engine holds, for those who check that nothing grows without bound.

use super::Engine;

/// How many things of each kind the engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Jobs that are not forgotten.
    pub jobs: usize,
    /// Nodes, with those that are remembered for what jobs had of them.
    pub nodes: usize,
    /// Tasks that wait for a node.
    pub waiting: usize,
    /// Attempts whose end has not been heard of.
    pub attempts: usize,
    /// Moments at which something is to be looked at.
    pub timers: usize,
    /// Records that are not durable.
    pub records: usize,
}

impl Engine {
    /// How much it holds now. Looks at nothing that grows.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            jobs: self.jobs.len(),
            nodes: self.nodes.known(),
            waiting: self.line.len(),
            attempts: self.attempts.len(),
            timers: self.timers.count(),
            records: self.books.behind().map_or(0, |(records, _)| records),
        }
    }
}
