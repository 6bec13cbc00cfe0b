//! Owns `roundtable infer` and `get-output`.

use super::client::{failure, interrupts};
use super::coordinators::Coordinators;
use super::share::ShareOptions;
use super::{Failure, Run, answers, output};
use crate::client::{self, Leader};
use crate::jobs::inference::InferenceOrder;
use crate::rpc::Dialer;
use crate::wire::coordinator::JobStatus;
use anyhow::{Context, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a leader is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ask a model of the store about files of the store; prints the job's number
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable put lite0.onnx lite0.onnx
  roundtable put-all 'pictures/*.jpg' --prefix pictures/
  roundtable infer lite0.onnx 'pictures/*' --wait
  roundtable get-output 1 answers.json")]
pub(super) struct Infer {
    /// The model's name in the store: .onnx, .safetensors or .npz
    model: String,
    /// Which files of the store: *, ? and [...] as in shells. Pictures (JPEG, PNG), or tables whose rows are asked about
    /// (CSV, IDX)
    pattern: String,
    /// Queries of a batch, or MIN..MAX with --latency. Without it as set-batch-size has it, or 8 pictures, or 16384 rows
    #[arg(long, value_name = "N", value_parser = sizes)]
    batch_size: Option<(u32, Option<u32>)>,
    /// How long a batch is to take on its node: batches grow and shrink so that they do
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    latency: Option<Duration>,
    /// Only so many queries, from the first on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many of the likeliest labels are told of each query [default: 5 of a picture, 1 of a row]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// Wait until the job is done
    #[arg(long)]
    wait: bool,
    /// Wait, and write the answers to this file: JSON, or CSV if its name ends in .csv
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let the job fail after this long without progress; without it the job waits
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    give_up_after: Option<Duration>,
    #[command(flatten)]
    share: ShareOptions,
    #[command(flatten)]
    coordinators: Coordinators,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl Run for Infer {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        if let Some(path) = &self.output {
            output::can_write(path)
                .with_context(|| format!("--output {}", path.display()))
                .map_err(Failure::Input)?;
        }
        let (batch_size, largest_batch) =
            self.batch_size.map_or((None, None), |(least, most)| (Some(least), most));
        let order = InferenceOrder {
            model: self.model.clone(),
            batch_size,
            largest_batch,
            latency_s: self.latency.map(|latency| latency.as_secs_f64()),
            count: self.count,
            top: self.top,
        };
        order.check().map_err(Failure::input)?;
        let mut leader = find(&self.coordinators)?;
        let job =
            client::inference::infer(&mut leader, &order, &self.pattern, self.share.share(), self.give_up_after)
                .map_err(failure)?;
        if !self.wait && self.output.is_none() {
            return output::line(&if self.json { json!({ "job": job }).to_string() } else { job });
        }
        let interrupted = interrupts("leaving").map_err(Failure::Run)?;
        let status = follow(&mut leader, &job, &interrupted, self.json)?;
        if let Some(path) = &self.output {
            let answers = client::inference::output(&mut leader, &job).map_err(failure)?;
            write_file(path, &job, &answers)?;
        }
        tell(&job, &status, self.json)
    }
}

/// Finds the coordinator that leads.
fn find(coordinators: &Coordinators) -> Result<Leader, Failure> {
    Leader::find(&coordinators.addresses(), Dialer::default(), PATIENCE).map_err(|e| failure(e.into()))
}

/// Shows how far a job is until it is done; it goes on if this is interrupted.
pub(super) fn follow(
    leader: &mut Leader,
    job: &str,
    interrupted: &dyn Fn() -> bool,
    silent: bool,
) -> Result<JobStatus, Failure> {
    let bar = (!silent && io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("job {prefix} {bar:24.cyan/blue} {pos}/{len} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(job.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    });
    let mut notice = String::new();
    let result = client::inference::await_end(leader, job, interrupted, &mut |status| {
        if let (Some(bar), Some(figures)) = (&bar, &status.figures) {
            bar.set_length(figures.total.unsigned_abs());
            bar.set_position(figures.done.unsigned_abs());
            let nodes = figures.nodes;
            bar.set_message(match status.notice.as_str() {
                "" => format!("{:.1}/s on {nodes} nodes", figures.rate_10s.0),
                notice => notice.to_owned(),
            });
        } else if bar.is_none() && !silent && status.notice != notice {
            notice.clone_from(&status.notice);
            if !notice.is_empty() {
                eprintln!("{notice}");
            }
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result.map_err(failure)
}

/// Prints what a job that is done has come to.
pub(super) fn tell(job: &str, status: &JobStatus, json: bool) -> Result<(), Failure> {
    let Some(figures) = &status.figures else { return Err(Failure::run(anyhow!("job {job} answers no queries"))) };
    if json {
        let told = json!({ "job": job, "queries": figures.done, "errors": figures.failed,
            "seconds": status.wall_s.0, "rate": figures.rate_total.0, "p50_s": figures.p50_s.0,
            "p95_s": figures.p95_s.0, "p99_s": figures.p99_s.0, "answers_sha256": status.weights_sha256 });
        return output::line(&told.to_string());
    }
    let errors = match figures.failed {
        0 => String::new(),
        failed => format!(", {failed} of them cannot be answered"),
    };
    output::line(&format!(
        "job {job}: {} queries in {:.2} s{errors}; {:.1}/s; a batch took {:.1} ms, 95% at most {:.1} ms",
        figures.done,
        status.wall_s.0,
        figures.rate_total.0,
        figures.p50_s.0 * 1e3,
        figures.p95_s.0 * 1e3
    ))
}

/// Get the answers of an inference job: JSON, or CSV
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable get-output 1 answers.json
  roundtable get-output 1 answers.csv")]
pub(super) struct GetOutput {
    /// Its number
    job: String,
    /// Where to; without it they are printed. CSV if its name ends in .csv
    file: Option<PathBuf>,
    /// Print CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    coordinators: Coordinators,
}

impl Run for GetOutput {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let mut leader = find(&self.coordinators)?;
        let answers = client::inference::output(&mut leader, &self.job).map_err(failure)?;
        if let Some(path) = &self.file {
            write_file(path, &self.job, &answers)?;
            return output::line(&format!("{}: {} answers", path.display(), answers.answers.len()));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let written = match self.csv {
            true => answers::write_csv(&answers, &mut out),
            false => answers::write_json(&self.job, &answers, &mut out),
        };
        match written.and_then(|()| out.flush()) {
            // The reader has had enough, as `head` does.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
            other => other.map_err(|e| Failure::run(anyhow!(e).context("cannot print"))),
        }
    }
}

/// Writes answers to a file; one that is there already is replaced at the end, in one step.
fn write_file(path: &Path, job: &str, answers: &crate::jobs::inference::Output) -> Result<(), Failure> {
    let is_csv = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let file = tempfile::NamedTempFile::new_in(directory)?;
        let mut out = BufWriter::new(File::options().write(true).open(file.path())?);
        match is_csv {
            true => answers::write_csv(answers, &mut out)?,
            false => answers::write_json(job, answers, &mut out)?,
        }
        out.flush()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|e| Failure::run(anyhow!(e).context(format!("cannot write {}", path.display()))))
}

/// Reads `8` or `1..32`.
fn sizes(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| match text.trim().parse() {
        Ok(number @ 1..=crate::jobs::inference::MOST_IN_BATCH) => Ok(number),
        _ => Err(format!("a batch has from 1 to {} queries", crate::jobs::inference::MOST_IN_BATCH)),
    };
    match text.split_once("..") {
        None => Ok((number(text)?, None)),
        Some((least, most)) => Ok((number(least)?, Some(number(most.trim_start_matches('='))?))),
    }
}
