//! Owns what is told of a trial: to those who watch the job, and in its output.

use super::setting::Configuration;
use crate::types::exact;
use serde::{Deserialize, Serialize};

/// A trial as it stands when a rung of it has ended; the detail of a closed round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1.
    pub number: u32,
    /// What it sets, beside what all set.
    pub configuration: Configuration,
    /// What has become of it.
    pub state: TrialState,
    /// The metric: its mean over the folds at the end of the last rung; `None` if it failed.
    #[serde(with = "exact::option", default)]
    pub metric: Option<f64>,
    /// The deviation of the metric over the folds; 0 without folds.
    #[serde(default)]
    pub std: f64,
    /// The metric of each fold; one without folds.
    #[serde(default)]
    pub folds: Vec<f64>,
    /// The metric at the end of each rung, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rungs: Vec<f64>,
    /// The share of its whole that it has come to, from 0 to 1.
    pub share: f64,
    /// Seconds of work on nodes, all folds and rungs together.
    pub seconds: f64,
    /// The nodes that worked at it, host:port.
    pub nodes: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Trials that go on because of this result, by their numbers, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promoted: Vec<u32>,
}

/// What has become of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It came to its end.
    Done,
    /// It goes on to its next rung.
    GoesOn,
    /// It goes on if it is among the best later; where nothing is left to come, it is stopped.
    Paused,
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed,
}

impl TrialState {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GoesOn => "goes on",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Sorts trials: the best first, those that came further before those that did not, those that failed last.
pub fn sort(trials: &mut [Trial], more_is_better: bool) {
    let key =
        |trial: &Trial| trial.metric.map_or(f64::INFINITY, |metric| if more_is_better { -metric } else { metric });
    trials.sort_by(|a, b| {
        let further = b.share.total_cmp(&a.share);
        let failed = a.metric.is_none().cmp(&b.metric.is_none());
        failed.then(further).then(key(a).total_cmp(&key(b))).then(a.number.cmp(&b.number))
    });
}
