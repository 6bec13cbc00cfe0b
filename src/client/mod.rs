//! Owns the client's side of a job: the data go up once, the job is submitted and watched, the model comes back.

pub mod feed;
pub mod files;
pub mod inference;
mod leader;
mod report;
pub mod tuning;

pub use leader::{Connection, Leader};
pub use report::{Config, Confusion, NodeLine, Report, RoundLine, Span, StreamLine};

use crate::data::Encoded;
use crate::data::shared::Blob;
use crate::ingest::{self, Corpus, IngestError, LastColumn, LoadedShard};
use crate::jobs;
use crate::jobs::stream::{self, StreamRequest};
use crate::jobs::training::{self, TrainingRequest};
use crate::rpc::{self, Address, Dialer, RpcError};
use crate::types::Digest;
use crate::wire::blobs::TBlobStoreSyncClient;
use crate::wire::coordinator::{JobRequest, JobState, JobStatus, Shard, TCoordinatorSyncClient};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thrift::OrderedFloat;

/// How long a `watch` waits at the coordinator, in milliseconds: an interrupt is noticed at the latest then.
const WATCH_MS: i32 = 200;
/// How long its answer may take in all: a leader that hangs is left for its successor then.
const WATCH_ANSWER: Duration = Duration::from_secs(2);
/// The most digests in one question.
const DIGESTS: usize = 4096;

/// A training job to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// The coordinators, of which one leads.
    pub coordinators: Vec<Address>,
    /// How long to look for one that leads, when the one that did is gone.
    pub reconnect: Duration,
    /// The data set: a directory here, or else one under the coordinator's data directory.
    pub dataset: String,
    /// Whether its last column is a value to be learnt, not a label.
    pub values: bool,
    /// What to train.
    pub work: Work,
    /// Let the job fail after this long without progress.
    pub give_up_after: Option<Duration>,
    /// Its part of the nodes beside other jobs.
    pub share: Share,
}

/// What to train, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// In rounds: each waits for all of its tasks.
    Rounds(TrainingRequest),
    /// On a stream of tasks, whose changes are applied as they come.
    Stream(StreamRequest),
}

impl Work {
    /// The kind of job.
    pub fn kind(&self) -> &'static jobs::JobKind {
        match self {
            Work::Rounds(_) => &training::KIND,
            Work::Stream(_) => &stream::KIND,
        }
    }

    /// What the job is asked for, as JSON.
    ///
    /// # Errors
    /// None that is known: numbers and names can be written.
    pub fn parameters(&self) -> Result<String, ClientError> {
        let text = match self {
            Work::Rounds(request) => serde_json::to_string(request),
            Work::Stream(request) => serde_json::to_string(request),
        };
        text.map_err(|e| ClientError::Request(e.to_string()))
    }
}

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

/// A job's part of the nodes beside other jobs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// In proportion to those of the others.
    pub weight: f64,
    /// Jobs of a higher priority go before all others.
    pub priority: i32,
}

