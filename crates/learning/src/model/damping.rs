//! Owns damping a change that others were learnt beside: along the mean of each layer's inputs.
//!
//! Inputs of a layer have a mean (those behind a ReLU are never below 0), and along it all rows pull an output's weights the
//! same way: the loss is steepest there by far, and a few mini-batches come to the bottom. Workers that begin from the same
//! version all go there, each the whole way, and the sum of their changes overshoots again and again. Across the mean they
//! hardly meet, and the sum is what is wanted.
//!
//! What is left over along a direction that each change would undo whole, `m` versions late, is `x[t+1] = x[t] - w x[t-m]`. Its
//! characteristic equation `z^(m+1) - z^m + w = 0` has a double root at `z = m / (m+1)` if `w = m^m / (m+1)^(m+1)`: with that share
//! it dies out as fast as it can without going to and fro.

use super::error::ModelError;
use super::mlp::Mlp;

/// For each layer the mean of each of its inputs, without the constant one of the bias.
pub type InputMeans = Vec<Vec<f64>>;

/// The share of a change that is taken along the mean, if so many versions are missed; at least 0. 1 for none, 1/4 for one.
pub fn undershoot(missed: f64) -> f64 {
    if missed > 0.0 { (missed.ln() * missed - missed.ln_1p() * (missed + 1.0)).exp() } else { 1.0 }
}

impl Mlp<f32> {
    /// Leaves this share of a change along the mean of each layer's inputs, (1, means) with the bias, and all of it across.
    ///
    /// # Errors
    /// The means are not those of this shape's inputs, or a number leaves the range.
    pub fn damp(&mut self, means: &InputMeans, share: f64) -> Result<(), ModelError> {
        let fits = means.iter().map(Vec::len).eq(self.layers().iter().map(|layer| layer.nrows() - 1));
        if !fits {
            let sizes = means.iter().map(Vec::len).collect::<Vec<_>>();
            return Err(ModelError::Encoding(format!(
                "means of {sizes:?} inputs do not go with {}",
                self.shape()
            )));
        }
        for (layer, means) in self.layers_mut().iter_mut().zip(means) {
            let inputs = || std::iter::once(1.0).chain(means.iter().copied());
            let square: f64 = inputs().map(|mean| mean * mean).sum();
            let mut along = vec![0.0; layer.ncols()];
            for (row, mean) in layer.rows().into_iter().zip(inputs()) {
                along.iter_mut().zip(row).for_each(|(sum, &value)| *sum += mean * f64::from(value));
            }
            for (row, mean) in layer.rows_mut().into_iter().zip(inputs()) {
                let times = (1.0 - share) * mean / square;
                row.into_iter()
                    .zip(&along)
                    .for_each(|(value, sum)| *value = (f64::from(*value) - times * sum) as f32);
            }
        }
        self.check_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;
    use ndarray::{Array1, array};

    #[test]
    fn the_share_is_where_a_late_answer_stops_going_to_and_fro() {
        assert_eq!((undershoot(0.0), undershoot(-1.0), undershoot(f64::NAN)), (1.0, 1.0, 1.0));
        for (missed, share) in [(1.0, 0.25), (2.0, 4.0 / 27.0), (3.0, 27.0 / 256.0), (1e-9, 1.0)] {
            assert!((undershoot(missed) - share).abs() < 1e-6, "{missed}");
        }
        // The least that an error falls to before it changes its sign; a tenth more, and it does.
        let swings = |missed: usize, share: f64| {
            let mut errors = vec![1.0; missed + 1];
            (0..400).for_each(|step| errors.push(errors[step + missed] - share * errors[step]));
            errors.iter().any(|&error| error < 0.0)
        };
        for missed in 1..6 {
            let share = undershoot(missed as f64);
            assert!(!swings(missed, share) && swings(missed, 1.1 * share), "{missed}");
        }
    }

    #[test]
    fn what_is_along_the_mean_is_left_in_part_and_what_is_across_whole() {
        let shape = Shape::new([2, 3, 1]).unwrap();
        let change = Mlp::<f32>::init(&shape, 3);
        let means = vec![vec![0.5, -2.0], vec![0.1, 0.0, 3.0]];
        let mut damped = change.clone();
        damped.damp(&means, 0.25).unwrap();
        for ((before, after), means) in change.layers().iter().zip(damped.layers()).zip(&means) {
            let mean: Array1<f64> = std::iter::once(1.0).chain(means.iter().copied()).collect();
            let (before, after) = (before.mapv(f64::from), after.mapv(f64::from));
            let (along, left) = (mean.dot(&before), mean.dot(&after));
            for (along, left) in along.iter().zip(&left) {
                assert!((0.25 * along - left).abs() < 1e-6, "{along} {left}");
            }
            // Nothing else has moved.
            let across = |matrix: &ndarray::Array2<f64>| {
                let along = mean.dot(matrix);
                ndarray::Array2::from_shape_fn(matrix.dim(), |(i, j)| {
                    matrix[(i, j)] - mean[i] * along[j] / mean.dot(&mean)
                })
            };
            assert!((across(&before) - across(&after)).iter().all(|difference| difference.abs() < 1e-6));
        }
        let mut whole = change.clone();
        whole.damp(&means, 1.0).unwrap();
        assert_eq!(whole, change);
    }

    #[test]
    fn means_of_another_shape_are_told() {
        let mut change = Mlp::new(vec![array![[1.0_f32], [2.0]]]).unwrap();
        for wrong in [vec![], vec![vec![1.0, 2.0]], vec![vec![1.0], vec![1.0]]] {
            assert!(change.damp(&wrong, 0.5).unwrap_err().to_string().contains("do not go with 1-1"), "{wrong:?}");
        }
        assert!(change.damp(&vec![vec![f64::INFINITY]], 0.5).is_err());
    }
}
