//! Owns what is told of a job to those who watch it, and kept: how it ended, its rounds, what nodes did for it.

use crate::data::shared::Blob;
use crate::jobs::{Figures, RoundResult};
use crate::model::Measured;
use crate::types::{Digest, NodeId, Round, TaskId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whether a job goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Running,
    /// It has its result.
    Done {
        /// The SHA-256 of the final weights, or of the answers.
        weights: Digest,
    },
    /// It cannot have one.
    Failed {
        /// Why, for the user.
        reason: String,
    },
    /// Its client wanted no more of it.
    Cancelled,
}

/// A round that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedRound {
    /// Which.
    pub round: Round,
    /// What it has come to.
    pub result: RoundResult,
    /// From the end of the round before (or the start) to the end of this one.
    pub wall: Duration,
    /// What nodes did meanwhile, in the order of its end; only so many of a job.
    pub spans: Box<[Span]>,
    /// The tasks that it was closed without, by their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<u32>,
    /// What else its kind tells of it, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
}

impl ClosedRound {
    /// The same round with other numbers for its nodes; a node that is not named there keeps its own.
    pub fn renumbered(self: &Arc<Self>, numbers: &BTreeMap<NodeId, NodeId>) -> Arc<Self> {
        let moved = |node: NodeId| numbers.get(&node).copied().unwrap_or(node);
        let mut round = self.clone();
        if self.spans.iter().any(|span| moved(span.node) != span.node) {
            Arc::make_mut(&mut round).spans.iter_mut().for_each(|span| span.node = moved(span.node));
        }
        round
    }
}

/// A node's work at a task, or what came in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Which node.
    pub node: NodeId,
    /// Which task.
    pub task: TaskId,
    /// When it was sent, since the job came.
    pub start: Duration,
    /// When its end was heard of.
    pub end: Duration,
    /// Seconds of work in between, as the node reports them.
    pub busy_s: f64,
    /// "done", "refused", "lost", "abandoned", "failed".
    pub outcome: Cow<'static, str>,
    /// The simulated load delayed it.
    pub delayed: bool,
}

/// The result of a job.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The model file, or the output.
    pub model: Arc<Blob>,
    /// The round whose model it is.
    pub round: Round,
    /// What it is worth, if it is a model.
    pub measured: Option<Box<Measured>>,
    /// What it has done, if it answers queries.
    pub figures: Option<Box<Figures>>,
}

impl PartialEq for Finish {
    fn eq(&self, other: &Self) -> bool {
        self.model.digest() == other.model.digest() && self.round == other.round
    }
}

/// A node as a job's report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStanding {
    /// host:port
    pub address: String,
    /// "ready", "busy", "backing off", "slow", "leaving", "gone", "unreachable".
    pub state: Cow<'static, str>,
    /// Program and version.
    pub software: String,
    /// What the job had of it.
    pub counts: NodeCounts,
}

/// What one job had of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeCounts {
    /// Tasks done.
    pub tasks: u64,
    /// Tasks refused.
    pub refusals: u64,
    /// Tasks that the simulated load delayed.
    pub delays: u64,
    /// Tasks lost.
    pub failures: u64,
    /// Seconds of work, as the node reports them.
    pub busy_s: f64,
    /// Bytes on the wire.
    pub traffic: Traffic,
}

impl NodeCounts {
    /// Counts bytes.
    pub fn add(&mut self, traffic: Traffic) {
        self.traffic.sent += traffic.sent;
        self.traffic.received += traffic.received;
    }
}

/// Bytes on the wire, as seen from the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// To the node.
    pub sent: u64,
    /// From the node.
    pub received: u64,
}
