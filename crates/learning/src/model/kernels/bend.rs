//! Owns what bends between the layers: tanh and GELU of a block, their slopes, and which units are left out.

use super::super::activation::Activation;
use super::super::real::Real;
use super::lanes::Lanes;
use super::softmax::exp;

/// `2 sqrt(2 / pi)`: GELU's `(1 + tanh(u)) / 2` is `1 / (1 + e^-2u)`, so twice the customary factor.
const GELU_1: f64 = 1.595_769_121_605_730_7;
/// `GELU_1 * 0.044715`
const GELU_3: f64 = GELU_1 * 0.044_715;

/// `e^-x`, where `x` is first brought to where that is a normal number; NaN stays NaN.
#[inline(always)]
pub(super) fn falling<T: Real, S: Lanes<T>>(s: S, x: S::V) -> S::V {
    let (zero, floor) = (s.splat(T::ZERO), s.splat(T::FLOOR));
    let at_least = s.max(floor, x);
    exp(s, s.max(floor, s.sub(zero, at_least)))
}

/// `tanh x` and its derivative, within 2 units in the last place of 1.
#[inline(always)]
fn tanh<T: Real, S: Lanes<T>>(s: S, x: S::V) -> (S::V, S::V) {
    let one = s.splat(T::from(1.0));
    let e = falling(s, s.add(x, x));
    let y = s.div(s.sub(one, e), s.add(one, e));
    (y, s.sub(one, s.mul(y, y)))
}

/// GELU and its derivative `g + x g (1 - g) u'`, where `g = 1 / (1 + e^-u)` and `u = x (GELU_1 + GELU_3 x^2)`.
#[inline(always)]
fn gelu<T: Real, S: Lanes<T>>(s: S, x: S::V) -> (S::V, S::V) {
    let one = s.splat(T::from(1.0));
    let (first, third) = (s.splat(T::from_f64(GELU_1)), s.splat(T::from_f64(GELU_3)));
    let square = s.mul(x, x);
    let u = s.mul(x, s.fma(third, square, first));
    let g = s.div(one, s.add(one, falling(s, u)));
    let y = s.mul(x, g);
    let steepness = s.fma(s.splat(T::from_f64(3.0 * GELU_3)), square, first);
    (y, s.fma(s.mul(y, s.sub(one, g)), steepness, g))
}

/// Takes sums to what units give, in place, and writes the slopes there unless `slope` is empty.
///
/// Sums of ReLU have been through `Finish::Relu`. All are whole groups long.
#[inline(always)]
pub(super) fn bend<T: Real, S: Lanes<T>>(s: S, how: Activation, active: &mut [T], slope: &mut [T]) {
    let wants_slope = !slope.is_empty();
    assert!(!wants_slope || slope.len() >= active.len());
    let mut at = 0;
    while at + S::LANES <= active.len() {
        // SAFETY: at + LANES <= active.len(), which is at most slope.len() if that is written.
        unsafe {
            let here = active.as_mut_ptr().add(at);
            let x = s.load(here);
            let (y, derivative) = match how {
                Activation::Relu => (x, s.gate(s.splat(T::from(1.0)), x)),
                Activation::Tanh => tanh(s, x),
                Activation::Gelu => gelu(s, x),
            };
            s.store(here, y);
            if wants_slope {
                s.store(slope.as_mut_ptr().add(at), derivative);
            }
        }
        at += S::LANES;
    }
}

/// Which units of a block are left out, and what those that stay are multiplied by: inverted dropout.
#[derive(Clone, Copy)]
pub(super) struct Dropout<'a, T> {
    /// A random number for each unit of each row, without padding.
    pub draws: &'a [u16],
    /// Units with a draw below this are left out.
    pub threshold: u16,
    /// `1 / (1 - threshold / 65536)`
    pub scale: T,
}

/// Leaves units out: their activity and slope become 0; the others' are scaled. Rows are `step` apart.
#[inline(always)]
pub(super) fn drop_out<T: Real>(
    how: Dropout<'_, T>,
    step: usize,
    units: usize,
    active: &mut [T],
    slope: &mut [T],
) {
    let rows = active.chunks_exact_mut(step).zip(slope.chunks_exact_mut(step)).zip(how.draws.chunks_exact(units));
    for ((active, slope), draws) in rows {
        for ((y, derivative), &draw) in active.iter_mut().zip(slope).zip(draws) {
            let factor = if draw >= how.threshold { how.scale } else { T::ZERO };
            *y = *y * factor;
            *derivative = *derivative * factor;
        }
    }
}
