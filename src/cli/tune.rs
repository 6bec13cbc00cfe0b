//! Owns `roundtable tune`.

use super::client::{check_model_path, check_writable, failure, interrupts, write_model, write_whole};
use super::job_options::JobOptions;
use super::space_file::{self, Draft, Named, Values};
use super::trials::Trials;
use super::{Failure, Run, output, trials};
use crate::client::tuning::{self, TuningReport};
use crate::client::{self, Order, Step, Submitted};
use crate::jobs::tuning::{Domain, LEARNERS, METRICS, SEARCHES, Setting, TuningRequest};
use crate::rpc::Address;
use anyhow::{Context, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Try many configurations of a model on the nodes, and tell which is best
#[derive(Args, Debug)]
#[command(after_help = after_help())]
pub(super) struct Tune {
    /// The coordinator, or several of which one leads: host:port,host:port
    #[arg(value_name = "COORDINATOR", num_args = 1, value_delimiter = ',', required = true)]
    coordinator: Vec<Address>,
    /// The data: a directory as `client` takes it
    dir: String,
    #[command(flatten)]
    space: SpaceOptions,
    #[command(flatten)]
    options: TuneOptions,
}

const SPACE: &str = "What is tried";
const TRIALS: &str = "How it is tried";

/// What is tried: each flag overrides the file.
#[derive(Args, Debug)]
struct SpaceOptions {
    /// A TOML file that says what is tried and how; see below
    #[arg(long, value_name = "FILE", help_heading = SPACE)]
    space: Option<PathBuf>,
    /// The kind of model: mlp, forest or nothing [default: mlp]
    #[arg(long, value_name = "KIND", help_heading = SPACE)]
    model: Option<String>,
    /// What all trials set; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = SPACE, value_parser = space_file::set)]
    set: Vec<Named<Setting>>,
    /// Values of a parameter; may be repeated for others
    #[arg(long, value_name = "NAME=V,V,...", help_heading = SPACE, value_parser = space_file::list)]
    grid: Vec<Named<Values>>,
    /// A number between two, each as likely
    #[arg(long, value_name = "NAME=LOW..HIGH", help_heading = SPACE, value_parser = space_file::uniform)]
    uniform: Vec<Named<Domain>>,
    /// A number between two, each size as likely
    #[arg(long, value_name = "NAME=LOW..HIGH", help_heading = SPACE, value_parser = space_file::log_uniform)]
    log_uniform: Vec<Named<Domain>>,
    /// A whole number between two, each as likely
    #[arg(long, value_name = "NAME=LOW..HIGH", help_heading = SPACE, value_parser = space_file::integer)]
    integer: Vec<Named<Domain>>,
    /// A whole number between two, each size as likely
    #[arg(long, value_name = "NAME=LOW..HIGH", help_heading = SPACE, value_parser = space_file::log_integer)]
    log_integer: Vec<Named<Domain>>,
    /// How trials are chosen and stopped: grid, random, asha or median [default: grid, or random with --trials]
    #[arg(long, value_name = "NAME", help_heading = TRIALS)]
    search: Option<String>,
    /// How many configurations are tried at most
    #[arg(long, value_name = "N", help_heading = TRIALS)]
    trials: Option<u32>,
    /// Of asha: one of so many goes on at the end of a rung [default: 3]
    #[arg(long, value_name = "N", help_heading = TRIALS)]
    reduction: Option<u32>,
    /// Of asha and median: how often a trial is looked at, its end among them [default: 3]
    #[arg(long, value_name = "N", help_heading = TRIALS)]
    rungs: Option<u32>,
    /// Cross-validate: cut the training rows into K folds, each held out once [default: measure on the validation rows]
    #[arg(long, value_name = "K", help_heading = TRIALS)]
    folds: Option<u32>,
    /// By what trials are compared: error, accuracy or loss [default: error]
    #[arg(long, value_name = "NAME", help_heading = TRIALS)]
    metric: Option<String>,
    /// The seed of configurations, folds, first weights and orders of rows [default: 1]
    #[arg(long, value_name = "N", help_heading = TRIALS)]
    seed: Option<u64>,
    /// End after this long with the best so far, but not before a trial has succeeded
    #[arg(long, value_name = "TIME", help_heading = TRIALS, value_parser = super::duration)]
    max_time: Option<Duration>,
    /// A trial fails if a fold of it takes longer than this on its node
    #[arg(long, value_name = "TIME", help_heading = TRIALS, value_parser = super::duration)]
    trial_timeout: Option<Duration>,
    /// At the end, learn the best from all training rows, and measure that on the validation rows
    #[arg(long, help_heading = TRIALS)]
    refit: bool,
}

#[derive(Args, Debug)]
struct TuneOptions {
    /// The last column is a number to be learnt (squared error), not a label
    #[arg(long)]
    values: bool,
    /// Write the model of --refit, which this implies, to this file; its end says how: .safetensors, or .onnx and .npz of
    /// networks
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

impl SpaceOptions {
    /// What the flags and the file say together.
    fn request(self, refit: bool) -> anyhow::Result<TuningRequest> {
        let mut draft = match &self.space {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the space {}", path.display()))?;
                Draft::read(&text).map_err(|e| anyhow!("{}: {e}", path.display()))?
            }
            None => Draft::default(),
        };
        let Self { model, search, trials, reduction, rungs, folds, metric, seed, .. } = self;
        draft.model = model.or(draft.model);
        draft.search = search.or(draft.search);
        draft.trials = trials.or(draft.trials);
        draft.reduction = reduction.or(draft.reduction);
        draft.rungs = rungs.or(draft.rungs);
        draft.folds = folds.or(draft.folds);
        draft.metric = metric.or(draft.metric);
        draft.seed = seed.or(draft.seed);
        draft.refit |= self.refit || refit;
        draft.max_time = self.max_time.or(draft.max_time);
        draft.trial_timeout = self.trial_timeout.or(draft.trial_timeout);
        for Named(name, setting) in self.set {
            draft.set.insert(name, setting);
        }
        for Named(name, Values(values)) in self.grid {
            draft.put(name, Domain::Grid(values));
        }
        let ranges = [self.uniform, self.log_uniform, self.integer, self.log_integer];
        for Named(name, domain) in ranges.into_iter().flatten() {
            draft.put(name, domain);
        }
        Ok(draft.request())
    }
}

impl Run for Tune {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let Self { coordinator, dir, space, options } = self;
        let work = space.request(options.model_out.is_some()).map_err(Failure::Input)?;
        options.check(&work).map_err(Failure::Input)?;
        let order = Order {
            coordinators: coordinator,
            reconnect: options.job.reconnect,
            dataset: dir,
            values: options.values,
            work,
            give_up_after: options.job.give_up_after,
            share: options.job.share.share(),
        };
        let interrupted = interrupts("cancelling").map_err(Failure::Run)?;
        let shown = Trials::new(options.job.json || options.detach, &order.work.metric);
        let mut loaded = Ok(());
        let submitted = client::submit(&order, &interrupted, &mut |step| {
            if let Step::Loaded(corpus) = step {
                loaded = shown.loaded(corpus);
            }
        });
        let submitted = submitted.map_err(failure)?;
        if options.detach {
            return super::client::detached(&submitted.job, options.job.json);
        }
        loaded?;
        let report = watch(submitted, &order.dataset, true, &interrupted, shown)?;
        finish(&report, options.model_out.as_deref(), options.run_out.as_deref(), options.job.json)
    }
}

