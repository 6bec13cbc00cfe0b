//! Owns what is known of jobs outside the engine: the last status of each, for those who watch.

use super::front::{Shown, ShownJob, ShownVersion};
use crate::data::shared::Blob;
use crate::engine::{ClosedRound, Finish, NodeStanding, State, Status};
use crate::jobs::{Figures, Progress};
use crate::ledger::{History, JobOrder, Ledger};
use crate::model::Model;
use crate::types::{Digest, JobId, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many jobs that have ended are remembered.
const REMEMBERED: usize = 64;
/// How many jobs may be at work at once.
const MOST_AT_WORK: usize = 1024;

/// The statuses, and a bell that rings with each change.
#[derive(Default)]
pub(super) struct Board {
    jobs: Mutex<Jobs>,
    changed: Condvar,
    shown: watch::Sender<Arc<Shown>>,
}

#[derive(Default)]
struct Jobs {
    known: BTreeMap<JobId, Posted>,
    last_job: u64,
    /// There are jobs here: this coordinator leads.
    leads: bool,
    closing: bool,
}

/// Why there is nothing to be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unknown {
    /// The coordinator is stopping.
    Stopping,
    /// Another leads, and has the jobs.
    NotHere,
    /// There is no such job.
    NoJob(JobId),
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopping => write!(f, "the coordinator is stopping"),
            Self::NotHere => write!(f, "this coordinator stands by; another leads"),
            Self::NoJob(job) => write!(f, "there is no job '{job}' here"),
        }
    }
}

/// A job on the board.
pub(super) struct Posted {
    /// What is wanted.
    pub(super) order: Arc<JobOrder>,
    /// Grows with each change, also from one leader to the next.
    pub(super) version: i64,
    /// The newest status, whose list of closed rounds is not used.
    pub(super) status: Option<Status>,
    /// All rounds that are over.
    pub(super) closed: Vec<Arc<ClosedRound>>,
    /// The newest list of nodes that was told.
    pub(super) nodes: Vec<NodeStanding>,
    /// Their ids.
    pub(super) node_ids: Vec<NodeId>,
    /// The result, once there is one.
    pub(super) finish: Option<Finish>,
    /// The model of the result, if it is one.
    last: Option<ShownVersion>,
    /// Bytes that the job takes beside them, while it is at work.
    memory: usize,
}

impl Posted {
    /// Whether the job is over.
    pub(super) fn has_ended(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.state != State::Running)
    }
}

impl Posted {
    /// As those see it who look for models.
    fn shown(&self) -> ShownJob {
        let status = self.status.as_ref();
        let mut versions: Vec<ShownVersion> =
            status.map_or(Vec::new(), |status| status.versions.iter().map(ShownVersion::from).collect());
        if let Some(last) = &self.last {
            // It may be better than some that came later.
            versions.retain(|version| version.number < last.number);
            versions.push(last.clone());
        }
        ShownJob {
            order: self.order.clone(),
            state: status.map_or(State::Running, |status| status.state.clone()),
            is_stream: status.is_some_and(|status| status.stream.is_some()),
            versions,
        }
    }

    fn new(order: Arc<JobOrder>, memory: usize) -> Self {
        let (closed, nodes, node_ids) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            order,
            version: first_version(),
            status: None,
            closed,
            nodes,
            node_ids,
            finish: None,
            last: None,
            memory,
        }
    }

    /// A job that has ended, as the ledger knows it.
    fn ended(history: &History) -> Self {
        let rounds = history.closed.last().map_or(0, |closed| closed.round.0);
        let status = Status {
            state: history.state.clone(),
            progress: Progress { round: rounds, rounds, tasks_done: 0, tasks: 0 },
            figures: figures_of(history),
            stream: None,
            versions: Vec::new(),
            queries: None,
            closed: Vec::new(),
            nodes_busy: 0,
            nodes_ready: 0,
            nodes_known: history.standings.len(),
            notice: String::new(),
            nodes: Vec::new(),
            node_ids: Vec::new(),
            wall: history.elapsed,
            finish: None,
        };
        let of = |standing: &NodeStanding| {
            let at = history.nodes.iter().find(|(_, address)| **address == standing.address);
            at.map_or(NodeId(u32::MAX), |(&id, _)| id)
        };
        Self {
            status: Some(status),
            closed: history.closed.clone(),
            nodes: history.standings.clone(),
            node_ids: history.standings.iter().map(of).collect(),
            finish: history.finish.clone(),
            last: history.finish.as_ref().and_then(|finish| last_version(&history.order, finish)),
            ..Self::new(history.order.clone(), 0)
        }
    }
}

