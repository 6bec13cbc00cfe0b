//! Owns the node's side of tuning: a fold of a trial, up to the end of a rung. What is the trial's own fault is an answer, too.

use super::learner::{self, Fit, Takes, Trouble, Wanted};
use super::metric::Score;
use super::setting::Configuration;
use super::stock::Stock;
use crate::data::shared::Blob;
use crate::jobs::{TaskError, TaskOutput, Workbench};
use crate::model::Measured;
use crate::types::{Digest, exact};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// The most characters of a reason.
const LONGEST_REASON: usize = 400;

/// What a task is told. Its inputs are all shards and the validation rows, and then what the rung before left, if it goes on
/// from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningTask {
    /// The kind of model.
    pub model: String,
    /// All settings.
    pub settings: Configuration,
    /// Classes of the rows; 0: values.
    pub classes: usize,
    /// Where folds, first weights and orders of rows come from.
    pub seed: u64,
    /// Into how many folds the rows are cut; 0: into none.
    pub folds: u32,
    /// The fold that is held out.
    pub fold: u32,
    /// The shares of the whole at the ends of the rungs, all that the trial may have.
    pub rungs: Vec<f64>,
    /// The first rung that is to be done, and the last.
    pub from: usize,
    /// See `from`.
    pub to: usize,
    /// What is wanted beside the score.
    #[serde(default)]
    pub wanted: Want,
    /// The names of the classes, if the model is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// It fails after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<f64>,
}

/// What is wanted beside the score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Nothing.
    #[default]
    Score,
    /// What the next rung begins with.
    State,
    /// The model, learnt from all rows.
    Model,
}

/// What a task tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningMetrics {
    /// Who did it, host:port.
    pub node: String,
    /// Seconds on the node.
    pub seconds: f64,
    /// What the model is worth on the rows held out; `None`: it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// The error on the rows learnt from, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::option")]
    pub training_error: Option<f64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Of the model: its digest, and what it is worth on the validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<(Digest, Measured)>,
}

/// Does a task.
pub(super) fn run(parameters: &str, inputs: &[Arc<Blob>], workbench: &Workbench) -> Result<TaskOutput, TaskError> {
    let begin = (workbench.clock)();
    let task: TuningTask = serde_json::from_str(parameters).map_err(|e| impossible("parameters", &e))?;
    let limit = task.timeout_s.unwrap_or(f64::INFINITY);
    let seconds = || ((workbench.clock)() - begin).max(0.0);
    let in_time = || seconds() < limit;
    let keep_going = || (workbench.keep_going)() && in_time();
    let fitted = fit(&task, inputs, workbench, &keep_going);
    let metrics = |score, failed: Option<String>| TuningMetrics {
        node: workbench.node.to_owned(),
        seconds: seconds(),
        score,
        training_error: None,
        failed: failed.map(|reason| reason.chars().take(LONGEST_REASON).collect()),
        model: None,
    };
    let (bytes, metrics) = match fitted? {
        Ok(fitted) => {
            let told = metrics(Some(fitted.score), None);
            let model = fitted.model.map(|(measured, digest)| (digest, measured));
            (fitted.bytes, TuningMetrics { training_error: fitted.training_error, model, ..told })
        }
        Err(Trouble::Failed(reason)) => (Vec::new(), metrics(None, Some(reason))),
        Err(Trouble::Stopped) if !in_time() && (workbench.keep_going)() => {
            (Vec::new(), metrics(None, Some(format!("it took longer than {limit} s"))))
        }
        Err(Trouble::Stopped) => return Err(TaskError::Abandoned),
    };
    let metrics = serde_json::to_string(&metrics).map_err(|e| impossible("metrics", &e))?;
    Ok(TaskOutput { bytes, metrics })
}

fn fit(
    task: &TuningTask,
    inputs: &[Arc<Blob>],
    workbench: &Workbench,
    keep_going: &dyn Fn() -> bool,
) -> Result<Result<learner::Fitted, Trouble>, TaskError> {
    let row = learner::find(&task.model).ok_or_else(|| {
        impossible("parameters", &format!("this node knows no model of the kind '{}'", task.model))
    })?;
    let failed = |reason: &dyn Display| Ok(Err(Trouble::Failed(reason.to_string())));
    let learner = match row.of(&task.settings) {
        Ok(learner) => learner,
        Err(e) => return failed(&e),
    };
    let ends = match learner::ends(&task.rungs, learner.steps()) {
        Ok(ends) => ends,
        Err(e) => return failed(&e),
    };
    let Some(ends) = ends.get(..=task.to).filter(|_| task.from <= task.to) else {
        return Err(impossible("parameters", &format!("there is no rung {} from {}", task.to, task.from)));
    };
    let mut inputs = inputs;
    let mut start = None;
    if task.from > 0
        && let Some((last, others)) = inputs.split_last()
    {
        (start, inputs) = (Some(&**last), others);
    }
    let stock = match row.takes {
        Takes::Nothing => None,
        Takes::Classes | Takes::Rows => Some(stock(task, inputs, workbench)?),
    };
    let fit = Fit {
        fold: (task.folds > 0 && task.wanted != Want::Model).then_some(task.fold),
        seed: task.seed,
        ends,
        steps: learner.steps(),
        first: task.from,
        start,
        wanted: match task.wanted {
            Want::Score => Wanted::Score,
            Want::State => Wanted::State,
            Want::Model => Wanted::Model(&task.names),
        },
        keep_going,
    };
    Ok(learner.fit(stock.as_deref(), &fit))
}

fn stock(task: &TuningTask, inputs: &[Arc<Blob>], workbench: &Workbench) -> Result<Arc<Stock>, TaskError> {
    let stock = match workbench.stocks {
        Some(stocks) => stocks.get(inputs, task.classes, task.folds, task.seed),
        None => Stock::of(inputs, task.classes, task.folds, task.seed).map(Arc::new),
    };
    stock.map_err(|e| impossible("rows", &e))
}

fn impossible(what: &str, why: &dyn Display) -> TaskError {
    TaskError::Impossible(format!("{what}: {why}"))
}
