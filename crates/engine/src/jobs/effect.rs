//! Owns what follows from a result: what a job wants done, and what its rounds come to.

use crate::data::shared::Blob;
use crate::model::{Measured, Model};
use crate::types::{Digest, Round, exact};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What follows from a result.
#[derive(Debug)]
pub enum Effect {
    /// Measure this model, and tell [`Job::evaluated`](super::Job::evaluated).
    Evaluate {
        /// The round that the model closes.
        round: Round,
        /// The model.
        model: Arc<Model>,
        /// The rows to measure on.
        validation: Arc<Blob>,
    },
    /// What [`Job::save`](super::Job::save) gives has changed: it is to be kept.
    Save,
    /// The same, but only the newest matters: as soon as the store has taken what was saved before. For jobs that do not
    /// keep answers.
    SaveSoon,
    /// A round is over.
    Closed {
        /// Which.
        round: Round,
        /// What its model is worth.
        result: RoundResult,
        /// The tasks that it was closed without, by their places.
        left_out: Vec<u32>,
        /// What else its kind tells of it, as JSON.
        detail: Option<Box<str>>,
    },
    /// The job cannot go on.
    Failed {
        /// Why, for the user.
        reason: String,
    },
    /// The job is done.
    Finished {
        /// The SHA-256 of the weights, or of the answers: what the same request has for a result everywhere.
        weights: Digest,
        /// The model file, or the output.
        model: Arc<Blob>,
        /// The round whose model it is.
        round: Round,
        /// What it is worth, if it is a model.
        measured: Option<Box<Measured>>,
    },
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundResult {
    /// Wrong answers on the validation rows, as a share of them; of values the root mean squared error.
    #[serde(with = "exact")]
    pub validation_error: f64,
    /// The mean loss on the validation rows.
    #[serde(with = "exact")]
    pub validation_loss: f64,
    /// As the validation error, of the tasks' models on their own rows, before folding.
    #[serde(with = "exact")]
    pub training_error: f64,
    /// The mean loss on the training rows while they were learnt from, if the nodes tell it.
    #[serde(with = "exact::option")]
    pub training_loss: Option<f64>,
}
