//! Owns the output layer: from logits to the error signal, and the exponential that takes.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::lanes::Lanes;

/// Constants of the exponential for one type.
pub trait Exponential: Copy + 'static {
    /// 0.
    const ZERO: Self;
    /// 1 / ln 2.
    const LOG2_E: Self;
    /// 1.5 * 2^(mantissa bits): adding it rounds to an integer, which then stands in the lowest bits.
    const MAGIC: Self;
    /// -ln 2, cut so that small multiples of it are exact.
    const MINUS_LN2_HIGH: Self;
    /// What is missing of -ln 2.
    const MINUS_LN2_LOW: Self;
    /// Arguments below are taken for this, whose exponential is still a normal number.
    const FLOOR: Self;
    /// The polynomial for `|r| <= ln 2 / 2`, highest power first.
    const POLYNOMIAL: &'static [Self];
    /// The 1e-6 of the output rule.
    const EPSILON: Self;
    /// `-1 / x`
    fn minus_inverse(self) -> Self;
    /// Takes the value for the negative probability of the right class; returns that probability, and the error
    /// signal of that class, `1 - probability`.
    fn settle(self) -> (f64, Self);
}

impl Exponential for f32 {
    const ZERO: f32 = 0.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const MAGIC: f32 = 12_582_912.0;
    const MINUS_LN2_HIGH: f32 = -0.693_359_4;
    const MINUS_LN2_LOW: f32 = 2.121_944_4e-4;
    const FLOOR: f32 = -87.0;
    // Cephes, expf.c: relative error 6e-8.
    const POLYNOMIAL: &'static [f32] =
        &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0];
    const EPSILON: f32 = 1e-6;
    #[inline(always)]
    fn minus_inverse(self) -> f32 {
        -1.0 / self
    }
    #[inline(always)]
    fn settle(self) -> (f64, f32) {
        (f64::from(-self), 1.0 + self)
    }
}

impl Exponential for f64 {
    const ZERO: f64 = 0.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const MINUS_LN2_HIGH: f64 = -6.931_471_803_691_238e-1;
    const MINUS_LN2_LOW: f64 = -1.908_214_929_270_587_7e-10;
    const FLOOR: f64 = -708.0;
    // Taylor to the 13th power: the first term left out is below 5e-18.
    const POLYNOMIAL: &'static [f64] = &[
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    const EPSILON: f64 = 1e-6;
    #[inline(always)]
    fn minus_inverse(self) -> f64 {
        -1.0 / self
    }
    #[inline(always)]
    fn settle(self) -> (f64, f64) {
        (-self, 1.0 + self)
    }
}

/// `e^x` for `x <= 0`, within 2 units in the last place; NaN stays NaN.
#[inline(always)]
fn exp<T: Exponential, S: Lanes<T>>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(T::FLOOR), x);
    let t = s.fma(x, s.splat(T::LOG2_E), s.splat(T::MAGIC));
    let n = s.sub(t, s.splat(T::MAGIC));
    let r = s.fma(n, s.splat(T::MINUS_LN2_HIGH), x);
    let r = s.fma(n, s.splat(T::MINUS_LN2_LOW), r);
    let mut p = s.splat(T::POLYNOMIAL[0]);
    for &coefficient in &T::POLYNOMIAL[1..] {
        p = s.fma(p, r, s.splat(coefficient));
    }
    s.scale(p, t)
}

/// Rows whose output layer is computed side by side: one row alone would wait for its own results most of the time.
pub(super) const TOGETHER: usize = 4;

/// Turns rows of logits into error signals `R - Y`, and returns the `Y` of each row's label.
///
/// `Y_j = 1 / (sum_m exp(O_m - O_j) + 1e-6)`, which with `q_j = exp(O_j - max) / sum_m exp(O_m - max)` is
/// `q / (1 + 1e-6 q)`, here by the series `q (1 - 1e-6 q + (1e-6 q)^2)`: the rest is below 1e-18. `real` is 1 for
/// classes and 0 for padding, where logits must be so low that they are never the greatest. The rows follow each
/// other and are as long as `real`, a number of whole groups.
#[inline(always)]
pub(super) fn error_signals<T: Exponential, S: Lanes<T>>(
    s: S,
    rows: &mut [T],
    real: &[T],
    labels: [usize; TOGETHER],
) -> [f64; TOGETHER] {
    let (step, group) = (real.len(), S::LANES * S::PER_GROUP);
    assert!(step >= group && step.is_multiple_of(group) && rows.len() == TOGETHER * step);
    assert!(labels.iter().all(|&label| label < step));
    let to = rows.as_mut_ptr();
    // SAFETY (all of the body): r < TOGETHER and at + v * LANES + LANES <= step, as a row is whole groups; so
    // r * step + at + v * LANES + LANES <= rows.len(), and what is read of `real` is inside too.
    unsafe {
        let mut greatest = [[s.load(to); 2]; TOGETHER];
        for r in 0..TOGETHER {
            greatest[r] = [s.load(to.add(r * step)); 2];
        }
        for at in (0..step).step_by(group) {
            for v in 0..S::PER_GROUP {
                for r in 0..TOGETHER {
                    let here = to.add(r * step + at + v * S::LANES);
                    greatest[r][v] = s.max(greatest[r][v], s.load(here));
                }
            }
        }
        // No closures here: they would be compiled without the path's instructions.
        let mut shift = [s.splat(T::ZERO); TOGETHER];
        for r in 0..TOGETHER {
            shift[r] = s.splat(s.greatest(greatest[r]));
        }
        let mut sums = [[s.splat(T::ZERO); 2]; TOGETHER];
        for at in (0..step).step_by(group) {
            for v in 0..S::PER_GROUP {
                let real = s.load(real.as_ptr().add(at + v * S::LANES));
                for r in 0..TOGETHER {
                    let here = to.add(r * step + at + v * S::LANES);
                    let e = s.mul(exp(s, s.sub(s.load(here), shift[r])), real);
                    sums[r][v] = s.add(sums[r][v], e);
                    s.store(here, e);
                }
            }
        }
        let mut minus_inverse = [s.splat(T::ZERO); TOGETHER];
        for r in 0..TOGETHER {
            minus_inverse[r] = s.splat(s.sum(sums[r]).minus_inverse());
        }
        for at in (0..step).step_by(S::LANES) {
            for r in 0..TOGETHER {
                let here = to.add(r * step + at);
                let minus_q = s.mul(s.load(here), minus_inverse[r]);
                let small = s.mul(minus_q, s.splat(T::EPSILON));
                let small = s.fma(small, small, small);
                s.store(here, s.fma(small, minus_q, minus_q));
            }
        }
        let mut probabilities = [0.0; TOGETHER];
        for r in 0..TOGETHER {
            let here = to.add(r * step + labels[r]);
            (probabilities[r], *here) = (*here).settle();
        }
        probabilities
    }
}
