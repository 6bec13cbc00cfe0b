//! Owns the node's side of training: from the shards' rows and the round's model to the change of its weights.

use crate::data::shared::Blob;
use crate::data::{Dataset, Part};
use crate::jobs::{TaskError, TaskOutput, Workbench};
use crate::model::{self, GradientDescent, Learning, Mlp, Model, ModelError, Place};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// What a task is told, beside its shards and the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrainingTask {
    /// All rows of one shard by the original's rule, which nodes of the original system know too.
    Original(OriginalTask),
    /// A part of the shards' rows.
    Part(PartTask),
}

/// Full-batch gradient descent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginalTask {
    /// Gradient steps at most.
    pub epochs: u32,
    /// The learning rate.
    pub eta: f64,
    /// The change of the summed loss at which training ends.
    pub early_stop: f64,
}

/// Learning by mini-batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartTask {
    /// How.
    pub learning: Learning,
    /// Where the task stands in its job.
    pub place: Place,
    /// The part's first row, counted over all rows of the shards given.
    pub first_row: u64,
    /// The part's rows.
    pub rows: u64,
}

/// What a task tells, beside the change of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingMetrics {
    /// Wrong answers on the task's rows, as a share of them: after training by the original's rule, else in the last
    /// epoch. Of values the root mean squared error.
    pub training_error: f64,
    /// The task's rows; 0 if the node does not tell.
    pub rows: u64,
    /// Passes over the rows.
    pub epochs: u32,
    /// The mean loss of the last epoch, if the node tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

/// Does a task: inputs are the shards and then the model, the output is the change of the weights.
pub(super) fn run(parameters: &str, inputs: &[Arc<Blob>], workbench: &Workbench) -> Result<TaskOutput, TaskError> {
    let keep_going = workbench.keep_going;
    let task: TrainingTask = serde_json::from_str(parameters).map_err(|e| impossible("parameters", &e))?;
    let Some((model, shards)) = inputs.split_last().filter(|(_, shards)| !shards.is_empty()) else {
        return Err(impossible("inputs", &format!("{} given, not shards and a model", inputs.len())));
    };
    let before = Model::from_safetensors(model.bytes()).map_err(|e| impossible("model", &e))?;
    let dataset = |shard: &Arc<Blob>| shard.dataset(before.classes()).map_err(|e| impossible("shard", &e));
    let sets = shards.iter().map(dataset).collect::<Result<Vec<_>, _>>()?;
    let mut after = before.weights.clone();
    let metrics = match &task {
        TrainingTask::Original(how) => descend(how, &mut after, &sets, keep_going)?,
        TrainingTask::Part(how) => learn(how, &mut after, &before, sets, keep_going)?,
    };
    let metrics = serde_json::to_string(&metrics).map_err(|e| impossible("metrics", &e))?;
    let change = after.minus(&before.weights).map_err(|e| impossible("weights", &e))?;
    Ok(TaskOutput { bytes: change.to_safetensors(None), metrics })
}

fn descend(
    how: &OriginalTask,
    weights: &mut Mlp<f32>,
    sets: &[Arc<Dataset>],
    keep_going: &dyn Fn() -> bool,
) -> Result<TrainingMetrics, TaskError> {
    let [data] = sets else {
        return Err(impossible("inputs", &format!("{} shards given, the original's rule takes one", sets.len())));
    };
    let how =
        GradientDescent::new(how.eta, how.epochs, how.early_stop).map_err(|e| impossible("parameters", &e))?;
    let trained = model::train(weights, data, &how, keep_going).map_err(failed)?;
    Ok(TrainingMetrics {
        training_error: model::error_rate(weights, data).map_err(|e| impossible("shard", &e))?,
        rows: data.rows() as u64,
        epochs: trained.epochs,
        loss: Some(trained.loss / data.rows() as f64),
    })
}

fn learn(
    how: &PartTask,
    weights: &mut Mlp<f32>,
    model: &Model,
    sets: Vec<Arc<Dataset>>,
    keep_going: &dyn Fn() -> bool,
) -> Result<TrainingMetrics, TaskError> {
    let part = usize::try_from(how.first_row).ok().zip(usize::try_from(how.rows).ok());
    let part = part.and_then(|(first, rows)| Part::new(sets, first, rows)).ok_or_else(|| {
        let PartTask { first_row, rows, .. } = how;
        impossible("shards", &format!("they do not fit together, or have no {rows} rows from row {first_row} on"))
    })?;
    how.learning.check().map_err(|e| impossible("parameters", &e))?;
    let learned =
        model::learn(weights, &model.form, &part, &how.learning, &how.place, keep_going).map_err(failed)?;
    Ok(TrainingMetrics {
        training_error: learned.error,
        rows: how.rows,
        epochs: how.learning.epochs,
        loss: Some(learned.loss),
    })
}

fn failed(error: ModelError) -> TaskError {
    match error {
        ModelError::Interrupted { .. } => TaskError::Abandoned,
        other => TaskError::Impossible(other.to_string()),
    }
}

fn impossible(what: &str, why: &dyn Display) -> TaskError {
    TaskError::Impossible(format!("{what}: {why}"))
}
