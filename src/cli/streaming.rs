//! Owns the flags of training on a stream of tasks, whose changes are applied as they come.

use super::recipes::Recipe;
use super::training::{Training, wrong};
use crate::client::Work;
use crate::jobs::stream::{STALENESS, Source, Staleness, StreamRequest};
use crate::jobs::training::TrainingRequest;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;

pub(super) const STREAM: &str = "Asynchronous training (with --async; <ROUNDS> x <EPOCHS> passes over the rows)";

/// How changes come and count.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Streaming {
    /// Train without rounds: each node learns from some mini-batches, returns its change and gets the next with the newest
    /// version at once
    #[arg(long = "async", help_heading = STREAM)]
    is_async: bool,
    #[command(flatten)]
    pub(super) how: StreamingOptions,
}

/// How changes come and count, where there are no rounds.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StreamingOptions {
    /// Mini-batches of a task [default: 16]
    #[arg(long, value_name = "N", help_heading = STREAM, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    group: Option<u32>,
    /// Make a version of the mean of so many changes [default: 1]
    #[arg(long, value_name = "K", help_heading = STREAM, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    publish_every: Option<u32>,
    /// How much a change counts that was learnt from an older version [default: damped]
    #[arg(long, value_name = "RULE", help_heading = STREAM, value_parser = rules())]
    staleness: Option<String>,
    /// Of poly and hinge [default: 0.5]
    #[arg(long, value_name = "X", help_heading = STREAM, allow_negative_numbers = true)]
    staleness_a: Option<f64>,
    /// Of hinge: versions that may be missed [default: 4]
    #[arg(long, value_name = "X", help_heading = STREAM, allow_negative_numbers = true)]
    staleness_b: Option<f64>,
    /// Do not apply a change that missed more versions: its rows are learnt from again
    #[arg(long, value_name = "VERSIONS", help_heading = STREAM)]
    max_staleness: Option<u64>,
    /// How many of the newest versions are kept [default: 5]
    #[arg(long, value_name = "N", help_heading = STREAM, value_parser = clap::value_parser!(u32).range(1..=64))]
    keep_versions: Option<u32>,
    /// Measure a version each time that so many more mini-batches are in it [default: once a pass]
    #[arg(long, value_name = "N", help_heading = STREAM, value_parser = clap::value_parser!(u64).range(1..))]
    measure_every: Option<u64>,
}

fn rules() -> PossibleValuesParser {
    PossibleValuesParser::new(STALENESS.iter().map(|row| PossibleValue::new(row.name).help(row.about)))
}

impl Streaming {
    /// What is to be trained, and whether the last column is a value.
    ///
    /// # Errors
    /// A number is missing, or a flag makes no sense without another.
    pub(super) fn work(
        &self,
        training: &Training,
        recipe: Option<&Recipe>,
        seed: u64,
    ) -> Result<(Work, bool), clap::Error> {
        let resolved = training.clone().resolve(recipe)?;
        let values = resolved.values;
        let request = resolved.request(seed);
        if self.is_async {
            if let Some(flag) = training.only_in_rounds() {
                let what = format!("{flag} makes sense only in rounds, and there are none with --async");
                return Err(wrong(ErrorKind::ArgumentConflict, &what));
            }
            return Ok((Work::Stream(self.how.request(request, Source::Rows)?), values));
        }
        match self.how.given() {
            Some(flag) => Err(wrong(ErrorKind::MissingRequiredArgument, &format!("{flag} needs --async"))),
            None => Ok((Work::Rounds(request), values)),
        }
    }
}

impl StreamingOptions {
    /// A flag that was given.
    fn given(&self) -> Option<&'static str> {
        let given = [
            ("--group", self.group.is_some()),
            ("--publish-every", self.publish_every.is_some()),
            ("--staleness", self.staleness.is_some()),
            ("--staleness-a", self.staleness_a.is_some()),
            ("--staleness-b", self.staleness_b.is_some()),
            ("--max-staleness", self.max_staleness.is_some()),
            ("--keep-versions", self.keep_versions.is_some()),
            ("--measure-every", self.measure_every.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    /// The request; passes are rounds times epochs.
    pub(super) fn request(&self, training: TrainingRequest, source: Source) -> Result<StreamRequest, clap::Error> {
        let method = training.method.filter(|method| method.batch_size.is_some()).ok_or_else(|| {
            wrong(ErrorKind::MissingRequiredArgument, "learning from a stream needs --batch-size, in rows")
        })?;
        let customary = Staleness::default();
        Ok(StreamRequest {
            hidden: training.hidden,
            eta: training.eta,
            seed: training.seed,
            activation: training.activation,
            init: training.init,
            standardize: training.standardize,
            method,
            source,
            epochs: training.rounds.saturating_mul(training.epochs),
            group: self.group.unwrap_or(16),
            publish_every: self.publish_every.unwrap_or(1),
            staleness: Staleness {
                rule: self.staleness.clone().unwrap_or(customary.rule),
                a: self.staleness_a.unwrap_or(customary.a),
                b: self.staleness_b.unwrap_or(customary.b),
                bound: self.max_staleness,
            },
            outer: training.outer,
            stopping: training.stopping,
            keep: self.keep_versions.unwrap_or(5),
            measure_every: self.measure_every,
        })
    }
}
