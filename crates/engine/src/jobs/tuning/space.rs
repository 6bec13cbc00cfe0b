//! Owns the space of configurations: what each parameter may be, and which configuration a trial has.

use super::setting::{Configuration, Setting};
use crate::jobs::JobError;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The most trials of a job, and the most configurations of a grid.
pub const MOST_TRIALS: u32 = 100_000;
/// The most values that a parameter may list.
const MOST_VALUES: usize = 10_000;
/// The most parameters of a space.
const MOST_PARAMETERS: usize = 64;
/// The random numbers of trials are streams of their own; this one is that of the order.
const ORDER: u64 = u64::MAX;

/// A parameter that differs between trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name, as the model has it.
    pub name: String,
    /// What it may be.
    pub domain: Domain,
}

/// What a parameter may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Domain {
    /// One of these, in this order.
    Grid(Vec<Setting>),
    /// One of these, in no order.
    Categorical(Vec<Setting>),
    /// A number from the first to the second, each as likely.
    Uniform(f64, f64),
    /// The same of its logarithm; both are above 0.
    LogUniform(f64, f64),
    /// A whole number from the first to the second, each as likely.
    Integer(i64, i64),
    /// A whole number whose logarithm is uniform; both are above 0.
    LogInteger(i64, i64),
}

impl Domain {
    /// The values, if they are listed.
    pub fn listed(&self) -> Option<&[Setting]> {
        match self {
            Domain::Grid(values) | Domain::Categorical(values) => Some(values),
            _ => None,
        }
    }

