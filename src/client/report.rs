//! Owns what is known of a job that is done, in a form for people and programs.

use super::Leader;
use crate::jobs::stream::StreamRequest;
use crate::jobs::training::TrainingRequest;
use crate::model::{Model, Output};
use crate::wire::coordinator::{JobStatus, NodeReport, RoundReport, StreamFigures, TaskSpan};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The result of a job; as JSON it is what `--json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Wrong answers of the final model on the validation rows, as a share of them.
    pub validation_error: f64,
    /// From the client's start to the result, in seconds.
    pub wall_s: f64,
    /// The SHA-256 of the final weights.
    pub weights_sha256: String,
    /// The round whose model this is: the last, or the best if the job was to stop by itself.
    #[serde(default)]
    pub best_round: i32,
    /// Each round.
    pub rounds: Vec<RoundLine>,
    /// Each node, in the order of the coordinator's list.
    pub nodes: Vec<NodeLine>,
    /// What was asked for.
    pub config: Config,
    /// What the model takes the validation rows for; `None` if values were to be learnt.
    #[serde(default)]
    pub confusion: Option<Confusion>,
    /// What a job has done that learns from a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamLine>,
    /// Bytes that this client sent.
    pub bytes_sent: u64,
    /// Bytes that this client received.
    pub bytes_received: u64,
    /// The model file.
    #[serde(skip)]
    pub model: Vec<u8>,
}

/// A round that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoundLine {
    /// From 1.
    pub round: i32,
    /// Wrong answers on the validation rows, as a share of them.
    pub validation_error: f64,
    /// Wrong answers on the training rows before averaging, as a share of them.
    pub training_error: f64,
    /// Mean loss on the validation rows: minus the log-probability of the right class, or half the squared error.
    #[serde(default)]
    pub validation_loss: Option<f64>,
    /// The same on the training rows while they were learnt from.
    #[serde(default)]
    pub training_loss: Option<f64>,
    /// Seconds since the end of the round before.
    pub wall_s: f64,
    /// Parts that were left out because the round was closed at its deadline, by their places from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<i32>,
    /// What nodes did since the end of the round before, in the order of its end; empty if nobody noted it.
    #[serde(default)]
    pub spans: Vec<Span>,
}

/// A node's work at a task, or what came in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The node's place in the report's list.
    pub node: usize,
    /// The round the task belongs to, from 1.
    pub round: i32,
    /// The task's place in its round, from 0.
    pub task: i32,
    /// When it was sent, in seconds since the job came.
    pub start_s: f64,
    /// When its end was heard of.
    pub end_s: f64,
    /// Seconds of work in between, as the node measured it.
    pub busy_s: f64,
    /// "done", "refused", "lost", "abandoned", "failed".
    pub outcome: String,
    /// The simulated load delayed it.
    pub delayed: bool,
}

/// What a job has done that learns from a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamLine {
    /// The last version of the model, counted from 0.
    pub version: i64,
    /// Changes that were applied.
    pub updates: i64,
    /// Changes that were too stale, and whose rows were learnt from again.
    pub stale: i64,
    /// Mini-batches whose change is in the model.
    pub batches: i64,
    /// Rows, those of each pass counted again.
    pub rows: i64,
    /// Versions between the one that a change started from and the one it was applied to, in the mean.
    pub mean_staleness: f64,
    /// Rows a second, from the client's start to the result.
    pub rows_per_s: f64,
}

impl StreamLine {
    /// What was done in so many seconds.
    pub fn of(figures: &crate::jobs::StreamFigures, seconds: f64) -> Self {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            version: count(figures.version),
            updates: count(figures.updates),
            stale: count(figures.stale),
            batches: count(figures.batches),
            rows: count(figures.rows),
            mean_staleness: figures.mean_staleness,
            rows_per_s: figures.rows as f64 / seconds,
        }
    }

    fn of_wire(figures: &StreamFigures, seconds: f64) -> Self {
        Self {
            version: figures.version,
            updates: figures.updates,
            stale: figures.stale,
            batches: figures.batches,
            rows: figures.rows,
            mean_staleness: figures.mean_staleness.0,
            rows_per_s: figures.rows as f64 / seconds,
        }
    }
}

/// How often each class was taken for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Right class, class that the model says, rows; only those that occur, in ascending order.
    pub counts: Vec<(u32, u32, u64)>,
}

/// What the job had of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeLine {
    /// host:port
    pub address: String,
    /// "ready", "busy", "backing off" or "unreachable", at the end.
    pub state: String,
    /// Program and version.
    pub software: String,
    /// Tasks done.
    pub tasks: i64,
    /// Tasks refused.
    pub refusals: i64,
    /// Tasks that the simulated load delayed.
    pub delays: i64,
    /// Tasks lost.
    pub failures: i64,
    /// Seconds of work, without delays.
    pub busy_s: f64,
    /// Bytes from the coordinator.
    pub bytes_sent: i64,
    /// Bytes to the coordinator.
    pub bytes_received: i64,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The coordinator's address.
    pub coordinator: String,
    /// The data set's directory.
    pub dataset: String,
    /// The training; of one on a stream what it has in common with one in rounds, an epoch for a round.
    #[serde(flatten)]
    pub training: TrainingRequest,
    /// The training on a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRequest>,
}

impl Config {
    /// A training on a stream.
    pub fn of_stream(coordinator: String, dataset: String, stream: StreamRequest) -> Self {
        let StreamRequest {
            epochs,
            hidden,
            eta,
            seed,
            activation,
            init,
            standardize,
            method,
            outer,
            stopping,
            ..
        } = stream.clone();
        let training = TrainingRequest {
            activation,
            init,
            standardize,
            method: Some(method),
            outer,
            stopping,
            ..TrainingRequest::original(epochs, 1, hidden, eta, seed)
        };
        Self { coordinator, dataset, training, stream: Some(stream) }
    }
}

impl Report {
    pub(super) fn new(
        leader: &Leader,
        dataset: &str,
        rounds: Vec<RoundLine>,
        last: &JobStatus,
        model: Vec<u8>,
        wall: Duration,
    ) -> Self {
        let traffic = leader.traffic();
        let best_round = last.best_round.or(rounds.last().map(|round| round.round)).unwrap_or_default();
        let best = rounds.iter().find(|round| round.round == best_round);
        Self {
            validation_error: best.map_or(1.0, |round| round.validation_error),
            wall_s: wall.as_secs_f64(),
            weights_sha256: last.weights_sha256.clone(),
            best_round,
            rounds,
            nodes: last.nodes.iter().map(NodeLine::from).collect(),
            config: config(leader.address().to_string(), dataset.to_owned(), &model),
            stream: last.stream.as_ref().map(|figures| StreamLine::of_wire(figures, wall.as_secs_f64())),
            confusion: last.confusion.as_ref().map(|counts| Confusion {
                classes: model_classes(&model),
                counts: counts.iter().map(|c| (c.label as u32, c.said as u32, c.rows as u64)).collect(),
            }),
            bytes_sent: traffic.sent(),
            bytes_received: traffic.received(),
            model,
        }
    }
}

impl From<&RoundReport> for RoundLine {
    fn from(round: &RoundReport) -> Self {
        Self {
            round: round.round,
            validation_error: round.validation_error.0,
            training_error: round.training_error.0,
            validation_loss: round.validation_loss.map(|loss| loss.0),
            training_loss: round.training_loss.map(|loss| loss.0),
            wall_s: round.wall_s.0,
            left_out: round.left_out.clone().unwrap_or_default(),
            spans: round.spans.iter().flatten().map(Span::from).collect(),
        }
    }
}

impl From<&TaskSpan> for Span {
    fn from(span: &TaskSpan) -> Self {
        Self {
            node: usize::try_from(span.node).unwrap_or_default(),
            round: span.round,
            task: span.task,
            start_s: span.start_s.0,
            end_s: span.end_s.0,
            busy_s: span.busy_s.0,
            outcome: span.outcome.clone(),
            delayed: span.delayed,
        }
    }
}

/// What was asked for, as the model file tells it.
fn config(coordinator: String, dataset: String, model: &[u8]) -> Config {
    let notes = Model::from_safetensors(model).map(|model| model.notes).unwrap_or_default();
    if let Some(stream) = notes.get("stream").and_then(|text| serde_json::from_str(text).ok()) {
        return Config::of_stream(coordinator, dataset, stream);
    }
    let told = notes.get("training").and_then(|text| serde_json::from_str(text).ok());
    // Only a coordinator that is not ours leaves it out.
    let training = told.unwrap_or_else(|| TrainingRequest::original(0, 0, Vec::new(), 0.0, 0));
    Config { coordinator, dataset, training, stream: None }
}

/// The names of a model's classes.
fn model_classes(model: &[u8]) -> Vec<String> {
    match Model::from_safetensors(model).map(|model| model.form.output) {
        Ok(Output::Classes(names)) => names,
        _ => Vec::new(),
    }
}

impl From<&NodeReport> for NodeLine {
    fn from(node: &NodeReport) -> Self {
        Self {
            address: node.address.clone(),
            state: node.state.clone(),
            software: node.software.clone(),
            tasks: node.tasks,
            refusals: node.refusals,
            delays: node.delays,
            failures: node.failures,
            busy_s: node.busy_s.0,
            bytes_sent: node.bytes_sent,
            bytes_received: node.bytes_received,
        }
    }
}
