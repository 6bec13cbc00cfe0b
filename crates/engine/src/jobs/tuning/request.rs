//! Owns what a client asks of a tuning job, and whether that can be done.

use super::folds::MOST_FOLDS;
use super::learner::{self, LearnerRow, Size, Takes};
use super::metric::{self, METRICS, MetricRow};
use super::search::{SearchRow, SearchSettings};
use super::setting::{Configuration, Setting, name_of};
use super::space::{Parameter, Plan};
use crate::jobs::{Corpus, JobError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningRequest {
    /// The kind of model, by its name in [`super::LEARNERS`].
    pub model: String,
    /// What all trials set.
    #[serde(default)]
    pub base: Configuration,
    /// What differs between trials; the last changes fastest in a grid.
    pub space: Vec<Parameter>,
    /// How trials are chosen and stopped.
    pub search: SearchSettings,
    /// Into how many parts all training rows are cut for cross-validation: from 2 to 1,000, or 0 to measure on the
    /// validation rows.
    #[serde(default)]
    pub folds: u32,
    /// By what trials are compared: a name in [`super::METRICS`].
    pub metric: String,
    /// Where configurations, folds, first weights and orders of rows come from.
    #[serde(default)]
    pub seed: u64,
    /// No trial begins after so many seconds, and the job ends as soon as one has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_s: Option<f64>,
    /// A trial fails if a fold takes longer on its node, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_timeout_s: Option<f64>,
    /// Whether the best configuration is learnt from all training rows at the end, for the model.
    #[serde(default)]
    pub refit: bool,
}

/// What a request stands for, once it is found good.
pub(super) struct Checked {
    pub(super) learner: &'static LearnerRow,
    pub(super) metric: &'static MetricRow,
    pub(super) search: &'static SearchRow,
    pub(super) rungs: Vec<f64>,
    pub(super) plan: Plan,
}

impl TuningRequest {
    /// Gives parameters their own names, so that `hidden` is `h`.
    pub(super) fn renamed(mut self) -> Result<Self, JobError> {
        let learner = self.learner()?;
        for parameter in &mut self.space {
            parameter.name = learner.parameter(&parameter.name)?.to_owned();
        }
        let base = std::mem::take(&mut self.base);
        for (name, setting) in base {
            self.base.insert(learner.parameter(&name)?.to_owned(), setting);
        }
        Ok(self)
    }

    fn learner(&self) -> Result<&'static LearnerRow, JobError> {
        let choices = || super::LEARNERS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        learner::find(&name_of(&self.model)).ok_or_else(|| JobError::Choice {
            what: "kind of model",
            name: self.model.clone(),
            choices: choices(),
        })
    }

    /// What a trial sets, with what all set.
    pub(super) fn settings(&self, configuration: &Configuration) -> Configuration {
        let mut all: BTreeMap<String, Setting> = self.base.clone();
        all.extend(configuration.clone());
        all
    }

    /// Checks all that can be known before the job starts.
    pub(super) fn check(&self, corpus: &Corpus) -> Result<Checked, JobError> {
        let learner = self.learner()?;
        let choices = || METRICS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        let metric = metric::find(&self.metric).ok_or_else(|| JobError::Choice {
            what: "metric",
            name: self.metric.clone(),
            choices: choices(),
        })?;
        if metric.of_classes && corpus.classes.is_empty() {
            return Err(JobError::Needs { what: "the metric accuracy", needs: "classes to learn, not values" });
        }
        if learner.takes == Takes::Classes && corpus.classes.is_empty() {
            return Err(JobError::Needs { what: "a forest", needs: "classes to learn, not values" });
        }
        if self.refit && learner.takes == Takes::Nothing {
            return Err(JobError::Needs { what: "refit", needs: "a model that learns" });
        }
        let search = self.search.check()?;
        let plan = Plan::new(&self.space, self.seed, search.draws, self.search.trials)?;
        if search.draws && self.search.trials.is_none() && self.max_time_s.is_none() && !self.is_listed() {
            return Err(JobError::Needs {
                what: "a search that draws",
                needs: "a number of trials, or a time limit",
            });
        }
        self.check_numbers(corpus)?;
        let rungs = (search.rungs)(&self.search);
        let checked = Checked { learner, metric, search, rungs, plan };
        self.check_space(&checked, corpus)?;
        Ok(checked)
    }

    fn is_listed(&self) -> bool {
        self.space.iter().all(|parameter| parameter.domain.listed().is_some())
    }

    fn check_numbers(&self, corpus: &Corpus) -> Result<(), JobError> {
        let rows: u64 = corpus.shards.iter().map(|shard| shard.rows).sum();
        let most = u64::from(MOST_FOLDS).min(rows);
        if self.folds == 1 || u64::from(self.folds) > most {
            return range(
                "folds",
                self.folds,
                &format!("from 2 to {most}, or 0 to measure on the validation rows"),
            );
        }
        if rows == 0 || rows > u64::from(u32::MAX) {
            return range("rows", rows, &format!("from 1 to {}", u32::MAX));
        }
        for (field, seconds) in [("max time", self.max_time_s), ("trial timeout", self.trial_timeout_s)] {
            if let Some(seconds) = seconds.filter(|seconds| !(*seconds > 0.0 && *seconds <= 1e9)) {
                return range(field, seconds, "above 0 and at most 1e9 seconds");
            }
        }
        Ok(())
    }

    /// Each value that a parameter may have must be one that the model takes, whatever the others are.
    fn check_space(&self, checked: &Checked, corpus: &Corpus) -> Result<(), JobError> {
        let size = size(corpus, self.folds);
        let first = checked.plan.configuration(0);
        for parameter in &self.space {
            for value in parameter.domain.ends() {
                let mut one = first.clone();
                one.insert(parameter.name.clone(), value);
                let learner = checked.learner.of(&self.settings(&one))?;
                learner.check_for(&size)?;
                if learner.steps() > 0 {
                    learner::ends(&checked.rungs, learner.steps())?;
                }
            }
        }
        Ok(())
    }

    /// In which order trials begin: of a whole grid the longest first, so that nodes end together.
    pub(super) fn order(&self, checked: &Checked, corpus: &Corpus) -> Vec<u32> {
        let mut order: Vec<u32> = (0..checked.plan.trials).collect();
        let is_whole = !checked.search.draws && self.search.trials.is_none() && self.max_time_s.is_none();
        if is_whole {
            let of_trial = size(corpus, self.folds);
            let cost = |trial: &u32| {
                let learner = checked.learner.of(&self.settings(&checked.plan.configuration(*trial)));
                learner.map_or(0.0, |learner| learner.cost(&of_trial))
            };
            let mut costs: Vec<(f64, u32)> = order.iter().map(|trial| (cost(trial), *trial)).collect();
            costs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            order = costs.into_iter().map(|(_, trial)| trial).collect();
        }
        order
    }
}

/// The rows that a trial learns from.
pub(super) fn size(corpus: &Corpus, folds: u32) -> Size {
    let rows: u64 = corpus.shards.iter().map(|shard| shard.rows).sum();
    let held_out = rows.checked_div(u64::from(folds)).unwrap_or(0);
    Size { rows: rows - held_out, columns: corpus.columns, classes: corpus.classes.len() }
}

fn range<T>(field: &'static str, value: impl ToString, range: &str) -> Result<T, JobError> {
    Err(JobError::Range { field, value: value.to_string(), range: range.to_owned() })
}
