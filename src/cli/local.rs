//! Owns `roundtable local`: the same training in this process alone, which a cluster is compared with.

use super::client::{check_model_path, check_writable, interrupts, print, recipe, write_model, write_whole};
use super::recipes::{self, Recipe};
use super::streaming::Streaming;
use super::training::Training;
use super::{Failure, Run, output};
use crate::client::{self, Config, Confusion, NodeLine, Report, RoundLine, StreamLine, Wanted, Work};
use crate::ingest::{self, LastColumn};
use crate::jobs::{Corpus, RoundResult, TaskInput};
use crate::local::{self, LocalError, Outcome, Surroundings};
use crate::model::Answers;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Train in this process alone, one task after the other, without a cluster
#[derive(Args, Debug)]
#[command(after_help = recipes::described())]
pub(super) struct Local {
    /// The data: a directory with train*.txt or .csv files and one validate* file; or with MNIST's four IDX files
    dir: String,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    streaming: Streaming,
    /// Take numbers and flags from a recipe (see below); any that are given too override it
    #[arg(long, value_name = "NAME", value_parser = recipe())]
    recipe: Option<&'static Recipe>,
    /// The seed of all random numbers: first weights, order of rows, dropout
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Write the model to this file; its end says how: .safetensors, .onnx or .npz
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
    /// Write the run to this file as JSON; see `roundtable report`
    #[arg(long, value_name = "FILE")]
    run_out: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl Run for Local {
    fn run(self) -> Result<(), Failure> {
        if let Some(path) = &self.model_out {
            check_model_path(path).map_err(Failure::Input)?;
        }
        if let Some(path) = &self.run_out {
            check_writable("--run-out", path).map_err(Failure::Input)?;
        }
        let (work, values) =
            self.streaming.work(&self.training, self.recipe, self.seed).map_err(Failure::Usage)?;
        let last = if values { LastColumn::Value } else { LastColumn::Label(None) };
        let loaded = ingest::load_dir_for(Path::new(&self.dir), last).map_err(Failure::input)?;
        let report = self.train(&work, client::material(&loaded))?;
        let printed = print(&report, self.json);
        if let Some(path) = &self.model_out {
            write_model(path, &report.model).map_err(Failure::Run)?;
        }
        if let Some(path) = &self.run_out {
            let document = serde_json::to_vec_pretty(&report).map_err(Failure::run)?;
            write_whole(path, &document).map_err(Failure::Run)?;
        }
        printed
    }
}

impl Local {
    /// Does the job; the time counts from here on, as a coordinator's counts from the job's coming.
    fn train(&self, work: &Work, corpus: Corpus) -> Result<Report, Failure> {
        let interrupted = interrupts("stopping").map_err(Failure::Run)?;
        let start = Instant::now();
        let clock = || start.elapsed().as_secs_f64();
        let shards = corpus.shards.clone();
        let classes = corpus.classes.clone();
        let find = |input: &TaskInput| {
            let shard = shards.iter().find(|shard| shard.blob.digest() == input.digest());
            shard.map(|shard| shard.blob.clone())
        };
        let parameters = work.parameters().map_err(Failure::run)?;
        let kind = work.kind();
        let job = (kind.start)(&parameters, corpus.into()).map_err(Failure::input)?;
        let mut rounds: Vec<RoundLine> = Vec::new();
        let mut before = 0.0;
        let mut told = |round: u32, result: &RoundResult| {
            let now = clock();
            let line = round_line(round, result, now - std::mem::replace(&mut before, now));
            if !self.json {
                // If nobody reads it the result is still wanted.
                let _ = output::line(&format!(
                    "round {}  validation error {:.4}  training error {:.4}  {:.3} s",
                    line.round, line.validation_error, line.training_error, line.wall_s
                ));
            }
            rounds.push(line);
        };
        let keep_going = || !interrupted();
        let around = Surroundings { find: &find, clock: &clock, keep_going: &keep_going, told: &mut told };
        let done = local::run(kind, job, around).map_err(|e| match e {
            LocalError::Interrupted => Failure::Interrupted(e.to_string()),
            other => Failure::run(other),
        })?;
        Ok(self.report(work, &done, rounds, classes, clock()))
    }

    fn report(
        &self,
        work: &Work,
        done: &Outcome,
        rounds: Vec<RoundLine>,
        classes: Vec<String>,
        wall_s: f64,
    ) -> Report {
        let config = match work {
            Work::Rounds(request) => Config {
                coordinator: String::new(),
                dataset: self.dir.clone(),
                training: request.clone(),
                stream: None,
            },
            Work::Stream(request) => Config::of_stream(String::new(), self.dir.clone(), request.clone()),
        };
        let confusion = done.measured.as_ref().and_then(|measured| match &measured.answers {
            Answers::Classes { confusion, .. } => {
                Some(confusion.iter().map(|c| (c.right, c.said, c.rows)).collect())
            }
            Answers::Values { .. } => None,
        });
        Report {
            validation_error: done.measured.as_ref().map_or(1.0, |measured| measured.error),
            wall_s,
            weights_sha256: done.weights.to_string(),
            best_round: i32::try_from(done.round.0).unwrap_or(i32::MAX),
            rounds,
            nodes: vec![NodeLine {
                address: "this process".to_owned(),
                state: "ready".to_owned(),
                software: concat!("roundtable ", env!("CARGO_PKG_VERSION")).to_owned(),
                tasks: i64::try_from(done.tasks).unwrap_or(i64::MAX),
                refusals: 0,
                delays: 0,
                failures: 0,
                busy_s: done.tasks_s,
                bytes_sent: 0,
                bytes_received: 0,
            }],
            config,
            confusion: confusion.map(|counts| Confusion { classes, counts }),
            stream: done.stream.as_ref().map(|figures| StreamLine::of(figures, wall_s)),
            bytes_sent: 0,
            bytes_received: 0,
            model: done.model.bytes().to_vec(),
        }
    }
}

fn round_line(round: u32, result: &RoundResult, wall_s: f64) -> RoundLine {
    RoundLine {
        round: i32::try_from(round).unwrap_or(i32::MAX),
        validation_error: result.validation_error,
        training_error: result.training_error,
        validation_loss: Some(result.validation_loss),
        training_loss: result.training_loss,
        wall_s,
        left_out: Vec::new(),
        spans: Vec::new(),
    }
}
