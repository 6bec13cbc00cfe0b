//! Owns the geometric median of a round's changes.

use super::changes::{self, Changes, squared_distance};
use super::{Fold, FoldRow, Order, median};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;

pub(super) const ROW: FoldRow = FoldRow {
    name: "geometric-median",
    about: "the point nearest to all, weighted by rows (RFA, Pillutla et al. 2019)",
    by_rows: true,
    order: Order::Rounding,
    least: |_| 1,
    // Of all rows, rather: whoever has half of them decides.
    withstands: |_, replicas| replicas.saturating_sub(1) / 2,
    numbers: |settings| format!(" with smoothing {} and iterations {}", settings.smoothing, settings.iterations),
    bytes: changes::bytes,
    make: |settings| Box::new(GeometricMedian(Changes::new(settings))),
};

/// Steps end when one is shorter than this times the harmonic mean of the distances.
///
/// The harmonic mean, because it is of the size of the near ones: those far away must not hide that steps still matter.
const TOLERANCE: f64 = 1e-6;

/// The `z` with the least `sum(rows * |change - z|)`, of Euclidean distances over all weights.
///
/// Found by the smoothed Weiszfeld algorithm (Pillutla et al., algorithm 2): a step goes to the mean of the changes with
/// the weights `rows / max(smoothing, |change - z|)`. The first `z` is the coordinate-wise median, so that far changes
/// need no steps to be left behind; the `z` that is found is the same.
struct GeometricMedian(Changes);

impl Fold for GeometricMedian {
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        self.0.add(change, rows)
    }

    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError> {
        let changes = self.0;
        let settings = changes.settings();
        let mut z = median::of(&changes)?;
        let (mut distances, _) = step(&changes, &mut z, &vec![0.0; changes.replicas()]);
        for _ in 0..settings.iterations {
            let rows = changes.rows().iter().map(|&rows| rows as f64);
            let pulls = rows.clone().zip(&distances).map(|(rows, d)| rows / d.max(settings.smoothing));
            let (all_rows, all_pulls): (f64, f64) = (rows.sum(), pulls.clone().sum());
            let shares: Vec<f64> = pulls.map(|pull| pull / all_pulls).collect();
            let length;
            (distances, length) = step(&changes, &mut z, &shares);
            if length <= TOLERANCE * (all_rows / all_pulls) {
                break;
            }
        }
        changes.into_model(z)
    }
}

/// Moves `z` by its differences to the changes, each times its share; returns the changes' distances to the new `z`, and
/// the length of the step.
fn step(changes: &Changes, z: &mut [f64], shares: &[f64]) -> (Vec<f64>, f64) {
    let mut squares = vec![0.0; changes.replicas()];
    let mut length = 0.0;
    let mut before = Vec::new();
    changes.for_each_block(z, |z, changes| {
        before.clear();
        before.extend_from_slice(z);
        // Differences, rather than the mean itself: of equal changes it is then that change to the last bit.
        for (change, share) in changes.iter().zip(shares) {
            for (z, (&x, before)) in z.iter_mut().zip(change.iter().zip(&before)) {
                *z += share * (f64::from(x) - before);
            }
        }
        for (square, change) in squares.iter_mut().zip(changes) {
            *square += squared_distance(change, z);
        }
        length += squared_distance(z, &before);
    });
    (squares.into_iter().map(f64::sqrt).collect(), length.sqrt())
}
