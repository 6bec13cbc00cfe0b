//! Owns the plain outer step: the fold of the changes is added.

use super::OuterRow;
use super::elementwise::{Elementwise, Rule};

pub(super) const ROW: OuterRow = OuterRow {
    name: "average",
    about: "adds the change (FedAvg, McMahan et al. 2017)",
    rate: 1.0,
    moments: &[],
    make: |_, rate| Box::new(Elementwise::new(ROW, Average { rate })),
};

/// `w + rate * change`; at the rate 1 it is `w + change` to the last bit.
struct Average {
    rate: f64,
}

impl Rule<0> for Average {
    fn first(&self) -> [f64; 0] {
        []
    }

    fn next(&self, _: u64, _: [f64; 0], change: f64) -> ([f64; 0], f64) {
        ([], self.rate * change)
    }

    fn adds(&self) -> Option<f64> {
        Some(self.rate)
    }
}
