//! Owns the answers of a round: folded in the order of the parts, as soon as that order allows.

use super::parts::Part;
use super::task::TrainingMetrics;
use crate::jobs::BadAnswer;
use crate::model::Fold;
use crate::model::{Mlp, ModelError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answers so far.
pub(super) struct Answers {
    fold: Box<dyn Fold>,
    /// The part whose change is folded next.
    next: u32,
    /// Changes that came before their turn.
    early: BTreeMap<u32, Mlp<f32>>,
    told: BTreeMap<u32, Told>,
}

/// What a task told of its part.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Told {
    rows: f64,
    error: f64,
    loss: Option<f64>,
}

/// What the tasks of a round told of their rows.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Summary(Vec<Told>);

impl Answers {
    pub(super) fn new(fold: Box<dyn Fold>) -> Self {
        Self { fold, next: 0, early: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// How many parts have an answer.
    pub(super) fn done(&self) -> usize {
        self.told.len()
    }

    /// Takes the answer to a part.
    pub(super) fn take(
        &mut self,
        place: u32,
        change: Mlp<f32>,
        metrics: &TrainingMetrics,
        parts: &[Part],
    ) -> Result<(), BadAnswer> {
        let rows = |place: u32| parts.get(place as usize).map_or(0, |part| part.rows);
        let (error, loss) = (metrics.training_error, metrics.loss.filter(|loss| loss.is_finite()));
        self.told.insert(place, Told { rows: rows(place) as f64, error, loss });
        self.early.insert(place, change);
        while let Some(change) = self.early.remove(&self.next) {
            self.fold.add(change, rows(self.next)).map_err(|e| BadAnswer(e.to_string()))?;
            self.next += 1;
        }
        Ok(())
    }

    /// Those of so many parts that have no answer.
    pub(super) fn missing(&self, parts: u32) -> Vec<u32> {
        (0..parts).filter(|part| !self.told.contains_key(part)).collect()
    }

    /// The change of the round, by the answers that have come.
    pub(super) fn finish(mut self, parts: &[Part]) -> Result<(Mlp<f64>, Summary), ModelError> {
        // Those after the first part that is missing, if the round closes without it.
        for (place, change) in std::mem::take(&mut self.early) {
            self.fold.add(change, parts.get(place as usize).map_or(0, |part| part.rows))?;
        }
        Ok((self.fold.finish()?, Summary(self.told.into_values().collect())))
    }
}

impl Summary {
    /// The error over all rows: the mean, or for values the root of the mean square.
    pub(super) fn error(&self, of_values: bool) -> f64 {
        if of_values {
            return self.mean(|told| Some(told.error * told.error)).unwrap_or(f64::NAN).sqrt();
        }
        self.mean(|told| Some(told.error)).unwrap_or(f64::NAN)
    }

    /// The mean loss over all rows, if every task told its own.
    pub(super) fn loss(&self) -> Option<f64> {
        self.mean(|told| told.loss)
    }

    fn mean(&self, of: impl Fn(&Told) -> Option<f64>) -> Option<f64> {
        let rows: f64 = self.0.iter().map(|told| told.rows).sum();
        let sum = self.0.iter().map(|told| of(told).map(|value| value * told.rows)).sum::<Option<f64>>();
        sum.map(|sum| sum / rows)
    }
}
