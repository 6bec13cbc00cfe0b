//! Owns the mean of a round's changes, weighted by rows.

use super::{Fold, FoldRow, Order};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;
use ndarray::Zip;

pub(super) const ROW: FoldRow = FoldRow {
    name: "mean",
    about: "the mean, weighted by rows (FedAvg, McMahan et al. 2017)",
    by_rows: true,
    order: Order::Rounding,
    least: |_| 1,
    withstands: |_, _| 0,
    numbers: |_| String::new(),
    bytes: |parameters, _| parameters * size_of::<f64>(),
    make: |_| Box::new(Mean::default()),
};

/// `sum(rows * change) / sum(rows)`, added up as the changes come.
#[derive(Default)]
struct Mean {
    sums: Option<Mlp<f64>>,
    rows: u64,
}

impl Fold for Mean {
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        if rows == 0 {
            return Err(ModelError::NoRows);
        }
        if let Some(sums) = &self.sums {
            sums.same_shape(&change)?;
        }
        let sums = self.sums.get_or_insert_with(|| Mlp::zeros(&change.shape()));
        let weight = rows as f64;
        for (sum, matrix) in sums.layers_mut().iter_mut().zip(change.layers()) {
            Zip::from(sum).and(matrix).for_each(|sum, &x| *sum += weight * f64::from(x));
        }
        self.rows = self.rows.saturating_add(rows);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError> {
        let mut mean = self.sums.ok_or(ModelError::NothingToAverage)?;
        let rows = self.rows as f64;
        mean.layers_mut().iter_mut().for_each(|sum| *sum /= rows);
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::Shape;
    use crate::model::{FoldSettings, OuterSettings};
    use proptest::prelude::*;

    fn model(seed: u64) -> Mlp<f32> {
        Mlp::init(&Shape::new([5, 4, 3]).unwrap(), seed)
    }

    /// The model after a round: the mean added to `before`.
    fn mean(parts: &[(u64, u64)], before: &Mlp<f32>) -> Mlp<f32> {
        let mut mean = FoldSettings::default().start().unwrap();
        for &(seed, rows) in parts {
            mean.add(model(seed), rows).unwrap();
        }
        OuterSettings::default().start().unwrap().step(before, &mean.finish().unwrap()).unwrap()
    }

    #[test]
    fn one_shard_is_its_own_mean() {
        let (before, after) = (model(1), model(2));
        let mut mean = FoldSettings::default().start().unwrap();
        mean.add(after.minus(&before).unwrap(), 7).unwrap();
        let change = mean.finish().unwrap();
        let folded = OuterSettings::default().start().unwrap().step(&before, &change).unwrap();
        for (a, b) in folded.layers().iter().zip(after.layers()) {
            assert!(Zip::from(a).and(b).all(|a, b| (a - b).abs() <= 1e-7));
        }
    }

    proptest! {
        /// The formula before there were other folds and outer steps: it must stay the same bit by bit.
        #[test]
        fn is_the_plain_formula(parts in prop::collection::vec((0_u64..100, 1_u64..5000), 1..12)) {
            let before = model(1000);
            let folded = mean(&parts, &before);
            let rows: u64 = parts.iter().map(|part| part.1).sum();
            for (layer, matrix) in folded.layers().iter().enumerate() {
                for (at, &x) in matrix.indexed_iter() {
                    let change = |&(seed, n): &(u64, u64)| n as f64 * f64::from(model(seed).layers()[layer][at]);
                    let sum: f64 = parts.iter().map(change).sum();
                    let plain = f64::from(before.layers()[layer][at]) + sum / rows as f64;
                    prop_assert_eq!(x.to_bits(), (plain as f32).to_bits());
                }
            }
        }

        #[test]
        fn equal_changes_have_themselves_as_mean(rows in prop::collection::vec(1_u64..5000, 1..12)) {
            let zero = Mlp::zeros(&model(3).shape());
            let parts: Vec<_> = rows.iter().map(|&rows| (3, rows)).collect();
            let folded = mean(&parts, &zero);
            for (a, b) in folded.layers().iter().zip(model(3).layers()) {
                prop_assert!(Zip::from(a).and(b).all(|a, b| (a - b).abs() <= 1e-7 * b.abs()));
            }
        }
    }
}