/// A result as a version, if it is a model: with the number that its file tells, or else that of its round.
fn last_version(order: &JobOrder, finish: &Finish) -> Option<ShownVersion> {
    if order.corpus.model().is_some() {
        return None;
    }
    // Forests and what tunings come to are no such files.
    let notes = Model::notes_of_safetensors(finish.model.bytes()).ok()?;
    let told = notes.get("version").and_then(|number| number.parse().ok());
    let number = told.unwrap_or(u64::from(finish.round.0));
    Some(ShownVersion { number, blob: finish.model.clone(), model: None })
}

/// What an inference job that has ended has done, as far as that is known.
fn figures_of(history: &History) -> Option<Figures> {
    history.order.corpus.model()?;
    Some(history.finish.as_ref().and_then(|finish| finish.figures.as_deref().copied()).unwrap_or_default())
}

/// Watchers that come from another leader are not to find the version that they know: the time makes it differ.
fn first_version() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(1)
}

impl Board {
    /// What is shown to those who do not wait in threads.
    pub(super) fn shown(&self) -> watch::Receiver<Arc<Shown>> {
        self.shown.subscribe()
    }

    /// Begins a term, with the jobs of the ledger.
    pub(super) fn open_term(&self, ledger: &Ledger) {
        let mut jobs = self.lock();
        let posted = |history: &History| match history.state {
            State::Running => Posted::new(history.order.clone(), 0),
            _ => Posted::ended(history),
        };
        jobs.known = ledger.jobs().iter().map(|(&job, history)| (job, posted(history))).collect();
        jobs.last_job = ledger.last_job().0;
        jobs.leads = true;
        self.show_all(&jobs);
    }

    /// Ends a term: the jobs are another's.
    pub(super) fn close_term(&self) {
        let mut jobs = self.lock();
        jobs.known.clear();
        jobs.leads = false;
        self.show_all(&jobs);
        drop(jobs);
        self.changed.notify_all();
    }

    /// Posts a job that takes so many bytes, if there is room for it under `limit`; its number, and whether it is there
    /// since this request came before.
    pub(super) fn open(
        &self,
        order: &Arc<JobOrder>,
        memory: usize,
        limit: usize,
    ) -> Result<(JobId, bool), String> {
        let mut jobs = self.lock();
        let same = |posted: &Posted| order.request_id.is_some() && posted.order.request_id == order.request_id;
        if let Some((&job, _)) = jobs.known.iter().find(|(_, posted)| same(posted)) {
            return Ok((job, true));
        }
        let at_work = || jobs.known.values().filter(|posted| !posted.has_ended());
        let taken: usize = at_work().map(|posted| posted.memory).sum();
        if memory > limit.saturating_sub(taken) || at_work().count() >= MOST_AT_WORK {
            return Err(format!(
                "no room for a job that takes {memory} bytes beside its data: {} jobs are at work and take {taken}, of \
                 at most {limit}; try again later, or give the coordinator more --memory",
                at_work().count()
            ));
        }
        jobs.last_job += 1;
        let job = JobId(jobs.last_job);
        jobs.known.insert(job, Posted::new(order.clone(), memory));
        let ended: Vec<JobId> =
            jobs.known.iter().filter(|(_, posted)| posted.has_ended()).map(|(&job, _)| job).collect();
        for old in ended.iter().take(ended.len().saturating_sub(REMEMBERED)) {
            jobs.known.remove(old);
        }
        // The models of jobs that have ended give way, the oldest first.
        let models = |posted: &Posted| posted.finish.as_ref().map_or(0, |finish| finish.model.bytes().len());
        let mut kept: usize = jobs.known.values().map(models).sum();
        for old in ended {
            if kept <= limit {
                break;
            }
            if let Some(posted) = jobs.known.remove(&old) {
                kept -= models(&posted);
            }
        }
        self.show_all(&jobs);
        Ok((job, false))
    }

