//! Owns the outer step with delayed Nesterov momentum, for changes that come one by one and from different versions.

use super::OuterRow;
use super::elementwise::{Elementwise, Rule};

pub(super) const ROW: OuterRow = OuterRow {
    name: "delayed-nesterov",
    about: "momentum that moves once in some steps, for changes that come one by one (Liu et al. 2024)",
    rate: 0.7,
    moments: &["velocity", "buffer"],
    make: |settings, rate| {
        let (momentum, activation) = (settings.momentum, settings.activation);
        let delay = u64::from(settings.delay).max(1);
        Box::new(Elementwise::new(ROW, DelayedNesterov { rate, momentum, delay, activation }))
    },
};

/// Liu et al. 2024, algorithm 4, with `N = delay` and `c = activation`: each change is added to `buffer`. In each step that
/// `N` divides `v = momentum * v + buffer / N` and `w + rate * ((1 - c N + c) momentum * v + change / N)`, and the buffer
/// is empty; in others `v` stays and `w + rate * (c momentum * v + change / N)`. With `N = 1` it is Nesterov's momentum.
struct DelayedNesterov {
    rate: f64,
    momentum: f64,
    delay: u64,
    activation: f64,
}

impl Rule<2> for DelayedNesterov {
    fn first(&self) -> [f64; 2] {
        [0.0, 0.0]
    }

    fn next(&self, step: u64, [velocity, buffer]: [f64; 2], change: f64) -> ([f64; 2], f64) {
        let (n, buffer) = (self.delay as f64, buffer + change);
        if (step + 1).is_multiple_of(self.delay) {
            let velocity = self.momentum * velocity + buffer / n;
            let share = 1.0 - self.activation * n + self.activation;
            return ([velocity, 0.0], self.rate * (share * self.momentum * velocity + change / n));
        }
        ([velocity, buffer], self.rate * (self.activation * self.momentum * velocity + change / n))
    }

    fn counts(&self) -> bool {
        true
    }
}
