//! Owns the client's side of tuning: a job is submitted and watched, trial by trial; all of them and the model come back.

use super::{ClientError, NodeLine, Submitted, result, until_done};
use crate::jobs::tuning::{self, Trial, TrialState, TuningOutput, TuningRequest};
use crate::model::Measured;
use crate::wire::coordinator::{JobStatus, RoundReport};
use serde::{Deserialize, Serialize};

/// The result of a tuning job; as JSON it is what `--json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TuningReport {
    /// The number of the best trial.
    pub best: u32,
    /// What it is: settings, metric, and all else.
    pub best_trial: Option<Trial>,
    /// What the model that was learnt from all rows is worth on the validation rows, if one was.
    pub refit: Option<Measured>,
    /// From the client's start to the result, in seconds.
    pub wall_s: f64,
    /// The SHA-256 of the model's weights, or of the metrics of all trials.
    pub sha256: String,
    /// All trials, the best first.
    pub trials: Vec<Trial>,
    /// Their results in the order in which they came, with what followed from each: the end of a rung each, by trial.
    pub order: Vec<Outcome>,
    /// Each node.
    pub nodes: Vec<NodeLine>,
    /// The coordinator's address.
    pub coordinator: String,
    /// The data set's directory.
    pub dataset: String,
    /// What was asked for.
    pub tuning: TuningRequest,
    /// Bytes that this client sent.
    pub bytes_sent: u64,
    /// Bytes that this client received.
    pub bytes_received: u64,
    /// The model file, if a model was learnt.
    #[serde(skip)]
    pub model: Option<Vec<u8>>,
}

/// The end of a rung of a trial, and what followed from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The trial's number.
    pub trial: u32,
    /// What it had come to of its whole, from 0 to 1.
    pub share: f64,
    /// The metric; none if it failed.
    pub metric: Option<f64>,
    /// What became of it.
    pub state: TrialState,
    /// The trials that went on because of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promoted: Vec<u32>,
    /// When that was, in seconds since the job came.
    pub at_s: f64,
}

/// Watches a job to its end, whichever coordinator leads. Once `interrupted` says yes it is cancelled, if it is `ours`,
/// or else let be.
///
/// # Errors
/// The job ended without a result, there is none of this number, or nobody leads.
pub fn follow(
    submitted: Submitted,
    dataset: &str,
    ours: bool,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(&JobStatus, &[Trial]),
) -> Result<TuningReport, ClientError> {
    let start = submitted.start;
    let (mut order, mut elapsed) = (Vec::new(), 0.0);
    let mut seen = |status: &JobStatus| {
        let mut told = Vec::new();
        for closed in &status.closed {
            elapsed += closed.wall_s.0;
            if let Some(trial) = trial(closed) {
                order.push(outcome(&trial, elapsed));
                told.push(trial);
            }
        }
        watcher(status, &told);
    };
    let (mut leader, last) = until_done(submitted, ours, interrupted, &mut seen)?;
    let output = result(&mut leader, &last, interrupted)?;
    let TuningOutput { tuned, model } =
        TuningOutput::from_bytes(&output).map_err(|e| ClientError::Request(e.to_string()))?;
    let mut trials = tuned.trials;
    let more_is_better = tuning::find_metric(&tuned.request.metric).is_some_and(|metric| metric.more_is_better);
    tuning::sort(&mut trials, more_is_better);
    Ok(TuningReport {
        best: tuned.best,
        best_trial: trials.iter().find(|trial| trial.number == tuned.best).cloned(),
        refit: tuned.refit,
        wall_s: start.elapsed().as_secs_f64(),
        sha256: last.weights_sha256.clone(),
        trials,
        order,
        nodes: last.nodes.iter().map(NodeLine::from).collect(),
        coordinator: leader.address().to_string(),
        dataset: dataset.to_owned(),
        tuning: tuned.request,
        bytes_sent: leader.traffic().sent(),
        bytes_received: leader.traffic().received(),
        model,
    })
}

/// The trial that a closed round of a tuning job tells of.
fn trial(closed: &RoundReport) -> Option<Trial> {
    serde_json::from_str(closed.detail.as_deref()?).ok()
}

fn outcome(trial: &Trial, at_s: f64) -> Outcome {
    let Trial { number, share, metric, state, ref promoted, .. } = *trial;
    Outcome { trial: number, share, metric, state, promoted: promoted.clone(), at_s }
}
