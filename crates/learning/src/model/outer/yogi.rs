//! Owns the outer step that adapts to each weight as Yogi does.

use super::{OuterRow, adaptive};

pub(super) const ROW: OuterRow = OuterRow {
    name: "yogi",
    about: "as adam, but large changes are not forgotten as fast (FedYogi, Reddi et al. 2020)",
    // As adam's.
    rate: 0.01,
    moments: adaptive::MOMENTS,
    make: |settings, rate| adaptive::start(ROW, settings, rate, square),
};

/// Moves by no more than the square itself: `v = v - (1 - beta2) * change^2 * sign(v - change^2)`.
fn square(v: f64, squared: f64, beta2: f64) -> f64 {
    let by = (1.0 - beta2) * squared;
    // The sign of 0 is 0, unlike that of `signum`.
    if v > squared {
        v - by
    } else if v < squared {
        v + by
    } else {
        v
    }
}
