//! Owns what FedAdam and FedYogi have in common: a step of a size of its own for each weight.

use super::elementwise::{Elementwise, Rule};
use super::{Outer, OuterRow, OuterSettings};

/// The names of the moments.
pub(super) const MOMENTS: &[&str] = &["mean", "square"];

/// `m = beta1 * m + (1 - beta1) * change`, `v` as `square` makes it of `v`, `change^2` and beta2, and
/// `w + rate * m / (sqrt(v) + tau)`; `m` is 0 and `v` is `tau^2` before the first round.
///
/// Reddi et al. 2020, algorithm 2; there is no correction of the bias in it.
struct Adaptive<F> {
    rate: f64,
    beta1: f64,
    beta2: f64,
    tau: f64,
    square: F,
}

/// An optimiser with a rule of its own for `v`.
pub(super) fn start(
    row: OuterRow,
    settings: &OuterSettings,
    rate: f64,
    square: impl Fn(f64, f64, f64) -> f64 + Send + 'static,
) -> Box<dyn Outer> {
    let OuterSettings { beta1, beta2, tau, .. } = *settings;
    Box::new(Elementwise::new(row, Adaptive { rate, beta1, beta2, tau, square }))
}

impl<F: Fn(f64, f64, f64) -> f64 + Send> Rule<2> for Adaptive<F> {
    fn first(&self) -> [f64; 2] {
        [0.0, self.tau * self.tau]
    }

    fn next(&self, _: u64, [m, v]: [f64; 2], change: f64) -> ([f64; 2], f64) {
        let m = self.beta1 * m + (1.0 - self.beta1) * change;
        let v = (self.square)(v, change * change, self.beta2);
        ([m, v], self.rate * m / (v.sqrt() + self.tau))
    }

    fn fits(&self, [_, v]: [f64; 2]) -> bool {
        v >= 0.0
    }
}
