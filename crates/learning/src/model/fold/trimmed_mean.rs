//! Owns the coordinate-wise trimmed mean of a round's changes.

use super::changes::{self, BLOCK, Changes};
use super::sorted::{for_each_sorted, value};
use super::{Fold, FoldRow, FoldSettings, Order};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;

pub(super) const ROW: FoldRow = FoldRow {
    name: "trimmed-mean",
    about: "each weight's mean without its largest and smallest values (Yin et al. 2018)",
    by_rows: false,
    order: Order::Free,
    least,
    withstands: |settings, replicas| cut(settings.trim, replicas),
    numbers: |settings| format!(" with trim {}", settings.trim),
    bytes: changes::bytes,
    make: |settings| Box::new(TrimmedMean(Changes::new(settings))),
};

/// Covers the rounding of `trim * replicas`, so that 0.07 of 100 is 7.
const SLACK: f64 = 1e-9;

/// Of each weight the mean over the changes, whatever their rows, without the `floor(trim * replicas)` largest and as
/// many smallest values: Yin et al.'s beta is `trim`.
struct TrimmedMean(Changes);

/// How many values are cut at each end; one or two are always left.
fn cut(trim: f64, replicas: usize) -> usize {
    ((trim * replicas as f64 + SLACK) as usize).min(replicas.saturating_sub(1) / 2)
}

/// Replicas of which something is cut: who asks for a trimmed mean and gets a plain one should know.
fn least(settings: &FoldSettings) -> usize {
    if settings.trim == 0.0 { 1 } else { ((1.0 - SLACK) / settings.trim).ceil().max(3.0) as usize }
}

impl Fold for TrimmedMean {
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        self.0.add(change, rows)
    }

    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError> {
        let changes = self.0;
        let mut fold = changes.zeros()?;
        let cut = cut(changes.settings().trim, changes.replicas());
        let kept = cut..changes.replicas() - cut;
        for_each_sorted(&changes, &mut fold, |fold, rows| {
            let mut sums = [0.0; BLOCK];
            for row in &rows[kept.clone()] {
                sums.iter_mut().zip(row).for_each(|(sum, &key)| *sum += f64::from(value(key)));
            }
            fold.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = sum / kept.len() as f64);
        });
        changes.into_model(fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_replicas_are_those_of_which_one_is_cut() {
        for trim in (1..500).map(|thousandths| f64::from(thousandths) / 1000.0) {
            let settings = FoldSettings { trim, ..FoldSettings::named("trimmed-mean") };
            let first = (1..).find(|&n| cut(trim, n) > 0).unwrap();
            assert_eq!(least(&settings), first, "{trim}");
        }
    }

    #[test]
    fn a_share_of_a_number_is_cut_and_something_is_left() {
        for (trim, replicas, expected) in
            [(0.2, 5, 1), (0.2, 9, 1), (0.1, 10, 1), (0.07, 100, 7), (0.3, 10, 3), (0.499_999, 2, 0), (0.0, 9, 0)]
        {
            assert_eq!(cut(trim, replicas), expected, "{trim} of {replicas}");
        }
        assert_eq!(cut(0.5_f64.next_down(), 8), 3);
    }
}
