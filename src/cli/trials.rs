//! Owns what a person sees of trials: a line for each as it ends, a bar on a terminal, the table at the end.

use super::progress::loaded;
use super::{Failure, output, table};
use crate::client::tuning::TuningReport;
use crate::jobs::tuning::{Trial, TrialState, described};
use crate::wire::coordinator::{JobState, JobStatus};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

/// How many trials the table shows.
const SHOWN: usize = 40;

/// Shows trials as they end.
pub(super) struct Trials {
    metric: String,
    silent: bool,
    bar: Option<ProgressBar>,
    ended: BTreeSet<u32>,
    notice: String,
}

impl Trials {
    /// What suits standard output.
    pub(super) fn new(silent: bool, metric: &str) -> Self {
        let bar = (!silent && std::io::stdout().is_terminal()).then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{bar:24.cyan/blue} {pos}/{len} trials {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { metric: metric.to_owned(), silent, bar, ended: BTreeSet::new(), notice: String::new() }
    }

    fn line(&self, line: &str) -> Result<(), Failure> {
        match &self.bar {
            Some(bar) => {
                bar.println(line);
                Ok(())
            }
            None if self.silent => Ok(()),
            None => output::line(line),
        }
    }

    /// The rows have been read here.
    pub(super) fn loaded(&self, corpus: &crate::ingest::Corpus) -> Result<(), Failure> {
        self.line(&loaded(corpus))
    }

    /// Some more trials came to the end of a rung, or failed.
    pub(super) fn show(&mut self, status: &JobStatus, trials: &[Trial]) -> Result<(), Failure> {
        for trial in trials {
            if trial.state != TrialState::GoesOn {
                self.ended.insert(trial.number);
            }
            self.line(&told(trial, status.rounds, &self.metric))?;
        }
        if let Some(bar) = &self.bar {
            bar.set_length(u64::try_from(status.rounds).unwrap_or(0));
            bar.set_position(self.ended.len() as u64);
            let nodes = format!("nodes busy {}/{}", status.nodes_busy, status.nodes_known);
            bar.set_message(if status.notice.is_empty() { nodes } else { status.notice.clone() });
        } else if status.state == JobState::RUNNING && status.notice != self.notice {
            self.notice.clone_from(&status.notice);
            if !self.notice.is_empty() {
                self.line(&status.notice)?;
            }
        }
        Ok(())
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A trial on a line.
fn told(trial: &Trial, trials: i32, metric: &str) -> String {
    let Trial { number, seconds, .. } = trial;
    let value = match (&trial.reason, trial.metric) {
        (Some(reason), _) => format!("failed: {reason}"),
        (None, Some(value)) if trial.folds.len() > 1 => format!("{metric} {value:.4} ± {:.4}", trial.std),
        (None, value) => format!("{metric} {:.4}", value.unwrap_or(f64::NAN)),
    };
    let mut line = format!("trial {number}/{trials}  {}  {value}", described(&trial.configuration));
    if trial.share > 0.0 && trial.share < 1.0 {
        line.push_str(&format!("  at {:.0}%, {}", 100.0 * trial.share, trial.state.name()));
    }
    line.push_str(&format!("  {seconds:.3} s  {}", trial.nodes.join(" ")));
    if !trial.promoted.is_empty() {
        let numbers: Vec<String> = trial.promoted.iter().map(u32::to_string).collect();
        line.push_str(&format!("  goes on: {}", numbers.join(" ")));
    }
    line
}

/// What a job has come to: the table of its trials and the best of them.
pub(super) fn summary(report: &TuningReport) -> Vec<String> {
    let metric = &report.tuning.metric;
    let names: Vec<&String> = report.tuning.space.iter().map(|parameter| &parameter.name).collect();
    let has_folds = report.tuning.folds > 1;
    let has_rungs =
        report.trials.iter().any(|trial| trial.rungs.len() > 1 || (trial.share > 0.0 && trial.share < 1.0));
    let mut head = vec!["trial".to_owned()];
    head.extend(names.iter().map(|name| (*name).clone()));
    head.push(metric.clone());
    head.extend(has_folds.then(|| "std".to_owned()));
    head.extend(has_rungs.then(|| "done".to_owned()));
    head.extend(["seconds", "node", "state"].map(str::to_owned));
    let row = |trial: &Trial| {
        let mut row = vec![trial.number.to_string()];
        row.extend(
            names.iter().map(|name| trial.configuration.get(*name).map_or_else(String::new, ToString::to_string)),
        );
        row.push(trial.metric.map_or_else(String::new, |value| format!("{value:.4}")));
        row.extend(has_folds.then(|| trial.metric.map_or_else(String::new, |_| format!("{:.4}", trial.std))));
        row.extend(has_rungs.then(|| format!("{:.0}%", 100.0 * trial.share)));
        row.push(format!("{:.3}", trial.seconds));
        row.push(trial.nodes.join(" "));
        row.push(match &trial.reason {
            Some(reason) => format!("failed: {reason}"),
            None => trial.state.name().to_owned(),
        });
        row
    };
    let mut rows = vec![head];
    rows.extend(report.trials.iter().take(SHOWN).map(row));
    let mut lines = vec![String::new()];
    lines.extend(table::lay_out(&rows));
    if report.trials.len() > SHOWN {
        let more = report.trials.len() - SHOWN;
        lines.push(format!("... and {more} more; --json or --run-out has all"));
    }
    lines.push(String::new());
    lines.push(format!("{} trials in {:.3} s", report.trials.len(), report.wall_s));
    if let Some(best) = &report.best_trial {
        let value = best.metric.unwrap_or(f64::NAN);
        let std = if has_folds { format!(" ± {:.4}", best.std) } else { String::new() };
        lines.push(format!("The best is trial {}: {}", best.number, described(&best.configuration)));
        lines.push(format!("Its {metric}: {value:.4}{std}"));
    }
    if let Some(measured) = &report.refit {
        lines.push(format!(
            "Learnt from all rows: validation error {:.4}; sha256 {}",
            measured.error, report.sha256
        ));
    }
    lines
}
