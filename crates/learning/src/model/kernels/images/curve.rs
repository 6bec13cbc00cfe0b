//! Owns curves: functions of one number that stand between layers.

use super::super::bend::falling;
use super::super::lanes::Lanes;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    /// Not less than the first, not more than the second.
    Clip(f32, f32),
    /// Negative ones times this.
    Leaky(f32),
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `x / (1 + e^-x)`
    Swish,
    /// `a x + b`, not less than 0, not more than 1.
    HardSigmoid(f32, f32),
    /// `x` times the hard sigmoid with 1/6 and 1/2.
    HardSwish,
    /// The hyperbolic tangent.
    Tanh,
    /// `e^x`
    Exp,
    /// The square root.
    Root,
    /// `|x|`
    Abs,
    /// `-x`
    Negative,
    /// `1 / x`
    Inverse,
}

impl Curve {
    /// `max(x, 0)`
    pub(crate) const RELU: Curve = Curve::Clip(0.0, f32::INFINITY);
}

/// Bends each element.
#[inline(always)]
pub(super) fn bend<S: Lanes<f32>>(s: S, curve: Curve, data: &mut [f32]) {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let hard = |a: f32, b: f32, x: S::V| s.min(one, s.max(zero, s.fma(s.splat(a), x, s.splat(b))));
    match curve {
        Curve::Clip(low, high) => each(s, data, |x| s.min(s.splat(high), s.max(s.splat(low), x))),
        Curve::Leaky(slope) => {
            // The one half is 0 where the other is not.
            each(s, data, |x| s.fma(s.min(zero, x), s.splat(slope), s.max(zero, x)));
        }
        Curve::Sigmoid => each(s, data, |x| s.div(one, s.add(one, falling(s, x)))),
        Curve::Swish => each(s, data, |x| s.div(x, s.add(one, falling(s, x)))),
        Curve::HardSigmoid(a, b) => each(s, data, |x| hard(a, b, x)),
        Curve::HardSwish => each(s, data, |x| s.mul(x, hard(1.0 / 6.0, 0.5, x))),
        Curve::Tanh => each(s, data, |x| {
            let e = falling(s, s.add(x, x));
            s.div(s.sub(one, e), s.add(one, e))
        }),
        // For large numbers, 1 / e^-x.
        Curve::Exp => each(s, data, |x| s.div(one, falling(s, x))),
        Curve::Root => data.iter_mut().for_each(|x| *x = x.sqrt()),
        Curve::Abs => data.iter_mut().for_each(|x| *x = x.abs()),
        Curve::Negative => data.iter_mut().for_each(|x| *x = -*x),
        Curve::Inverse => each(s, data, |x| s.div(one, x)),
    }
}

#[inline(always)]
fn each<S: Lanes<f32>>(s: S, data: &mut [f32], f: impl Fn(S::V) -> S::V) {
    let mut at = 0;
    while at + S::LANES <= data.len() {
        // SAFETY: at + LANES <= data.len().
        unsafe {
            let to = data.as_mut_ptr().add(at);
            s.store(to, f(s.load(to)));
        }
        at += S::LANES;
    }
}
