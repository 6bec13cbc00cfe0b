//! Owns what a client asks of a training job, and whether that can be done.

use crate::jobs::{Corpus, JobError, Quorum};
use crate::model::FoldSettings;
use crate::model::OuterSettings;
use crate::model::{Activation, GradientDescent, Init, Learning, Method};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The original system's rule: stop when the summed loss changes by no more than this between two epochs.
pub const EARLY_STOP: f64 = 0.2;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRequest {
    /// How often the changes are folded; 1 to 1,000,000.
    pub rounds: u32,
    /// Passes of each task over its rows; 1 to 1,000,000.
    pub epochs: u32,
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// The learning rate: for gradients summed over a shard's rows without `method`, for mean gradients with it.
    pub eta: f64,
    /// Where the first weights, the order of rows and dropout come from.
    pub seed: u64,
    /// What hidden units do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub activation: Activation,
    /// How the first weights are drawn; by default as suits the rule and the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// Whether features (and values to be learnt) are standardised, by their moments over all shards.
    #[serde(default, skip_serializing_if = "is_default")]
    pub standardize: bool,
    /// How a task learns; without it by the original's rule: full batch, summed gradients, early stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Into how many equal parts all rows are cut, each a task of a round; without it each shard is a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// How the changes of a round become one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fold: FoldSettings,
    /// How that becomes the next weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outer: OuterSettings,
    /// When the job ends before its last round.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stopping: Stopping,
    /// When a round closes without its last tasks; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_close: Option<EarlyClose>,
}

/// Whether a setting need not be written.
fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

/// When a job ends before its last round; its model is then the best that was measured, not the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stopping {
    /// As soon as the validation error is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_error: Option<f64>,
    /// After this many rounds in a row without a better validation error; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// After this many seconds, but not before a round is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_s: Option<f64>,
}

/// When a round closes without its last tasks. The same model then needs the same tasks to be counted; each round says
/// which were not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyClose {
    /// The share of a round's tasks that must have answered; above 0, at most 1.
    pub quorum: f64,
    /// Seconds since the round's start before which it waits for all; without it, until the others would usually have
    /// answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<f64>,
}

impl EarlyClose {
    /// As the engine wants it.
    pub(super) fn quorum(&self) -> Quorum {
        // Deadlines out of range were refused.
        let deadline = self.deadline_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Quorum { share: self.quorum, deadline }
    }

    fn check(&self) -> Result<(), JobError> {
        if !(self.quorum > 0.0 && self.quorum <= 1.0) {
            return range("round quorum", self.quorum, "above 0 and at most 1");
        }
        match self.deadline_s.filter(|seconds| !(*seconds > 0.0 && *seconds <= 1e9)) {
            Some(seconds) => range("round deadline", seconds, "above 0 and at most 1e9 seconds"),
            None => Ok(()),
        }
    }
}

impl Stopping {
    /// Whether the job may end before its last round.
    pub fn is_asked(&self) -> bool {
        *self != Self::default()
    }
}

impl TrainingRequest {
    /// A request as the original system's client makes it: each task is full-batch gradient descent on a shard.
    pub fn original(rounds: u32, epochs: u32, hidden: Vec<usize>, eta: f64, seed: u64) -> Self {
        Self {
            rounds,
            epochs,
            hidden,
            eta,
            seed,
            activation: Activation::Relu,
            init: None,
            standardize: false,
            method: None,
            replicas: None,
            fold: FoldSettings::default(),
            outer: OuterSettings::default(),
            stopping: Stopping::default(),
            early_close: None,
        }
    }

    /// How a task learns, unless it is by the original's rule.
    pub fn learning(&self) -> Option<Learning> {
        let method = self.method.clone()?;
        Some(Learning { epochs: self.epochs, eta: self.eta, method })
    }

    /// The rule by which first weights are drawn.
    pub fn init(&self) -> Init {
        self.init.unwrap_or(match (&self.method, self.activation) {
            (None, _) => Init::Small,
            (Some(_), Activation::Tanh) => Init::Glorot,
            (Some(_), Activation::Relu | Activation::Gelu) => Init::He,
        })
    }

    /// Tasks of a round.
    pub(super) fn tasks(&self, corpus: &Corpus) -> usize {
        self.replicas.map_or(corpus.shards.len(), |replicas| replicas as usize)
    }

    /// Checks all that can be known before the job starts.
    pub(super) fn check(&self, corpus: &Corpus) -> Result<(), JobError> {
        within("rounds", self.rounds, 1, 1_000_000)?;
        if self.hidden.is_empty() || self.hidden.len() > 16 {
            return range("hidden layers", self.hidden.len(), "from 1 to 16");
        }
        if corpus.shards.is_empty() || corpus.shards.len() > 1_000_000 {
            return range("shards", corpus.shards.len(), "from 1 to 1,000,000");
        }
        if let Some(empty) = corpus.shards.iter().find(|shard| shard.rows == 0) {
            return range("rows", format!("0 in {}", empty.name), "at least 1 in each shard");
        }
        let rows: u64 = corpus.shards.iter().map(|shard| shard.rows).sum();
        if let Some(replicas) = self.replicas {
            let most = rows.min(65_536);
            if replicas == 0 || u64::from(replicas) > most {
                return range("replicas per round", replicas, &format!("from 1 to {most}"));
            }
        }
        match self.learning() {
            Some(learning) => learning.check()?,
            None => self.check_original(corpus)?,
        }
        if corpus.classes.is_empty() && self.method.as_ref().is_some_and(|method| method.label_smoothing > 0.0) {
            return Err(JobError::Needs { what: "label smoothing", needs: "classes to learn, not values" });
        }
        self.fold.check_for(self.tasks(corpus))?;
        self.outer.check()?;
        self.early_close.map_or(Ok(()), |early| early.check())?;
        self.stopping.check()
    }

    /// The original's rule knows one kind of network and of data.
    fn check_original(&self, corpus: &Corpus) -> Result<(), JobError> {
        GradientDescent::new(self.eta, self.epochs, EARLY_STOP)?;
        for (what, wanted) in [
            ("an activation other than relu", self.activation != Activation::Relu),
            ("standardising", self.standardize),
            ("a number of replicas per round", self.replicas.is_some()),
            ("learning values", corpus.classes.is_empty()),
        ] {
            if wanted {
                return Err(JobError::Needs {
                    what,
                    needs: "an optimizer; without one the original's rule is used",
                });
            }
        }
        Ok(())
    }
}

impl Stopping {
    /// Fails if a limit is out of its range.
    pub(in crate::jobs) fn check(&self) -> Result<(), JobError> {
        if let Some(error) = self.target_error.filter(|error| !(error.is_finite() && *error >= 0.0)) {
            return range("target error", error, "0 or more");
        }
        if self.patience == Some(0) {
            return range("patience", 0, "at least 1 round");
        }
        match self.max_time_s.filter(|seconds| !(*seconds > 0.0 && *seconds <= 1e9)) {
            Some(seconds) => range("max time", seconds, "above 0 and at most 1e9 seconds"),
            None => Ok(()),
        }
    }
}

fn within(field: &'static str, value: u32, least: u32, most: u32) -> Result<(), JobError> {
    if (least..=most).contains(&value) { Ok(()) } else { range(field, value, &format!("from {least} to {most}")) }
}

fn range<T>(field: &'static str, value: impl ToString, range: &str) -> Result<T, JobError> {
    Err(JobError::Range { field, value: value.to_string(), range: range.to_owned() })
}
