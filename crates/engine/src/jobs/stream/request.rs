//! Owns what a client asks of a job that learns from a stream, and the limits of each setting.

use super::staleness::Staleness;
use crate::jobs::training::Stopping;
use crate::jobs::{Corpus, JobError};
use crate::model::{Activation, Init, Learning, Method, OuterSettings};
use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRequest {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// The learning rate, for mean gradients.
    pub eta: f64,
    /// Where the first weights, the order of rows and dropout come from.
    pub seed: u64,
    /// What hidden units do.
    #[serde(default)]
    pub activation: Activation,
    /// How the first weights are drawn; by default as suits the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// Whether features (and values to be learnt) are standardised, by their moments over all shards.
    #[serde(default)]
    pub standardize: bool,
    /// How a task learns; `batch_size` must be given.
    pub method: Method,
    /// Where the rows, or the changes, come from.
    #[serde(default)]
    pub source: Source,
    /// Passes over all rows, of the source `rows`; 1 to 1,000,000.
    #[serde(default = "one")]
    pub epochs: u32,
    /// Mini-batches of a task; 1 to 65,536.
    #[serde(default = "group")]
    pub group: u32,
    /// A version is made of so many changes: their mean, each with the weight of its staleness; 1 to 65,536.
    #[serde(default = "one")]
    pub publish_every: u32,
    /// How much changes count that were learnt from older versions.
    #[serde(default)]
    pub staleness: Staleness,
    /// How a change becomes the next version.
    #[serde(default)]
    pub outer: OuterSettings,
    /// When the job ends before the stream does. `patience` is in measured versions.
    #[serde(default)]
    pub stopping: Stopping,
    /// How many of the newest durable versions are kept; 1 to 64.
    #[serde(default = "keep")]
    pub keep: u32,
    /// A version is measured each time that so many more mini-batches are in it; an epoch of them if it is not given, or
    /// 256 if there are no epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure_every: Option<u64>,
}

/// Where rows or changes come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// The shards, epoch after epoch, each in an order of its own.
    #[default]
    Rows,
    /// A queue that feeders fill. The shards are then a sample of the rows, from which moments are taken.
    Queue(QueueSource),
    /// Learners outside, who send changes; nodes have nothing to do.
    Updates {
        /// The job is over after so many; 1 or more.
        updates: u64,
    },
}

/// A queue of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSource {
    /// How many rows will come, those of each pass counted again: what schedules go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The job is over when so many feeders have ended; 1 if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeders: Option<u32>,
    /// How many rows may wait; 262,144 if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
    /// Another queue that the coordinator takes rows from, such as `nats://host:4222/stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

fn one() -> u32 {
    1
}

fn group() -> u32 {
    16
}

fn keep() -> u32 {
    5
}

impl StreamRequest {
    /// How a task learns: one pass over its rows, in the order in which it gets them.
    pub(super) fn learning(&self) -> Learning {
        Learning { epochs: 1, eta: self.eta, method: Method { shuffle: false, ..self.method.clone() } }
    }

    /// Rows of a mini-batch.
    pub(super) fn batch(&self) -> u64 {
        u64::from(self.method.batch_size.unwrap_or(1).max(1))
    }

    /// Rows of a task.
    pub(super) fn rows_of_task(&self) -> u64 {
        self.batch() * u64::from(self.group)
    }

    /// The rule by which first weights are drawn.
    pub fn init(&self) -> Init {
        self.init.unwrap_or(match self.activation {
            Activation::Tanh => Init::Glorot,
            Activation::Relu | Activation::Gelu => Init::He,
        })
    }

    /// Checks all that can be known before the job starts.
    pub(super) fn check(&self, corpus: &Corpus) -> Result<(), JobError> {
        if self.hidden.is_empty() || self.hidden.len() > 16 {
            return range("hidden layers", self.hidden.len(), "from 1 to 16");
        }
        if corpus.shards.is_empty() || corpus.shards.len() > 1_000_000 {
            return range("shards", corpus.shards.len(), "from 1 to 1,000,000");
        }
        if let Some(empty) = corpus.shards.iter().find(|shard| shard.rows == 0) {
            return range("rows", format!("0 in {}", empty.name), "at least 1 in each shard");
        }
        let rows: u64 = corpus.shards.iter().map(|shard| shard.rows).sum();
        if rows > u64::from(u32::MAX) {
            return range("rows", rows, "at most 4,294,967,295");
        }
        if self.method.batch_size.is_none() {
            return Err(JobError::Needs { what: "learning from a stream", needs: "a batch size, in rows" });
        }
        self.learning().check()?;
        if corpus.classes.is_empty() && self.method.label_smoothing > 0.0 {
            return Err(JobError::Needs { what: "label smoothing", needs: "classes to learn, not values" });
        }
        within("epochs", self.epochs.into(), 1, 1_000_000)?;
        within("group", self.group.into(), 1, 65_536)?;
        within("publish every", self.publish_every.into(), 1, 65_536)?;
        within("versions to keep", self.keep.into(), 1, 64)?;
        within("mini-batches between measurements", self.measure_every.unwrap_or(1), 1, 1 << 40)?;
        self.staleness.check()?;
        self.outer.check()?;
        self.stopping.check()?;
        self.check_source()
    }

    fn check_source(&self) -> Result<(), JobError> {
        match &self.source {
            Source::Rows => Ok(()),
            Source::Updates { updates } => within("updates", *updates, 1, 1 << 40),
            Source::Queue(queue) => {
                within("feeders", queue.feeders.unwrap_or(1).into(), 1, 65_536)?;
                within("room of the queue", queue.room.unwrap_or(1), 1, 1 << 32)?;
                within("rows to come", queue.rows.unwrap_or(1), 1, 1 << 40)?;
                let schedule = &self.method.schedule;
                if queue.rows.is_none() && (schedule.name != "constant" || schedule.warmup > 0.0) {
                    let needs = "the number of rows that will come";
                    return Err(JobError::Needs { what: "a schedule or warm-up on a queue", needs });
                }
                Ok(())
            }
        }
    }
}

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), JobError> {
    if (least..=most).contains(&value) { Ok(()) } else { range(field, value, &format!("from {least} to {most}")) }
}

fn range<T>(field: &'static str, value: impl ToString, range: &str) -> Result<T, JobError> {
    Err(JobError::Range { field, value: value.to_string(), range: range.to_owned() })
}
