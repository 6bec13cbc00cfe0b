//! Owns the outer step with momentum.

use super::OuterRow;
use super::elementwise::{Elementwise, Rule};

pub(super) const ROW: OuterRow = OuterRow {
    name: "momentum",
    about: "goes on in the direction of earlier rounds (FedAvgM, Hsu et al. 2019)",
    rate: 1.0,
    moments: &["velocity"],
    make: |settings, rate| Box::new(Elementwise::new(ROW, Momentum { rate, momentum: settings.momentum })),
};

/// `v = momentum * v + change` and `w + rate * v`, with `v` 0 at first. Hsu et al. have the rate 1.
struct Momentum {
    rate: f64,
    momentum: f64,
}

impl Rule<1> for Momentum {
    fn first(&self) -> [f64; 1] {
        [0.0]
    }

    fn next(&self, _: u64, [velocity]: [f64; 1], change: f64) -> ([f64; 1], f64) {
        let velocity = self.momentum * velocity + change;
        ([velocity], self.rate * velocity)
    }
}
