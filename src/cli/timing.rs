//! Owns timing.txt: what each run took, appended, in lines that a person reads and a script splits at white space.
//!
//! The first word of a line says what it is: `run` (start, then names and values of the configuration), `round`,
//! `node`, `total`; then names and values take turns.

use super::output;
use crate::client::Report;
use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

/// Finds out whether a run can be appended to a file.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    output::can_write(path).with_context(|| cannot(path))
}

/// Appends a run to a file.
pub(super) fn append(path: &Path, start: SystemTime, report: &Report) -> anyhow::Result<()> {
    let text = text(start, report, times());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| cannot(path))
}

fn cannot(path: &Path) -> String {
    format!("cannot append to {}; give another file with --timing", path.display())
}

/// User and system seconds of this process.
fn times() -> (f64, f64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
    usage.map_or((f64::NAN, f64::NAN), |usage| (seconds(usage.user_time()), seconds(usage.system_time())))
}

fn text(start: SystemTime, report: &Report, (user, system): (f64, f64)) -> String {
    let config = &report.config;
    let training = &config.training;
    let hidden: Vec<String> = training.hidden.iter().map(usize::to_string).collect();
    let mut text = format!(
        "run    {}  dataset {}  rounds {}  epochs {}  h {}  eta {}  seed {}  rule {}  coordinator {}\n",
        humantime::format_rfc3339_seconds(start),
        config.dataset.replace(char::is_whitespace, "_"),
        training.rounds,
        training.epochs,
        hidden.join(","),
        training.eta,
        training.seed,
        training.method.as_ref().map_or("original", |method| method.optimizer.name.as_str()),
        config.coordinator,
    );
    for round in &report.rounds {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "round  {:>6}  wall_s {:>9.4}  validation_error {:.6}  training_error {:.6}",
            round.round, round.wall_s, round.validation_error, round.training_error,
        );
    }
    let width = report.nodes.iter().map(|node| node.address.len()).max().unwrap_or(0);
    for node in &report.nodes {
        let _ = writeln!(
            text,
            "node   {:<width$}  tasks {:>5}  refusals {:>4}  delays {:>4}  failures {:>3}  busy_s {:>9.4}  \
             bytes_sent {:>10}  bytes_received {:>10}",
            node.address,
            node.tasks,
            node.refusals,
            node.delays,
            node.failures,
            node.busy_s,
            node.bytes_sent,
            node.bytes_received,
        );
    }
    let _ = writeln!(
        text,
        "total  validation_error {:.6}  real_s {:.4}  user_s {user:.4}  system_s {system:.4}  bytes_sent {}  \
         bytes_received {}  weights_sha256 {}\n",
        report.validation_error, report.wall_s, report.bytes_sent, report.bytes_received, report.weights_sha256,
    );
    text
}
