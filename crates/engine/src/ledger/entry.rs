//! Owns the bytes of a log entry and of a snapshot.
//!
//! ```text
//! roundtable-log 1 <SHA-256 of all that follows>
//! {"kind": "records", "epoch": 7, ..., "attached": [[digest, bytes], ...], "records": [...]}
//! the attached blobs, one after the other
//! ```
//!
//! A blob is attached unless the ledger before the entry has it, or it is large: then it is kept under its digest, and
//! written before the entry is. JSON, so that a later version can read an earlier one's log.

use super::told::{ClosedRound, Finish, NodeStanding, State};
use super::{JobOrder, Ledger, Record};
use crate::data::shared::Blob;
use crate::jobs::{Figures, Saved, TaskOutput};
use crate::model::Measured;
use crate::types::{Digest, Epoch, JobId, NodeId, Round, TaskId};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The largest blob that is attached, in bytes.
pub const INLINE: usize = 256 << 10;

const MAGIC: &str = "roundtable-log 1 ";
/// The first line with its end.
const FIRST_LINE: usize = MAGIC.len() + 64 + 1;

/// What stands at one place of the log, or a snapshot of all up to there.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The epoch of the coordinator that wrote it.
    pub epoch: Epoch,
    /// Its address.
    pub leader: String,
    /// The process: what tells its own entry from another's after an answer was lost.
    pub instance: String,
    /// The highest number that a job has had.
    pub last_job: JobId,
    /// What happened.
    pub records: Vec<Record>,
}

/// An entry as bytes.
pub struct Written {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Blobs that must be kept under their digests before.
    pub blobs: Vec<Arc<Blob>>,
}

/// Why an entry cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// It was damaged or written in part.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It speaks of blobs that are kept elsewhere; with them it can be read.
    #[error("it needs {} blobs that are not at hand, the first being {}", .0.len(), .0.first().map_or(String::new(), Digest::to_string))]
    Missing(BTreeSet<Digest>),
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    epoch: Epoch,
    leader: Cow<'a, str>,
    instance: Cow<'a, str>,
    last_job: JobId,
    attached: Vec<(Digest, usize)>,
    records: Vec<Line<'a>>,
}

/// A record with digests in the place of blobs.
#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<'a> {
    Submitted {
        job: JobId,
        order: Cow<'a, JobOrder>,
    },
    Answered {
        job: JobId,
        task: TaskId,
        output: Digest,
        metrics: Cow<'a, str>,
    },
    Saved {
        job: JobId,
        json: Cow<'a, str>,
        blobs: Vec<Digest>,
    },
    Closed {
        job: JobId,
        round: Cow<'a, ClosedRound>,
        nodes: Cow<'a, [(NodeId, String)]>,
        elapsed: Duration,
    },
    Ended {
        job: JobId,
        state: Cow<'a, State>,
        finish: Option<FinishLine<'a>>,
        nodes: Cow<'a, [NodeStanding]>,
        elapsed: Duration,
    },
    Resumed {
        job: JobId,
        elapsed: Duration,
    },
}

#[derive(Serialize, Deserialize)]
struct FinishLine<'a> {
    model: Digest,
    round: Round,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured: Option<Cow<'a, Measured>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    figures: Option<Cow<'a, Figures>>,
}

impl Entry {
    /// The entry as bytes, to be read by those who have `before`, the ledger that it changes.
    pub fn write(&self, before: &Ledger) -> Written {
        let mut attached: Vec<Arc<Blob>> = Vec::new();
        let mut blobs: Vec<Arc<Blob>> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut keep = |blob: Arc<Blob>| {
            let digest = blob.digest();
            if seen.insert(digest) && before.blob(&digest).is_none() {
                if blob.bytes().len() <= INLINE { &mut attached } else { &mut blobs }.push(blob);
            }
            digest
        };
        let records = self.records.iter().map(|record| line(record, &mut keep)).collect();
        let header = Header {
            epoch: self.epoch,
            leader: (&self.leader).into(),
            instance: (&self.instance).into(),
            last_job: self.last_job,
            attached: attached.iter().map(|blob| (blob.digest(), blob.bytes().len())).collect(),
            records,
        };
        // The digest of the rest takes the place of zeros.
        let mut bytes = format!("{MAGIC}{:064}\n", 0).into_bytes();
        // Numbers that are not finite are written as text: there is nothing that cannot be written.
        let _ = serde_json::to_writer(&mut bytes, &header);
        bytes.push(b'\n');
        bytes.reserve_exact(attached.iter().map(|blob| blob.bytes().len()).sum());
        attached.iter().for_each(|blob| bytes.extend_from_slice(blob.bytes()));
        let digest = Digest::of(&bytes[FIRST_LINE..]).to_string();
        bytes[MAGIC.len()..FIRST_LINE - 1].copy_from_slice(digest.as_bytes());
        Written { bytes, blobs }
    }

