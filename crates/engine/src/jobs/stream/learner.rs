//! Owns the model that changes come to: its newest version, the outer step that makes the next, and changes that wait for
//! company.

use super::request::StreamRequest;
use crate::data::shared::Blob;
use crate::jobs::{JobError, Version};
use crate::model::{Form, Mlp, Model, ModelError, Outer, OuterState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// The model and how it changes.
pub(super) struct Learner {
    /// How the weights are used; names of classes and all.
    pub(super) form: Form,
    /// The version, from 0.
    pub(super) number: u64,
    pub(super) weights: Arc<Mlp<f32>>,
    /// As tasks get it, once one has.
    blob: OnceLock<Arc<Blob>>,
    outer: Box<dyn Outer>,
    company: Option<Company>,
    /// The newest that are or will be durable, ascending; the first of all is there from the start.
    kept: VecDeque<Version>,
    keep: usize,
}

/// Changes that are not in a version yet: the sum of each times its weight and its rows, in units of the first's rows.
struct Company {
    sum: Mlp<f64>,
    first_rows: f64,
    rows: f64,
    changes: u32,
}

impl Learner {
    pub(super) fn new(request: &StreamRequest, form: Form, weights: Mlp<f32>) -> Result<Self, JobError> {
        let mut learner = Self {
            form,
            number: 0,
            weights: Arc::new(weights),
            blob: OnceLock::new(),
            outer: request.outer.start()?,
            company: None,
            kept: VecDeque::new(),
            keep: request.keep as usize,
        };
        learner.keep_newest();
        Ok(learner)
    }

    /// As it was when it was saved.
    pub(super) fn restore(&mut self, outer: &OuterState, kept: Vec<Version>) -> Result<(), ModelError> {
        self.outer.restore(outer)?;
        if let Some(newest) = kept.last() {
            (self.number, self.weights) = (newest.number, Arc::new(newest.model.weights.clone()));
        }
        (self.kept, self.blob, self.company) = (kept.into(), OnceLock::new(), None);
        Ok(())
    }

    pub(super) fn outer_state(&self) -> OuterState {
        self.outer.state()
    }

    /// What tasks get.
    pub(super) fn for_tasks(&self) -> Arc<Blob> {
        self.blob.get_or_init(|| Arc::new(Blob::new(self.form.to_flat(&self.weights)))).clone()
    }

    /// The newest version for those who use it.
    pub(super) fn version(&self) -> Version {
        if let Some(newest) = self.kept.back().filter(|newest| newest.number == self.number) {
            return newest.clone();
        }
        let notes = BTreeMap::from([("version".to_owned(), self.number.to_string())]);
        let model = Model { weights: Mlp::clone(&self.weights), form: self.form.clone(), notes };
        let blob = Arc::new(Blob::new(model.to_safetensors()));
        Version { number: self.number, model: Arc::new(model), blob }
    }

    /// Keeps the newest version, and no more than are wanted.
    pub(super) fn keep_newest(&mut self) {
        if self.kept.back().is_none_or(|newest| newest.number < self.number) {
            self.kept.push_back(self.version());
            while self.kept.len() > self.keep {
                self.kept.pop_front();
            }
        }
    }

    pub(super) fn kept(&self) -> &VecDeque<Version> {
        &self.kept
    }

    /// Takes a change of the model's shape that was learnt from so many rows.
    pub(super) fn take(&mut self, change: &Mlp<f32>, weight: f64, rows: u64) -> Result<(), ModelError> {
        let rows = rows.max(1) as f64;
        match &mut self.company {
            // Of one change alone this is its weight, to the last bit.
            None => {
                self.company =
                    Some(Company { sum: change.times(weight)?, first_rows: rows, rows: 1.0, changes: 1 })
            }
            Some(company) => {
                company.sum.add_times(weight * (rows / company.first_rows), change)?;
                company.rows += rows / company.first_rows;
                company.changes += 1;
            }
        }
        Ok(())
    }

    /// See [`Outer::adds`].
    pub(super) fn adds(&self) -> Option<f64> {
        self.outer.adds()
    }

    /// How many changes wait.
    pub(super) fn changes(&self) -> u32 {
        self.company.as_ref().map_or(0, |company| company.changes)
    }

    /// Makes a version of the changes that wait; there is at least one.
    pub(super) fn publish(&mut self) -> Result<(), ModelError> {
        let Some(Company { mut sum, rows, changes, .. }) = self.company.take() else { return Ok(()) };
        if changes > 1 {
            sum.divide(rows)?;
        }
        self.weights = Arc::new(self.outer.step(&self.weights, &sum)?);
        self.number += 1;
        self.blob = OnceLock::new();
        Ok(())
    }
}