/// Shows a job to its end.
pub(super) fn watch(
    submitted: Submitted,
    dataset: &str,
    ours: bool,
    interrupted: &dyn Fn() -> bool,
    mut shown: Trials,
) -> Result<TuningReport, Failure> {
    // A job whose progress nobody reads is cancelled, too.
    let unseen = std::cell::Cell::new(false);
    let mut result = Ok(());
    let report =
        tuning::follow(submitted, dataset, ours, &|| interrupted() || unseen.get(), &mut |status, trials| {
            if result.is_ok() {
                result = shown.show(status, trials);
                unseen.set(result.is_err());
            }
        });
    shown.finish();
    result?;
    report.map_err(failure)
}

/// Tells what a job has come to, and writes its files.
pub(super) fn finish(
    report: &TuningReport,
    model_out: Option<&Path>,
    run_out: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    // The result first: whatever cannot be written after that, it is known.
    let printed = match json {
        true => serde_json::to_string_pretty(report).map_err(Failure::run).and_then(|text| output::line(&text)),
        false => output::lines(trials::summary(report)),
    };
    if let Some(path) = model_out {
        let model = report.model.as_deref().ok_or_else(|| {
            Failure::input(anyhow!("the job has learnt no model from all rows; `tune --refit` does"))
        })?;
        match report.tuning.model.as_str() {
            "forest" => write_whole(path, model),
            _ => write_model(path, model),
        }
        .map_err(Failure::Run)?;
    }
    if let Some(path) = run_out {
        let document = serde_json::to_vec_pretty(report).map_err(Failure::run)?;
        write_whole(path, &document).map_err(Failure::Run)?;
    }
    printed
}

