//! Owns the training that a command line asks for: four numbers and flags, some of which a recipe may give.

use super::recipes::Recipe;
use crate::jobs::training::{EarlyClose, Stopping, TrainingRequest};
use crate::model::{Activation, Init, Method, OPTIMIZERS, OptimizerSettings, SCHEDULES, Schedule};
use crate::model::{FOLDS, FoldSettings};
use crate::model::{OUTERS, OuterSettings};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches};
use std::time::Duration;

/// The two ways to call the client.
pub(super) const USAGE: &str = "roundtable client [OPTIONS] <HOST> <PORT> <DIR> <ROUNDS> <EPOCHS> <H> <ETA>
       roundtable client [OPTIONS] <HOST> <PORT> <DIR> --recipe <NAME>";

/// What training takes at most.
const LARGEST_ETA: f64 = 1e6;

const LOCAL: &str = "Training on a node";
const NETWORK: &str = "Network and data";
const ROUNDS: &str = "Between rounds";
const STOPPING: &str = "Stopping (the model is then the best of all rounds, not the last)";

/// All that can be said of a training; what is not said here a recipe may say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Training {
    /// How often the nodes' results are averaged
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    rounds: Option<u32>,
    /// Passes over a node's rows in a round; of the original's rule, gradient steps at most
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// Units of the hidden layers, such as 24 or 256,256
    #[arg(value_parser = hidden, allow_negative_numbers = true)]
    h: Option<Hidden>,
    /// The learning rate: for gradients summed over a shard's rows without --optimizer, for their mean with it
    #[arg(value_parser = eta, allow_negative_numbers = true)]
    eta: Option<f64>,

    /// What hidden units do
    #[arg(long, value_name = "NAME", help_heading = NETWORK, value_parser = activation())]
    activation: Option<Activation>,
    /// How first weights are drawn [default: as suits the activation]
    #[arg(long, value_name = "NAME", help_heading = NETWORK, value_parser = init())]
    init: Option<Init>,
    /// Standardise the features, by their mean and deviation over all training rows; the model remembers them
    #[arg(long, value_name = "BOOL", help_heading = NETWORK, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    standardize: Option<bool>,
    /// The last column is a number to be learnt (squared error), not a label
    #[arg(long, value_name = "BOOL", help_heading = NETWORK, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    values: Option<bool>,

    /// What takes the steps [default: the original's rule, full-batch descent on summed gradients with an early stop]
    #[arg(long, value_name = "NAME", help_heading = LOCAL, value_parser = names(OPTIMIZERS.iter().map(|row| (row.name, row.about))))]
    optimizer: Option<String>,
    /// Rows of a step; "full" takes all at once [default: full]
    #[arg(long, value_name = "N", help_heading = LOCAL, value_parser = batch_size, allow_negative_numbers = true)]
    batch_size: Option<BatchSize>,
    /// Take the rows in a new order in each epoch [default: true]
    #[arg(long, value_name = "BOOL", help_heading = LOCAL)]
    shuffle: Option<bool>,
    /// How the learning rate moves over the whole job [default: constant]
    #[arg(long, value_name = "NAME", help_heading = LOCAL, value_parser = names(SCHEDULES.iter().map(|row| (row.name, row.about))))]
    schedule: Option<String>,
    /// The share of the job in which the learning rate grows to its height [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = LOCAL, allow_negative_numbers = true)]
    warmup: Option<f64>,
    /// Of momentum and nesterov [default: 0.9]
    #[arg(long, value_name = "X", help_heading = LOCAL, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Of adam and adamw [default: 0.9]
    #[arg(long, value_name = "X", help_heading = LOCAL, allow_negative_numbers = true)]
    beta1: Option<f64>,
    /// Of adam and adamw [default: 0.999]
    #[arg(long, value_name = "X", help_heading = LOCAL, allow_negative_numbers = true)]
    beta2: Option<f64>,
    /// Of adam and adamw [default: 1e-8]
    #[arg(long, value_name = "X", help_heading = LOCAL, allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// L2 penalty; decoupled with adamw [default: 0]
    #[arg(long, value_name = "X", help_heading = LOCAL, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Scale gradients with a greater norm down to this
    #[arg(long, value_name = "NORM", help_heading = LOCAL, allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// The share of hidden units left out of each row's step [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = LOCAL, allow_negative_numbers = true)]
    dropout: Option<f64>,
    /// The share of a label's weight that goes to all classes evenly [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = LOCAL, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// FedProx's mu: the pull back to the round's weights [default: 0]
    #[arg(long, value_name = "MU", help_heading = LOCAL, allow_negative_numbers = true)]
    proximal: Option<f64>,

    /// Cut all rows into this many equal parts, each a task of a round [default: each file is a task]
    #[arg(long, value_name = "N", help_heading = ROUNDS, allow_negative_numbers = true)]
    replicas_per_round: Option<u32>,
    /// How the changes of a round become one [default: mean]
    #[arg(long, value_name = "NAME", help_heading = ROUNDS, value_parser = names(FOLDS.iter().map(|row| (row.name, row.about))))]
    fold: Option<String>,
    /// Of trimmed-mean: the share cut off at each end
    #[arg(long, value_name = "SHARE", help_heading = ROUNDS, allow_negative_numbers = true)]
    trim: Option<f64>,
    /// Of multi-krum: how many replicas may be wrong
    #[arg(long, value_name = "N", help_heading = ROUNDS, allow_negative_numbers = true)]
    byzantine: Option<u32>,
    /// How the folded change becomes the next weights [default: average]
    #[arg(long, value_name = "NAME", help_heading = ROUNDS, value_parser = names(OUTERS.iter().map(|row| (row.name, row.about))))]
    outer: Option<String>,
    /// The outer step's learning rate [default: as in the method's paper]
    #[arg(long, value_name = "X", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_rate: Option<f64>,
    /// Of outer momentum and nesterov
    #[arg(long, value_name = "X", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_momentum: Option<f64>,
    /// Of outer adam and yogi: beta1
    #[arg(long, value_name = "X", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_beta1: Option<f64>,
    /// Of outer adam and yogi: beta2
    #[arg(long, value_name = "X", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_beta2: Option<f64>,
    /// Of outer adam and yogi: tau
    #[arg(long, value_name = "X", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_tau: Option<f64>,

    /// Of outer delayed-nesterov: the momentum moves once in so many steps [default: 4]
    #[arg(long, value_name = "N", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_delay: Option<u32>,
    /// Of outer delayed-nesterov: the share of the momentum's step taken at each step between [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = ROUNDS, allow_negative_numbers = true)]
    outer_activation: Option<f64>,

    /// End as soon as the validation error is at most this
    #[arg(long, value_name = "ERROR", help_heading = STOPPING, allow_negative_numbers = true)]
    target_error: Option<f64>,
    /// End after this many rounds in a row without a better validation error
    #[arg(long, value_name = "ROUNDS", help_heading = STOPPING, allow_negative_numbers = true)]
    patience: Option<u32>,
    /// End after this long, but not before a round is measured
    #[arg(long, value_name = "TIME", help_heading = STOPPING, value_parser = super::duration)]
    max_time: Option<Duration>,

    /// Let a round close when this share of its tasks has answered and its deadline is over; the model then depends on
    /// which were counted, and the report says which were not
    #[arg(long, value_name = "SHARE", help_heading = ROUNDS, allow_negative_numbers = true)]
    round_quorum: Option<f64>,
    /// How long after a round's start it waits for all tasks; auto: until those missing would usually have answered
    #[arg(long, value_name = "auto|TIME", help_heading = ROUNDS, requires = "round_quorum", value_parser = deadline)]
    round_deadline: Option<Deadline>,
}

