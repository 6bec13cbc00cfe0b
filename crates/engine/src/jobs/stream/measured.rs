//! Owns which versions are measured on the validation rows, what came of it, and when the job is over by it.

use super::StreamJob;
use crate::data::shared::Blob;
use crate::jobs::training::{Stopping, TrainingMetrics};
use crate::jobs::{Effect, RoundResult, Version};
use crate::model::{Measured, Model};
use crate::types::Round;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many versions may be measured at once; others are left out, but for the last.
pub(super) const MOST_UNMEASURED: usize = 2;
/// Without epochs a version is measured after so many mini-batches.
const EVERY: u64 = 256;

/// What is known of versions' worth.
#[derive(Default)]
pub(super) struct Measures {
    /// The round that was begun to be measured last; they are counted from 1.
    pub(super) round: u32,
    /// The version that was.
    pub(super) newest: Option<u64>,
    /// By their rounds.
    pub(super) unmeasured: BTreeMap<u32, Unmeasured>,
    /// What would be the result if the job ended now.
    pub(super) result: Option<Candidate>,
    /// Measured versions in a row that were no better than one before.
    pub(super) no_better: u32,
    /// Of the changes since a version was measured last.
    pub(super) tally: Tally,
}

/// A version that is being measured.
pub(super) struct Unmeasured {
    pub(super) version: Version,
    pub(super) tally: Tally,
}

/// A version that was measured.
pub(super) struct Candidate {
    pub(super) round: u32,
    pub(super) version: Version,
    pub(super) measured: Measured,
}

/// What tasks told of the rows that they learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    rows: f64,
    /// Errors times rows, and their squares.
    errors: f64,
    squares: f64,
    losses: f64,
    /// Not every task told its loss.
    lacks_losses: bool,
}

impl Tally {
    fn add(&mut self, rows: u64, metrics: &TrainingMetrics) {
        let rows = rows as f64;
        self.rows += rows;
        self.errors += rows * metrics.training_error;
        self.squares += rows * metrics.training_error * metrics.training_error;
        match metrics.loss.filter(|loss| loss.is_finite()) {
            Some(loss) => self.losses += rows * loss,
            None => self.lacks_losses = true,
        }
    }

    fn result(&self, measured: &Measured, of_values: bool) -> RoundResult {
        let error = if of_values { (self.squares / self.rows).sqrt() } else { self.errors / self.rows };
        RoundResult {
            validation_error: measured.error,
            validation_loss: measured.loss,
            training_error: error,
            training_loss: (!self.lacks_losses && self.rows > 0.0).then_some(self.losses / self.rows),
        }
    }
}

impl Measures {
    /// A task has learnt from so many rows.
    pub(super) fn learnt(&mut self, rows: u64, metrics: &TrainingMetrics) {
        self.tally.add(rows, metrics);
    }
}

impl StreamJob {
    /// Mini-batches that are in the model, with changes from outside.
    pub(super) fn moved(&self) -> u64 {
        self.figures.batches + self.outside
    }

    /// A version is measured after so many of them.
    pub(super) fn measure_every(&self) -> u64 {
        let usual = || match &self.stream {
            super::Stream::Rows { rows, .. } => self.epoch(*rows).1,
            _ => EVERY,
        };
        self.request.measure_every.unwrap_or_else(usual).max(1)
    }

    /// Has the newest version measured, if it is time.
    pub(super) fn measure_if_due(&mut self) -> Option<Effect> {
        if self.measures.newest == Some(self.learner.number) {
            return None;
        }
        let is_last = self.is_complete() || self.time_is_up;
        let (moved, every) = (self.moved(), self.measure_every());
        let round = if is_last { moved.div_ceil(every) } else { moved / every };
        let round = u32::try_from(round).unwrap_or(u32::MAX);
        let before = self.measures.round;
        if is_last {
            return Some(self.measure(round.max(before.saturating_add(1))));
        }
        (round > before && self.measures.unmeasured.len() < MOST_UNMEASURED).then(|| self.measure(round))
    }

    fn measure(&mut self, round: u32) -> Effect {
        let version = self.learner.version();
        self.measures.round = round;
        self.measures.newest = Some(version.number);
        let tally = std::mem::take(&mut self.measures.tally);
        let effect = self.evaluation(round, &version);
        self.measures.unmeasured.insert(round, Unmeasured { version, tally });
        effect
    }

    fn evaluation(&self, round: u32, version: &Version) -> Effect {
        let validation = self.corpus.validation.blob.clone();
        Effect::Evaluate { round: Round(round), model: version.model.clone(), validation }
    }

    /// What was being measured when the job was saved.
    pub(super) fn measure_again(&self) -> Vec<Effect> {
        let unmeasured = self.measures.unmeasured.iter();
        unmeasured.map(|(&round, unmeasured)| self.evaluation(round, &unmeasured.version)).collect()
    }

    pub(super) fn was_measured(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        let Some(Unmeasured { version, tally }) = self.measures.unmeasured.remove(&round.0) else {
            return Vec::new();
        };
        let result = tally.result(measured, self.corpus.classes.is_empty());
        let mut effects =
            vec![Effect::SaveSoon, Effect::Closed { round, result, left_out: Vec::new(), detail: None }];
        match self.consider(round.0, version, measured) {
            true => effects.extend(self.finish()),
            false => effects.extend(self.measure_if_due()),
        }
        effects
    }

    /// Takes a measured version as the result, if it is to be; whether the job is over by what was asked.
    fn consider(&mut self, round: u32, version: Version, measured: &Measured) -> bool {
        let Stopping { target_error, patience, .. } = self.request.stopping;
        let is_last = self.is_complete() && version.number == self.learner.number;
        let measures = &mut self.measures;
        let better = measures.result.as_ref().is_none_or(|result| measured.error < result.measured.error);
        measures.no_better = if better { 0 } else { measures.no_better + 1 };
        if better || !self.request.stopping.is_asked() {
            measures.result = Some(Candidate { round, version, measured: measured.clone() });
        }
        is_last
            || self.time_is_up
            || target_error.is_some_and(|target| measured.error <= target)
            || patience.is_some_and(|patience| self.measures.no_better >= patience)
    }

    /// The time is up: the job ends with the result that it has, or with the newest version once that is measured.
    pub(super) fn end_early(&mut self) -> Vec<Effect> {
        if self.measures.result.is_some() {
            return self.finish().into_iter().collect();
        }
        match self.measures.unmeasured.is_empty() {
            true => self.measure_if_due().into_iter().collect(),
            false => Vec::new(),
        }
    }

    /// The job ends with the result that it has, if it has one.
    pub(super) fn finish(&mut self) -> Option<Effect> {
        let Candidate { round, version, measured } = self.measures.result.take()?;
        let mut model = Model::clone(&version.model);
        // Numbers and names can be written.
        let request = serde_json::to_string(&self.request).unwrap_or_default();
        let notes = [
            ("round", round.to_string()),
            ("version", version.number.to_string()),
            ("stream", request),
            ("validation_error", measured.error.to_string()),
        ];
        model.notes = notes.map(|(name, text)| (name.to_owned(), text)).into();
        let weights = model.weights.digest();
        let model = Arc::new(Blob::new(model.to_safetensors()));
        Some(Effect::Finished { weights, model, round: Round(round), measured: Some(Box::new(measured)) })
    }
}
