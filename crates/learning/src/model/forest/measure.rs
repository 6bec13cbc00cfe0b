//! Owns how well a forest does on labelled rows, in a data set or in folds of what it has not learnt from.

use super::binned::Binned;
use super::walk::Walk;
use super::{Forest, check_rows};
use crate::data::{Dataset, Targets};
use crate::model::loss::LogProduct;
use crate::model::measure::Said;
use crate::model::predict::greatest;
use crate::model::{Measured, ModelError};

/// Less probable than this no class is taken to be when its logarithm is: as scikit-learn's `log_loss` has it.
const LEAST: f64 = f64::EPSILON;

impl Forest {
    /// Compares what the forest says of all rows with what they are, as [`crate::model::measure`] does; the same on every
    /// machine. A class that no tree thinks of has the probability 2^-52 in the loss.
    ///
    /// # Errors
    /// The data has other features, classes or targets than the forest.
    pub fn measure(&self, data: &Dataset) -> Result<Measured, ModelError> {
        self.fits("features", self.columns, data.columns())?;
        let Targets::Classes { labels, classes } = data.targets() else {
            return Err(ModelError::TargetsDiffer { model: "classes", data: "values" });
        };
        self.fits("classes", self.classes, *classes)?;
        let (mut said, mut losses) = (Said::new(labels.len()), Losses::new());
        self.each_row(data.features().all(), &mut Walk::new(self), |row, probabilities| {
            let (right, best) = (labels[row], greatest(probabilities));
            said.add(right, best, f64::from(probabilities[best as usize]));
            losses.add(probabilities[right as usize]);
        });
        Ok(said.measured(losses.mean(labels.len())))
    }

    /// The share of these rows that are given a wrong class, and their mean loss as in [`measure`](Self::measure); exact
    /// if the forest has learnt from other rows of the same data.
    ///
    /// # Errors
    /// The data has other features or classes than the forest; there are no rows, or there is no such row.
    pub fn error_on_binned(&self, data: &Binned, rows: &[u32]) -> Result<(f64, f64), ModelError> {
        self.fits("features", self.columns, data.features())?;
        self.fits("classes", self.classes, data.classes())?;
        check_rows(data, rows)?;
        let (mut wrong, mut losses) = (0_usize, Losses::new());
        self.each_binned(data, rows, |place, probabilities| {
            let right = data.label(rows[place]);
            wrong += usize::from(greatest(probabilities) != right);
            losses.add(probabilities[right as usize]);
        });
        Ok((wrong as f64 / rows.len() as f64, losses.mean(rows.len())))
    }
}

/// The logarithms of probabilities, added up.
struct Losses(LogProduct);

impl Losses {
    fn new() -> Self {
        Self(LogProduct::ONE)
    }

    fn add(&mut self, probability: f32) {
        self.0.multiply(f64::from(probability).max(LEAST));
        self.0.settle();
    }

    fn mean(self, rows: usize) -> f64 {
        // Not minus zero if there is no loss.
        (0.0 - self.0.ln()) / rows as f64
    }
}