    /// Reads an entry that changes the ledger `before`; blobs that are kept elsewhere are `fetched`.
    ///
    /// # Errors
    /// It is damaged, or needs more blobs.
    pub fn read(bytes: &[u8], before: &Ledger, fetched: &BTreeMap<Digest, Arc<Blob>>) -> Result<Self, EntryError> {
        let damaged = |reason: &str| EntryError::Damaged(reason.to_owned());
        let first = bytes.get(..FIRST_LINE).ok_or_else(|| damaged("it is too short"))?;
        let claimed = first.strip_prefix(MAGIC.as_bytes()).and_then(|rest| rest.strip_suffix(b"\n"));
        let claimed = claimed.ok_or_else(|| damaged("it does not begin as a log entry of this version"))?;
        let body = &bytes[FIRST_LINE..];
        // As text: a bit that makes a digit upper case is damage, too.
        let actual = Digest::of(body).to_string();
        if actual.as_bytes() != claimed {
            let claimed = String::from_utf8_lossy(claimed);
            return Err(EntryError::Damaged(format!("its SHA-256 is {actual}, not {claimed:?}")));
        }
        let end = body.iter().position(|&byte| byte == b'\n').ok_or_else(|| damaged("its header does not end"))?;
        let header: Header =
            serde_json::from_slice(&body[..end]).map_err(|e| EntryError::Damaged(e.to_string()))?;
        let mut rest = &body[end + 1..];
        let mut blobs = fetched.clone();
        for (digest, size) in header.attached {
            let (blob, after) = rest.split_at_checked(size).ok_or_else(|| damaged("a blob is cut off"))?;
            blobs.insert(digest, Arc::new(Blob::new(blob.to_vec())));
            rest = after;
        }
        let mut missing = BTreeSet::new();
        let mut find = |digest: Digest| {
            let found = blobs.get(&digest).cloned().or_else(|| before.blob(&digest));
            found.or_else(|| {
                missing.insert(digest);
                None
            })
        };
        let records: Vec<Record> = header.records.into_iter().filter_map(|line| record(line, &mut find)).collect();
        if !missing.is_empty() {
            return Err(EntryError::Missing(missing));
        }
        let Header { epoch, leader, instance, last_job, .. } = header;
        let (leader, instance) = (leader.into_owned(), instance.into_owned());
        Ok(Self { epoch, leader, instance, last_job, records })
    }

    /// Changes a ledger by all of it.
    pub fn apply_to(&self, ledger: &mut Ledger) {
        self.records.iter().for_each(|record| ledger.apply(record));
        ledger.numbered_to(self.last_job);
    }
}

fn line<'a>(record: &'a Record, keep: &mut dyn FnMut(Arc<Blob>) -> Digest) -> Line<'a> {
    match record {
        Record::Submitted { job, order } => Line::Submitted { job: *job, order: Cow::Borrowed(order) },
        Record::Answered { job, task, output } => {
            let digest = keep(Arc::new(Blob::new(output.bytes.clone())));
            Line::Answered { job: *job, task: *task, output: digest, metrics: (&output.metrics).into() }
        }
        Record::Saved { job, saved: Saved { json, blobs } } => {
            Line::Saved { job: *job, json: json.into(), blobs: blobs.iter().cloned().map(keep).collect() }
        }
        Record::Closed { job, round, nodes, elapsed } => {
            Line::Closed { job: *job, round: Cow::Borrowed(round), nodes: nodes.into(), elapsed: *elapsed }
        }
        Record::Ended { job, state, finish, nodes, elapsed } => {
            let finish = finish.as_ref().map(|Finish { model, round, measured, figures }| FinishLine {
                model: keep(model.clone()),
                round: *round,
                measured: measured.as_deref().map(Cow::Borrowed),
                figures: figures.as_deref().map(Cow::Borrowed),
            });
            let state = Cow::Borrowed(state);
            Line::Ended { job: *job, state, finish, nodes: nodes.into(), elapsed: *elapsed }
        }
        Record::Resumed { job, elapsed } => Line::Resumed { job: *job, elapsed: *elapsed },
    }
}

/// The record of a line; `None` if a blob is missing, which `find` has noted.
fn record(line: Line<'_>, find: &mut dyn FnMut(Digest) -> Option<Arc<Blob>>) -> Option<Record> {
    Some(match line {
        Line::Submitted { job, order } => Record::Submitted { job, order: Arc::new(order.into_owned()) },
        Line::Answered { job, task, output, metrics } => {
            let output = TaskOutput { bytes: find(output)?.bytes().to_vec(), metrics: metrics.into_owned() };
            Record::Answered { job, task, output: Arc::new(output) }
        }
        Line::Saved { job, json, blobs } => {
            // All of them are looked for, so that all that are missing are known.
            let found: Vec<_> = blobs.into_iter().map(find).collect();
            let blobs = found.into_iter().collect::<Option<_>>()?;
            Record::Saved { job, saved: Saved { json: json.into_owned(), blobs } }
        }
        Line::Closed { job, round, nodes, elapsed } => {
            Record::Closed { job, round: Arc::new(round.into_owned()), nodes: nodes.into_owned(), elapsed }
        }
        Line::Ended { job, state, finish, nodes, elapsed } => {
            let finish = match finish {
                None => None,
                Some(FinishLine { model, round, measured, figures }) => {
                    let measured = measured.map(|measured| Box::new(measured.into_owned()));
                    let figures = figures.map(|figures| Box::new(figures.into_owned()));
                    Some(Finish { model: find(model)?, round, measured, figures })
                }
            };
            Record::Ended { job, state: state.into_owned(), finish, nodes: nodes.into_owned(), elapsed }
        }
        Line::Resumed { job, elapsed } => Record::Resumed { job, elapsed },
    })
}
