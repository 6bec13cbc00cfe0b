//! Owns what the engine is told ([`Event`]) and what it wants done ([`Action`]).

use super::{ShareReason, Status};
use crate::data::shared::Blob;
use crate::jobs::{Heard, Job, TaskOutput, TaskSpec, Word};
use crate::ledger::{History, JobOrder, Record, Traffic};
use crate::model::{Measured, Model};
use crate::policy::Reason;
use crate::types::{AttemptId, JobId, NodeId, Round};
use std::sync::Arc;
use std::time::Duration;

/// What has happened.
pub enum Event {
    /// A node answered a probe.
    Answered {
        /// Which node.
        node: NodeId,
        /// What it said.
        hello: Hello,
    },
    /// A node did not answer a probe.
    Unreachable {
        /// Which node.
        node: NodeId,
        /// Why, for the user.
        reason: String,
    },
    /// A client wants a job done.
    Submit {
        /// A number that no other job has.
        job: JobId,
        /// The job.
        work: Box<dyn Job>,
        /// What is wanted.
        order: Arc<JobOrder>,
    },
    /// A job of the log goes on.
    Restore {
        /// Its number.
        job: JobId,
        /// The job, made of what it saved.
        work: Box<dyn Job>,
        /// What is known of it; it is running.
        history: Box<History>,
        /// It had ended, and that it goes on is to be recorded.
        resumed: bool,
    },
    /// Records have become durable.
    Committed {
        /// How many of all that this engine has had written; it never falls.
        records: u64,
    },
    /// A node is a member, or is back: it may have tasks as soon as it has answered a probe.
    Joined {
        /// host:port
        address: String,
    },
    /// A node is about to go: it may finish what it is at.
    Leaving {
        /// host:port
        address: String,
    },
    /// A node is no member any more, or is held to be dead.
    Gone {
        /// host:port
        address: String,
        /// Why, for the user.
        reason: String,
    },
    /// Batches of this model are to have so many queries, in all jobs at work.
    SetBatchSize {
        /// The model's name in the store.
        model: String,
        /// At least 1.
        queries: u32,
    },
    /// Somebody says something to a job.
    Said {
        /// Which job.
        job: JobId,
        /// What.
        word: Word,
        /// A number that no other word has: the answer has it too.
        ticket: u64,
    },
    /// A client wants no more of a job.
    Cancel {
        /// Which job.
        job: JobId,
    },
    /// An attempt has ended.
    Ended {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
        /// The bytes that it took.
        traffic: Traffic,
    },
    /// A model has been measured.
    Evaluated {
        /// Whose model.
        job: JobId,
        /// Which round's.
        round: Round,
        /// What it is worth, or why that is not known.
        measured: Result<Box<Measured>, String>,
    },
    /// Time has passed: see [`next_wakeup`](super::Engine::next_wakeup).
    Tick,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Program and version, for people.
    pub software: String,
    /// How many tasks it runs at once.
    pub slots: usize,
    /// Whether it is a node of the original system, which knows one kind of task and serves one caller at a time, so
    /// that it cannot be probed while it works.
    pub is_original: bool,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer.
    Done {
        /// The answer.
        output: TaskOutput,
        /// Seconds of work that the node reports.
        busy_s: f64,
        /// Whether the simulated load delayed it.
        delayed: bool,
    },
    /// The node is too loaded.
    Refused,
    /// The node cannot do the task and says that no other could.
    Impossible {
        /// Why, for the user.
        reason: String,
    },
    /// The node could not be reached, went away, or answered nonsense.
    Lost {
        /// Why, for the user.
        reason: String,
    },
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Ask a node who it is; report [`Event::Answered`] or, after `patience`, [`Event::Unreachable`].
    Probe {
        /// Which node.
        node: NodeId,
        /// How long to wait for the answer.
        patience: Duration,
    },
    /// Give a node a task; report [`Event::Ended`].
    Dispatch {
        /// The number of this attempt.
        attempt: AttemptId,
        /// Which node.
        node: NodeId,
        /// Whose task.
        job: JobId,
        /// The task.
        task: Arc<TaskSpec>,
        /// How long to wait for a connection, if there is none yet.
        patience: Duration,
        /// Why this job.
        share: ShareReason,
        /// Why this node.
        reason: Reason,
        /// The task of the same job that the node will probably get next, so that it can have its inputs by then.
        next: Option<Arc<TaskSpec>>,
    },
    /// Hang up on an attempt; it still ends with [`Event::Ended`].
    Abandon {
        /// Which attempt.
        attempt: AttemptId,
        /// Which node.
        node: NodeId,
    },
    /// Measure a model on validation rows; report [`Event::Evaluated`].
    Evaluate {
        /// Whose model.
        job: JobId,
        /// Which round's.
        round: Round,
        /// The model.
        model: Arc<Model>,
        /// The rows' blob.
        validation: Arc<Blob>,
    },
    /// Write a record to the log, behind those before; report [`Event::Committed`] when it is durable.
    Record(Record),
    /// There is a node; comes before anything else about it.
    Connect {
        /// Its number, which no other node has or will have.
        node: NodeId,
        /// host:port
        address: String,
    },
    /// A node has gone and nothing is waited for from it; nothing about it comes after this.
    Disconnect {
        /// Which node.
        node: NodeId,
    },
    /// Tell whoever said something to a job what it answered. What follows from it is durable.
    Heard {
        /// Of [`Event::Said`].
        ticket: u64,
        /// The answer, or why there is none.
        heard: Result<Heard, String>,
    },
    /// Tell those who watch a job.
    Publish {
        /// Which job.
        job: JobId,
        /// How it stands.
        status: Box<Status>,
    },
}
