//! Owns the coordinate-wise median of a round's changes.

use super::changes::{self, Changes};
use super::sorted::{for_each_sorted, value};
use super::{Fold, FoldRow, Order};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;

pub(super) const ROW: FoldRow = FoldRow {
    name: "median",
    about: "each weight's median (Yin et al. 2018)",
    by_rows: false,
    order: Order::Free,
    least: |_| 1,
    withstands: |_, replicas| replicas.saturating_sub(1) / 2,
    numbers: |_| String::new(),
    bytes: changes::bytes,
    make: |settings| Box::new(Median(Changes::new(settings))),
};

/// Of each weight its median over the changes, whatever their rows; of an even number the mean of the two in the middle.
struct Median(Changes);

impl Fold for Median {
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        self.0.add(change, rows)
    }

    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError> {
        let fold = of(&self.0)?;
        self.0.into_model(fold)
    }
}

/// The median of each parameter.
///
/// # Errors
/// There are no changes, or too few for the settings.
pub(super) fn of(changes: &Changes) -> Result<Vec<f64>, ModelError> {
    let mut medians = changes.zeros()?;
    for_each_sorted(changes, &mut medians, |medians, rows| {
        let (below, above) = (&rows[(rows.len() - 1) / 2], &rows[rows.len() / 2]);
        for (median, (&below, &above)) in medians.iter_mut().zip(below.iter().zip(above)) {
            // Of two equal numbers this is the number itself.
            *median = f64::midpoint(value(below).into(), value(above).into());
        }
    });
    Ok(medians)
}
