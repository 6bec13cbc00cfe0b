//! Owns the outer step that adapts to each weight as Adam does.

use super::{OuterRow, adaptive};

pub(super) const ROW: OuterRow = OuterRow {
    name: "adam",
    about: "steps of a size of their own for each weight (FedAdam, Reddi et al. 2020)",
    // Reddi et al. tune it for each task; this one is on the safe side for small models.
    rate: 0.01,
    moments: adaptive::MOMENTS,
    make: |settings, rate| adaptive::start(ROW, settings, rate, square),
};

/// A mean of squares that forgets: `v = beta2 * v + (1 - beta2) * change^2`.
fn square(v: f64, squared: f64, beta2: f64) -> f64 {
    beta2 * v + (1.0 - beta2) * squared
}
