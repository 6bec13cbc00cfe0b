//! Owns `roundtable client`.

use super::job_options::JobOptions;
use super::progress::Progress;
use super::streaming::Streaming;
use super::training::{Training, USAGE};
use super::{Failure, Run, output, recipes, table, timing};
use crate::client::{self, ClientError, Order, Report, Step, StreamLine, Work};
use crate::jobs::stream::Source;
use crate::model::{Model, files};
use crate::rpc::{Address, RpcError};
use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::cell::Cell;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::SystemTime;

/// Have a coordinator train a network, and read the result
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_help = after_help())]
pub(super) struct Client {
    /// The coordinator's host; or several, as host or host:port, of which one leads: a,b or a:9095,b:9096
    host: String,
    /// The coordinator's port
    #[arg(value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    port: u16,
    /// The data: a directory with train*.txt or .csv files and one validate* file, the last column being the label; or
    /// with MNIST's four IDX files.
    /// If it is not on this machine, the coordinator looks for it under its --data-dir
    dir: String,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    streaming: Streaming,
    /// Learn nothing here: learners outside send changes to the coordinator's --http, and the job is over after so many
    #[arg(long, value_name = "N", requires = "is_async", help_heading = super::streaming::STREAM, value_parser = clap::value_parser!(u64).range(1..))]
    updates: Option<u64>,
    #[command(flatten)]
    options: ClientOptions,
}

fn after_help() -> String {
    format!(
        "{}\nExamples:\n  roundtable client localhost 9095 letters 15 50 24 0.0001\n  roundtable client localhost 9095 \
         letters --recipe letters-fast --target-error 0.05 --model-out letters.onnx",
        recipes::described()
    )
}

/// Options of the client, which `demo` has too.
#[derive(Args, Debug)]
pub(super) struct ClientOptions {
    /// Take numbers and flags from a recipe (see below); any that are given too override it
    #[arg(long, value_name = "NAME", value_parser = recipe())]
    recipe: Option<&'static recipes::Recipe>,
    /// The seed of all random numbers: first weights, order of rows, dropout
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Append what the run took to this file
    #[arg(long, default_value = "timing.txt", value_name = "FILE")]
    timing: PathBuf,
    /// Write the model to this file; its end says how: .safetensors, .onnx or .npz
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
    /// Write the run to this file as JSON; see `roundtable report`
    #[arg(long, value_name = "FILE")]
    run_out: Option<PathBuf>,
    /// Leave as soon as the job is durable, and print its number; see `roundtable watch`
    #[arg(long, conflicts_with_all = ["model_out", "run_out"])]
    detach: bool,
    #[command(flatten)]
    job: JobOptions,
}

impl ClientOptions {
    /// Finds out before the run what could only fail after it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.model_out {
            check_model_path(path)?;
        }
        if let Some(path) = &self.run_out {
            check_writable("--run-out", path)?;
        }
        timing::check(&self.timing)
    }

    /// The same options as text.
    pub(super) fn to_args(&self) -> Vec<String> {
        let mut args = vec![format!("--seed={}", self.seed), format!("--timing={}", self.timing.display())];
        args.extend(self.recipe.map(|recipe| format!("--recipe={}", recipe.name)));
        args.extend(self.run_out.iter().map(|path| format!("--run-out={}", path.display())));
        args.extend(self.model_out.iter().map(|path| format!("--model-out={}", path.display())));
        args.extend(self.detach.then(|| "--detach".to_owned()));
        args.extend(self.job.to_args());
        args
    }

    /// Whether a program reads the result.
    pub(super) fn json(&self) -> bool {
        self.job.json
    }
}

pub(super) fn recipe() -> impl TypedValueParser<Value = &'static recipes::Recipe> {
    let names = PossibleValuesParser::new(recipes::RECIPES.iter().map(|recipe| recipe.name));
    // Only names of the table get as far as the second step.
    names.try_map(|name| recipes::find(&name).ok_or("there is no such recipe"))
}

impl Run for Client {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let options = &self.options;
        options.check().map_err(Failure::Input)?;
        let (mut work, values) =
            self.streaming.work(&self.training, options.recipe, options.seed).map_err(Failure::Usage)?;
        if let (Work::Stream(request), Some(updates)) = (&mut work, self.updates) {
            request.source = Source::Updates { updates };
        }
        let order = Order {
            coordinators: coordinators(&self.host, self.port).map_err(Failure::input)?,
            reconnect: options.job.reconnect,
            dataset: self.dir.clone(),
            values,
            work,
            give_up_after: options.job.give_up_after,
            share: options.job.share.share(),
        };
        let start = SystemTime::now();
        let interrupted = interrupts("cancelling").map_err(Failure::Run)?;
        let mut progress = Progress::new(options.job.json);
        let mut shown = Ok(());
        // A job whose progress nobody reads is cancelled, too, unless its model is wanted.
        let unseen = Cell::new(false);
        let mut watcher = |step: Step<'_>| {
            if shown.is_ok() {
                shown = progress.show(&step);
                unseen.set(shown.is_err() && options.model_out.is_none());
            }
        };
        let interrupted = || interrupted() || unseen.get();
        let submitted = client::submit(&order, &interrupted, &mut watcher);
        if options.detach {
            progress.finish();
            return detached(&submitted.map_err(failure)?.job, options.job.json);
        }
        let result =
            submitted.and_then(|job| client::follow(job, &order.dataset, true, &interrupted, &mut watcher));
        progress.finish();
        if unseen.get() {
            shown?;
        }
        let report = result.map_err(failure)?;
        // The result first: whatever cannot be written after that, it is known.
        let printed = print(&report, options.job.json);
        if let Some(path) = &options.model_out {
            write_model(path, &report.model).map_err(Failure::Run)?;
        }
        if let Some(path) = &options.run_out {
            let document = serde_json::to_vec_pretty(&report).map_err(Failure::run)?;
            write_whole(path, &document).map_err(Failure::Run)?;
        }
        timing::append(&options.timing, start, &report).map_err(Failure::Run)?;
        printed
    }
}