/// How long a round waits for all of its tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Deadline(Option<Duration>);

fn deadline(text: &str) -> Result<Deadline, String> {
    if text == "auto" { Ok(Deadline(None)) } else { super::duration(text).map(|time| Deadline(Some(time))) }
}

/// Units of each hidden layer.
#[derive(Clone, Debug, PartialEq)]
struct Hidden(Vec<usize>);

/// Rows of a step, or all.
#[derive(Clone, Copy, Debug, PartialEq)]
struct BatchSize(Option<u32>);

impl Training {
    /// What is missing here is taken from `other`.
    #[rustfmt::skip]
    fn or(self, other: Self) -> Self {
        /// Field by field.
        macro_rules! either {
            ($($field:ident)+) => { Self { $($field: self.$field.or(other.$field)),+ } };
        }
        either! {
            rounds epochs h eta activation init standardize values optimizer batch_size shuffle schedule warmup momentum
            beta1 beta2 epsilon weight_decay clip_norm dropout label_smoothing proximal replicas_per_round fold trim
            byzantine outer outer_rate outer_momentum outer_beta1 outer_beta2 outer_tau outer_delay outer_activation target_error patience max_time
            round_quorum round_deadline
        }
    }

    /// The same for so many passes over rows that are fed.
    pub(super) fn for_feed(self, passes: u32) -> Self {
        Self { rounds: Some(passes), epochs: Some(1), ..self }
    }

