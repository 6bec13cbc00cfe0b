//! Owns why a job was given a slot, for those who want to know.

use crate::jobs::Measure;
use crate::types::JobId;

/// Why a job was given a slot.
#[derive(Clone, Debug, PartialEq)]
pub enum ShareReason {
    /// No other job has a task waiting.
    Alone,
    /// The others that wait have a lower priority.
    Priority,
    /// It has had less than any other that waits.
    Least {
        /// The job.
        job: JobId,
        /// The next one after it; `None`: all jobs counted in queries together.
        other: Option<JobId>,
        /// How much less, for their weights.
        by: f64,
        /// Queries, or seconds of slots.
        measure: Measure,
    },
    /// The node has worked for it lately, and another job has had only little less.
    Stays {
        /// The other.
        other: JobId,
        /// How many queries less, for their weights.
        by: f64,
    },
    /// No task of those that should go before it can be had by this node, or is worth it.
    Fits,
    /// A copy of a task that is late.
    Copy,
}

impl std::fmt::Display for ShareReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ShareReason::Alone => write!(f, "no other job waits"),
            ShareReason::Priority => write!(f, "has the highest priority"),
            ShareReason::Least { other, by, measure, .. } => {
                match measure {
                    Measure::Queries => write!(f, "has had {by:.1} queries a weight less than ")?,
                    Measure::Time => write!(f, "has had {by:.2} s of slots a weight less than ")?,
                }
                match other {
                    Some(other) => write!(f, "job {other}"),
                    None => write!(f, "the inference jobs"),
                }
            }
            ShareReason::Stays { other, by } => {
                write!(f, "the node has worked for it; job {other} has had only {by:.1} queries a weight less")
            }
            ShareReason::Fits => write!(f, "the first whose task the node can have"),
            ShareReason::Copy => write!(f, "a task of it is late"),
        }
    }
}
