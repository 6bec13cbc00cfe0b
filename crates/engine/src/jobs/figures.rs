//! Owns how far a job is, in numbers.

use serde::{Deserialize, Serialize};

/// What an inference job has done. Times are seconds from the start of a query's batch on its node to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Queries answered.
    pub done: u64,
    /// All queries.
    pub total: u64,
    /// Of those done: inputs that cannot be used.
    pub failed: u64,
    /// Queries of a batch, now.
    pub batch_size: u32,
    /// The mean time.
    pub mean_s: f64,
    /// Its standard deviation.
    pub std_s: f64,
    /// The times that 25%, 50%, 75%, 95% and 99% of the queries took at most.
    pub percentiles_s: [f64; 5],
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The round at work, from 1.
    pub round: u32,
    /// How many there will be.
    pub rounds: u32,
    /// Tasks done in this round.
    pub tasks_done: u32,
    /// Tasks of a round.
    pub tasks: u32,
}

/// What a job that learns from a stream has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// The version of the model, counted from 0.
    pub version: u64,
    /// Changes that were applied.
    pub updates: u64,
    /// Changes that were too stale, and whose rows were learnt from again.
    pub stale: u64,
    /// Mini-batches whose change is in the model.
    pub batches: u64,
    /// Rows whose change is in the model; those of each epoch count again.
    pub rows: u64,
    /// Rows that wait in the queue; 0 if there is none.
    pub waiting: u64,
    /// The mean number of versions between the one that a change started from and the one it was applied to.
    pub mean_staleness: f64,
}
