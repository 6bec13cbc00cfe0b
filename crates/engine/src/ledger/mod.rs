//! Owns what a coordinator must not forget: [`Record`]s of what happened to jobs, and the [`Ledger`] that they add up to.
//!
//! The engine makes records, the log keeps them (`tenure`), and a ledger replayed from them has all that another
//! coordinator needs to go on: for each job what was asked, what it saved last, the answers since, and what was told of it.
//! Pure: a record goes in, the ledger has changed.

mod answers;
mod entry;
mod history;
mod told;

pub use answers::Answers;
pub use entry::{Entry, EntryError, INLINE, Written};
pub use history::{History, Ledger};
pub use told::{ClosedRound, Finish, NodeCounts, NodeStanding, Span, State, Traffic};

use crate::data::shared::Blob;
use crate::jobs::{Files, Saved, TaskOutput};
use crate::types::{Digest, JobId, NodeId, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened to a job. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A client wants it done.
    Submitted {
        /// Its number; no other job of the ledger has it.
        job: JobId,
        /// What is wanted.
        order: Arc<JobOrder>,
    },
    /// The first answer to a task of the round at work.
    Answered {
        /// Whose task.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Its answer.
        output: Arc<TaskOutput>,
    },
    /// All that it needs to go on: takes the place of what was saved before, and of the answers since.
    Saved {
        /// Which job.
        job: JobId,
        /// What it saved.
        saved: Saved,
    },
    /// A round is over and measured.
    Closed {
        /// Which job.
        job: JobId,
        /// The round.
        round: Arc<ClosedRound>,
        /// The addresses of the nodes that the round names.
        nodes: Vec<(NodeId, String)>,
        /// Time that the job has taken so far.
        elapsed: Duration,
    },
    /// It has ended.
    Ended {
        /// Which job.
        job: JobId,
        /// How; not [`State::Running`].
        state: State,
        /// Its result, if it has one.
        finish: Option<Finish>,
        /// What it had of each node.
        nodes: Vec<NodeStanding>,
        /// Time that it has taken.
        elapsed: Duration,
    },
    /// It had been cancelled or failed, and goes on.
    Resumed {
        /// Which job.
        job: JobId,
        /// Time that it had taken.
        elapsed: Duration,
    },
}

impl Record {
    /// Which job it is about.
    pub fn job(&self) -> JobId {
        match self {
            Record::Submitted { job, .. }
            | Record::Answered { job, .. }
            | Record::Saved { job, .. }
            | Record::Closed { job, .. }
            | Record::Ended { job, .. }
            | Record::Resumed { job, .. } => *job,
        }
    }

    /// Whether somebody waits until it is durable. Nobody does for an answer: it may be given again.
    pub fn is_urgent(&self) -> bool {
        !matches!(self, Record::Answered { .. })
    }

    /// The blobs that it carries.
    pub fn blobs(&self) -> Vec<&Arc<Blob>> {
        match self {
            Record::Saved { saved, .. } => saved.blobs.iter().collect(),
            Record::Ended { finish: Some(finish), .. } => vec![&finish.model],
            _ => Vec::new(),
        }
    }

    /// Bytes of memory that it takes, roughly.
    pub fn weight(&self) -> usize {
        let blobs: usize = self.blobs().iter().map(|blob| blob.bytes().len()).sum();
        let more = match self {
            Record::Submitted { order, .. } => order.parameters.len() + 200 * order.corpus.len(),
            Record::Answered { output, .. } => output.bytes.len() + output.metrics.len(),
            Record::Closed { round, .. } => round.spans.len() * size_of::<Span>(),
            _ => 0,
        };
        blobs + more + 256
    }
}

/// What a client asked for, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOrder {
    /// The kind of job.
    pub kind: String,
    /// Its parameters (JSON), as the kind defines them.
    pub parameters: String,
    /// Its data.
    pub corpus: MaterialRef,
    /// Its share of the nodes beside other jobs; more than 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// Jobs of a higher priority go before all others.
    #[serde(default)]
    pub priority: i32,
    /// Fail it after this long without progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub give_up_after: Option<Duration>,
    /// The client's own name for the request: the same request sent twice is one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub submitted_ms: i64,
}

fn one() -> f64 {
    1.0
}

impl JobOrder {
    /// A job of weight 1 without any limit, submitted in 1970 by nobody.
    pub fn new(kind: &str, parameters: &str, corpus: impl Into<MaterialRef>) -> Self {
        Self {
            kind: kind.to_owned(),
            parameters: parameters.to_owned(),
            corpus: corpus.into(),
            weight: one(),
            priority: 0,
            give_up_after: None,
            request_id: None,
            submitted_ms: 0,
        }
    }
}

/// What a job works on, by digests; see [`crate::jobs::Material`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaterialRef {
    /// Rows to learn from.
    Rows(CorpusRef),
    /// A model, and files to ask it about.
    Files(Files),
}

impl MaterialRef {
    /// What it is called in messages.
    pub fn name(&self) -> &str {
        match self {
            MaterialRef::Rows(corpus) => &corpus.name,
            MaterialRef::Files(files) => &files.name,
        }
    }

    /// The name of the model that it begins with, if there is one.
    pub fn model(&self) -> Option<&str> {
        match self {
            MaterialRef::Rows(_) => None,
            MaterialRef::Files(files) => Some(&files.model.name),
        }
    }

    /// All its blobs.
    pub fn digests(&self) -> Vec<Digest> {
        match self {
            MaterialRef::Rows(corpus) => corpus.digests().collect(),
            MaterialRef::Files(files) => {
                files.inputs.iter().chain([&files.model]).map(|source| source.digest).collect()
            }
        }
    }

    /// How many files it has.
    fn len(&self) -> usize {
        match self {
            MaterialRef::Rows(corpus) => corpus.shards.len(),
            MaterialRef::Files(files) => files.inputs.len(),
        }
    }
}

impl From<CorpusRef> for MaterialRef {
    fn from(corpus: CorpusRef) -> Self {
        Self::Rows(corpus)
    }
}

/// A job's rows by digests; see [`crate::jobs::Corpus`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorpusRef {
    /// The directory it came from.
    pub name: String,
    /// The training files, in their order.
    pub shards: Vec<ShardRef>,
    /// The rows that the result is measured on.
    pub validation: ShardRef,
    /// Features of each row.
    pub columns: usize,
    /// The labels, in class order; none if values are to be learnt.
    pub classes: Vec<String>,
}

impl CorpusRef {
    /// All its blobs.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.shards.iter().chain([&self.validation]).map(|shard| shard.digest)
    }
}

/// One file of rows by its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardRef {
    /// The file's name without its directory.
    pub name: String,
    /// Its blob.
    pub digest: Digest,
    /// Its rows.
    pub rows: u64,
}

/// What is left of records once those are dropped that later ones of them make good for: answers and saves before a save
/// of the same job, and all of them before its happy end.
pub fn reduced(records: Vec<Record>) -> Vec<Record> {
    let mut settled: BTreeSet<JobId> = BTreeSet::new();
    let mut kept: Vec<Record> = Vec::with_capacity(records.len());
    for record in records.into_iter().rev() {
        let job = record.job();
        match &record {
            Record::Answered { .. } if settled.contains(&job) => continue,
            Record::Saved { .. } if !settled.insert(job) => continue,
            Record::Ended { state: State::Done { .. }, .. } => drop(settled.insert(job)),
            Record::Ended { .. } | Record::Resumed { .. } => drop(settled.remove(&job)),
            _ => {}
        }
        kept.push(record);
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests;
