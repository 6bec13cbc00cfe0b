//! Owns the settings of learning by mini-batches, and what is said of it afterwards.

use super::error::ModelError;
use serde::{Deserialize, Serialize};

/// How a model learns from a part of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// Passes over the rows; 1 to 1,000,000.
    pub epochs: u32,
    /// The learning rate at the schedule's height; above 0, at most 1e6.
    pub eta: f64,
    /// All else.
    pub method: Method,
}

/// Mini-batches, an optimiser on the mean gradient of each, a learning rate that follows a schedule over the whole job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Rows of a step; `None` takes all rows at once.
    pub batch_size: Option<u32>,
    /// Whether each epoch takes the rows in a new random order, or in theirs.
    pub shuffle: bool,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// What turns a gradient into a step.
    pub optimizer: OptimizerSettings,
    /// L2 penalty, or decoupled decay, as the optimiser has it; at least 0.
    pub weight_decay: f64,
    /// A gradient whose Euclidean norm is above this is scaled down to it.
    pub clip_norm: Option<f64>,
    /// The share of hidden units that are left out of a row's step; from 0, below 1.
    pub dropout: f64,
    /// The share of a class target that goes to all classes evenly; from 0, below 1. For classes only.
    pub label_smoothing: f64,
    /// FedProx's mu (Li et al. 2020): `mu (w - w_start)` is added to the gradient; at least 0.
    pub proximal: f64,
}

/// An optimiser and its numbers; each uses those it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Its name in the table of optimisers.
    pub name: String,
    /// For `momentum` and `nesterov`; from 0, below 1.
    pub momentum: f64,
    /// For `adam` and `adamw`; from 0, below 1.
    pub beta1: f64,
    /// For `adam` and `adamw`; from 0, below 1.
    pub beta2: f64,
    /// For `adam` and `adamw`; above 0.
    pub epsilon: f64,
}

impl OptimizerSettings {
    /// The optimiser of this name with the customary numbers.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), momentum: 0.9, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// The learning rate over the whole job, as a factor of `eta`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name in the table of schedules: `constant`, `cosine`, `one-cycle`.
    pub name: String,
    /// The share of the job in which the rate grows linearly from 0 before the schedule begins; from 0, below 1.
    pub warmup: f64,
}

/// Where a task stands in its job, and where its random numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The share of the job that is done when the task begins, from 0.
    pub from: f64,
    /// The share of the job that is done when the task ends, up to 1.
    pub to: f64,
    /// The job's seed.
    pub seed: u64,
    /// A number that no other task of the job has.
    pub stream: u64,
}

/// How learning went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// The mean over the rows of the last epoch of minus the log-probability of the right class, or of half the squared
    /// error; each row's by the weights it met.
    pub loss: f64,
    /// The share of the rows of the last epoch that were given a wrong class, each by the weights it met; for values the
    /// root of the mean squared error, in the values' own unit.
    pub error: f64,
    /// Steps taken.
    pub steps: u64,
}

impl Learning {
    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), ModelError> {
        let setting = |field, value: f64, range, good: bool| {
            if good { Ok(()) } else { Err(ModelError::Setting { field, value, range }) }
        };
        let method = &self.method;
        let share = |value: f64| (0.0..1.0).contains(&value);
        let amount = |value: f64| (0.0..=1e6).contains(&value);
        let epochs = (1..=1_000_000).contains(&self.epochs);
        setting("epochs", self.epochs.into(), "from 1 to 1000000", epochs)?;
        let batch = method.batch_size.unwrap_or(1);
        setting("batch_size", batch.into(), "from 1 to 16777216", (1..=1 << 24).contains(&batch))?;
        setting("eta", self.eta, "above 0 and at most 1e6", self.eta > 0.0 && self.eta <= 1e6)?;
        setting("warmup", method.schedule.warmup, "from 0, below 1", share(method.schedule.warmup))?;
        setting("momentum", method.optimizer.momentum, "from 0, below 1", share(method.optimizer.momentum))?;
        setting("beta1", method.optimizer.beta1, "from 0, below 1", share(method.optimizer.beta1))?;
        setting("beta2", method.optimizer.beta2, "from 0, below 1", share(method.optimizer.beta2))?;
        let epsilon = method.optimizer.epsilon;
        setting("epsilon", epsilon, "above 0 and at most 1", epsilon > 0.0 && epsilon <= 1.0)?;
        setting("weight_decay", method.weight_decay, "from 0 to 1e6", amount(method.weight_decay))?;
        let clip = method.clip_norm.unwrap_or(1.0);
        setting("clip_norm", clip, "above 0", clip > 0.0 && clip.is_finite())?;
        setting("dropout", method.dropout, "from 0, below 1", share(method.dropout))?;
        setting("label_smoothing", method.label_smoothing, "from 0, below 1", share(method.label_smoothing))?;
        setting("proximal", method.proximal, "from 0 to 1e6", amount(method.proximal))
    }
}
