//! Owns `roundtable client`.

use super::progress::Progress;
use super::{Failure, Run, output, table, timing};
use crate::client::{self, ClientError, Order, Report};
use crate::jobs::training::TrainingRequest;
use crate::rpc::Address;
use anyhow::Context;
use clap::Args;
use std::cell::Cell;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// What training takes at most.
const LARGEST_ETA: f64 = 1e6;

/// Have a coordinator train a network, and read the result
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable client localhost 9095 letters 15 50 24 0.0001")]
pub(super) struct Client {
    /// The coordinator's host
    host: String,
    /// The coordinator's port
    #[arg(value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: u16,
    /// The data: a directory with train*.txt or .csv files and one validate* file; the last column is the label.
    /// If it is not on this machine, the coordinator looks for it under its --data-dir
    dir: String,
    /// How often the nodes' results are averaged
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    rounds: u32,
    /// Gradient steps on each shard in a round, at most
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    epochs: u32,
    /// Units of the hidden layer
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536), allow_negative_numbers = true)]
    h: u32,
    /// The learning rate, for gradients summed over a shard's rows
    #[arg(value_parser = eta, allow_negative_numbers = true)]
    eta: f64,
    #[command(flatten)]
    options: ClientOptions,
}

/// Options of the client, which `demo` has too.
#[derive(Args, Debug)]
pub(super) struct ClientOptions {
    /// The seed of the first weights
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Append what the run took to this file
    #[arg(long, default_value = "timing.txt", value_name = "FILE")]
    timing: PathBuf,
    /// Write the model to this file (.safetensors); see `roundtable predict`
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
    /// Let the job fail after this long without progress, for example with no node left; without it the job waits
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    give_up_after: Option<Duration>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl ClientOptions {
    /// Finds out before the run what could only fail after it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.model_out {
            check_model_path(path)?;
        }
        timing::check(&self.timing)
    }

    /// The same options as text.
    pub(super) fn to_args(&self) -> Vec<String> {
        let mut args = vec![format!("--seed={}", self.seed), format!("--timing={}", self.timing.display())];
        args.extend(self.model_out.iter().map(|path| format!("--model-out={}", path.display())));
        args.extend(
            self.give_up_after.map(|after| format!("--give-up-after={}", humantime::format_duration(after))),
        );
        args.extend(self.json.then(|| "--json".to_owned()));
        args
    }

    /// Whether a program reads the result.
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

fn eta(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number, such as 0.0001".to_owned())?;
    let allowed = value > 0.0 && value <= LARGEST_ETA;
    if allowed { Ok(value) } else { Err("it must be above 0, and at most 1e6".to_owned()) }
}

impl Run for Client {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let options = &self.options;
        options.check().map_err(Failure::Input)?;
        let order = Order {
            coordinator: Address::new(&self.host, self.port),
            dataset: self.dir.clone(),
            training: TrainingRequest {
                rounds: self.rounds,
                epochs: self.epochs,
                hidden: vec![self.h as usize],
                eta: self.eta,
                seed: options.seed,
            },
            give_up_after: options.give_up_after,
        };
        let start = SystemTime::now();
        let interrupted = interrupts().map_err(Failure::Run)?;
        let mut progress = Progress::new(options.json);
        let mut shown = Ok(());
        // A job whose progress nobody reads is cancelled, too, unless its model is wanted.
        let unseen = Cell::new(false);
        let result = client::train(&order, &|| interrupted() || unseen.get(), &mut |step| {
            if shown.is_ok() {
                shown = progress.show(&step);
                unseen.set(shown.is_err() && options.model_out.is_none());
            }
        });
        progress.finish();
        if unseen.get() {
            shown?;
        }
        let report = result.map_err(failure)?;
        // The result first: whatever cannot be written after that, it is known.
        let printed = print(&report, options.json);
        if let Some(path) = &options.model_out {
            write_model(path, &report.model).map_err(Failure::Run)?;
        }
        timing::append(&options.timing, start, &report).map_err(Failure::Run)?;
        printed
    }
}

/// Writes a model whole or not at all: one that was there before stays until then.
fn write_model(path: &Path, model: &[u8]) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
        file.write_all(model)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write the model to {}", path.display()))
}

/// The end of the file name decides the form, so it must be one that can be written.
fn check_model_path(path: &Path) -> anyhow::Result<()> {
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    anyhow::ensure!(
        extension.eq_ignore_ascii_case("safetensors"),
        "--model-out {}: the file's name must end in .safetensors",
        path.display()
    );
    anyhow::ensure!(!path.is_dir(), "--model-out {}: it is a directory", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    anyhow::ensure!(parent.is_none_or(Path::is_dir), "--model-out {}: there is no such directory", path.display());
    output::can_write(path).with_context(|| format!("--model-out {}: it cannot be written", path.display()))
}

/// Whether Ctrl-C was pressed; the second time ends the program at once.
fn interrupts() -> anyhow::Result<impl Fn() -> bool> {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let on_signal = move || {
        if counted.fetch_add(1, Ordering::Relaxed) > 0 {
            std::process::exit(130);
        }
        eprintln!("cancelling; Ctrl-C again to leave at once");
    };
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
    Ok(move || count.load(Ordering::Relaxed) > 0)
}

fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Data(_) | ClientError::Elsewhere { .. } | ClientError::Refused { .. } => {
            Failure::input(error)
        }
        ClientError::Interrupted | ClientError::Cancelled { by_us: true, .. } => {
            Failure::Interrupted(error.to_string())
        }
        _ => Failure::run(error),
    }
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        let document = serde_json::to_string_pretty(report).map_err(Failure::run)?;
        return output::line(&document);
    }
    let mut lines = vec![String::new()];
    lines.extend(table::lay_out(&node_rows(report)));
    lines.push(String::new());
    lines.push(format!(
        "{} rounds in {:.3} s; weights sha256 {}",
        report.rounds.len(),
        report.wall_s,
        report.weights_sha256
    ));
    lines.push(format!("Final validation error: {:.4}", report.validation_error));
    output::lines(lines.iter().map(String::as_str))
}

fn node_rows(report: &Report) -> Vec<Vec<String>> {
    let head = ["node", "tasks", "refusals", "delays", "failures", "busy s", "share", "state", "software"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let tasks: i64 = report.nodes.iter().map(|node| node.tasks).sum();
    for node in &report.nodes {
        let share = 100.0 * node.tasks as f64 / tasks.max(1) as f64;
        rows.push(vec![
            node.address.clone(),
            node.tasks.to_string(),
            node.refusals.to_string(),
            node.delays.to_string(),
            node.failures.to_string(),
            format!("{:.3}", node.busy_s),
            format!("{share:.0}%"),
            node.state.clone(),
            node.software.clone(),
        ]);
    }
    rows
}
