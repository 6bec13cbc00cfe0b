//! Owns what a coordinator answers on one connection.

use super::Shared;
use super::board::{Posted, Unknown};
use super::files::FileBlobs;
use super::told;
use crate::engine::{Assignment, Event, State};
use crate::gossip::{MemberCalls, answer_member_calls};
use crate::jobs::training::TrainingRequest;
use crate::ledger::JobOrder;
use crate::rpc::Peer;
use crate::store::{BlobCalls, answer_blob_calls};
use crate::types::JobId;
use crate::wire::coordinator::{
    self as wire, CoordinatorSyncHandler, CoordinatorSyncProcessor, FileVersion, GcReport, JobRequest, JobStatus,
    JobSummary, Leadership,
};
use crate::wire::{PROTOCOL, convert};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thrift::OrderedFloat;

/// How often a call that waits for a job's end looks whether its caller is still there.
const LOOK: Duration = Duration::from_millis(250);
/// The longest that a `watch` waits.
const LONGEST_WATCH: Duration = Duration::from_secs(30);

/// One connection.
pub(super) struct Calls {
    shared: Arc<Shared>,
    blobs: FileBlobs,
    members: MemberCalls,
    peer: Peer,
}

pub(super) fn processor(shared: &Arc<Shared>, peer: Peer) -> CoordinatorSyncProcessor<Calls> {
    let board = shared.board.clone();
    let blobs = BlobCalls::new(shared.blobs.clone()).or_from(move |digest| board.model(digest));
    let blobs = FileBlobs::new(blobs, shared.files.clone());
    let members = MemberCalls::new(shared.gossip.clone(), shared.clone());
    CoordinatorSyncProcessor::new(Calls { shared: shared.clone(), blobs, members, peer })
}

answer_blob_calls!(Calls, blobs);
answer_member_calls!(Calls, members);

impl CoordinatorSyncHandler for Calls {
    fn handle_train(
        &self,
        dir: String,
        rounds: i32,
        epochs: i32,
        h: i32,
        k: i32,
        eta: OrderedFloat<f64>,
    ) -> thrift::Result<OrderedFloat<f64>> {
        let result = self.train(&dir, [rounds, epochs, h, k], eta.0);
        result.map(OrderedFloat).map_err(|reason| {
            log::warn!("train on {dir}: {reason}");
            convert::application_error(reason)
        })
    }

    fn handle_submit(&self, request: JobRequest) -> thrift::Result<String> {
        self.shared.seat.check()?;
        self.shared.submit(&request).map(|job| job.to_string()).map_err(|reason| self.refuse(reason))
    }

    fn handle_watch(
        &self,
        job: String,
        version: i64,
        rounds_seen: i32,
        wait_ms: i32,
    ) -> thrift::Result<JobStatus> {
        let patience = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(LONGEST_WATCH);
        let told = |posted: &Posted| posted.status.is_some() && posted.version != version;
        let read = |posted: &Posted| told::report(posted, rounds_seen);
        self.shared.board.wait(parse(&job)?, patience, told, read).map_err(|unknown| self.unknown(&unknown))
    }

    fn handle_cancel(&self, job: String) -> thrift::Result<()> {
        let job = parse(&job)?;
        let known = self.shared.board.wait(job, Duration::ZERO, |_| true, |_| ());
        known.map_err(|unknown| self.unknown(&unknown))?;
        self.shared.desk.tell(Event::Cancel { job });
        Ok(())
    }

    fn handle_resume(&self, job: String) -> thrift::Result<()> {
        self.shared.seat.check()?;
        self.shared.resume(parse(&job)?).map_err(|reason| self.refuse(reason))
    }

    fn handle_job_stats(&self, job: String) -> thrift::Result<Vec<wire::JobStats>> {
        self.shared.seat.check()?;
        if job.is_empty() {
            return Ok(self.shared.board.list(told::stats).into_iter().flatten().collect());
        }
        let job = parse(&job)?;
        let known = self.shared.board.wait(job, Duration::ZERO, |_| true, |posted| told::stats(job, posted));
        let known = known.map_err(|unknown| self.unknown(&unknown))?;
        known.map(|stats| vec![stats]).ok_or_else(|| convert::rejected(format!("job {job} answers no queries")))
    }

    fn handle_assignments(&self) -> thrift::Result<Vec<wire::Assignment>> {
        self.shared.seat.check()?;
        let orders: BTreeMap<JobId, Arc<JobOrder>> =
            self.shared.board.list(|job, posted| (job, posted.order.clone())).into_iter().collect();
        let mut assignments: Vec<_> = self.shared.desk.assignments();
        assignments.sort_by(|(a, _), (b, _)| (&a.address, a.attempt).cmp(&(&b.address, b.attempt)));
        let told = |(assignment, since): &(Assignment, Duration)| {
            told::assignment(assignment, *since, orders.get(&assignment.job).map(|order| &**order))
        };
        Ok(assignments.iter().map(told).collect())
    }