/// The coordinators that a host, or a list of them, stands for.
pub(super) fn coordinators(hosts: &str, port: u16) -> Result<Vec<Address>, RpcError> {
    let one = |host: &str| match host.trim() {
        // A bare IPv6 address has colons, too.
        host if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() => host.parse(),
        host => Ok(Address::new(host, port)),
    };
    hosts.split(',').map(one).collect()
}

/// Tells where a job is to be found again.
pub(super) fn detached(job: &str, json: bool) -> Result<(), Failure> {
    if json {
        return output::line(&serde_json::json!({ "job": job }).to_string());
    }
    output::line(&format!("job {job} goes on without this client; `roundtable watch {job}` looks at it"))
}

/// Writes a model in the form that the file's name ends in.
pub(super) fn write_model(path: &Path, model: &[u8]) -> anyhow::Result<()> {
    let model = Model::from_safetensors(model).context("the coordinator's model cannot be read")?;
    write_whole(path, &files::write(&model, extension(path))?)
}

/// Writes a file whole or not at all: one that was there before stays until then.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The end of the file name decides the form, so it must be one that can be written.
pub(super) fn check_model_path(path: &Path) -> anyhow::Result<()> {
    files::find(extension(path)).with_context(|| format!("--model-out {}", path.display()))?;
    check_writable("--model-out", path)
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|end| end.to_str()).unwrap_or_default()
}

pub(super) fn check_writable(flag: &str, path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    anyhow::ensure!(!path.is_dir(), "{flag} {shown}: it is a directory");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    anyhow::ensure!(parent.is_none_or(Path::is_dir), "{flag} {shown}: there is no such directory");
    output::can_write(path).with_context(|| format!("{flag} {shown}: it cannot be written"))
}

/// What the command at work does when Ctrl-C is pressed, and how often it was: a console has many commands.
static INTERRUPTS: Mutex<(&str, u32)> = Mutex::new(("", 0));

/// Whether Ctrl-C was pressed since now; the second time ends the program at once.
pub(super) fn interrupts(doing: &'static str) -> anyhow::Result<impl Fn() -> bool> {
    static LISTENS: Once = Once::new();
    let interrupts = || INTERRUPTS.lock().unwrap_or_else(PoisonError::into_inner);
    *interrupts() = (doing, 0);
    let mut listening = Ok(());
    LISTENS.call_once(|| {
        let on_signal = move || {
            let mut interrupts = interrupts();
            interrupts.1 += 1;
            if interrupts.1 > 1 {
                std::process::exit(130);
            }
            eprintln!("{}; Ctrl-C again to leave at once", interrupts.0);
        };
        listening = ctrlc::set_handler(on_signal);
    });
    listening.context("cannot listen for Ctrl-C")?;
    Ok(move || interrupts().1 > 0)
}

pub(super) fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Data(_)
        | ClientError::Elsewhere { .. }
        | ClientError::Refused { .. }
        | ClientError::Request(_)
        // What it does not take is the user's to mend.
        | ClientError::Rpc(RpcError::Remote { .. }) => Failure::input(error),
        ClientError::Interrupted | ClientError::Detached { .. } | ClientError::Cancelled { by_us: true, .. } => {
            Failure::Interrupted(error.to_string())
        }
        _ => Failure::run(error),
    }
}

pub(super) fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        let document = serde_json::to_string_pretty(report).map_err(Failure::run)?;
        return output::line(&document);
    }
    let mut lines = vec![String::new()];
    lines.extend(table::lay_out(&node_rows(report)));
    lines.push(String::new());
    lines.extend(report.stream.as_ref().map(stream_line));
    lines.push(format!(
        "{} rounds in {:.3} s; weights sha256 {}",
        report.rounds.len(),
        report.wall_s,
        report.weights_sha256
    ));
    if report.rounds.last().is_some_and(|last| last.round != report.best_round) {
        lines.push(format!("The model is that of round {}, the best.", report.best_round));
    }
    lines.push(format!("Final validation error: {:.4}", report.validation_error));
    output::lines(lines.iter().map(String::as_str))
}

/// What was done on a stream.
fn stream_line(stream: &StreamLine) -> String {
    let StreamLine { version, updates, stale, batches, rows, mean_staleness, rows_per_s } = stream;
    format!(
        "version {version}: {updates} changes of {batches} mini-batches, {rows} rows, {rows_per_s:.0} a second; they missed \
         {mean_staleness:.2} versions on average, and {stale} more were too stale"
    )
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
