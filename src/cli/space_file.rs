//! Owns the space of a tuning as users write it: a TOML file, or values and ranges on the command line.

use crate::jobs::tuning::{Configuration, Domain, Parameter, SearchSettings, Setting, TuningRequest, name_of};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// A parameter's name, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named<T>(pub(super) String, pub(super) T);

/// A list of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values(pub(super) Vec<Setting>);

/// A tuning as it is written; what is not said is as usual.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Draft {
    pub(super) model: Option<String>,
    pub(super) search: Option<String>,
    pub(super) trials: Option<u32>,
    pub(super) reduction: Option<u32>,
    pub(super) rungs: Option<u32>,
    pub(super) folds: Option<u32>,
    pub(super) metric: Option<String>,
    pub(super) seed: Option<u64>,
    #[serde(deserialize_with = "time")]
    pub(super) max_time: Option<Duration>,
    #[serde(deserialize_with = "time")]
    pub(super) trial_timeout: Option<Duration>,
    pub(super) refit: bool,
    pub(super) set: Configuration,
    space: BTreeMap<String, Written>,
    /// The parameters that flags add, in their order.
    #[serde(skip)]
    added: Vec<Parameter>,
}

/// What a parameter may be, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Written {
    List(Vec<Setting>),
    One(Domain),
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::duration(&text).map(Some).map_err(serde::de::Error::custom)
}

impl Draft {
    /// Reads a file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())
    }

    /// A flag says what a parameter may be.
    pub(super) fn put(&mut self, name: String, domain: Domain) {
        self.space.retain(|known, _| name_of(known) != name);
        match self.added.iter_mut().find(|parameter| parameter.name == name) {
            Some(known) => known.domain = domain,
            None => self.added.push(Parameter { name, domain }),
        }
    }

    /// As the coordinator takes it.
    pub(super) fn request(self) -> TuningRequest {
        let written = self.space.into_iter().map(|(name, written)| Parameter {
            name: name_of(&name),
            domain: match written {
                Written::List(values) => Domain::Grid(values),
                Written::One(domain) => domain,
            },
        });
        let space: Vec<Parameter> = written.chain(self.added).collect();
        let usual = if self.trials.is_some() { "random" } else { "grid" };
        let customary = SearchSettings::named(self.search.as_deref().unwrap_or(usual));
        let seconds = |time: Duration| time.as_secs_f64();
        TuningRequest {
            model: self.model.unwrap_or_else(|| "mlp".to_owned()),
            base: self.set.into_iter().map(|(name, setting)| (name_of(&name), setting)).collect(),
            space,
            search: SearchSettings {
                trials: self.trials,
                reduction: self.reduction.unwrap_or(customary.reduction),
                rungs: self.rungs.unwrap_or(customary.rungs),
                ..customary
            },
            folds: self.folds.unwrap_or(0),
            metric: self.metric.unwrap_or_else(|| "error".to_owned()),
            seed: self.seed.unwrap_or(1),
            max_time_s: self.max_time.map(seconds),
            trial_timeout_s: self.trial_timeout.map(seconds),
            refit: self.refit,
        }
    }
}

/// Splits `NAME=...`.
fn named<'t>(text: &'t str, form: &str) -> Result<(String, &'t str), String> {
    let parts = text.split_once('=').map(|(name, rest)| (name_of(name), rest.trim()));
    parts.filter(|(name, rest)| !name.is_empty() && !rest.is_empty()).ok_or_else(|| format!("write {form}"))
}

/// Reads `NAME=VALUE`.
pub(super) fn set(text: &str) -> Result<Named<Setting>, String> {
    named(text, "NAME=VALUE, such as epochs=20").map(|(name, rest)| Named(name, Setting::parse(rest)))
}

/// Reads `NAME=V,V,...`.
pub(super) fn list(text: &str) -> Result<Named<Values>, String> {
    let (name, rest) = named(text, "NAME=V,V,..., such as h=16,64,256")?;
    Ok(Named(name, Values(rest.split(',').map(Setting::parse).collect())))
}

/// Reads the ends of a range.
fn range<T: std::str::FromStr>(text: &str) -> Result<(String, T, T), String> {
    let form = "NAME=LOW..HIGH, such as eta=1e-4..1e-1";
    let (name, rest) = named(text, form)?;
    let ends =
        rest.split_once("..").and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    ends.map(|(low, high)| (name, low, high)).ok_or_else(|| format!("write {form}"))
}

/// Reads a range of numbers.
pub(super) fn uniform(text: &str) -> Result<Named<Domain>, String> {
    range(text).map(|(name, low, high)| Named(name, Domain::Uniform(low, high)))
}

/// Reads a range of numbers whose logarithm counts.
pub(super) fn log_uniform(text: &str) -> Result<Named<Domain>, String> {
    range(text).map(|(name, low, high)| Named(name, Domain::LogUniform(low, high)))
}

/// Reads a range of whole numbers.
pub(super) fn integer(text: &str) -> Result<Named<Domain>, String> {
    range(text).map(|(name, low, high)| Named(name, Domain::Integer(low, high)))
}

/// Reads a range of whole numbers whose logarithm counts.
pub(super) fn log_integer(text: &str) -> Result<Named<Domain>, String> {
    range(text).map(|(name, low, high)| Named(name, Domain::LogInteger(low, high)))
}