impl TuneOptions {
    /// Finds out before the run what could only fail after it.
    fn check(&self, tuning: &TuningRequest) -> anyhow::Result<()> {
        if let Some(path) = &self.model_out {
            check_model_path(path)?;
            let is_safetensors = path.extension().is_some_and(|end| end == "safetensors");
            anyhow::ensure!(
                tuning.model != "forest" || is_safetensors,
                "--model-out {}: a forest is written as .safetensors",
                path.display()
            );
        }
        self.run_out.as_ref().map_or(Ok(()), |path| check_writable("--run-out", path))
    }
}

fn after_help() -> String {
    let mut help = String::from(
        "\
Examples:
  roundtable tune localhost:9095 letters --grid h=16,64,256 --grid eta=1e-3,3e-3,1e-2 --set epochs=20
  roundtable tune localhost:9095 letters --model forest --grid n_estimators=50,100 --grid max_depth=10,none --folds 3
  roundtable tune localhost:9095 letters --space tune.toml --refit --model-out best.safetensors

A space as a file (flags override it):
  model = \"mlp\"
  search = \"asha\"            # and trials, reduction, rungs, folds, metric, seed, max_time = \"10m\", trial_timeout, refit
  trials = 60
  [set]                      # what all trials set
  epochs = 27
  [space]
  optimizer = [\"adam\", \"sgd\"]                 # a list of values
  eta = { log_uniform = [1e-4, 1e-1] }        # or: uniform = [0.0, 0.5]
  h = { log_integer = [16, 256] }             # or: integer = [16, 256], categorical = [16, 64]
",
    );
    for row in SEARCHES {
        help.push_str(&format!("\n  --search {:8} {}", row.name, row.about));
    }
    for row in METRICS {
        help.push_str(&format!("\n  --metric {:8} {}", row.name, row.about));
    }
    for row in LEARNERS {
        help.push_str(&format!("\n\n  --model {}: {}", row.name, row.about));
        for parameter in row.parameters {
            let alias = if parameter.alias.is_empty() { String::new() } else { format!(", {}", parameter.alias) };
            help.push_str(&format!("\n    {:18} {}", format!("{}{alias}", parameter.name), parameter.about));
        }
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn request(args: &[&str]) -> Result<TuningRequest, String> {
        let command = SpaceOptions::augment_args(clap::Command::new("t").no_binary_name(true));
        let matches = command.try_get_matches_from(args).map_err(|e| e.to_string())?;
        let options = SpaceOptions::from_arg_matches(&matches).map_err(|e| e.to_string())?;
        options.request(false).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_override_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tune.toml");
        let text = "model = 'mlp'\nsearch = 'asha'\ntrials = 60\nmax_time = '10m'\n[set]\nepochs = 27\n[space]\n\
                    optimizer = ['adam', 'sgd']\neta = { log_uniform = [1e-4, 1] }\nh = { integer = [16, 256] }\n";
        std::fs::write(&path, text).expect("it can be written");
        let file = path.to_string_lossy().into_owned();
        let plain = request(&["--space", &file]).expect("a request");
        assert_eq!(
            (plain.search.name.as_str(), plain.search.trials, plain.max_time_s),
            ("asha", Some(60), Some(600.0))
        );
        let domain = |request: &TuningRequest, name: &str| {
            request.space.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.domain.clone())
        };
        assert_eq!(domain(&plain, "eta"), Some(Domain::LogUniform(1e-4, 1.0)));
        assert_eq!(domain(&plain, "h"), Some(Domain::Integer(16, 256)));
        let over = ["--space", &file, "--grid", "h=8,9", "--set", "epochs=3", "--search", "random", "--seed=4"];
        let over = request(&over).expect("a request");
        assert_eq!(domain(&over, "h"), Some(Domain::Grid(vec![Setting::Whole(8), Setting::Whole(9)])));
        assert_eq!((&over.base["epochs"], over.seed, over.space.len()), (&Setting::Whole(3), 4, 3));
        std::fs::write(&path, "trails = 60\n").expect("it can be written");
        assert!(request(&["--space", &file]).expect_err("no such key").contains("trails"));
    }

    #[test]
    fn a_grid_is_tried_whole_and_a_number_of_trials_is_drawn() {
        let grid = request(&["--grid", "h=16,32", "--grid", "eta=1e-3"]).expect("a request");
        assert_eq!(
            (grid.search.name.as_str(), grid.model.as_str(), grid.metric.as_str()),
            ("grid", "mlp", "error")
        );
        assert_eq!(grid.space.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["h", "eta"]);
        let drawn = request(&["--uniform", "dropout=0..0.5", "--trials", "4"]).expect("a request");
        assert_eq!(drawn.search.name, "random");
        for wrong in ["h", "=3", "h="] {
            assert!(request(&["--grid", wrong]).expect_err(wrong).contains("NAME=V,V"), "{wrong}");
        }
        assert!(request(&["--uniform", "h=3"]).expect_err("no range").contains("LOW..HIGH"));
    }
}
