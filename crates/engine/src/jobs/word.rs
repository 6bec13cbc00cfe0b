//! Owns what somebody outside can say to a job at work, and what it can answer.

use crate::data::shared::Blob;
use crate::model::Model;
use std::sync::Arc;

/// What is said to a job.
#[derive(Clone, Debug)]
pub enum Word {
    /// Rows for its queue.
    Feed {
        /// Who feeds: each feeder counts by itself.
        feeder: String,
        /// Which of the feeder's, from 0 and without gaps: one that was taken before is not taken again.
        number: u64,
        /// Numbers may be left out, since they are another queue's: any that is above those before is new.
        may_skip: bool,
        /// The rows as a data set.
        rows: Arc<Blob>,
    },
    /// This feeder has no more.
    FeedEnd {
        /// Who.
        feeder: String,
    },
    /// A change that a learner outside has come to.
    Update {
        /// Its own name: one that was applied before is not applied again.
        id: String,
        /// The version that the learner started from.
        version: u64,
        /// After minus before: for each layer the weights and then the biases, each row by row.
        parameters: Vec<Vec<f32>>,
        /// From how many rows it was learnt; 0 if that is not known.
        rows: u64,
    },
}

/// What a job answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// It has what it was given, now or since before. False: there is no room for it now; the same may be given later.
    pub is_taken: bool,
    /// The version of the model that has it, or the newest.
    pub version: u64,
    /// Of a feeder: the number after the last that was taken.
    pub next: u64,
    /// Of a feeder: rows that were learnt from and never will be again.
    pub acknowledged: u64,
    /// Rows that wait.
    pub waiting: u64,
}

/// A job does not take what it was told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A version of a model that is still being learnt.
#[derive(Clone, Debug)]
pub struct Version {
    /// Counts up from 0.
    pub number: u64,
    /// The model.
    pub model: Arc<Model>,
    /// The same as a file, with whatever it says beside its weights.
    pub blob: Arc<Blob>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && self.blob.digest() == other.blob.digest()
    }
}