    /// A flag that was given and makes sense only in rounds.
    pub(super) fn only_in_rounds(&self) -> Option<&'static str> {
        let given = [
            ("--replicas-per-round", self.replicas_per_round.is_some()),
            ("--fold", self.fold.is_some()),
            ("--trim", self.trim.is_some()),
            ("--byzantine", self.byzantine.is_some()),
            ("--round-quorum", self.round_quorum.is_some()),
        ];
        given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    /// The flags of a recipe.
    fn of(recipe: &Recipe) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new(recipe.name).no_binary_name(true));
        Self::from_arg_matches(&command.try_get_matches_from(recipe.args.split_whitespace())?)
    }

    /// What is said here, and for the rest by the recipe.
    ///
    /// # Errors
    /// A number is missing, or a flag makes no sense without another.
    pub(super) fn resolve(self, recipe: Option<&Recipe>) -> Result<Resolved, clap::Error> {
        let all = match recipe {
            Some(recipe) => self.or(Self::of(recipe)?),
            None => self,
        };
        let (Some(rounds), Some(epochs), Some(Hidden(hidden)), Some(eta)) =
            (all.rounds, all.epochs, all.h.clone(), all.eta)
        else {
            let what = "the numbers <ROUNDS> <EPOCHS> <H> <ETA> are needed; or a --recipe gives them";
            return Err(wrong(ErrorKind::MissingRequiredArgument, what));
        };
        Ok(Resolved {
            values: all.values == Some(true),
            rounds,
            epochs,
            hidden,
            eta,
            method: all.method()?,
            flags: all,
        })
    }

    /// How a task learns; `None` is the original's rule.
    fn method(&self) -> Result<Option<Method>, clap::Error> {
        if self.optimizer.is_none() && self.batch_size.is_none() {
            let given = [
                ("--shuffle", self.shuffle.is_some()),
                ("--schedule", self.schedule.is_some()),
                ("--warmup", self.warmup.is_some()),
                ("--momentum", self.momentum.is_some()),
                ("--beta1", self.beta1.is_some()),
                ("--beta2", self.beta2.is_some()),
                ("--epsilon", self.epsilon.is_some()),
                ("--weight-decay", self.weight_decay.is_some()),
                ("--clip-norm", self.clip_norm.is_some()),
                ("--dropout", self.dropout.is_some()),
                ("--label-smoothing", self.label_smoothing.is_some()),
                ("--proximal", self.proximal.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(wrong(
                    ErrorKind::MissingRequiredArgument,
                    &format!(
                        "{flag} needs --optimizer; without one, the original's rule is used, which has no such setting"
                    ),
                )),
                None => Ok(None),
            };
        }
        let customary = OptimizerSettings::named(self.optimizer.as_deref().unwrap_or("sgd"));
        Ok(Some(Method {
            batch_size: self.batch_size.and_then(|BatchSize(rows)| rows),
            shuffle: self.shuffle.unwrap_or(true),
            schedule: Schedule {
                name: self.schedule.clone().unwrap_or_else(|| "constant".to_owned()),
                warmup: self.warmup.unwrap_or(0.0),
            },
            optimizer: OptimizerSettings {
                momentum: self.momentum.unwrap_or(customary.momentum),
                beta1: self.beta1.unwrap_or(customary.beta1),
                beta2: self.beta2.unwrap_or(customary.beta2),
                epsilon: self.epsilon.unwrap_or(customary.epsilon),
                ..customary
            },
            weight_decay: self.weight_decay.unwrap_or(0.0),
            clip_norm: self.clip_norm,
            dropout: self.dropout.unwrap_or(0.0),
            label_smoothing: self.label_smoothing.unwrap_or(0.0),
            proximal: self.proximal.unwrap_or(0.0),
        }))
    }

    fn fold(&self) -> FoldSettings {
        let customary = FoldSettings::named(self.fold.as_deref().unwrap_or("mean"));
        FoldSettings {
            trim: self.trim.unwrap_or(customary.trim),
            byzantine: self.byzantine.unwrap_or(customary.byzantine),
            ..customary
        }
    }

    fn outer(&self) -> OuterSettings {
        let customary = OuterSettings::named(self.outer.as_deref().unwrap_or("average"));
        OuterSettings {
            rate: self.outer_rate.or(customary.rate),
            momentum: self.outer_momentum.unwrap_or(customary.momentum),
            beta1: self.outer_beta1.unwrap_or(customary.beta1),
            beta2: self.outer_beta2.unwrap_or(customary.beta2),
            tau: self.outer_tau.unwrap_or(customary.tau),
            delay: self.outer_delay.unwrap_or(customary.delay),
            activation: self.outer_activation.unwrap_or(customary.activation),
            ..customary
        }
    }
}

