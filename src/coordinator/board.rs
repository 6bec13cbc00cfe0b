//! Owns what is known of jobs outside the engine: the last status of each, for those who watch.

use crate::data::shared::Blob;
use crate::engine::{ClosedRound, Finish, NodeStanding, State, Status};
use crate::types::{Digest, JobId};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many jobs that have ended are remembered.
const REMEMBERED: usize = 64;
/// How many jobs may be at work at once.
const MOST_AT_WORK: usize = 1024;

/// The statuses, and a bell that rings with each change.
#[derive(Default)]
pub(super) struct Board {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    known: BTreeMap<JobId, Posted>,
    closing: bool,
}

/// A job on the board.
pub(super) struct Posted {
    /// Grows with each change; from 1.
    pub(super) version: i64,
    /// The newest status, whose list of closed rounds is not used.
    pub(super) status: Option<Status>,
    /// All rounds that are over.
    pub(super) closed: Vec<Arc<ClosedRound>>,
    /// The newest list of nodes that was told.
    pub(super) nodes: Vec<NodeStanding>,
    /// The result, once there is one.
    pub(super) finish: Option<Finish>,
    /// Bytes that the job takes beside them, while it is at work.
    memory: usize,
}

impl Posted {
    /// Whether the job is over.
    pub(super) fn has_ended(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.state != State::Running)
    }
}

impl Board {
    /// Posts a job that takes so many bytes, if there is room for it under `limit`.
    pub(super) fn open(&self, job: JobId, memory: usize, limit: usize) -> Result<(), String> {
        let mut jobs = self.lock();
        let at_work = || jobs.known.values().filter(|posted| !posted.has_ended());
        let taken: usize = at_work().map(|posted| posted.memory).sum();
        if memory > limit.saturating_sub(taken) || at_work().count() >= MOST_AT_WORK {
            return Err(format!(
                "no room for a job that takes {memory} bytes beside its data: {} jobs are at work and take {taken}, of \
                 at most {limit}; try again later, or give the coordinator more --memory",
                at_work().count()
            ));
        }
        let (closed, nodes) = (Vec::new(), Vec::new());
        let posted = Posted { version: 1, status: None, closed, nodes, finish: None, memory };
        jobs.known.insert(job, posted);
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
        Ok(())
    }

    /// The model of a job that has ended, by its digest.
    pub(super) fn model(&self, digest: &Digest) -> Option<Arc<Blob>> {
        let jobs = self.lock();
        let mut models =
            jobs.known.values().filter_map(|posted| posted.finish.as_ref()).map(|finish| &finish.model);
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
        }
        posted.finish = status.finish.take().or(posted.finish.take());
        posted.status = Some(status);
        drop(jobs);
        self.changed.notify_all();
    }

    /// What `read` makes of a job as soon as `enough` is content with it, or after `patience`.
    ///
    /// # Errors
    /// There is no such job, or the coordinator is stopping.
    pub(super) fn wait<T>(
        &self,
        job: JobId,
        patience: Duration,
        enough: impl Fn(&Posted) -> bool,
        read: impl FnOnce(&Posted) -> T,
    ) -> Result<T, String> {
        let end = Instant::now().checked_add(patience);
        let mut jobs = self.lock();
        loop {
            if jobs.closing {
                return Err("the coordinator is stopping".to_owned());
            }
            let posted = jobs.known.get(&job).ok_or_else(|| format!("there is no job '{job}' here"))?;
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if enough(posted) || left.is_zero() {
                return Ok(read(posted));
            }
            jobs = self.changed.wait_timeout(jobs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends all waiting: the coordinator stops.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
