//! Owns random forests: how they are grown, what they say of rows, and how they are kept.
//!
//! A forest is what scikit-learn's `RandomForestClassifier` is, by the same settings: each tree learns from rows drawn
//! with replacement, each split is the best by the Gini impurity of a few features drawn for it, and probabilities are
//! the means over the trees of the classes' shares in the leaves. The same data, settings and seed give the same bits on
//! every machine.

mod binned;
mod file;
mod grow;
mod measure;
mod settings;
mod split;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use binned::Binned;
pub use settings::{ForestSettings, MAX_TREES, MaxFeatures};
pub use walk::Walk;

use crate::data::Row;
use crate::model::ModelError;
use crate::model::predict::greatest;
use binned::MAX_ROWS;
use grow::{Grower, Stopped};
use ndarray::{Array2, ArrayView2};
use tree::Tree;

/// A forest for classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    trees: Vec<Tree>,
    columns: usize,
    classes: usize,
    names: Vec<String>,
    settings: ForestSettings,
    importances: Vec<f64>,
}

impl Forest {
    /// Grows a forest from some rows of the data on this thread; a row that is named twice counts twice. Each tree has
    /// random numbers of its own, told by the seed and the tree's number. `keep_going` is asked now and then.
    ///
    /// # Errors
    /// A setting is out of range, there are no rows, there is no such row, or `keep_going` said no.
    pub fn fit(
        data: &Binned,
        rows: &[u32],
        settings: &ForestSettings,
        seed: u64,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<Self, ModelError> {
        settings.check()?;
        check_rows(data, rows)?;
        let mut importances = vec![0.0; data.features()];
        let mut trees = Vec::with_capacity(settings.n_estimators as usize);
        let mut grower = Grower::new(data, rows, settings, keep_going);
        for number in 0..settings.n_estimators {
            if !keep_going() {
                return Err(ModelError::InterruptedInTree { tree: number + 1 });
            }
            grower.tree(seed, number).map_err(|Stopped| ModelError::InterruptedInTree { tree: number + 1 })?;
            trees.push(Tree::of(&grower.raw, settings.ccp_alpha, data.classes(), &mut importances));
        }
        let all: f64 = importances.iter().sum();
        if all > 0.0 {
            importances.iter_mut().for_each(|importance| *importance /= all);
        }
        let (columns, classes) = (data.features(), data.classes());
        Ok(Self { trees, columns, classes, names: Vec::new(), settings: settings.clone(), importances })
    }

    /// The forest with names of its classes, in their order.
    ///
    /// # Errors
    /// They are not as many as the classes.
    pub fn with_names(mut self, names: Vec<String>) -> Result<Self, ModelError> {
        if names.len() != self.classes {
            let (names, classes) = (names.len(), self.classes);
            return Err(ModelError::Form(format!("it names {names} classes of {classes}")));
        }
        self.names = names;
        Ok(self)
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The names of the classes in their order; empty if nobody told them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How it was grown.
    pub fn settings(&self) -> &ForestSettings {
        &self.settings
    }

    /// How much each feature's splits lower the Gini impurity: the mean over the trees, all add up to 1; all 0 if there
    /// are no splits.
    pub fn importances(&self) -> &[f64] {
        &self.importances
    }

    /// How many trees there are.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many leaves all trees have together.
    pub fn leaves(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len() + 1).sum()
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.trees.iter().map(Tree::bytes).sum::<usize>() + 8 * self.importances.len()
    }

    /// The probability of each class for each row of `features` (rows x features): rows x classes, each row adds up to
    /// 1.
    ///
    /// # Errors
    /// The rows have not as many features as the forest takes.
    pub fn probabilities(&self, features: ArrayView2<'_, f32>) -> Result<Array2<f32>, ModelError> {
        let (rows, columns) = features.dim();
        self.fits("features", self.columns, columns)?;
        let mut all = Array2::zeros((rows, self.classes));
        let mut to = all.rows_mut().into_iter();
        let features = features.as_standard_layout();
        let features = Row::F32(features.as_slice().unwrap_or_default());
        self.each_row(features, &mut Walk::new(self), |_, row| {
            if let Some(mut to) = to.next() {
                to.iter_mut().zip(row).for_each(|(to, &probability)| *to = probability);
            }
        });
        Ok(all)
    }

    /// The likeliest class of each row of `features` (rows x features); of equals, the lowest.
    ///
    /// # Errors
    /// The rows have not as many features as the forest takes.
    pub fn predict(&self, features: ArrayView2<'_, f32>) -> Result<Vec<u32>, ModelError> {
        self.fits("features", self.columns, features.ncols())?;
        let features = features.as_standard_layout();
        let features = Row::F32(features.as_slice().unwrap_or_default());
        let mut classes = Vec::with_capacity(features.len() / self.columns);
        self.each_row(features, &mut Walk::new(self), |_, row| classes.push(greatest(row)));
        Ok(classes)
    }

    /// Shows the number of each whole row in `rows`, whose features lie one after the other, and the probabilities of
    /// its classes to `see`.
    pub fn each_row(&self, rows: Row<'_>, walk: &mut Walk, mut see: impl FnMut(usize, &[f32])) {
        let (count, columns) = (rows.len() / self.columns, self.columns);
        for first in (0..count).step_by(walk.rows()) {
            let some = walk.rows().min(count - first);
            let range = first * columns..(first + some) * columns;
            match rows {
                Row::U8(bytes) => Row::U8(&bytes[range]).copy_to(walk.block()),
                Row::F32(floats) => Row::F32(&floats[range]).copy_to(walk.block()),
            }
            walk.through(self, some);
            (0..some).for_each(|row| see(first + row, walk.probabilities(row, self.trees.len())));
        }
    }

    /// Shows the place of each of these rows and the probabilities of its classes to `see`.
    fn each_binned(&self, data: &Binned, rows: &[u32], mut see: impl FnMut(usize, &[f32])) {
        let walk = &mut Walk::new(self);
        for (block, rows) in rows.chunks(walk.rows()).enumerate() {
            for (place, column) in data.columns().iter().enumerate() {
                let to = walk.block().iter_mut().skip(place).step_by(self.columns);
                to.zip(rows).for_each(|(to, &row)| *to = column.value(row));
            }
            walk.through(self, rows.len());
            let first = block * walk.rows();
            (0..rows.len()).for_each(|row| see(first + row, walk.probabilities(row, self.trees.len())));
        }
    }

    fn fits(&self, what: &'static str, model: usize, data: usize) -> Result<(), ModelError> {
        if model == data { Ok(()) } else { Err(ModelError::DataDiffers { what, model, data }) }
    }
}

/// Fails unless there are rows, and all of them are in the data.
fn check_rows(data: &Binned, rows: &[u32]) -> Result<(), ModelError> {
    let wrong = |value, range| Err(ModelError::Setting { field: "rows", value, range });
    match rows.iter().find(|&&row| row as usize >= data.rows()) {
        Some(&row) => wrong(f64::from(row), "below the number of rows of the data"),
        None if rows.is_empty() => wrong(0.0, "1 or more"),
        None if rows.len() > MAX_ROWS => wrong(rows.len() as f64, "at most 2147483647"),
        None => Ok(()),
    }
}