/// A training, complete.
pub(super) struct Resolved {
    /// Whether the last column is a value.
    pub(super) values: bool,
    rounds: u32,
    epochs: u32,
    hidden: Vec<usize>,
    eta: f64,
    method: Option<Method>,
    flags: Training,
}

impl Resolved {
    /// As the coordinator takes it.
    pub(super) fn request(self, seed: u64) -> TrainingRequest {
        let flags = &self.flags;
        TrainingRequest {
            activation: flags.activation.unwrap_or_default(),
            init: flags.init,
            standardize: flags.standardize.unwrap_or(false),
            replicas: flags.replicas_per_round,
            fold: flags.fold(),
            outer: flags.outer(),
            stopping: Stopping {
                target_error: flags.target_error,
                patience: flags.patience,
                max_time_s: flags.max_time.map(|time| time.as_secs_f64()),
            },
            early_close: flags.round_quorum.map(|quorum| EarlyClose {
                quorum,
                deadline_s: flags.round_deadline.and_then(|deadline| deadline.0).map(|time| time.as_secs_f64()),
            }),
            method: self.method,
            ..TrainingRequest::original(self.rounds, self.epochs, self.hidden, self.eta, seed)
        }
    }
}

pub(super) fn wrong(kind: ErrorKind, what: &str) -> clap::Error {
    clap::Error::raw(kind, format!("{what}\n\nUsage: {USAGE}\n\nFor more information, try '--help'.\n"))
}

fn eta(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number, such as 0.0001".to_owned())?;
    let allowed = value > 0.0 && value <= LARGEST_ETA;
    if allowed { Ok(value) } else { Err("it must be above 0, and at most 1e6".to_owned()) }
}

fn hidden(text: &str) -> Result<Hidden, String> {
    let units = |word: &str| word.trim().parse().ok().filter(|units| (1..=65_536).contains(units));
    let layers: Option<Vec<usize>> = text.split(',').map(units).collect();
    let layers = layers.filter(|layers| layers.len() <= 16);
    layers.map(Hidden).ok_or_else(|| {
        "write units from 1 to 65536 for each of at most 16 layers, such as 24 or 256,256".to_owned()
    })
}

