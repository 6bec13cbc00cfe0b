//! Owns the kinds of job: [`Job`] is the coordinator's side (which tasks are ready, what a result changes, when the
//! job is done), [`JobKind::run`] the node's side (what a task does), and [`JOB_KINDS`] the table of both.
//!
//! Both sides are pure. To add a kind, write its file and add its row.

mod effect;
mod figures;
pub mod inference;
mod material;
pub mod stream;
pub mod training;
pub mod tuning;
mod word;

pub use effect::{Effect, RoundResult};
pub use figures::{Figures, Progress, StreamFigures};
pub use material::{Corpus, Files, Material, Needs, Shard, Source};
pub use word::{Heard, Refused, Version, Word};

use crate::data::shared::Blob;
use crate::model::Measured;
use crate::types::{Digest, Round, TaskId};
use std::sync::Arc;
use std::time::Duration;

/// Makes the coordinator's side of a job from parameters (JSON) and data.
pub type Start = fn(&str, Material) -> Result<Box<dyn Job>, JobError>;

/// Makes the coordinator's side of a job that was saved: parameters and data as they were at its start.
pub type Resume = fn(&str, Material, &Saved) -> Result<Box<dyn Job>, JobError>;

/// Does a task on a node: parameters (JSON), and inputs in the order of the task's.
pub type RunTask = fn(&str, &[Arc<Blob>], &Workbench) -> Result<TaskOutput, TaskError>;

/// What a node has for its tasks.
pub struct Workbench<'a> {
    /// Whether to go on; asked often.
    pub keep_going: &'a dyn Fn() -> bool,
    /// Seconds since some moment.
    pub clock: &'a dyn Fn() -> f64,
    /// The node's address, host:port.
    pub node: &'a str,
    /// Models that are loaded.
    pub models: &'a inference::Models,
    /// What trials of tuning share; without it each makes its own.
    pub stocks: Option<&'a tuning::Stocks>,
    /// What was learnt from streams last; without it nothing is kept from one task to the next.
    pub changes: Option<&'a stream::Changes>,
}

impl<'a> Workbench<'a> {
    /// Of somebody without a name or a clock.
    pub fn bare(keep_going: &'a dyn Fn() -> bool, models: &'a inference::Models) -> Self {
        Self { keep_going, clock: &|| 0.0, node: "", models, stocks: None, changes: None }
    }
}

/// A job as users name it.
pub struct JobKind {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it works on.
    pub needs: Needs,
    /// The coordinator's side.
    pub start: Start,
    /// The same, from what [`Job::save`] gave.
    pub resume: Resume,
    /// The node's side.
    pub run: RunTask,
}

/// All kinds of job.
pub static JOB_KINDS: &[JobKind] = &[training::KIND, stream::KIND, tuning::KIND, inference::KIND];

/// Finds a kind by name.
pub fn find(name: &str) -> Option<&'static JobKind> {
    JOB_KINDS.iter().find(|kind| kind.name == name)
}

/// A task: all that a node needs to know.
#[derive(Debug)]
pub struct TaskSpec {
    /// Which task of the job.
    pub id: TaskId,
    /// The job's kind.
    pub kind: &'static str,
    /// JSON, as the kind defines it.
    pub parameters: String,
    /// What it works on.
    pub inputs: Vec<TaskInput>,
    /// How much work it is, in floating-point operations, roughly.
    pub cost: f64,
    /// Whether a node of the original system can do it.
    pub for_originals: bool,
    /// How many queries it answers: of a job whose share is counted in them at least 1, else 0.
    pub queries: u32,
}

/// An input of a task.
#[derive(Clone, Debug)]
pub enum TaskInput {
    /// A file of the data set, by its path as the user gave it; the store has the blob.
    Shard {
        /// Directory and file name.
        path: String,
        /// The blob.
        digest: Digest,
    },
    /// Something that the job made.
    Made(Arc<Blob>),
}

impl TaskInput {
    /// The blob's name.
    pub fn digest(&self) -> Digest {
        match self {
            TaskInput::Shard { digest, .. } => *digest,
            TaskInput::Made(blob) => blob.digest(),
        }
    }
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOutput {
    /// Bytes, as the kind defines them.
    pub bytes: Vec<u8>,
    /// JSON, as the kind defines it.
    pub metrics: String,
}

/// What a job needs to go on in another process, but for the answers of the round at work.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// As the kind defines it.
    pub json: String,
    /// The blobs that it speaks of, by their places.
    pub blobs: Vec<Arc<Blob>>,
}

impl PartialEq for Saved {
    fn eq(&self, other: &Self) -> bool {
        let digests = |saved: &Self| saved.blobs.iter().map(|blob| blob.digest()).collect::<Vec<_>>();
        self.json == other.json && digests(self) == digests(other)
    }
}

/// When a round may close without its last tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quorum {
    /// The share of the tasks that must have answered, above 0 and at most 1.
    pub share: f64,
    /// How long after the round's start; `None`: when the others would usually have answered.
    pub deadline: Option<Duration>,
}