impl Default for Share {
    /// Weight 1, priority 0.
    fn default() -> Self {
        Self { weight: 1.0, priority: 0 }
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

/// Has a coordinator take a job, which goes on without this client.
///
/// # Errors
/// The data cannot be read, the coordinator cannot be reached or refuses, or it was interrupted.
pub fn submit(
    order: &Order,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<Submitted, ClientError> {
    let errand = Errand {
        coordinators: &order.coordinators,
        reconnect: order.reconnect,
        kind: order.work.kind().name,
        parameters: order.work.parameters()?,
        dataset: &order.dataset,
        values: order.values,
        give_up_after: order.give_up_after,
        share: order.share,
    };
    errand.submit(interrupted, watcher)
}

/// A job on rows, of whatever kind.
struct Errand<'a> {
    coordinators: &'a [Address],
    reconnect: Duration,
    kind: &'a str,
    parameters: String,
    dataset: &'a str,
    values: bool,
    give_up_after: Option<Duration>,
    share: Share,
}

impl Errand<'_> {
    /// Puts the data up, and has a coordinator take the job.
    fn submit(
        &self,
        interrupted: &dyn Fn() -> bool,
        watcher: &mut dyn FnMut(Step<'_>),
    ) -> Result<Submitted, ClientError> {
        let order = self;
        let start = Instant::now();
        // What is wrong with the data is told first: it is nearest to the user.
        let last = if order.values { LastColumn::Value } else { LastColumn::Label(None) };
        let directory = Path::new(order.dataset);
        let corpus = directory.exists().then(|| ingest::load_dir_for(directory, last)).transpose()?;
        watcher(corpus.as_ref().map_or(Step::Elsewhere, Step::Loaded));
        let mut leader = Leader::find(order.coordinators, Dialer::default(), order.reconnect)?;
        let mut request = JobRequest {
            kind: order.kind.to_owned(),
            parameters: order.parameters.clone(),
            dataset: order.dataset.to_owned(),
            shards: Vec::new(),
            validation: None,
            classes: Vec::new(),
            give_up_after_s: OrderedFloat(order.give_up_after.map_or(0.0, |after| after.as_secs_f64())),
            values: order.values.then_some(true),
            request_id: Some(format!("{:032x}", rand::random::<u128>())),
            weight: Some(OrderedFloat(order.share.weight)),
            priority: Some(order.share.priority),
        };
        let go_on = || !interrupted();
        let encoded: Vec<_> =
            corpus.iter().flat_map(|c| c.shards.iter().chain([&c.validation])).map(name).collect();
        if let Some(corpus) = &corpus {
            let watcher = RefCell::new(&mut *watcher);
            leader.call(&go_on, |client| {
                upload(client, &encoded, &go_on, &mut |step| (watcher.borrow_mut())(step))
            })?;
            if interrupted() {
                return Err(ClientError::Interrupted);
            }
            let mut named: Vec<Shard> = encoded.iter().map(|(named, ..)| named.clone()).collect();
            request.validation = named.pop();
            request.shards = named;
            request.classes = corpus.labels().to_vec();
        }
        let job = leader.call(&go_on, |client| client.call(|c| c.submit(request.clone())));
        let job = job.map_err(|e| refused(e, order.dataset))?;
        watcher(Step::Submitted(&job));
        Ok(Submitted { job, leader, start })
    }
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

/// Puts what the coordinator lacks; ends early if it is not to go on.
fn upload(
    client: &mut Connection,
    encoded: &[(Shard, Digest, Encoded<'_>)],
    go_on: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<(), RpcError> {
    let mut missing = Vec::new();
    for some in encoded.chunks(DIGESTS) {
        let digests = some.iter().map(|(named, ..)| named.digest.clone()).collect();
        missing.extend(client.call(|c| c.missing_blobs(digests))?);
    }
    let wanted: Vec<_> = encoded.iter().filter(|(named, ..)| missing.contains(&named.digest)).collect();
    let total = wanted.iter().map(|(_, _, bytes)| bytes.len()).sum();
    let mut sent = 0;
    for (_, digest, bytes) in wanted {
        if !go_on() {
            return Ok(());
        }
        let mut told = |part| watcher(Step::Uploaded { sent: sent + part, total });
        rpc::put_blob_in_parts(client, digest, bytes.len(), &|start, most| bytes.copy(start, most), &mut told)?;
        sent += bytes.len();
    }
    Ok(())
}

/// A shard's name in a request, and its bytes.
fn name(shard: &LoadedShard) -> (Shard, Digest, Encoded<'_>) {
    let bytes = Encoded::of(&shard.data);
    let digest = bytes.digest();
    let named = Shard { name: shard.name.clone(), digest: digest.to_string(), rows: shard.data.rows() as i64 };
    (named, digest, bytes)
}

/// What the coordinator says about a request; if the data set is not here, that is most likely what it is about.
fn refused(error: RpcError, dataset: &str) -> ClientError {
    match error {
        RpcError::Remote { address, reason } if Path::new(dataset).exists() => {
            ClientError::Refused { address, reason }
        }
        RpcError::Remote { address, reason } => {
            ClientError::Elsewhere { dataset: dataset.to_owned(), address, reason }
        }
        other => other.into(),
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] IngestError),
    /// The coordinator.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The data set is not here, and the coordinator cannot use it either.
    #[error("{dataset} is not on this machine, and the coordinator at {address} says: {reason}")]
    Elsewhere {
        /// The directory.
        dataset: String,
        /// The coordinator.
        address: Address,
        /// Its reason.
        reason: String,
    },
    /// The coordinator does not take the job.
    #[error("the coordinator at {address} does not take the job: {reason}")]
    Refused {
        /// The coordinator.
        address: Address,
        /// Its reason.
        reason: String,
    },
    /// Something that cannot be said in our calls.
    #[error("{0}")]
    Request(String),
    /// The job ended without a model.
    #[error("job {job} failed: {reason}")]
    Failed {
        /// Which job.
        job: String,
        /// Why.
        reason: String,
    },
    /// Nobody looks at it any more; it goes on.
    #[error("job {job} goes on; `roundtable watch {job}` looks at it again")]
    Detached {
        /// Which job.
        job: String,
    },
    /// There was no job yet.
    #[error("interrupted before the job was submitted")]
    Interrupted,
    /// Somebody wanted no more of it.
    #[error("job {job} was cancelled")]
    Cancelled {
        /// Which job.
        job: String,
        /// Whether it was this client's wish.
        by_us: bool,
    },
}
