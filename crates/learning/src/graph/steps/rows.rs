//! Owns steps that look at whole rows: softmax, means, and normalisation over neighbouring channels.

use super::{Run, Step};
use crate::model::images;

/// Takes each row of numbers to shares of 1, or to the logarithms of those.
pub(in super::super) struct Softmax {
    pub rows: usize,
    pub length: usize,
    pub logarithm: bool,
}

impl Step for Softmax {
    fn run(&self, run: Run<'_>) {
        let mut powers = vec![0.0; images::step(self.length)];
        for row in 0..self.rows {
            let from = &run.inputs[0][row * self.length..][..self.length];
            let to = &mut run.out[row * self.length..][..self.length];
            let greatest = from.iter().fold(f32::NEG_INFINITY, |most, &x| if most > x { most } else { x });
            powers[..self.length].copy_from_slice(from);
            images::exponentials(run.path, greatest, &mut powers);
            let sum: f64 = powers[..self.length].iter().map(|&power| f64::from(power)).sum();
            if self.logarithm {
                let all = images::logarithm(sum);
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = (f64::from(x - greatest) - all) as f32);
            } else {
                to.iter_mut().zip(&powers).for_each(|(to, &power)| *to = (f64::from(power) / sum) as f32);
            }
        }
    }
}

/// The mean or sum of each row.
pub(in super::super) struct RowMean {
    pub rows: usize,
    pub length: usize,
    pub divisor: f32,
}

impl Step for RowMean {
    fn run(&self, run: Run<'_>) {
        for (row, to) in run.inputs[0].chunks_exact(self.length).take(self.rows).zip(run.out) {
            let sum: f64 = row.iter().map(|&x| f64::from(x)).sum();
            *to = (sum / f64::from(self.divisor)) as f32;
        }
    }
}

/// Local response normalisation: each channel by a power of the squares around it.
pub(in super::super) struct Normalise {
    pub channels: usize,
    /// Channels that are looked at: before, and after the channel itself.
    pub before: usize,
    pub after: usize,
    /// What the mean of the squares is multiplied by, divided by how many are looked at.
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
}

impl Normalise {
    /// `x^-beta`
    fn power(&self, x: f32) -> f32 {
        // The usual powers need nothing but roots.
        if self.beta == 0.75 {
            1.0 / (x.sqrt() * x.sqrt().sqrt())
        } else if self.beta == 0.5 {
            1.0 / x.sqrt()
        } else if self.beta == 1.0 {
            1.0 / x
        } else {
            images::exponential(-f64::from(self.beta) * images::logarithm(x.into())) as f32
        }
    }
}

impl Step for Normalise {
    fn run(&self, run: Run<'_>) {
        let step = images::step(self.channels);
        let window = self.before + self.after + 1;
        let mut squares = vec![0.0_f32; self.channels + window - 1];
        for (from, to) in run.inputs[0].chunks_exact(step).zip(run.out.chunks_exact_mut(step)) {
            for (square, &x) in squares[self.before..].iter_mut().zip(&from[..self.channels]) {
                *square = x * x;
            }
            for (to, (&x, squares)) in to.iter_mut().zip(from.iter().zip(squares.windows(window))) {
                let sum: f32 = squares.iter().sum();
                *to = x * self.power(self.alpha.mul_add(sum, self.bias));
            }
        }
    }
}
