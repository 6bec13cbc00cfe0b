//! Owns what is known of a job that is done, in a form for people and programs.

use super::Order;
use crate::rpc::Traffic;
use crate::wire::coordinator::{JobStatus, NodeReport, RoundReport};
use serde::Serialize;
use std::time::Duration;

/// The result of a job; as JSON it is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Wrong answers of the final model on the validation rows, as a share of them.
    pub validation_error: f64,
    /// From the client's start to the result, in seconds.
    pub wall_s: f64,
    /// The SHA-256 of the final weights.
    pub weights_sha256: String,
    /// Each round.
    pub rounds: Vec<RoundLine>,
    /// Each node, in the order of the coordinator's list.
    pub nodes: Vec<NodeLine>,
    /// What was asked for.
    pub config: Config,
    /// Bytes that this client sent.
    pub bytes_sent: u64,
    /// Bytes that this client received.
    pub bytes_received: u64,
    /// The model file.
    #[serde(skip)]
    pub model: Vec<u8>,
}

/// A round that is over.
#[derive(Clone, Debug, Serialize)]
pub struct RoundLine {
    /// From 1.
    pub round: i32,
    /// Wrong answers on the validation rows, as a share of them.
    pub validation_error: f64,
    /// Wrong answers on the training rows before averaging, as a share of them.
    pub training_error: f64,
    /// Seconds since the end of the round before.
    pub wall_s: f64,
}

/// What the job had of a node.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// The coordinator's address.
    pub coordinator: String,
    /// The data set's directory.
    pub dataset: String,
    /// How often the shards' changes are averaged.
    pub rounds: u32,
    /// Gradient steps of each task.
    pub epochs: u32,
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// The learning rate.
    pub eta: f64,
    /// Where the first weights come from.
    pub seed: u64,
}

impl Report {
    pub(super) fn new(
        order: &Order,
        rounds: Vec<RoundLine>,
        last: &JobStatus,
        model: Vec<u8>,
        wall: Duration,
        traffic: &Traffic,
    ) -> Self {
        let training = &order.training;
        Self {
            validation_error: rounds.last().map_or(1.0, |round| round.validation_error),
            wall_s: wall.as_secs_f64(),
            weights_sha256: last.weights_sha256.clone(),
            rounds,
            nodes: last.nodes.iter().map(NodeLine::from).collect(),
            config: Config {
                coordinator: order.coordinator.to_string(),
                dataset: order.dataset.clone(),
                rounds: training.rounds,
                epochs: training.epochs,
                hidden: training.hidden.clone(),
                eta: training.eta,
                seed: training.seed,
            },
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
            wall_s: round.wall_s.0,
        }
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
