//! Owns the node's side: some mini-batches of the stream and a version of the model become the change of its weights.

use super::behind::{self, Behind};
use super::order::Order;
use crate::data::Part;
use crate::data::shared::Blob;
use crate::jobs::training::TrainingMetrics;
use crate::jobs::{TaskError, TaskOutput, Workbench};
use crate::model::{self, Form, Learning, Mlp, Model, ModelError, Place};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// What a task is told, beside its rows and the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamTask {
    /// How.
    pub learning: Learning,
    /// Where the task stands in its job.
    pub place: Place,
    /// Its first row, in the epoch's order; or in the order of the data, if there is no epoch.
    pub first_row: u64,
    /// How many rows it takes.
    pub rows: u64,
    /// The epoch whose order counts, from 0: all rows of the data, by the job's seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// What the node has learnt since that version, and begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
    /// How many versions its change will probably miss, if it is to be damped for that; see [`model::undershoot`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misses: Option<f64>,
}

/// How a task went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamMetrics {
    /// As of any training.
    #[serde(flatten)]
    pub learnt: TrainingMetrics,
    /// Which changes of [`StreamTask::behind`] it began with, by their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<usize>,
}

/// Does a task: inputs are data sets and then the model, the output is the change of the weights.
pub(super) fn run(parameters: &str, inputs: &[Arc<Blob>], workbench: &Workbench) -> Result<TaskOutput, TaskError> {
    let task: StreamTask = serde_json::from_str(parameters).map_err(|e| impossible("parameters", &e))?;
    let Some((model, sets)) = inputs.split_last().filter(|(_, sets)| !sets.is_empty()) else {
        return Err(impossible("inputs", &format!("{} given, not rows and a model", inputs.len())));
    };
    let model = Model::from_flat(model.bytes()).map_err(|e| impossible("model", &e))?;
    let classes = model.classes();
    let Model { weights: mut before, form, .. } = model;
    let dataset = |set: &Arc<Blob>| set.dataset(classes).map_err(|e| impossible("rows", &e));
    let sets = sets.iter().map(dataset).collect::<Result<Vec<_>, _>>()?;
    let part = rows(&task, sets)?;
    task.learning.check().map_err(|e| impossible("parameters", &e))?;
    let behind = match (workbench.changes, &task.behind) {
        (Some(changes), Some(behind)) => {
            changes.add(&mut before, behind).map_err(|e| impossible("changes before it", &e))?
        }
        _ => Vec::new(),
    };
    let (change, learnt) = learn(&task, &before, &form, &part, workbench.keep_going)?;
    let metrics = StreamMetrics { learnt, behind };
    let metrics = serde_json::to_string(&metrics).map_err(|e| impossible("metrics", &e))?;
    let form = Form { inputs: None, ..form };
    let bytes = form.to_flat(&change);
    if let Some(changes) = workbench.changes {
        changes.keep(behind::name(parameters, inputs.iter().map(|input| input.digest())), Arc::new(change));
    }
    Ok(TaskOutput { bytes, metrics })
}

/// What the rows change in these weights, damped if it is to be, and how that went.
fn learn(
    task: &StreamTask,
    before: &Mlp<f32>,
    form: &Form,
    part: &Part,
    keep_going: &dyn Fn() -> bool,
) -> Result<(Mlp<f32>, TrainingMetrics), TaskError> {
    let StreamTask { learning, place, misses, .. } = task;
    let mut after = before.clone();
    let (learned, means) = match misses {
        None => model::learn(&mut after, form, part, learning, place, keep_going).map(|learned| (learned, None)),
        Some(_) => model::learn_with_means(&mut after, form, part, learning, place, keep_going)
            .map(|(learned, means)| (learned, Some(means))),
    }
    .map_err(failed)?;
    let mut change = after.minus(before).map_err(|e| impossible("weights", &e))?;
    if let Some((means, misses)) = means.zip(*misses) {
        change.damp(&means, model::undershoot(misses)).map_err(|e| impossible("damping", &e))?;
    }
    let learnt = TrainingMetrics {
        training_error: learned.error,
        rows: task.rows,
        epochs: learning.epochs,
        loss: Some(learned.loss),
    };
    Ok((change, learnt))
}

fn rows(task: &StreamTask, sets: Vec<Arc<crate::data::Dataset>>) -> Result<Part, TaskError> {
    let all: u64 = sets.iter().map(|set| set.rows() as u64).sum();
    let end = task.first_row.checked_add(task.rows).filter(|&end| task.rows > 0 && end <= all);
    let end = end.ok_or_else(|| {
        let StreamTask { first_row, rows, .. } = task;
        impossible("rows", &format!("there are {all}, which is less than {rows} from row {first_row} on"))
    })?;
    let part = match task.epoch {
        Some(epoch) if u32::try_from(all).is_ok() => {
            let order = Order::new(task.place.seed, epoch, all);
            let rows = (task.first_row..end).map(|place| order.row(place) as u32).collect();
            Part::new(sets, 0, all as usize).and_then(|whole| whole.pick(Arc::new(rows)))
        }
        Some(_) => None,
        None => Part::new(sets, task.first_row as usize, task.rows as usize),
    };
    part.ok_or_else(|| impossible("rows", &"the data sets do not fit together, or are too many rows"))
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