/// What the fair share of a job is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The time for which it has slots of nodes.
    Time,
    /// The queries that are answered, whatever each costs.
    Queries,
}

/// The coordinator's side of a job. It only knows tasks and results; nodes and retries are the engine's.
pub trait Job: Send {
    /// The tasks that have become ready since the last call, in order. A job that can cut its work as it likes hands out
    /// no more than `room` of them: so many can be used now.
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec>;

    /// A task is about to be sent, and nobody is at it: what it is by now, if it has changed since it was handed out.
    /// `behind` are the tasks of the job that its node is at, in the order in which they were sent; told only if any are
    /// sent ahead.
    fn begins(&mut self, _task: TaskId, _behind: &[TaskId]) -> Option<TaskSpec> {
        None
    }

    /// Nodes get the next task while they are at another, so that they need not wait for it, if tasks take no longer than
    /// this; `None`: they do not.
    fn sends_ahead(&self) -> Option<Duration> {
        None
    }

    /// How many more tasks it could hand out now if there were room for them.
    fn unmade(&self) -> u64 {
        0
    }

    /// What its share of the nodes is counted in.
    fn measure(&self) -> Measure {
        Measure::Time
    }

    /// Takes the first answer to a task; the engine drops any other.
    ///
    /// # Errors
    /// The answer is not one that the task can have. The job is as before, and the task must be done again.
    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer>;

    /// Takes an answer that another process had, before any task is made. False: it is given again by [`Job::complete`]
    /// once its task is open.
    fn remember(&mut self, _task: TaskId, _output: &TaskOutput) -> bool {
        false
    }

    /// Takes what the model of a round is worth on the validation rows; tasks may become ready by it.
    fn evaluated(&mut self, _round: Round, _measured: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    /// Batches of this model are to have so many queries from now on; whether that changes the job.
    fn set_batch_size(&mut self, _model: &str, _queries: u32) -> bool {
        false
    }

    /// What it has done, if it answers queries.
    fn figures(&self) -> Option<Figures> {
        None
    }

    /// What it has done, if it learns from a stream.
    fn stream(&self) -> Option<StreamFigures> {
        None
    }

    /// Takes what somebody outside says to it. The answer is told once what [`Job::save`] gives now is durable, if the
    /// effects ask for that.
    ///
    /// # Errors
    /// Jobs of its kind do not take this, or not now; the job is as before.
    fn receive(&mut self, _word: Word) -> Result<(Heard, Vec<Effect>), Refused> {
        Err(Refused("it takes nothing from outside".to_owned()))
    }

    /// The newest versions of its model that are to be had while it is at work, ascending.
    fn versions(&self) -> Vec<Version> {
        Vec::new()
    }

    /// What [`Job::save`] and [`Job::versions`] give is about to be asked for, and written.
    fn before_save(&mut self) {}

    /// Whether each answer is kept by itself until the job saves. One that saves all the time does without, and what was
    /// not saved is done again.
    fn keeps_answers(&self) -> bool {
        true
    }

    /// How long the job may take, from its start.
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// The time limit is over. Told once; the job ends as soon as it has a result.
    fn time_is_up(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    /// When a round may close without its last tasks; `None`: never.
    fn quorum(&self) -> Option<Quorum> {
        None
    }

    /// Closes the round at work with the answers that have come; called only when [`Job::quorum`] allows it.
    fn close_early(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    /// All that it needs to go on elsewhere, but for the answers of the round at work: those are completed again.
    fn save(&self) -> Saved;

    /// What was under way when it was saved, and has to be done again. Called once, after a resume and before any answer.
    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    /// How far it is.
    fn progress(&self) -> Progress;

    /// Bytes that it takes on the coordinator, at most and roughly, beside its data.
    fn memory(&self) -> usize;
}

/// A node's answer is not one that the task can have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadAnswer(pub String);

/// The request makes no job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The parameters are no JSON object of the kind's.
    #[error("the parameters cannot be read: {0}")]
    Parameters(#[from] serde_json::Error),
    /// A number out of its range.
    #[error("{field} is {value}, but must be {range}")]
    Range {
        /// The parameter.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: String,
    },
    /// A setting that makes no sense without another.
    #[error("{what} needs {needs}")]
    Needs {
        /// The setting.
        what: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A parameter of a space of configurations that cannot be so.
    #[error("{parameter}: {reason}")]
    Space {
        /// Its name.
        parameter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is in no table.
    #[error("there is no {what} '{name}'; choose from {choices}")]
    Choice {
        /// What the table holds.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        choices: String,
    },
    /// A shard that is no data set of the job's.
    #[error("{shard}: {reason}")]
    Data {
        /// The shard's name.
        shard: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was saved of a job is not what the kind saves.
    #[error("what was saved of it cannot be used: {0}")]
    Saved(String),
    /// The network cannot be made.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
}

/// A task cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Nobody waits for it any more.
    #[error("the task was abandoned")]
    Abandoned,
    /// It would fail anywhere.
    #[error("{0}")]
    Impossible(String),
}
