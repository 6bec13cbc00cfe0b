//! Owns `roundtable job-stats`, `assignments` and `set-batch-size`: what inference jobs do now, and how large their batches
//! are.

use super::coordinators::Coordinators;
use super::jobs::{ask, state};
use super::{Failure, Run, output, table};
use crate::wire::coordinator::{Assignment, JobStats as Stats, TCoordinatorSyncClient};
use clap::Args;
use serde_json::{Value, json};

/// Show counts, rates and times of inference jobs
#[derive(Args, Debug)]
pub(super) struct JobStats {
    /// Its number; all that are known without it
    job: Option<String>,
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for JobStats {
    fn run(self) -> Result<(), Failure> {
        let stats = ask(&self.coordinators, |client| client.job_stats(self.job.clone().unwrap_or_default()))?;
        if self.json {
            let all: Vec<Value> = stats.iter().map(document).collect();
            return output::line(&serde_json::to_string_pretty(&all).map_err(Failure::run)?);
        }
        if stats.is_empty() {
            return output::line("no inference jobs");
        }
        let head = [
            "job", "model", "state", "queries", "of", "errors", "rate 10s", "rate", "nodes", "batch", "weight",
            "mean ms", "std", "p25", "p50", "p75", "p95", "p99",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(stats.iter().map(row));
        output::lines(table::lay_out(&rows))
    }
}

fn row(stats: &Stats) -> Vec<String> {
    let figures = &stats.figures;
    let times =
        [figures.mean_s, figures.std_s, figures.p25_s, figures.p50_s, figures.p75_s, figures.p95_s, figures.p99_s];
    let mut row = vec![
        stats.job.clone(),
        stats.model.clone(),
        state(stats.state).to_owned(),
        figures.done.to_string(),
        figures.total.to_string(),
        figures.failed.to_string(),
        format!("{:.1}", figures.rate_10s.0),
        format!("{:.1}", figures.rate_total.0),
        figures.nodes.to_string(),
        figures.batch_size.to_string(),
        stats.weight.to_string(),
    ];
    row.extend(times.map(|seconds| format!("{:.1}", seconds.0 * 1e3)));
    row
}

fn document(stats: &Stats) -> Value {
    let figures = &stats.figures;
    json!({
        "job": stats.job,
        "model": stats.model,
        "state": state(stats.state),
        "weight": stats.weight.0,
        "priority": stats.priority,
        "queries": figures.done,
        "total": figures.total,
        "errors": figures.failed,
        "rate_10s": figures.rate_10s.0,
        "rate_total": figures.rate_total.0,
        "nodes": figures.nodes,
        "batch_size": figures.batch_size,
        "mean_s": figures.mean_s.0,
        "std_s": figures.std_s.0,
        "p25_s": figures.p25_s.0,
        "p50_s": figures.p50_s.0,
        "p75_s": figures.p75_s.0,
        "p95_s": figures.p95_s.0,
        "p99_s": figures.p99_s.0,
    })
}

/// Show which node does what now, and why
#[derive(Args, Debug)]
pub(super) struct Assignments {
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for Assignments {
    fn run(self) -> Result<(), Failure> {
        let assignments = ask(&self.coordinators, |client| client.assignments())?;
        if self.json {
            let one = |a: &Assignment| {
                json!({ "node": a.node, "job": a.job, "kind": a.kind, "subject": a.subject, "task": a.task,
                    "queries": a.queries, "seconds": a.seconds.0, "reason": a.reason, "share": a.share })
            };
            let all: Vec<Value> = assignments.iter().map(one).collect();
            return output::line(&serde_json::to_string_pretty(&all).map_err(Failure::run)?);
        }
        if assignments.is_empty() {
            return output::line("no node has a task");
        }
        let head = ["node", "job", "kind", "of", "task", "queries", "seconds", "why this node", "why this job"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(assignments.into_iter().map(|a| {
            let seconds = format!("{:.2}", a.seconds.0);
            vec![a.node, a.job, a.kind, a.subject, a.task, a.queries.to_string(), seconds, a.reason, a.share]
        }));
        output::lines(table::lay_out(&rows))
    }
}

/// Set how many queries a batch of a model has, for jobs at work and jobs to come
#[derive(Args, Debug)]
pub(super) struct SetBatchSize {
    /// The model's name in the store
    model: String,
    /// Queries of a batch
    #[arg(value_parser = clap::value_parser!(i32).range(1..=1_048_576))]
    queries: i32,
    #[command(flatten)]
    coordinators: Coordinators,
}

impl Run for SetBatchSize {
    fn run(self) -> Result<(), Failure> {
        ask(&self.coordinators, |client| client.set_batch_size(self.model.clone(), self.queries))?;
        output::line(&format!("batches of {} have {} queries", self.model, self.queries))
    }
}
