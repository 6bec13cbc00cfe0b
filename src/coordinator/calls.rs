//! Owns what a coordinator answers on one connection.

use super::Shared;
use super::board::{Posted, Unknown};
use super::files::FileBlobs;
use crate::engine::{self, ClosedRound, Event, NodeStanding, Span, State, Status};
use crate::gossip::{MemberCalls, answer_member_calls};
use crate::jobs::training::TrainingRequest;
use crate::jobs::{Figures, StreamFigures};
use crate::ledger::JobOrder;
use crate::model::{Answers, Confused, Measured};
use crate::rpc::Peer;
use crate::store::{BlobCalls, answer_blob_calls};
use crate::types::{JobId, NodeId};
use crate::wire::coordinator::{
    self as wire, CoordinatorSyncHandler, CoordinatorSyncProcessor, FileVersion, GcReport, JobRequest, JobState,
    JobStatus, JobSummary, Leadership, NodeReport, QueryFigures, RoundReport, TaskSpan,
};
use crate::wire::{PROTOCOL, convert};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thrift::OrderedFloat;

/// The most rounds that one answer tells of.
const MOST_ROUNDS: usize = 1_000;
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
        let read = |posted: &Posted| report(posted, rounds_seen);
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
            return Ok(self.shared.board.list(stats).into_iter().flatten().collect());
        }
        let job = parse(&job)?;
        let known = self.shared.board.wait(job, Duration::ZERO, |_| true, |posted| stats(job, posted));
        let known = known.map_err(|unknown| self.unknown(&unknown))?;
        known.map(|stats| vec![stats]).ok_or_else(|| convert::rejected(format!("job {job} answers no queries")))
    }

    fn handle_assignments(&self) -> thrift::Result<Vec<wire::Assignment>> {
        self.shared.seat.check()?;
        let orders: BTreeMap<JobId, Arc<JobOrder>> =
            self.shared.board.list(|job, posted| (job, posted.order.clone())).into_iter().collect();
        let mut assignments: Vec<_> = self.shared.desk.assignments();
        assignments.sort_by(|(a, _), (b, _)| (&a.address, a.attempt).cmp(&(&b.address, b.attempt)));
        let told = |(assignment, since): &(engine::Assignment, Duration)| {
            let order = orders.get(&assignment.job);
            let subject = order.map(|order| order.corpus.model().unwrap_or(order.corpus.name()).to_owned());
            wire::Assignment {
                node: assignment.address.clone(),
                job: assignment.job.to_string(),
                kind: order.map(|order| order.kind.clone()).unwrap_or_default(),
                subject: subject.unwrap_or_default(),
                task: match assignment.queries {
                    0 => assignment.task.to_string(),
                    queries => format!("queries from {} on, {queries} of them", assignment.task.shard),
                },
                queries: i64::from(assignment.queries),
                seconds: OrderedFloat(since.as_secs_f64()),
                reason: assignment.reason.to_string(),
                share: assignment.share.to_string(),
            }
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
        Ok(self.shared.board.list(summary))
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

fn summary(job: JobId, posted: &Posted) -> JobSummary {
    let status = report(posted, i32::MAX);
    JobSummary {
        job: job.to_string(),
        kind: posted.order.kind.clone(),
        dataset: posted.order.corpus.name().to_owned(),
        state: status.state,
        round: status.round,
        rounds: status.rounds,
        submitted_ms: posted.order.submitted_ms,
        wall_s: status.wall_s,
        notice: status.notice,
        validation_error: posted.closed.last().map(|closed| OrderedFloat(closed.result.validation_error)),
        queries_done: status.figures.as_ref().map(|figures| figures.done),
        queries_total: status.figures.as_ref().map(|figures| figures.total),
    }
}

fn report(posted: &Posted, rounds_seen: i32) -> JobStatus {
    let seen = usize::try_from(rounds_seen).unwrap_or(0).min(posted.closed.len());
    let unseen = &posted.closed[seen..];
    let told = &unseen[..unseen.len().min(MOST_ROUNDS)];
    let finish = posted.finish.as_ref();
    let mut report = JobStatus {
        state: JobState::RUNNING,
        version: posted.version,
        round: 0,
        rounds: 0,
        tasks_done: 0,
        tasks_total: 0,
        nodes_busy: 0,
        nodes_ready: 0,
        nodes_known: 0,
        closed: told.iter().map(|closed| round_report(closed, posted)).collect(),
        notice: String::new(),
        nodes: posted.nodes.iter().map(node_report).collect(),
        weights_sha256: String::new(),
        model_digest: finish.map(|finish| finish.model.digest().to_string()).unwrap_or_default(),
        wall_s: OrderedFloat(0.0),
        best_round: finish.map(|finish| finish.round.0 as i32),
        confusion: finish.and_then(|finish| confusion(finish.measured.as_ref()?)),
        figures: None,
        stream: None,
        version_digest: None,
    };
    let Some(status) = &posted.status else { return report };
    report.notice = status.notice.clone();
    match &status.state {
        // Rounds are left to tell: the watcher is to ask again, and is answered at once.
        _ if told.len() < unseen.len() => report.version = -1,
        State::Running => {}
        State::Done { weights } => {
            report.state = JobState::DONE;
            report.weights_sha256 = weights.to_string();
        }
        State::Failed { reason } => {
            report.state = JobState::FAILED;
            report.notice = reason.clone();
        }
        State::Cancelled => report.state = JobState::CANCELLED,
    }
    report.round = status.progress.round as i32;
    report.rounds = status.progress.rounds as i32;
    report.tasks_done = status.progress.tasks_done as i32;
    report.tasks_total = status.progress.tasks as i32;
    report.figures = status.figures.as_ref().map(|figures| query_figures(figures, status));
    report.stream = status.stream.as_ref().map(stream_figures);
    report.version_digest = status.versions.last().map(|version| version.blob.digest().to_string());
    report.nodes_busy = status.nodes_busy as i32;
    report.nodes_ready = status.nodes_ready as i32;
    report.nodes_known = status.nodes_known as i32;
    report.wall_s = OrderedFloat(status.wall.as_secs_f64());
    report
}

/// The figures of a job that answers queries.
fn stats(job: JobId, posted: &Posted) -> Option<wire::JobStats> {
    let status = report(posted, i32::MAX);
    Some(wire::JobStats {
        job: job.to_string(),
        kind: posted.order.kind.clone(),
        model: posted.order.corpus.model().unwrap_or_default().to_owned(),
        state: status.state,
        weight: OrderedFloat(posted.order.weight),
        priority: posted.order.priority,
        figures: status.figures?,
    })
}

fn stream_figures(figures: &StreamFigures) -> wire::StreamFigures {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    wire::StreamFigures {
        version: count(figures.version),
        updates: count(figures.updates),
        stale: count(figures.stale),
        batches: count(figures.batches),
        rows: count(figures.rows),
        waiting: count(figures.waiting),
        mean_staleness: OrderedFloat(figures.mean_staleness),
    }
}

fn query_figures(figures: &Figures, status: &Status) -> QueryFigures {
    let rates = status.queries.unwrap_or_default();
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let [p25, p50, p75, p95, p99] = figures.percentiles_s.map(OrderedFloat);
    QueryFigures {
        done: count(figures.done),
        total: count(figures.total),
        failed: count(figures.failed),
        mean_s: OrderedFloat(figures.mean_s),
        std_s: OrderedFloat(figures.std_s),
        p25_s: p25,
        p50_s: p50,
        p75_s: p75,
        p95_s: p95,
        p99_s: p99,
        rate_10s: OrderedFloat(rates.rate_10s),
        rate_total: OrderedFloat(figures.done as f64 / status.wall.as_secs_f64().max(1e-9)),
        nodes: i32::try_from(rates.nodes_now).unwrap_or(i32::MAX),
        batch_size: figures.batch_size as i32,
    }
}

/// What the model says of the validation rows, if it tells classes.
fn confusion(measured: &Measured) -> Option<Vec<wire::Confused>> {
    let Answers::Classes { confusion, .. } = &measured.answers else { return None };
    let confused =
        |at: &Confused| wire::Confused { label: at.right as i32, said: at.said as i32, rows: at.rows as i64 };
    Some(confusion.iter().map(confused).collect())
}

fn round_report(closed: &ClosedRound, posted: &Posted) -> RoundReport {
    let result = &closed.result;
    RoundReport {
        round: closed.round.0 as i32,
        validation_error: OrderedFloat(result.validation_error),
        training_error: OrderedFloat(result.training_error),
        wall_s: OrderedFloat(closed.wall.as_secs_f64()),
        validation_loss: Some(OrderedFloat(result.validation_loss)),
        training_loss: result.training_loss.map(OrderedFloat),
        spans: Some(closed.spans.iter().map(|span| task_span(span, &posted.node_ids)).collect()),
        left_out: (!closed.left_out.is_empty())
            .then(|| closed.left_out.iter().map(|&place| place as i32).collect()),
        detail: closed.detail.clone(),
    }
}

fn task_span(span: &Span, nodes: &[NodeId]) -> TaskSpan {
    let place = nodes.iter().position(|node| *node == span.node);
    TaskSpan {
        node: place.map_or(-1, |place| place as i32),
        round: span.task.round.0 as i32,
        task: span.task.shard as i32,
        start_s: OrderedFloat(span.start.as_secs_f64()),
        end_s: OrderedFloat(span.end.as_secs_f64()),
        busy_s: OrderedFloat(span.busy_s),
        outcome: span.outcome.clone().into_owned(),
        delayed: span.delayed,
    }
}

fn node_report(node: &NodeStanding) -> NodeReport {
    let counts = &node.counts;
    NodeReport {
        address: node.address.clone(),
        state: node.state.clone().into_owned(),
        software: node.software.clone(),
        tasks: counts.tasks as i64,
        refusals: counts.refusals as i64,
        delays: counts.delays as i64,
        failures: counts.failures as i64,
        busy_s: OrderedFloat(counts.busy_s),
        bytes_sent: counts.traffic.sent as i64,
        bytes_received: counts.traffic.received as i64,
    }
}
