//! Owns `roundtable feed`: rows of a text stream into the queue of a job that learns from them.

use super::client::{check_model_path, coordinators, failure, interrupts, print, recipe, write_model};
use super::job_options::JobOptions;
use super::recipes::Recipe;
use super::streaming::StreamingOptions;
use super::training::{Training, wrong};
use super::{Failure, Run, output};
use crate::client::feed::{self, Fed, Survey};
use crate::client::{self, Order, Submitted, Work};
use crate::data::Classes;
use crate::ingest;
use crate::jobs::stream::{QueueSource, Source};
use crate::queue::{Publisher, QueueUrl};
use crate::rpc::Address;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Of a coordinator whose port is not given.
const USUAL_PORT: u16 = 9095;
/// Where there is no terminal, how far it is is told so often.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// Stream the rows of a file into the queue of a job that learns from them
///
/// It follows the job to its end. Each mini-batch counts once, whatever becomes of nodes and coordinators. The queue is
/// bounded: this command waits when it is full. If it dies, call it again with --job and the same file, flags and feeder:
/// what was taken is not taken twice.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable feed localhost:9095 digits.csv 5 --batch-size 128 --hidden 64 --eta 0.1
  roundtable feed localhost:9095 digits.csv 5 --recipe letters-fast --validation held_out.csv
  roundtable feed localhost:9095 digits.csv 5 --recipe letters-fast --queue nats://localhost:4222/digits")]
pub(super) struct Feed {
    /// The coordinator, or several of which one leads: localhost:9095 or a:9095,b:9096
    coordinator: String,
    /// Rows with their labels last, as text
    csv: PathBuf,
    /// Passes over them
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true, value_name = "EPOCHS")]
    passes: u32,
    #[command(flatten)]
    training: FeedTraining,
    #[command(flatten)]
    streaming: StreamingOptions,
    /// Take numbers and flags from a recipe of `client`; any that are given too override it
    #[arg(long, value_name = "NAME", value_parser = recipe())]
    recipe: Option<&'static Recipe>,
    /// The seed of all random numbers: first weights, order of rows within a chunk, dropout
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Rows to measure on [default: each tenth row of the file is kept back, 50,000 at most count]
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// Feed this job, which is there, instead of a new one; how it learns is settled
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// This feeder's name: each counts its rows by itself
    #[arg(long, default_value = "feed", value_name = "NAME")]
    feeder: String,
    /// How many feeders the new job has: it is over when all have ended
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    feeders: u32,
    /// Put the rows into this stream of NATS JetStream, nats://HOST:4222/STREAM, which is made if it is not there; the new job
    /// takes them, and what other programs put there, too. Each message is text as of a CSV file without a head
    #[arg(long, value_name = "URL", conflicts_with_all = ["job", "feeders"])]
    queue: Option<QueueUrl>,
    /// Mini-batches that are sent at once [default: four tasks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    chunk: Option<u32>,
    /// How many rows may wait in the new job's queue [default: 262144]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    queue_rows: Option<u64>,
    /// Write the model to this file; its end says how: .safetensors, .onnx or .npz
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
    #[command(flatten)]
    job_options: JobOptions,
}

/// The flags of a training, whose numbers are flags here, too.
#[derive(Clone, Debug)]
struct FeedTraining(Training);

