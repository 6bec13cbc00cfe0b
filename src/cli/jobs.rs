//! Owns `roundtable jobs`, `job`, `cancel` and `resume`: what coordinators know of jobs, and what is done about them.

use super::coordinators::Coordinators;
use super::{Failure, Run, output, table};
use crate::client::Leader;
use crate::rpc::{Dialer, RpcError};
use crate::wire::coordinator::{JobState, JobStatus, JobSummary, TCoordinatorSyncClient};
use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime};
use thrift::OrderedFloat;

/// How long a leader is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// List the jobs at work and those that ended lately
#[derive(Args, Debug)]
pub(super) struct Jobs {
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for Jobs {
    fn run(self) -> Result<(), Failure> {
        let jobs = ask(&self.coordinators, |client| client.jobs())?;
        if self.json {
            let all: Vec<Value> = jobs.iter().map(document).collect();
            return output::line(&serde_json::to_string_pretty(&all).map_err(Failure::run)?);
        }
        if jobs.is_empty() {
            return output::line("no jobs");
        }
        let head = ["job", "state", "done", "error", "seconds", "submitted", "kind", "data", "notice"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(jobs.iter().map(row));
        output::lines(table::lay_out(&rows))
    }
}

/// Tell all of one job
#[derive(Args, Debug)]
pub(super) struct Job {
    /// Its number
    job: String,
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for Job {
    fn run(self) -> Result<(), Failure> {
        let status = ask(&self.coordinators, |client| client.watch(self.job.clone(), 0, 0, 0))?;
        let jobs = ask(&self.coordinators, |client| client.jobs())?;
        let summary = jobs.iter().find(|summary| summary.job == self.job);
        if self.json {
            let mut told = summary.map_or(Value::Null, document);
            told["weights_sha256"] = status.weights_sha256.clone().into();
            told["model_sha256"] = status.model_digest.clone().into();
            told["nodes"] = status.nodes.iter().map(|node| json!({ "address": node.address, "state": node.state,
                "tasks": node.tasks, "failures": node.failures, "refusals": node.refusals, "busy_s": node.busy_s.0 })).collect();
            told["rounds_closed"] = status
                .closed
                .iter()
                .map(|round| {
                    json!({ "round": round.round,
                "validation_error": round.validation_error.0, "wall_s": round.wall_s.0 })
                })
                .collect();
            return output::line(&serde_json::to_string_pretty(&told).map_err(Failure::run)?);
        }
        output::lines(tell(&self.job, summary, &status))
    }
}

/// Tell all of one job, or list those there are
#[derive(Args, Debug)]
pub(super) struct JobInfo {
    /// Its number
    job: Option<String>,
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for JobInfo {
    fn run(self) -> Result<(), Failure> {
        let Self { job, coordinators, json } = self;
        match job {
            Some(job) => Job { job, coordinators, json }.run(),
            None => Jobs { coordinators, json }.run(),
        }
    }
}

/// How long a job that is told to end may take to.
const TO_END: Duration = Duration::from_secs(30);
/// How many milliseconds a look at it waits for news.
const LOOK_MS: i32 = 500;

/// Cancel a job; it can be resumed
#[derive(Args, Debug)]
pub(super) struct Cancel {
    /// Its number
    job: String,
    #[command(flatten)]
    coordinators: Coordinators,
}

impl Run for Cancel {
    fn run(self) -> Result<(), Failure> {
        ask(&self.coordinators, |client| client.cancel(self.job.clone()))?;
        let mut version = 0;
        let end = Instant::now() + TO_END;
        while Instant::now() < end {
            let status = ask(&self.coordinators, |client| client.watch(self.job.clone(), version, 0, LOOK_MS))?;
            version = status.version;
            match status.state {
                JobState::RUNNING => {}
                JobState::CANCELLED => return output::line(&format!("job {} is cancelled", self.job)),
                ended => return output::line(&format!("job {} had ended before: {}", self.job, state(ended))),
            }
        }
        Err(Failure::Run(anyhow::anyhow!("job {} is told to end, and has not ended yet", self.job)))
    }
}

/// Let a cancelled or failed job go on from its last round
#[derive(Args, Debug)]
pub(super) struct Resume {
    /// Its number
    job: String,
    #[command(flatten)]
    coordinators: Coordinators,
}

impl Run for Resume {
    fn run(self) -> Result<(), Failure> {
        ask(&self.coordinators, |client| client.resume(self.job.clone()))?;
        output::line(&format!("job {} goes on; `roundtable watch {}` looks at it", self.job, self.job))
    }
}

pub(super) type Calls = crate::wire::coordinator::CoordinatorSyncClient<crate::rpc::Input, crate::rpc::Output>;

/// Asks the coordinator that leads.
pub(super) fn ask<T>(
    coordinators: &Coordinators,
    call: impl Fn(&mut Calls) -> thrift::Result<T>,
) -> Result<T, Failure> {
    super::server::start_logging("warn");
    let leader = Leader::find(&coordinators.addresses(), Dialer::default(), PATIENCE);
    leader.and_then(|mut leader| leader.call(&|| true, |client| client.call(&call))).map_err(|e| match e {
        // What it does not take is the user's to mend.
        RpcError::Remote { .. } => Failure::input(e),
        other => Failure::run(other),
    })
}

pub(super) fn state(state: JobState) -> &'static str {
    match state {
        JobState::RUNNING => "running",
        JobState::DONE => "done",
        JobState::FAILED => "failed",
        JobState::CANCELLED => "cancelled",
        _ => "unknown",
    }
}

fn when(submitted_ms: i64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(submitted_ms).unwrap_or_default());
    humantime::format_rfc3339_seconds(at).to_string()
}

fn row(job: &JobSummary) -> Vec<String> {
    vec![
        job.job.clone(),
        state(job.state).to_owned(),
        match (job.queries_done, job.queries_total) {
            (Some(done), Some(total)) => format!("{done}/{total} queries"),
            _ => format!("{}/{} rounds", job.round, job.rounds),
        },
        job.validation_error.map_or_else(|| "-".to_owned(), |error| format!("{:.4}", error.0)),
        format!("{:.1}", job.wall_s.0),
        when(job.submitted_ms),
        job.kind.clone(),
        job.dataset.clone(),
        job.notice.clone(),
    ]
}

fn document(job: &JobSummary) -> Value {
    json!({
        "job": job.job,
        "kind": job.kind,
        "dataset": job.dataset,
        "state": state(job.state),
        "round": job.round,
        "rounds": job.rounds,
        "submitted": when(job.submitted_ms),
        "wall_s": job.wall_s.0,
        "notice": job.notice,
        "validation_error": job.validation_error.map(|error| error.0),
        "queries": job.queries_done,
        "queries_total": job.queries_total,
    })
}

fn tell(job: &str, summary: Option<&JobSummary>, status: &JobStatus) -> Vec<String> {
    let so_far = match &status.figures {
        Some(figures) => format!("{} of {} queries", figures.done, figures.total),
        None => format!(
            "round {} of {}, {} of {} tasks",
            status.round, status.rounds, status.tasks_done, status.tasks_total
        ),
    };
    let mut lines = vec![format!("job {job}: {}, {so_far}, {:.1} s", state(status.state), status.wall_s.0)];
    if let Some(summary) = summary {
        lines.push(format!("{} on {}, submitted {}", summary.kind, summary.dataset, when(summary.submitted_ms)));
    }
    if !status.notice.is_empty() {
        lines.push(status.notice.clone());
    }
    if let Some(figures) = &status.figures {
        let ms = |seconds: OrderedFloat<f64>| format!("{:.1} ms", seconds.0 * 1e3);
        lines.push(format!(
            "{:.1}/s in the last 10 s, {:.1}/s in all, on {} nodes; a batch of {} takes {}, 95% at most {}, 99% {}; {} \
             cannot be answered",
            figures.rate_10s.0,
            figures.rate_total.0,
            figures.nodes,
            figures.batch_size,
            ms(figures.p50_s),
            ms(figures.p95_s),
            ms(figures.p99_s),
            figures.failed
        ));
    }
    let mut rounds = vec![["round", "validation error", "training error", "seconds"].map(str::to_owned).to_vec()];
    rounds.extend(status.closed.iter().map(|round| {
        vec![
            round.round.to_string(),
            format!("{:.4}", round.validation_error.0),
            format!("{:.4}", round.training_error.0),
            format!("{:.3}", round.wall_s.0),
        ]
    }));
    if rounds.len() > 1 {
        lines.push(String::new());
        lines.extend(table::lay_out(&rounds));
    }
    let mut nodes = vec![["node", "state", "tasks", "failures", "busy s"].map(str::to_owned).to_vec()];
    nodes.extend(status.nodes.iter().map(|node| {
        let busy = format!("{:.3}", node.busy_s.0);
        vec![node.address.clone(), node.state.clone(), node.tasks.to_string(), node.failures.to_string(), busy]
    }));
    if nodes.len() > 1 {
        lines.push(String::new());
        lines.extend(table::lay_out(&nodes));
    }
    if !status.weights_sha256.is_empty() {
        lines.push(String::new());
        let of = if status.figures.is_some() { "answers" } else { "weights" };
        lines.push(format!("{of} sha256 {}", status.weights_sha256));
    }
    lines
}
