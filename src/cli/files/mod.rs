//! Owns the commands about files: what they have in common.

mod get;
mod list;
mod put;
mod remove;

pub(super) use get::{Get, GetAll, GetVersions};
pub(super) use list::{List, ListAll, Store};
pub(super) use put::{Put, PutAll};
pub(super) use remove::{Collect, Delete};

use super::coordinators::Coordinators;
use super::{Failure, output};
use crate::client::files::{Files, FilesError, Step, Version};
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

/// Options of all commands about files.
#[derive(Args, Debug)]
pub(super) struct FileOptions {
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

impl FileOptions {
    fn connect(&self) -> Result<Files, Failure> {
        super::server::start_logging("warn");
        Files::connect(&self.coordinators.addresses()).map_err(failure)
    }

    /// Prints a result: as one JSON document, or as these lines.
    fn print(&self, result: &impl Serialize, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        if self.json {
            return output::line(&serde_json::to_string_pretty(result).map_err(Failure::run)?);
        }
        output::lines(lines)
    }
}

fn failure(error: FilesError) -> Failure {
    if error.is_input() { Failure::input(error) } else { Failure::run(error) }
}

/// The names of those that failed, the first error having been told: the others were done all the same.
fn some_failed(failed: &[(String, FilesError)], of: usize, what: &str) -> Result<(), Failure> {
    for (name, error) in failed.iter().skip(1) {
        // Names and errors each on a line of their own, for whoever reads the log.
        eprintln!("error: {name}: {error}");
    }
    let Some((name, error)) = failed.first() else { return Ok(()) };
    let told = anyhow::anyhow!("{name}: {error} ({} of {of} files could not be {what})", failed.len());
    if failed.iter().all(|(_, error)| error.is_input()) {
        Err(Failure::Input(told))
    } else {
        Err(Failure::Run(told))
    }
}

/// A bar while bytes move, on a terminal; nothing elsewhere.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(silent: bool, name: &str) -> Self {
        if silent || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template(
            "{prefix} {bar:24.cyan/blue} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    fn show(&self, step: Step) {
        let Some(bar) = &self.0 else { return };
        let (done, total, message) = match step {
            Step::Read { done, total } => (done, total, "reading"),
            Step::Moved { done, total } => (done, total, ""),
            Step::Copies => {
                bar.set_message("nodes make copies");
                return;
            }
        };
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// "in 1.2 s, 98 MiB/s".
fn pace(bytes: u64, took: Duration) -> String {
    let rate = bytes as f64 / took.as_secs_f64().max(1e-6);
    format!("in {:.2} s, {}/s", took.as_secs_f64(), HumanBytes(rate as u64))
}

fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

fn time(ms: i64) -> String {
    // Later years than can be written are as wrong as any.
    let ms = u64::try_from(ms).unwrap_or(0).min(253_402_300_799_000);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

fn holders(version: &Version) -> String {
    match version.holders.len() {
        _ if version.is_deletion() => "deleted".to_owned(),
        0 => "no node".to_owned(),
        _ => version.holders.join(" "),
    }
}
