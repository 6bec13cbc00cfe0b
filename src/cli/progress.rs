//! Owns what a person sees while a job runs: a bar on a terminal, a line per round elsewhere.

use super::{Failure, output};
use crate::client::Step;
use crate::wire::coordinator::{JobState, JobStatus};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Follows a job.
pub(super) enum Progress {
    /// On a terminal.
    Bar {
        /// The bar.
        bar: ProgressBar,
        /// The newest validation error.
        error: Option<f64>,
    },
    /// Where lines are read later, or by programs.
    Lines {
        /// What was said last of a job that does not move.
        notice: String,
    },
    /// For `--json`.
    Silent,
}

impl Progress {
    /// What suits standard output.
    pub(super) fn new(silent: bool) -> Self {
        if silent {
            return Self::Silent;
        }
        if !std::io::stdout().is_terminal() {
            return Self::Lines { notice: String::new() };
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:24.cyan/blue} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Bar { bar, error: None }
    }

    /// Shows a step.
    pub(super) fn show(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        match self {
            Self::Silent => Ok(()),
            Self::Lines { notice } => show_line(step, notice),
            Self::Bar { bar, error } => {
                show_bar(step, bar, error);
                Ok(())
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

/// The rows of a job in numbers.
pub(super) fn loaded(corpus: &crate::ingest::Corpus) -> String {
    let rows: usize = corpus.shards.iter().map(|shard| shard.data.rows()).sum();
    format!(
        "{}: {} shards, {rows} rows of {} features, {} classes, {} rows for validation",
        corpus.name,
        corpus.shards.len(),
        corpus.validation.data.columns(),
        corpus.labels().len(),
        corpus.validation.data.rows(),
    )
}

fn show_line(step: &Step<'_>, notice: &mut String) -> Result<(), Failure> {
    let status = match step {
        Step::Loaded(corpus) => return output::line(&loaded(corpus)),
        Step::Elsewhere => return output::line("not on this machine: asking the coordinator for the data"),
        Step::Uploaded { .. } | Step::Submitted(_) => return Ok(()),
        Step::Status(status) => status,
    };
    for round in &status.closed {
        output::line(&format!(
            "round {}/{}  validation error {:.4}  training error {:.4}  {:.3} s",
            round.round, status.rounds, round.validation_error.0, round.training_error.0, round.wall_s.0
        ))?;
    }
    if status.state == JobState::RUNNING && status.notice != *notice {
        notice.clone_from(&status.notice);
        if !notice.is_empty() {
            return output::line(notice);
        }
    }
    Ok(())
}

fn show_bar(step: &Step<'_>, bar: &ProgressBar, error: &mut Option<f64>) {
    match step {
        Step::Loaded(corpus) => bar.println(loaded(corpus)),
        Step::Elsewhere => bar.println("not on this machine: asking the coordinator for the data"),
        Step::Uploaded { sent, total } => {
            bar.set_length(*total as u64);
            bar.set_position(*sent as u64);
            bar.set_message("uploading");
        }
        Step::Submitted(job) => bar.set_message(format!("job {job}")),
        Step::Status(status) => {
            if let Some(round) = status.closed.last() {
                *error = Some(round.validation_error.0);
            }
            bar.set_length((status.rounds as u64).saturating_mul(status.tasks_total as u64));
            bar.set_position(position(status));
            bar.set_message(message(status, *error));
        }
    }
}

fn position(status: &JobStatus) -> u64 {
    let before = i64::from(status.round.saturating_sub(1)) * i64::from(status.tasks_total);
    (before + i64::from(status.tasks_done)).max(0) as u64
}

fn message(status: &JobStatus, error: Option<f64>) -> String {
    if !status.notice.is_empty() {
        return status.notice.clone();
    }
    let error = error.map_or("  -   ".to_owned(), |error| format!("{error:.4}"));
    format!(
        "round {}/{}  shards {}/{}  validation error {error}  nodes busy {}/{}",
        status.round, status.rounds, status.tasks_done, status.tasks_total, status.nodes_busy, status.nodes_known
    )
}
