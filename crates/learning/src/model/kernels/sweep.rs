//! Owns passes over all weights: an optimiser's step, and what is done to a gradient before.

use super::super::real::Real;
use super::network::Layer;

/// What an optimiser does to one weight. A file in `optimizer/` has one, and it is compiled for every path.
///
/// It must be made of single operations, each rounded once (`+ - * /` and `root`), and be `#[inline(always)]`: so it
/// becomes vectors and has the same bits everywhere.
pub trait Rule<T>: Copy {
    /// How many numbers it keeps for each weight: 0, 1 or 2.
    const SLOTS: usize;
    /// The weight and its numbers after a step, of those before it and the gradient of the loss. Numbers start at 0;
    /// those that it does not keep are 0.
    fn step(self, weight: T, gradient: T, numbers: [T; 2]) -> (T, [T; 2]);
}

/// Some weights of one layer, equally many of everything; of `first` and `second` only what the rule keeps.
pub struct Stretch<'a, T> {
    /// The weights.
    pub weights: &'a mut [T],
    /// Their gradients, to be multiplied by `scale`.
    pub gradient: &'a [T],
    /// What gradients are multiplied by.
    pub scale: T,
    /// The first number kept for each.
    pub first: &'a mut [T],
    /// The second number kept for each.
    pub second: &'a mut [T],
}

/// Applies the rule to each weight.
#[inline(always)]
pub(super) fn step<T: Real, R: Rule<T>>(rule: R, stretch: Stretch<'_, T>) {
    let Stretch { weights, gradient, scale, first, second } = stretch;
    let pairs = weights.iter_mut().zip(gradient);
    let zero = T::ZERO;
    match R::SLOTS {
        0 => {
            for (weight, &gradient) in pairs {
                *weight = rule.step(*weight, gradient * scale, [zero; 2]).0;
            }
        }
        1 => {
            for ((weight, &gradient), first) in pairs.zip(first) {
                (*weight, [*first, _]) = rule.step(*weight, gradient * scale, [*first, zero]);
            }
        }
        _ => {
            for ((weight, &gradient), (first, second)) in pairs.zip(first.iter_mut().zip(second)) {
                (*weight, [*first, *second]) = rule.step(*weight, gradient * scale, [*first, *second]);
            }
        }
    }
}

/// Makes sums of error signals into the gradient of a mean, `gradient * scale + pull * (weight - start)`, and returns
/// the sum of their squares: in eight sums, every eighth into the same.
#[inline(always)]
pub(super) fn mean_gradient<T: Real>(gradient: &mut [T], scale: T, weights: &[T], start: &[T], pull: T) -> f64 {
    const SUMS: usize = 8;
    let mut squares = [0.0; SUMS];
    let weights = weights.iter().zip(start);
    if start.is_empty() {
        gradient.iter_mut().for_each(|gradient| *gradient = *gradient * scale);
    } else {
        for (gradient, (&weight, &start)) in gradient.iter_mut().zip(weights) {
            *gradient = *gradient * scale + pull * (weight - start);
        }
    }
    let mut chunks = gradient.chunks_exact(SUMS);
    for chunk in &mut chunks {
        for (sum, x) in squares.iter_mut().zip(chunk) {
            *sum += x.to_f64() * x.to_f64();
        }
    }
    for (sum, x) in squares.iter_mut().zip(chunks.remainder()) {
        *sum += x.to_f64() * x.to_f64();
    }
    squares.iter().sum()
}

/// Whether all weights are finite.
#[inline(always)]
pub(super) fn finite<T: Real>(layers: &[Layer<T>]) -> bool {
    let zero = T::ZERO;
    let mut bad = false;
    for layer in layers {
        // Nothing times zero is NaN, unless it is NaN or infinite.
        layer.weights.iter().for_each(|&weight| bad |= weight * zero != zero);
    }
    !bad
}
