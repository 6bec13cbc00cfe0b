//! Owns the outer step with Nesterov's momentum.

use super::OuterRow;
use super::elementwise::{Elementwise, Rule};

pub(super) const ROW: OuterRow = OuterRow {
    name: "nesterov",
    about: "momentum that looks ahead (DiLoCo, Douillard et al. 2023)",
    rate: 0.7,
    moments: &["velocity"],
    make: |settings, rate| Box::new(Elementwise::new(ROW, Nesterov { rate, momentum: settings.momentum })),
};

/// `v = momentum * v + change` and `w + rate * (change + momentum * v)`, with `v` 0 at first: what PyTorch's
/// `SGD(lr=rate, momentum=momentum, nesterov=True)` does with the gradient `-change`. Douillard et al. have the rate 0.7
/// and the momentum 0.9.
struct Nesterov {
    rate: f64,
    momentum: f64,
}

impl Rule<1> for Nesterov {
    fn first(&self) -> [f64; 1] {
        [0.0]
    }

    fn next(&self, _: u64, [velocity]: [f64; 1], change: f64) -> ([f64; 1], f64) {
        let velocity = self.momentum * velocity + change;
        ([velocity], self.rate * (change + self.momentum * velocity))
    }
}