    /// Values at its ends: if these can be, so can those between.
    pub(super) fn ends(&self) -> Vec<Setting> {
        match *self {
            Domain::Grid(ref values) | Domain::Categorical(ref values) => values.clone(),
            Domain::Uniform(low, high) | Domain::LogUniform(low, high) => {
                vec![Setting::Number(low), Setting::Number(high)]
            }
            Domain::Integer(low, high) | Domain::LogInteger(low, high) => {
                vec![Setting::Whole(low), Setting::Whole(high)]
            }
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> Setting {
        let mut share = || random.random::<f64>();
        match *self {
            Domain::Grid(ref values) | Domain::Categorical(ref values) => {
                let place = (share() * values.len() as f64) as usize;
                values.get(place.min(values.len().saturating_sub(1))).cloned().unwrap_or(Setting::Switch(false))
            }
            Domain::Uniform(low, high) => Setting::Number(rounded(low + share() * (high - low)).clamp(low, high)),
            Domain::LogUniform(low, high) => {
                Setting::Number(rounded(log_between(low, high, share())).clamp(low, high))
            }
            Domain::Integer(low, high) => Setting::Whole(random.random_range(low..=high)),
            Domain::LogInteger(low, high) => {
                let number = log_between(low as f64 - 0.5, high as f64 + 0.5, share());
                Setting::Whole((rounded(number).round() as i64).clamp(low, high))
            }
        }
    }

    fn check(&self, name: &str) -> Result<(), JobError> {
        let wrong = |why: &str| Err(JobError::Space { parameter: name.to_owned(), reason: why.to_owned() });
        match *self {
            Domain::Grid(ref values) | Domain::Categorical(ref values) => {
                if values.is_empty() || values.len() > MOST_VALUES {
                    return wrong(&format!(
                        "it lists {} values, but must list from 1 to {MOST_VALUES}",
                        values.len()
                    ));
                }
                match values.iter().all(Setting::is_sane) {
                    true => Ok(()),
                    false => wrong("a value is no finite number, or no text of 1 to 64 characters"),
                }
            }
            Domain::Uniform(low, high) if !(low.is_finite() && high.is_finite() && low < high) => {
                wrong(&format!("it is from {low} to {high}; the first must be below the second"))
            }
            Domain::LogUniform(low, high) if !(low > 0.0 && high.is_finite() && low < high) => {
                wrong(&format!("its logarithm is from {low} to {high}; write 0 < first < second"))
            }
            Domain::Integer(low, high) if low >= high => {
                wrong(&format!("it is from {low} to {high}; the first must be below the second"))
            }
            Domain::LogInteger(low, high) if !(0 < low && low < high) => {
                wrong(&format!("its logarithm is from {low} to {high}; write 0 < first < second"))
            }
            _ => Ok(()),
        }
    }
}

/// The number at a share of the way from one to the other, on a logarithmic scale.
fn log_between(low: f64, high: f64, share: f64) -> f64 {
    (low.ln() + share * (high.ln() - low.ln())).exp()
}

/// Six digits: people read them, and logarithms differ in the last bits between machines.
fn rounded(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// Which configuration each trial has.
pub(super) struct Plan {
    space: Vec<Parameter>,
    seed: u64,
    /// How many trials there are.
    pub(super) trials: u32,
    source: Source,
}

enum Source {
    /// All combinations of listed values, the last parameter changing fastest.
    Grid,
    /// Combinations of listed values in a random order, none of them twice.
    Shuffled(Vec<u32>),
    /// Each trial by itself.
    Drawn,
}

impl Plan {
    /// The plan of a job: all combinations of a grid, or random ones.
    pub(super) fn new(
        space: &[Parameter],
        seed: u64,
        random: bool,
        trials: Option<u32>,
    ) -> Result<Self, JobError> {
        if space.is_empty() || space.len() > MOST_PARAMETERS {
            return Err(JobError::Range {
                field: "the number of parameters of the space",
                value: space.len().to_string(),
                range: format!("from 1 to {MOST_PARAMETERS}"),
            });
        }
        for (place, parameter) in space.iter().enumerate() {
            let name = &parameter.name;
            if space[..place].iter().any(|other| other.name == *name) {
                let reason = "it stands there twice".to_owned();
                return Err(JobError::Space { parameter: name.clone(), reason });
            }
            parameter.domain.check(name)?;
        }
        let listed: Option<Vec<usize>> = space.iter().map(|p| p.domain.listed().map(<[_]>::len)).collect();
        let combinations =
            listed.map(|counts| counts.iter().fold(1_usize, |all, count| all.saturating_mul(*count)));
        let all = combinations.and_then(|all| u32::try_from(all).ok()).filter(|all| *all <= MOST_TRIALS);
        let (source, most) = match (random, all, combinations) {
            (false, Some(all), _) => (Source::Grid, all),
            (false, None, Some(combinations)) => {
                return Err(JobError::Range {
                    field: "the number of combinations of the grid",
                    value: combinations.to_string(),
                    range: format!("at most {MOST_TRIALS}; --search random tries some of them"),
                });
            }
            (false, None, None) => {
                let continuous = space.iter().find(|parameter| parameter.domain.listed().is_none());
                let parameter = continuous.map(|parameter| parameter.name.clone()).unwrap_or_default();
                let reason = "a grid needs a list of values; --search random draws from a range".to_owned();
                return Err(JobError::Space { parameter, reason });
            }
            (true, Some(all), _) => {
                let mut order: Vec<u32> = (0..all).collect();
                order.shuffle(&mut stream(seed, ORDER));
                (Source::Shuffled(order), all)
            }
            (true, None, _) => (Source::Drawn, MOST_TRIALS),
        };
        let trials = trials.unwrap_or(most).min(most);
        Ok(Self { space: space.to_vec(), seed, trials, source })
    }

    /// What a trial sets, by its number from 0.
    pub(super) fn configuration(&self, trial: u32) -> Configuration {
        let combination = match &self.source {
            Source::Grid => trial,
            Source::Shuffled(order) => order.get(trial as usize).copied().unwrap_or_default(),
            Source::Drawn => {
                let mut random = stream(self.seed, u64::from(trial));
                let draw = |p: &Parameter| (p.name.clone(), p.domain.draw(&mut random));
                return self.space.iter().map(draw).collect();
            }
        };
        let mut rest = combination as usize;
        let mut configuration = Configuration::new();
        for parameter in self.space.iter().rev() {
            let values = parameter.domain.listed().unwrap_or_default();
            let value = values.get(rest % values.len().max(1)).cloned().unwrap_or(Setting::Switch(false));
            rest /= values.len().max(1);
            configuration.insert(parameter.name.clone(), value);
        }
        configuration
    }
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn parameter(name: &str, domain: Domain) -> Parameter {
        Parameter { name: name.to_owned(), domain }
    }

    fn whole(values: &[i64]) -> Domain {
        Domain::Grid(values.iter().map(|&value| Setting::Whole(value)).collect())
    }

    fn says(space: &[Parameter], random: bool) -> String {
        Plan::new(space, 1, random, None).err().expect("it is refused").to_string()
    }

    #[test]
    fn a_grid_has_all_combinations_once_and_a_shuffled_one_too() {
        let space = [parameter("a", whole(&[1, 2, 3])), parameter("b", whole(&[4, 5]))];
        for random in [false, true] {
            let plan = Plan::new(&space, 7, random, None).expect("a plan");
            assert_eq!(plan.trials, 6);
            let all: BTreeSet<String> =
                (0..6).map(|trial| super::super::setting::described(&plan.configuration(trial))).collect();
            assert_eq!(all.len(), 6);
            assert_eq!(all.first().map(String::as_str), Some("a=1 b=4"));
        }
        let plan = Plan::new(&space, 7, false, Some(4)).expect("a plan");
        let second = plan.configuration(1);
        assert_eq!((plan.trials, &second["a"], &second["b"]), (4, &Setting::Whole(1), &Setting::Whole(5)));
        assert_eq!(Plan::new(&space, 7, true, Some(99)).expect("a plan").trials, 6, "none is tried twice");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(says(&[], false).contains("is 0, but must be from 1 to 64"));
        let twice = [parameter("a", whole(&[1])), parameter("a", whole(&[2]))];
        assert_eq!(says(&twice, false), "a: it stands there twice");
        assert!(says(&[parameter("a", whole(&[]))], false).contains("it lists 0 values"));
        assert!(says(&[parameter("a", Domain::Uniform(2.0, 1.0))], true).contains("from 2 to 1"));
        assert!(says(&[parameter("a", Domain::LogUniform(0.0, 1.0))], true).contains("0 < first < second"));
        assert!(says(&[parameter("a", Domain::Uniform(0.0, f64::NAN))], true).contains("NaN"));
        assert!(says(&[parameter("a", Domain::Uniform(1.0, 2.0))], false).contains("a grid needs a list"));
        let values: Vec<i64> = (0..400).collect();
        let huge = [parameter("a", whole(&values)), parameter("b", whole(&values))];
        assert!(says(&huge, false).contains("160000, but must be at most 100000"));
        assert_eq!(Plan::new(&huge, 1, true, Some(9)).expect("some of them").trials, 9);
    }

    proptest! {
        #[test]
        fn draws_are_within_bounds_and_a_function_of_seed_and_number(
            seed: u64, trial in 0u32..MOST_TRIALS, low in 1e-9f64..1.0, width in 1e-6f64..1e6, whole in -50i64..50,
        ) {
            let space = [
                parameter("u", Domain::Uniform(-low, low + width)),
                parameter("l", Domain::LogUniform(low, low + width)),
                parameter("i", Domain::Integer(whole, whole + 3)),
                parameter("j", Domain::LogInteger(1, 9)),
                parameter("c", Domain::Categorical(vec![Setting::parse("x"), Setting::parse("y")])),
            ];
            let plan = Plan::new(&space, seed, true, None).expect("a plan");
            let drawn = plan.configuration(trial);
            prop_assert_eq!(&drawn, &Plan::new(&space, seed, true, Some(5)).expect("a plan").configuration(trial));
            let number = |name: &str| drawn[name].number().expect("a number");
            prop_assert!((-low..=low + width).contains(&number("u")));
            prop_assert!((low..=low + width).contains(&number("l")));
            prop_assert!((whole as f64..=whole as f64 + 3.0).contains(&number("i")));
            prop_assert!((1.0..=9.0).contains(&number("j")));
            let text = serde_json::to_string(&drawn).expect("it can be written");
            prop_assert_eq!(serde_json::from_str::<Configuration>(&text).expect("it can be read"), drawn);
        }
    }
}
