//! Owns the client's side of a job: the data go up once, the job is submitted and watched, the model comes back.

mod error;
pub mod feed;
pub mod files;
pub mod inference;
mod leader;
mod order;
mod report;
pub mod tuning;
mod upload;

pub use error::ClientError;
pub use leader::{Connection, Leader};
pub use order::{Order, Share, Wanted, Work, submit, submit_fed};
pub use report::{Config, Confusion, NodeLine, Report, RoundLine, Span, StreamLine};

use crate::data::shared::Blob;
use crate::ingest::{Corpus, LoadedShard};
use crate::jobs;
use crate::rpc::{self, Address, Dialer};
use crate::types::Digest;
use crate::wire::coordinator::{JobState, JobStatus, TCoordinatorSyncClient};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a `watch` waits at the coordinator, in milliseconds: an interrupt is noticed at the latest then.
const WATCH_MS: i32 = 200;
/// How long its answer may take in all: a leader that hangs is left for its successor then.
const WATCH_ANSWER: Duration = Duration::from_secs(2);

/// A data set as a coordinator has it.
pub fn material(corpus: &Corpus) -> jobs::Corpus {
    let shard = |shard: &LoadedShard| jobs::Shard {
        name: shard.name.clone(),
        blob: Arc::new(Blob::new(crate::data::encode(&shard.data))),
        rows: shard.data.rows() as u64,
    };
    jobs::Corpus {
        name: corpus.name.clone(),
        shards: corpus.shards.iter().map(shard).collect(),
        validation: shard(&corpus.validation),
        columns: corpus.validation.data.columns(),
        classes: corpus.labels().to_vec(),
    }
}

/// What a watcher is told on the way.
pub enum Step<'a> {
    /// The data set has been read here.
    Loaded(&'a Corpus),
    /// It was not found here; the coordinator is asked for it.
    Elsewhere,
    /// This many bytes of that many have gone up.
    Uploaded {
        /// Bytes sent.
        sent: usize,
        /// Bytes that the coordinator lacked.
        total: usize,
    },
    /// The job is durable: it goes on whatever becomes of this client.
    Submitted(&'a str),
    /// The job goes on.
    Status(&'a JobStatus),
}

/// A job that a coordinator has.
pub struct Submitted {
    /// Its number.
    pub job: String,
    leader: Leader,
    start: Instant,
}

/// Has a job done.
///
/// `interrupted` is asked often; once it says yes the job is cancelled.
///
/// # Errors
/// The data cannot be read, the coordinator cannot be reached or refuses, the job failed or was interrupted.
pub fn train(
    order: &Order,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<Report, ClientError> {
    let submitted = submit(order, interrupted, watcher)?;
    follow(submitted, &order.dataset, true, interrupted, watcher)
}

/// Finds a job that was submitted before.
///
/// # Errors
/// No coordinator leads.
pub fn attach(coordinators: &[Address], reconnect: Duration, job: &str) -> Result<Submitted, ClientError> {
    let leader = Leader::find(coordinators, Dialer::default(), reconnect)?;
    Ok(Submitted { job: job.to_owned(), leader, start: Instant::now() })
}

/// Watches a job to its end, whichever coordinator leads. Once `interrupted` says yes it is cancelled, if it is `ours`,
/// or else let be.
///
/// # Errors
/// The job ended without a model, there is none of this number, or nobody leads.
pub fn follow(
    submitted: Submitted,
    dataset: &str,
    ours: bool,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<Report, ClientError> {
    let start = submitted.start;
    let mut rounds = Vec::new();
    let mut seen = |status: &JobStatus| {
        rounds.extend(status.closed.iter().map(RoundLine::from));
        watcher(Step::Status(status));
    };
    let (mut leader, last) = until_done(submitted, ours, interrupted, &mut seen)?;
    let model = result(&mut leader, &last, interrupted)?;
    Ok(Report::new(&leader, dataset, rounds, &last, model, start.elapsed()))
}

/// Watches a job to its end, whichever coordinator leads; how it stands then, if it is done.
fn until_done(
    submitted: Submitted,
    ours: bool,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(&JobStatus),
) -> Result<(Leader, JobStatus), ClientError> {
    let Submitted { job, mut leader, .. } = submitted;
    let (mut seen, mut version) = (0, 0);
    let mut cancelled = false;
    let go_on = || !interrupted();
    let last = loop {
        let status = leader.call(&go_on, |client| {
            client.call_within(WATCH_ANSWER, |c| c.watch(job.clone(), version, seen, WATCH_MS))
        })?;
        version = status.version;
        seen += status.closed.len() as i32;
        watcher(&status);
        if status.state != JobState::RUNNING {
            break status;
        }
        if !cancelled && interrupted() {
            if !ours {
                return Err(ClientError::Detached { job });
            }
            cancelled = true;
            leader.call(&|| true, |client| client.call(|c| c.cancel(job.clone())))?;
        }
    };
    match last.state {
        JobState::DONE => Ok((leader, last)),
        JobState::CANCELLED => Err(ClientError::Cancelled { job, by_us: cancelled }),
        _ => Err(ClientError::Failed { job, reason: last.notice }),
    }
}

/// The model or the output of a job that is done.
fn result(leader: &mut Leader, last: &JobStatus, interrupted: &dyn Fn() -> bool) -> Result<Vec<u8>, ClientError> {
    let digest = Digest::parse(&last.model_digest)
        .ok_or_else(|| ClientError::Request(format!("the model's digest is '{}'", last.model_digest)))?;
    Ok(leader.call(&|| !interrupted(), |client| rpc::get_blob(client, &digest))?)
}