fn batch_size(text: &str) -> Result<BatchSize, String> {
    if text == "full" {
        return Ok(BatchSize(None));
    }
    let rows = text.parse().ok().filter(|rows| (1..=1 << 24).contains(rows));
    rows.map(|rows| BatchSize(Some(rows)))
        .ok_or_else(|| "write a number of rows from 1 to 16777216, or full".to_owned())
}

/// One of these names.
fn names(rows: impl Iterator<Item = (&'static str, &'static str)>) -> PossibleValuesParser {
    PossibleValuesParser::new(rows.map(|(name, about)| PossibleValue::new(name).help(about)))
}

fn activation() -> impl TypedValueParser<Value = Activation> {
    let names = PossibleValuesParser::new(Activation::ALL.map(|(name, _)| name));
    names.map(|name| Activation::find(&name).unwrap_or_default())
}

fn init() -> impl TypedValueParser<Value = Init> {
    PossibleValuesParser::new(["small", "he", "glorot"]).map(|name| match name.as_str() {
        "small" => Init::Small,
        "he" => Init::He,
        _ => Init::Glorot,
    })
}

#[cfg(test)]
mod tests {
    use super::super::recipes::RECIPES;
    use super::*;

    fn parse(args: &[&str]) -> Result<Training, clap::Error> {
        let command = Training::augment_args(clap::Command::new("t").no_binary_name(true));
        Training::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    fn request(args: &[&str], recipe: Option<&Recipe>) -> Result<TrainingRequest, String> {
        let resolved = parse(args).and_then(|training| training.resolve(recipe));
        resolved.map(|resolved| resolved.request(1)).map_err(|e| e.to_string())
    }

    #[test]
    fn four_numbers_are_the_originals_rule() {
        let expected = TrainingRequest::original(15, 50, vec![24], 1e-4, 1);
        assert_eq!(request(&["15", "50", "24", "0.0001"], None), Ok(expected));
    }

    #[test]
    fn a_flag_overrides_a_recipe() {
        let recipe =
            Recipe { name: "r", about: "", args: "3 4 8,9 0.5 --optimizer adam --dropout 0.25 --standardize" };
        let plain = request(&[], Some(&recipe)).unwrap();
        assert_eq!((plain.rounds, plain.hidden.as_slice(), plain.standardize), (3, &[8, 9][..], true));
        let over =
            request(&["7", "--dropout", "0", "--standardize=false", "--optimizer", "sgd"], Some(&recipe)).unwrap();
        assert_eq!((over.rounds, over.epochs, over.standardize), (7, 4, false));
        let method = over.method.unwrap();
        assert_eq!((method.dropout, method.optimizer.name.as_str()), (0.0, "sgd"));
    }

    #[test]
    fn what_is_missing_is_told() {
        assert!(request(&["3", "4", "8"], None).unwrap_err().contains("<ROUNDS> <EPOCHS> <H> <ETA>"));
        let error = request(&["3", "4", "8", "0.1", "--dropout", "0.5"], None).unwrap_err();
        assert!(error.contains("--dropout needs --optimizer"), "{error}");
        for wrong in ["0", "", "8,", "8,0", "65537", "x"] {
            assert!(
                request(&["3", "4", wrong, "0.1"], None).unwrap_err().contains("such as 24 or 256,256"),
                "{wrong}"
            );
        }
        assert!(request(&["3", "4", "8", "0.1", "--batch-size", "0"], None).unwrap_err().contains("or full"));
        let error = request(&["3", "4", "8", "0.1", "--optimizer", "adagrad"], None).unwrap_err();
        assert!(error.contains("nesterov"), "{error}");
    }

    #[test]
    fn every_recipe_is_a_training() {
        for recipe in RECIPES {
            let request = request(&[], Some(recipe)).unwrap_or_else(|e| panic!("{}: {e}", recipe.name));
            assert!(request.rounds > 0 && !recipe.about.is_empty());
        }
    }
}
