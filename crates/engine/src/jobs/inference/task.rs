//! Owns the node's side of inference: from a batch of inputs to the answers to them.

use super::UNLABELLED;
use super::answers::{Answers, Nothing};
use super::models::NoModel;
use crate::data::shared::Blob;
use crate::data::{Dataset, Row};
use crate::jobs::{TaskError, TaskOutput, Workbench};
use crate::predictor::{self, Card, Kind, Limits, Predictor, PredictorError};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// What a task is told, beside the model and the inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceTask {
    /// The model's name: its end says what kind of file it is.
    pub model: String,
    /// How pictures become inputs, without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// How many of the best classes are told; 0: values are.
    pub top: u32,
    /// The rows of the one input, a data set: the first and how many. Without it each input is a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(u64, u64)>,
}

/// What is told of a batch beside the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceMetrics {
    /// Who answered, host:port.
    pub node: String,
    /// From the batch's start on the node, with its inputs at hand, to its end.
    pub seconds: f64,
}

/// Does a task: inputs are the model and then the pictures or the data set; the output is [`Answers`].
pub(super) fn run(parameters: &str, inputs: &[Arc<Blob>], workbench: &Workbench) -> Result<TaskOutput, TaskError> {
    let start = (workbench.clock)();
    let task: InferenceTask = serde_json::from_str(parameters).map_err(|e| impossible("parameters", &e))?;
    let Some((model, inputs)) = inputs.split_first().filter(|(_, inputs)| !inputs.is_empty()) else {
        return Err(impossible("inputs", &"there is no model, or nothing to ask it about"));
    };
    let load = || predictor::load(&task.model, model.bytes(), task.card.as_ref(), &Limits::default());
    // Numbers and names can be written.
    let card = task.card.as_ref().map(|card| serde_json::to_string(card).unwrap_or_default());
    let predictor = workbench.models.get(model.digest(), &card.unwrap_or_default(), load);
    let predictor = predictor.map_err(|e| match e {
        NoModel::Bad(e) => impossible(&task.model, &e),
        full @ NoModel::Full { .. } => impossible(&task.model, &full),
    })?;
    let answers = match task.rows {
        Some((first, count)) => rows(&*predictor, &task, inputs, first, count, workbench)?,
        None => pictures(&*predictor, &task, inputs, workbench)?,
    };
    let metrics =
        InferenceMetrics { node: workbench.node.to_owned(), seconds: ((workbench.clock)() - start).max(0.0) };
    let metrics = serde_json::to_string(&metrics).map_err(|e| impossible("metrics", &e))?;
    Ok(TaskOutput { bytes: answers.to_bytes(&Nothing {}), metrics })
}

fn rows(
    predictor: &dyn Predictor,
    task: &InferenceTask,
    inputs: &[Arc<Blob>],
    first: u64,
    count: u64,
    workbench: &Workbench,
) -> Result<Answers, TaskError> {
    let [data] = inputs else {
        return Err(impossible("inputs", &format!("{} data sets, where one is expected", inputs.len())));
    };
    let data = data.dataset(UNLABELLED).map_err(|e| impossible("rows", &e))?;
    let rows = slice(&data, first, count)
        .ok_or_else(|| impossible("rows", &format!("there are {}, not {count} from {first} on", data.rows())))?;
    let said = predictor.rows(rows, task.top as usize, workbench.keep_going).map_err(failed)?;
    Ok(Answers {
        top: said.top(),
        classes: said.classes().to_vec(),
        numbers: said.numbers().to_vec(),
        ..Answers::default()
    })
}

/// Some of the rows, one after the other.
fn slice(data: &Dataset, first: u64, count: u64) -> Option<Row<'_>> {
    let (first, count) = (usize::try_from(first).ok()?, usize::try_from(count).ok()?);
    let columns = data.columns();
    let range = first.checked_mul(columns)?..first.checked_add(count)?.checked_mul(columns)?;
    let all = data.features().all();
    (range.end <= all.len()).then(|| all.part(range))
}

/// A picture that cannot be used is an error among the answers.
fn pictures(
    predictor: &dyn Predictor,
    task: &InferenceTask,
    inputs: &[Arc<Blob>],
    workbench: &Workbench,
) -> Result<Answers, TaskError> {
    if predictor.takes() != Kind::Pictures {
        return Err(impossible(&task.model, &format!("it takes {}, not pictures", predictor.takes())));
    }
    let files: Vec<&[u8]> = inputs.iter().map(|picture| picture.bytes()).collect();
    let top = task.top as usize;
    let said = predictor::pictures(predictor, &files, top, workbench.keep_going).map_err(failed)?;
    let mut answers = Answers::zeros(said.len(), predictor.gives().top(top));
    for (place, one) in said.into_iter().enumerate() {
        match one {
            Ok(answer) => answers.set(place, &answer),
            Err(bad) => drop(answers.errors.insert(place as u64, bad.to_string())),
        }
    }
    Ok(answers)
}

fn failed(error: PredictorError) -> TaskError {
    match error {
        PredictorError::Stopped => TaskError::Abandoned,
        other => TaskError::Impossible(other.to_string()),
    }
}

fn impossible(what: &str, why: &dyn Display) -> TaskError {
    TaskError::Impossible(format!("{what}: {why}"))
}
