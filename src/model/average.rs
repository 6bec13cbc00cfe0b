//! Owns folding the changes of a round into the next model: their mean, weighted by rows.

use super::error::ModelError;
use super::mlp::Mlp;
use super::shape::Shape;
use ndarray::{Array2, Zip};

/// A mean of changes, each weighted by the rows it was learnt from: `before + sum(rows * change) / sum(rows)`.
///
/// Sums are in double precision and in the order of `add`: who adds in the order of the shards gets the same bits
/// whoever answered first.
#[derive(Clone, Debug)]
pub struct WeightedMean {
    sums: Vec<Array2<f64>>,
    shape: Option<Shape>,
    rows: u64,
}

impl Default for WeightedMean {
    fn default() -> Self {
        Self::new()
    }
}

impl WeightedMean {
    /// A mean of nothing yet.
    pub fn new() -> Self {
        Self { sums: Vec::new(), shape: None, rows: 0 }
    }

    /// Adds what was learnt from `rows` rows.
    ///
    /// # Errors
    /// The change has another shape than those before, or comes of no rows; the mean is then as it was.
    pub fn add(&mut self, change: &Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        if rows == 0 {
            return Err(ModelError::NoRows);
        }
        let right = change.shape();
        match &self.shape {
            None => {
                self.sums = right.matrices().map(Array2::zeros).collect();
                self.shape = Some(right);
            }
            Some(left) if *left != right => return Err(ModelError::ShapesDiffer { left: left.clone(), right }),
            Some(_) => {}
        }
        let weight = rows as f64;
        for (sum, matrix) in self.sums.iter_mut().zip(change.layers()) {
            Zip::from(sum).and(matrix).for_each(|sum, &x| *sum += weight * f64::from(x));
        }
        self.rows = self.rows.saturating_add(rows);
        Ok(())
    }

    /// How many rows have been added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The model after the round.
    ///
    /// # Errors
    /// Nothing was added, `before` has another shape, or a weight leaves the range of `f32`.
    pub fn finish(self, before: &Mlp<f32>) -> Result<Mlp<f32>, ModelError> {
        let left = before.shape();
        match self.shape {
            None => return Err(ModelError::NothingToAverage),
            Some(right) if left != right => return Err(ModelError::ShapesDiffer { left, right }),
            Some(_) => {}
        }
        let rows = self.rows as f64;
        let pairs = self.sums.iter().zip(before.layers());
        Mlp::new(
            pairs
                .map(|(sum, before)| {
                    Zip::from(sum).and(before).map_collect(|sum, &x| (f64::from(x) + sum / rows) as f32)
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(seed: u64) -> Mlp<f32> {
        Mlp::init(&Shape::new([5, 4, 3]).unwrap(), seed)
    }

    fn mean(parts: &[(u64, u64)], before: &Mlp<f32>) -> Mlp<f32> {
        let mut mean = WeightedMean::new();
        for &(seed, rows) in parts {
            mean.add(&model(seed), rows).unwrap();
        }
        mean.finish(before).unwrap()
    }

    #[test]
    fn one_shard_is_its_own_mean() {
        let (before, after) = (model(1), model(2));
        let mut mean = WeightedMean::new();
        mean.add(&after.minus(&before).unwrap(), 7).unwrap();
        let folded = mean.finish(&before).unwrap();
        for (a, b) in folded.layers().iter().zip(after.layers()) {
            assert!(Zip::from(a).and(b).all(|a, b| (a - b).abs() <= 1e-7));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let other = Mlp::<f32>::zeros(&Shape::new([5, 3]).unwrap());
        let mut mean = WeightedMean::new();
        assert_eq!(mean.clone().finish(&other), Err(ModelError::NothingToAverage));
        mean.add(&model(1), 10).unwrap();
        assert_eq!(mean.add(&other, 1).unwrap_err().to_string(), "the shapes differ: 5-4-3 and 5-3");
        assert_eq!(mean.add(&model(2), 0), Err(ModelError::NoRows));
        assert_eq!(mean.rows(), 10);
        assert!(matches!(mean.finish(&other), Err(ModelError::ShapesDiffer { .. })));
    }

    proptest! {
        #[test]
        fn is_the_plain_formula(parts in prop::collection::vec((0_u64..100, 1_u64..5000), 1..12)) {
            let before = model(1000);
            let folded = mean(&parts, &before);
            let rows: u64 = parts.iter().map(|part| part.1).sum();
            for (layer, matrix) in folded.layers().iter().enumerate() {
                for (at, &x) in matrix.indexed_iter() {
                    let sum: f64 = parts.iter().map(|&(seed, n)| n as f64 * f64::from(model(seed).layers()[layer][at])).sum();
                    let plain = f64::from(before.layers()[layer][at]) + sum / rows as f64;
                    prop_assert_eq!(x, plain as f32);
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