impl Args for FeedTraining {
    fn augment_args(command: Command) -> Command {
        let command = Training::augment_args(command).mut_arg("h", |arg| arg.long("hidden").value_name("UNITS"));
        let command = command.mut_arg("eta", |arg| arg.long("eta").value_name("RATE"));
        let command = command.mut_arg("rounds", |arg| arg.long("rounds").hide(true));
        command.mut_arg("epochs", |arg| arg.long("epochs").hide(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FeedTraining {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Training::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Run for Feed {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        if let Some(path) = &self.model_out {
            check_model_path(path).map_err(Failure::Input)?;
        }
        let training =
            self.training.0.clone().for_feed(self.passes).resolve(self.recipe).map_err(Failure::Usage)?;
        let values = training.values;
        let source = QueueSource {
            feeders: (self.feeders > 1).then_some(self.feeders),
            room: self.queue_rows,
            url: self.queue.as_ref().map(QueueUrl::to_url),
            ..QueueSource::default()
        };
        let mut request =
            self.streaming.request(training.request(self.seed), Source::Queue(source)).map_err(Failure::Usage)?;
        if self.feeder.is_empty() {
            return Err(Failure::Usage(wrong(ErrorKind::InvalidValue, "--feeder needs a name")));
        }
        let batch = request.method.batch_size.unwrap_or(1) as usize;
        let feed = feed::Feed {
            path: self.csv.clone(),
            epochs: self.passes,
            chunk: batch * self.chunk.map_or(4 * request.group as usize, |chunk| chunk as usize),
            held_out: self.validation.is_none().then_some(10),
            values,
            shuffle: request.method.shuffle.then_some(self.seed),
        };
        let coordinators = coordinators(&self.coordinator, USUAL_PORT).map_err(Failure::input)?;
        let start = Instant::now();
        let survey = feed.survey().map_err(failure)?;
        let total = survey.rows * u64::from(self.passes);
        if let Source::Queue(source) = &mut request.source {
            source.rows = Some(total * u64::from(self.feeders));
        }
        let interrupted = interrupts("leaving; the job keeps what it has taken").map_err(Failure::Run)?;
        let mut job = self.job(&coordinators, Work::Stream(request), &survey, &interrupted)?;
        let mut shown = Shown::new(self.job_options.json, total);
        let fed = match &self.queue {
            Some(queue) => publish(&feed, queue, &job, &interrupted, &mut shown),
            None => feed
                .run(&mut job, &self.feeder, survey.classes.as_ref(), &interrupted, &mut |fed| shown.show(fed))
                .map_err(failure),
        };
        shown.end();
        let fed = fed?;
        let report = client::follow(job, &self.csv.to_string_lossy(), false, &interrupted, &mut |_| ());
        let report = report.map_err(failure)?;
        if !self.job_options.json {
            let seconds = start.elapsed().as_secs_f64();
            // The job is done: all that it was fed is in its model, unless it was to stop by itself.
            let acknowledged =
                report.stream.as_ref().map_or(fed.acknowledged, |stream| stream.rows.unsigned_abs());
            output::line(&format!("{} rows sent, {acknowledged} acknowledged, in {seconds:.3} s", fed.sent))?;
        }
        let printed = print(&report, self.job_options.json);
        if let Some(path) = &self.model_out {
            write_model(path, &report.model).map_err(Failure::Run)?;
        }
        printed
    }
}

impl Feed {
    /// The job that is there, or a new one.
    fn job(
        &self,
        coordinators: &[Address],
        work: Work,
        survey: &Survey,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Submitted, Failure> {
        if let Some(job) = &self.job {
            return client::attach(coordinators, self.job_options.reconnect, job).map_err(failure);
        }
        let classes = survey.classes.as_ref().map_or(&[][..], Classes::labels);
        let file = match (&self.validation, &survey.held_out) {
            (Some(path), _) if survey.classes.is_none() => {
                Some(ingest::load_values(path).map_err(Failure::input)?)
            }
            (Some(path), _) => Some(ingest::load_labelled(path, classes).map_err(Failure::input)?),
            (None, _) => None,
        };
        let validation = file.as_ref().or(survey.held_out.as_ref());
        let validation =
            validation.ok_or_else(|| Failure::Run(anyhow::anyhow!("there are no rows to measure on")))?;
        let order = Order {
            coordinators: coordinators.to_vec(),
            reconnect: self.job_options.reconnect,
            dataset: self.csv.to_string_lossy().into_owned(),
            values: survey.classes.is_none(),
            work,
            share: self.job_options.share.share(),
            give_up_after: self.job_options.give_up_after,
        };
        let job = client::submit_fed(&order, &survey.sample, validation, classes, interrupted);
        let job = job.map_err(failure)?;
        if !self.job_options.json {
            output::line(&format!(
                "job {}: {} rows of {} features, {} classes, {} rows for validation; feeder '{}'",
                job.job,
                survey.rows,
                survey.sample.columns(),
                classes.len(),
                validation.rows(),
                self.feeder
            ))?;
        }
        Ok(job)
    }
}

/// Puts all rows into a stream, from which the job takes them.
fn publish(
    feed: &feed::Feed,
    queue: &QueueUrl,
    job: &Submitted,
    interrupted: &dyn Fn() -> bool,
    shown: &mut Shown,
) -> Result<Fed, Failure> {
    let (mut trouble, mut fed) = (None, Fed::default());
    let mut publisher =
        Publisher::connect(queue, &format!("{}-{:016x}", job.job, rand::random::<u64>())).map_err(Failure::run)?;
    let all = feed.each(&mut |_, _, text| {
        if interrupted() {
            return Err(client::ClientError::Detached { job: job.job.clone() });
        }
        let rows = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        publisher.put(text).map_err(|e| {
            let reason = e.to_string();
            trouble = Some(Failure::run(e));
            client::ClientError::Request(reason)
        })?;
        fed.sent += rows;
        shown.show(&fed);
        Ok(())
    });
    match (all, trouble) {
        (_, Some(trouble)) => Err(trouble),
        (all, None) => all.map_err(failure),
    }?;
    publisher.end().map_err(Failure::run)?;
    Ok(fed)
}

/// What a person sees of it: a bar on a terminal, a line now and then elsewhere.
struct Shown {
    is_silent: bool,
    bar: Option<ProgressBar>,
    total: u64,
    last: Option<Instant>,
}

impl Shown {
    fn new(is_silent: bool, total: u64) -> Self {
        let bar = (!is_silent && std::io::stdout().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:24.cyan/blue} {msg} {elapsed}");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { is_silent, bar, total, last: None }
    }

    fn show(&mut self, fed: &Fed) {
        let Fed { sent, acknowledged, waiting, version } = fed;
        let text = format!(
            "{sent}/{} rows sent, {acknowledged} acknowledged, {waiting} wait, version {version}",
            self.total
        );
        if let Some(bar) = &self.bar {
            bar.set_position(*sent);
            return bar.set_message(text);
        }
        if self.is_silent || self.last.is_some_and(|last| last.elapsed() < LINES_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        // Who does not look at it still wants the rows fed.
        let _ = output::line(&text);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
