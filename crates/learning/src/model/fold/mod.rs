//! Owns how the changes of a round's replicas become one: [`Fold`], one file for each, and the table [`FOLDS`].
//!
//! A fold is a function of the changes, their rows and their order alone. All sums are in double precision and in a
//! fixed order, and no function of the mathematical library is used but the square root: the same changes give the
//! same bits on every machine.

mod changes;
mod geometric_median;
mod mean;
mod median;
mod multi_krum;
mod sorted;
#[cfg(test)]
mod tests;
mod trimmed_mean;

use super::error::ModelError;
use super::mlp::Mlp;
use serde::{Deserialize, Serialize};

/// Makes one change of a round's changes, which are added in the order of the replicas.
///
/// How much that order matters is in [`FoldRow::order`].
pub trait Fold: Send {
    /// Adds what a replica has learnt from `rows` rows.
    ///
    /// # Errors
    /// The change has another shape than those before, or comes of no rows; the fold is then as it was.
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError>;

    /// The change of the round, of the shape of those added.
    ///
    /// # Errors
    /// Nothing was added, or too few changes for what the settings ask.
    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError>;
}

/// What another order of the changes does to their fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing: the fold has the same bits.
    Free,
    /// It may change the rounding of sums.
    Rounding,
    /// It may change the rounding of sums, and decides between changes that are equally good.
    Ties,
}

/// A fold as users name it.
pub struct FoldRow {
    /// Its name on the command line, on the wire and in reports.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Whether changes count by their rows, or each the same.
    pub by_rows: bool,
    /// What another order of the changes does.
    pub order: Order,
    /// The fewest replicas for which the settings make sense, once they have been checked.
    pub least: fn(&FoldSettings) -> usize,
    /// How many of so many replicas may send anything at all without moving the fold far, for settings that have been
    /// checked.
    pub withstands: fn(&FoldSettings, usize) -> usize,
    /// The numbers it uses, as they follow its name: ` with trim 0.2`.
    pub numbers: fn(&FoldSettings) -> String,
    /// The bytes it holds at most, results included, for so many parameters and replicas.
    pub bytes: fn(usize, usize) -> usize,
    /// Makes one from settings that have been checked.
    make: fn(&FoldSettings) -> Box<dyn Fold>,
}

/// All folds. To add one, write its file and add its row.
pub static FOLDS: &[FoldRow] =
    &[mean::ROW, trimmed_mean::ROW, median::ROW, geometric_median::ROW, multi_krum::ROW];

/// A fold and its numbers; each uses those it knows. What is left out of its JSON, except the name, is as
/// [`FoldSettings::named`] has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldSettings {
    /// Its name in [`FOLDS`].
    pub name: String,
    /// For `trimmed-mean`: the share of the values that is cut at each end; from 0, below 0.5.
    #[serde(default = "customary::trim")]
    pub trim: f64,
    /// For `multi-krum`, its f: how many replicas may send anything at all; 0 to 1,000,000.
    #[serde(default = "customary::byzantine")]
    pub byzantine: u32,
    /// For `geometric-median`, its nu: distances below this count as this; above 0, at most 1.
    #[serde(default = "customary::smoothing")]
    pub smoothing: f64,
    /// For `geometric-median`: Weiszfeld's steps at most; 1 to 10,000.
    #[serde(default = "customary::iterations")]
    pub iterations: u32,
}

/// Numbers for those who give none.
mod customary {
    /// Flower's; Yin et al. ask for at least the share of bad replicas.
    pub fn trim() -> f64 {
        0.2
    }
    /// The fewest worth the name.
    pub fn byzantine() -> u32 {
        1
    }
    /// Pillutla et al.
    pub fn smoothing() -> f64 {
        1e-6
    }
    /// Enough for all but two changes of nearly as many rows, as the steps begin at the coordinate-wise median.
    pub fn iterations() -> u32 {
        100
    }
}

impl Default for FoldSettings {
    /// The mean, weighted by rows.
    fn default() -> Self {
        Self::named(mean::ROW.name)
    }
}

impl FoldSettings {
    /// The fold of this name with the customary numbers: trim 0.2, byzantine 1, smoothing 1e-6, iterations 100.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            trim: customary::trim(),
            byzantine: customary::byzantine(),
            smoothing: customary::smoothing(),
            iterations: customary::iterations(),
        }
    }

    /// Its row in [`FOLDS`].
    ///
    /// # Errors
    /// There is none of this name; the error says what there is to choose from.
    pub fn row(&self) -> Result<&'static FoldRow, ModelError> {
        FOLDS.iter().find(|row| row.name == self.name).ok_or_else(|| ModelError::UnknownName {
            what: "fold",
            name: self.name.clone(),
            choices: FOLDS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Checks every setting, also those that this fold does not use.
    ///
    /// # Errors
    /// Names the setting that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), ModelError> {
        self.row()?;
        let setting = |field, value: f64, range, good: bool| {
            if good { Ok(()) } else { Err(ModelError::Setting { field, value, range }) }
        };
        setting("trim", self.trim, "from 0, below 0.5", (0.0..0.5).contains(&self.trim))?;
        setting("byzantine", self.byzantine.into(), "from 0 to 1000000", self.byzantine <= 1_000_000)?;
        let smoothing = self.smoothing > 0.0 && self.smoothing <= 1.0;
        setting("smoothing", self.smoothing, "above 0 and at most 1", smoothing)?;
        let iterations = (1..=10_000).contains(&self.iterations);
        setting("iterations", self.iterations.into(), "from 1 to 10000", iterations)
    }

    /// As [`FoldSettings::check`], and whether so many replicas are enough.
    ///
    /// # Errors
    /// As there, or names the fold, how many replicas it needs and how many there are.
    pub fn check_for(&self, replicas: usize) -> Result<(), ModelError> {
        self.check()?;
        self.enough(replicas)
    }

    /// A fold of nothing yet.
    ///
    /// # Errors
    /// As [`FoldSettings::check`].
    pub fn start(&self) -> Result<Box<dyn Fold>, ModelError> {
        self.check()?;
        Ok((self.row()?.make)(self))
    }

    /// Fails unless so many replicas are enough; the settings have been checked.
    fn enough(&self, replicas: usize) -> Result<(), ModelError> {
        let row = self.row()?;
        let least = (row.least)(self);
        if replicas >= least {
            return Ok(());
        }
        let settings = format!("{}{}", row.name, (row.numbers)(self));
        Err(ModelError::TooFewReplicas { settings, least, replicas })
    }
}
