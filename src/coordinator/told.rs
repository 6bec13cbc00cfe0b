//! Owns how what is known of jobs, rounds, tasks and nodes is told on the wire.

use super::board::Posted;
use crate::engine::{self, ClosedRound, NodeStanding, Span, State, Status};
use crate::jobs::{Figures, StreamFigures};
use crate::ledger::JobOrder;
use crate::model::{Answers, Confused, Measured};
use crate::types::{JobId, NodeId};
use crate::wire::coordinator::{
    self as wire, JobState, JobStatus, JobSummary, NodeReport, QueryFigures, RoundReport, TaskSpan,
};
use std::time::Duration;
use thrift::OrderedFloat;

/// The most rounds that one answer tells of.
const MOST_ROUNDS: usize = 1_000;

/// A job in a list of jobs.
pub(super) fn summary(job: JobId, posted: &Posted) -> JobSummary {
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

/// A job with the rounds that have closed since the watcher saw so many.
pub(super) fn report(posted: &Posted, rounds_seen: i32) -> JobStatus {
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
pub(super) fn stats(job: JobId, posted: &Posted) -> Option<wire::JobStats> {
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
        detail: closed.detail.as_deref().map(str::to_owned),
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

/// What a node is at, since when, and of which job.
pub(super) fn assignment(
    assignment: &engine::Assignment,
    since: Duration,
    order: Option<&JobOrder>,
) -> wire::Assignment {
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
}