    /// A job that has ended goes on.
    pub(super) fn reopen(&self, job: JobId, memory: usize) {
        let mut jobs = self.lock();
        if let Some(posted) = jobs.known.get_mut(&job) {
            posted.status = None;
            posted.closed.clear();
            posted.last = None;
            posted.memory = memory;
            posted.version += 1;
            self.show(job, posted);
        }
    }

    /// What `read` makes of each job, the newest first.
    pub(super) fn list<T>(&self, read: impl Fn(JobId, &Posted) -> T) -> Vec<T> {
        self.lock().known.iter().rev().map(|(&job, posted)| read(job, posted)).collect()
    }

    /// The model of a job that has ended, or a version of the model of one at work, by its digest.
    pub(super) fn model(&self, digest: &Digest) -> Option<Arc<Blob>> {
        let jobs = self.lock();
        let finished = jobs.known.values().filter_map(|posted| posted.finish.as_ref()).map(|finish| &finish.model);
        let at_work = jobs.known.values().filter_map(|posted| posted.status.as_ref());
        let versions = at_work.flat_map(|status| &status.versions).map(|version| &version.blob);
        let mut models = finished.chain(versions);
        models.find(|model| model.digest() == *digest).cloned()
    }

    /// Posts a change.
    pub(super) fn publish(&self, job: JobId, mut status: Status) {
        let mut jobs = self.lock();
        let Some(posted) = jobs.known.get_mut(&job) else { return };
        posted.version += 1;
        posted.closed.append(&mut status.closed);
        if !status.nodes.is_empty() {
            posted.nodes = std::mem::take(&mut status.nodes);
            posted.node_ids = std::mem::take(&mut status.node_ids);
        }
        if let Some(finish) = status.finish.take() {
            posted.last = last_version(&posted.order, &finish);
            posted.finish = Some(finish);
        }
        posted.status = Some(status);
        self.show(job, posted);
        drop(jobs);
        self.changed.notify_all();
    }

    /// What `read` makes of a job as soon as `enough` is content with it, or after `patience`.
    ///
    /// # Errors
    /// There is no such job, another leads, or the coordinator is stopping.
    pub(super) fn wait<T>(
        &self,
        job: JobId,
        patience: Duration,
        enough: impl Fn(&Posted) -> bool,
        read: impl FnOnce(&Posted) -> T,
    ) -> Result<T, Unknown> {
        let end = Instant::now().checked_add(patience);
        let mut jobs = self.lock();
        loop {
            if jobs.closing {
                return Err(Unknown::Stopping);
            }
            if !jobs.leads {
                return Err(Unknown::NotHere);
            }
            let posted = jobs.known.get(&job).ok_or(Unknown::NoJob(job))?;
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if enough(posted) || left.is_zero() {
                return Ok(read(posted));
            }
            jobs = self.changed.wait_timeout(jobs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends all waiting: the coordinator stops.
    pub(super) fn close(&self) {
        let mut jobs = self.lock();
        jobs.closing = true;
        self.show_all(&jobs);
        drop(jobs);
        self.changed.notify_all();
    }

    /// Shows all anew.
    fn show_all(&self, jobs: &Jobs) {
        let shown = jobs.known.iter().map(|(&job, posted)| (job, Arc::new(posted.shown()))).collect();
        self.shown.send_replace(Arc::new(Shown { leads: jobs.leads, stops: jobs.closing, jobs: shown }));
    }

    /// Shows a change of one job, if it is one that is shown.
    fn show(&self, job: JobId, posted: &Posted) {
        let now = posted.shown();
        self.shown.send_if_modified(|shown| {
            let is_new = shown.jobs.get(&job).is_none_or(|before| !before.is_as(&now));
            if is_new {
                Arc::make_mut(shown).jobs.insert(job, Arc::new(now));
            }
            is_new
        });
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