    fn handle_set_batch_size(&self, model: String, batch_size: i32) -> thrift::Result<()> {
        self.shared.seat.check()?;
        let queries = self.shared.set_batch_size(&model, batch_size).map_err(|reason| self.refuse(reason))?;
        self.shared.desk.tell(Event::SetBatchSize { model, queries });
        Ok(())
    }

    fn handle_feed(
        &self,
        job: String,
        feeder: String,
        number: i64,
        digest: String,
        wait_ms: i32,
    ) -> thrift::Result<wire::Heard> {
        let job = parse(&job)?;
        let patience = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(LONGEST_WATCH);
        let heard = self.shared.feed(job, feeder, number, &digest, patience);
        heard.map_err(|reason| self.refuse(reason))
    }

    fn handle_jobs(&self) -> thrift::Result<Vec<JobSummary>> {
        self.shared.seat.check()?;
        Ok(self.shared.board.list(told::summary))
    }

    fn handle_leadership(&self) -> thrift::Result<Leadership> {
        let (leads, leader) = (self.shared.seat.leads(), self.shared.seat.leader());
        Ok(Leadership {
            protocol: PROTOCOL,
            leads,
            leader: leader.as_ref().map(|leader| leader.address.clone()).unwrap_or_default(),
            epoch: leader.as_ref().map_or(0, |leader| leader.epoch.0 as i64),
            cluster: leader.map(|leader| leader.cluster).unwrap_or_default(),
            instance: self.shared.instance.clone(),
        })
    }

    fn handle_put_file(
        &self,
        name: String,
        digest: String,
        size: i64,
        replicas: i32,
        wait_ms: i32,
    ) -> thrift::Result<FileVersion> {
        self.shared.seat.check()?;
        self.shared.files.put(&name, &digest, size, replicas, wait_ms)
    }

    fn handle_file_versions(&self, name: String, limit: i32) -> thrift::Result<Vec<FileVersion>> {
        self.shared.seat.check()?;
        self.shared.files.versions(&name, limit)
    }

    fn handle_list_files(&self, pattern: String, after: String, limit: i32) -> thrift::Result<Vec<FileVersion>> {
        self.shared.seat.check()?;
        self.shared.files.list(&pattern, &after, limit)
    }

    fn handle_delete_file(&self, name: String) -> thrift::Result<FileVersion> {
        self.shared.seat.check()?;
        self.shared.files.delete(&name)
    }

    fn handle_collect_garbage(&self, keep: i32) -> thrift::Result<GcReport> {
        self.shared.seat.check()?;
        self.shared.files.collect(keep)
    }
}

impl Calls {
    /// What a client is told whose job is not to be found.
    fn unknown(&self, unknown: &Unknown) -> thrift::Error {
        match unknown {
            Unknown::NotHere => self.shared.seat.refer(),
            other => convert::rejected(other),
        }
    }

    /// A refusal, unless this coordinator stopped to lead meanwhile.
    fn refuse(&self, reason: String) -> thrift::Error {
        self.shared.seat.check().err().unwrap_or_else(|| convert::rejected(reason))
    }

    fn train(&self, dir: &str, [rounds, epochs, h, k]: [i32; 4], eta: f64) -> Result<f64, String> {
        let natural = |name: &str, value: i32| {
            u32::try_from(value).map_err(|_| format!("{name} is {value}, but must not be negative"))
        };
        let (rounds, epochs) = (natural("rounds", rounds)?, natural("epochs", epochs)?);
        let request = TrainingRequest::original(rounds, epochs, vec![natural("h", h)? as usize], eta, 0);
        let classes = natural("k", k)? as usize;
        let parameters = serde_json::to_string(&request).map_err(|e| e.to_string())?;
        let job = self.shared.submit_original(dir, classes, &parameters)?;
        let result = |posted: &Posted| match posted.status.as_ref().map(|status| &status.state) {
            Some(State::Done { .. }) => {
                let last = posted.closed.last().ok_or("the job closed no round")?;
                Ok(last.result.validation_error)
            }
            Some(State::Failed { reason }) => Err(reason.clone()),
            _ => Err("the job was cancelled".to_owned()),
        };
        // This call has no way to cancel but to hang up.
        let ended = || {
            let ended = self.shared.board.wait(job, LOOK, Posted::has_ended, Posted::has_ended);
            ended.map_err(|unknown| unknown.to_string())
        };
        while !ended()? {
            if self.peer.is_gone() {
                self.shared.desk.tell(Event::Cancel { job });
                return Err("the caller has hung up".to_owned());
            }
        }
        let result = self.shared.board.wait(job, Duration::ZERO, Posted::has_ended, result);
        result.map_err(|unknown| unknown.to_string())?
    }
}

fn parse(job: &str) -> thrift::Result<JobId> {
    let shown: String = job.chars().take(40).collect();
    job.parse().map(JobId).map_err(|_| convert::rejected(format!("there is no job '{shown}' here")))
}
