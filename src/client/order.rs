//! Owns handing in a job: its data go up, and a coordinator takes it.

use super::upload::{Named, upload};
use super::{ClientError, Leader, Step, Submitted};
use crate::data::Dataset;
use crate::ingest::{self, LastColumn};
use crate::jobs::stream::{self, StreamRequest};
use crate::jobs::training::{self, TrainingRequest};
use crate::jobs::tuning::{self, TuningRequest};
use crate::jobs::{JobKind, inference};
use crate::rpc::{Address, Dialer, RpcError};
use crate::wire::coordinator::{JobRequest, Shard, TCoordinatorSyncClient};
use serde::Serialize;
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};
use thrift::OrderedFloat;

/// A job on rows to be done.
#[derive(Clone, Debug)]
pub struct Order<W = Work> {
    /// The coordinators, of which one leads.
    pub coordinators: Vec<Address>,
    /// How long to look for one that leads, when the one that did is gone.
    pub reconnect: Duration,
    /// The data set: a directory here, or else one under the coordinator's data directory.
    pub dataset: String,
    /// Whether its last column is a value to be learnt, not a label.
    pub values: bool,
    /// What to do with it.
    pub work: W,
    /// Let the job fail after this long without progress.
    pub give_up_after: Option<Duration>,
    /// Its part of the nodes beside other jobs.
    pub share: Share,
}

/// What a job is asked for.
pub trait Wanted {
    /// The kind of job.
    fn kind(&self) -> &'static JobKind;

    /// The rest, as JSON.
    ///
    /// # Errors
    /// None that is known: numbers and names can be written.
    fn parameters(&self) -> Result<String, ClientError>;
}

/// What to train, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// In rounds: each waits for all of its tasks.
    Rounds(TrainingRequest),
    /// On a stream of tasks, whose changes are applied as they come.
    Stream(StreamRequest),
}

impl Wanted for Work {
    fn kind(&self) -> &'static JobKind {
        match self {
            Work::Rounds(_) => &training::KIND,
            Work::Stream(_) => &stream::KIND,
        }
    }

    fn parameters(&self) -> Result<String, ClientError> {
        match self {
            Work::Rounds(request) => json(request),
            Work::Stream(request) => json(request),
        }
    }
}

impl Wanted for TuningRequest {
    fn kind(&self) -> &'static JobKind {
        &tuning::KIND
    }

    fn parameters(&self) -> Result<String, ClientError> {
        json(self)
    }
}

impl Wanted for inference::InferenceOrder {
    fn kind(&self) -> &'static JobKind {
        &inference::KIND
    }

    fn parameters(&self) -> Result<String, ClientError> {
        json(self)
    }
}

fn json(request: &impl Serialize) -> Result<String, ClientError> {
    serde_json::to_string(request).map_err(|e| ClientError::Request(e.to_string()))
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

/// A request for this, on data that the coordinator knows by this name.
pub(super) fn request(
    work: &impl Wanted,
    dataset: &str,
    share: Share,
    give_up_after: Option<Duration>,
) -> Result<JobRequest, ClientError> {
    Ok(JobRequest {
        kind: work.kind().name.to_owned(),
        parameters: work.parameters()?,
        dataset: dataset.to_owned(),
        shards: Vec::new(),
        validation: None,
        classes: Vec::new(),
        give_up_after_s: OrderedFloat(give_up_after.map_or(0.0, |after| after.as_secs_f64())),
        values: None,
        request_id: Some(format!("{:032x}", rand::random::<u128>())),
        weight: Some(OrderedFloat(share.weight)),
        priority: Some(share.priority),
    })
}

/// Has a coordinator take a job, which goes on without this client.
///
/// # Errors
/// The data cannot be read, the coordinator cannot be reached or refuses, or it was interrupted.
pub fn submit<W: Wanted>(
    order: &Order<W>,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<Submitted, ClientError> {
    let start = Instant::now();
    // What is wrong with the data is told first: it is nearest to the user.
    let last = if order.values { LastColumn::Value } else { LastColumn::Label(None) };
    let directory = Path::new(&order.dataset);
    let corpus = directory.exists().then(|| ingest::load_dir_for(directory, last)).transpose()?;
    watcher(corpus.as_ref().map_or(Step::Elsewhere, Step::Loaded));
    let mut leader = order.leader()?;
    let mut request = order.request()?;
    if let Some(corpus) = &corpus {
        let sets = corpus.shards.iter().chain([&corpus.validation]);
        let sets: Vec<_> = sets.map(|shard| Named::new(&shard.name, &shard.data)).collect();
        put(&mut leader, &sets, interrupted, watcher)?;
        let mut named: Vec<Shard> = sets.into_iter().map(|set| set.shard).collect();
        request.validation = named.pop();
        request.shards = named;
        request.classes = corpus.labels().to_vec();
    }
    order.hand_in(leader, &request, start, interrupted, watcher)
}

/// Has a coordinator take a job that is to be fed: its only shard is a sample of the rows.
///
/// # Errors
/// The coordinator cannot be reached or refuses, or it was interrupted.
pub fn submit_fed<W: Wanted>(
    order: &Order<W>,
    sample: &Dataset,
    validation: &Dataset,
    classes: &[String],
    interrupted: &dyn Fn() -> bool,
) -> Result<Submitted, ClientError> {
    let start = Instant::now();
    let mut leader = order.leader()?;
    let sets = [Named::new("sample", sample), Named::new("validation", validation)];
    put(&mut leader, &sets, interrupted, &mut |_| ())?;
    let [sample, validation] = sets.map(|set| set.shard);
    let data = JobRequest { shards: vec![sample], validation: Some(validation), ..order.request()? };
    let request = JobRequest { classes: classes.to_vec(), ..data };
    order.hand_in(leader, &request, start, interrupted, &mut |_| ())
}

impl<W: Wanted> Order<W> {
    fn leader(&self) -> Result<Leader, ClientError> {
        Ok(Leader::find(&self.coordinators, Dialer::default(), self.reconnect)?)
    }

    fn request(&self) -> Result<JobRequest, ClientError> {
        let request = request(&self.work, &self.dataset, self.share, self.give_up_after)?;
        Ok(JobRequest { values: self.values.then_some(true), ..request })
    }

    fn hand_in(
        &self,
        mut leader: Leader,
        request: &JobRequest,
        start: Instant,
        interrupted: &dyn Fn() -> bool,
        watcher: &mut dyn FnMut(Step<'_>),
    ) -> Result<Submitted, ClientError> {
        let job = leader.call(&|| !interrupted(), |client| client.call(|c| c.submit(request.clone())));
        let is_elsewhere = request.shards.is_empty();
        let job = job.map_err(|e| match e {
            // Most likely it is the data set that it is about.
            RpcError::Remote { address, reason } if is_elsewhere => {
                ClientError::Elsewhere { dataset: self.dataset.clone(), address, reason }
            }
            RpcError::Remote { address, reason } => ClientError::Refused { address, reason },
            other => other.into(),
        })?;
        watcher(Step::Submitted(&job));
        Ok(Submitted { job, leader, start })
    }
}

/// Puts up the data of a job that is not there yet.
fn put(
    leader: &mut Leader,
    sets: &[Named<'_>],
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(Step<'_>),
) -> Result<(), ClientError> {
    let (go_on, watcher) = (|| !interrupted(), RefCell::new(watcher));
    leader.call(&go_on, |client| {
        upload(client, sets, &go_on, &mut |sent, total| (watcher.borrow_mut())(Step::Uploaded { sent, total }))
    })?;
    if interrupted() { Err(ClientError::Interrupted) } else { Ok(()) }
}
