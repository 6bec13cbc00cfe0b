//! Owns the output layer: from logits to the error signal, and the exponential that takes.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::lanes::Lanes;
use std::ops::{Add, Div, Mul, Sub};

/// Constants of the exponential for one type.
pub trait Exponential:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + 'static
{
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
    /// The square root.
    fn root(self) -> Self;
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
    fn root(self) -> f32 {
        self.sqrt()
    }
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
    fn root(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn minus_inverse(self) -> f64 {
        -1.0 / self
    }
    #[inline(always)]
    fn settle(self) -> (f64, f64) {
        (-self, 1.0 + self)
    }
}

/// `e^x` for `x <= -FLOOR`, within 2 units in the last place; NaN stays NaN.
#[inline(always)]
pub(super) fn exp<T: Exponential, S: Lanes<T>>(s: S, x: S::V) -> S::V {
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

/// Rows of logits, taken to `e = exp(logit - greatest)`; in padding 0.
pub(super) struct Exponentials<T, S: Lanes<T>, const VECTORS: usize> {
    /// The vectors of each row.
    pub e: [[S::V; VECTORS]; TOGETHER],
    /// The greatest logit of each row.
    pub greatest: [T; TOGETHER],
    /// The sum of the exponentials of each row.
    pub sums: [T; TOGETHER],
}

/// Takes rows of `VECTORS` vectors to their exponentials, all in registers.
///
/// # Safety
/// `TOGETHER` rows of `VECTORS` vectors, a whole number of groups, follow each other at `rows`, one is at `real`.
#[inline(always)]
pub(super) unsafe fn exponentials<T: Exponential, S: Lanes<T>, const VECTORS: usize>(
    s: S,
    rows: *const T,
    real: *const T,
) -> Exponentials<T, S, VECTORS> {
    // SAFETY (all of the body): every offset is below TOGETHER rows of VECTORS vectors; `real` has one row.
    unsafe {
        let mut e = [[s.splat(T::ZERO); VECTORS]; TOGETHER];
        let (mut greatest, mut sums) = ([T::ZERO; TOGETHER], [T::ZERO; TOGETHER]);
        // No closures here: they would be compiled without the path's instructions.
        for r in 0..TOGETHER {
            for v in 0..VECTORS {
                e[r][v] = s.load(rows.add((r * VECTORS + v) * S::LANES));
            }
        }
        for r in 0..TOGETHER {
            let mut most = [e[r][0], e[r][S::PER_GROUP - 1]];
            for v in S::PER_GROUP..VECTORS {
                most[v % S::PER_GROUP] = s.max(most[v % S::PER_GROUP], e[r][v]);
            }
            greatest[r] = s.greatest(most);
        }
        let mut shift = [s.splat(T::ZERO); TOGETHER];
        for r in 0..TOGETHER {
            shift[r] = s.splat(greatest[r]);
        }
        let mut totals = [[s.splat(T::ZERO); 2]; TOGETHER];
        for v in 0..VECTORS {
            let real = s.load(real.add(v * S::LANES));
            for r in 0..TOGETHER {
                e[r][v] = s.mul(exp(s, s.sub(e[r][v], shift[r])), real);
                totals[r][v % S::PER_GROUP] = s.add(totals[r][v % S::PER_GROUP], e[r][v]);
            }
        }
        for r in 0..TOGETHER {
            sums[r] = s.sum(totals[r]);
        }
        Exponentials { e, greatest, sums }
    }
}

/// As [`exponentials`] for rows of any length, which are left in their place; returns the greatest and the sums.
///
/// # Safety
/// `TOGETHER` rows of `step` elements, a whole number of groups, follow each other at `to`; one is at `real`.
#[inline(always)]
pub(super) unsafe fn exponentials_in_place<T: Exponential, S: Lanes<T>>(
    s: S,
    to: *mut T,
    step: usize,
    real: *const T,
) -> ([T; TOGETHER], [T; TOGETHER]) {
    let group = S::LANES * S::PER_GROUP;
    // SAFETY (all of the body): r < TOGETHER and at + v * LANES + LANES <= step, as a row is whole groups.
    unsafe {
        let mut most = [[s.splat(T::ZERO); 2]; TOGETHER];
        for r in 0..TOGETHER {
            most[r] = [s.load(to.add(r * step)); 2];
        }
        for at in (0..step).step_by(group) {
            for v in 0..S::PER_GROUP {
                for r in 0..TOGETHER {
                    let here = to.add(r * step + at + v * S::LANES);
                    most[r][v] = s.max(most[r][v], s.load(here));
                }
            }
        }
        let (mut greatest, mut sums) = ([T::ZERO; TOGETHER], [T::ZERO; TOGETHER]);
        let mut shift = [s.splat(T::ZERO); TOGETHER];
        for r in 0..TOGETHER {
            greatest[r] = s.greatest(most[r]);
            shift[r] = s.splat(greatest[r]);
        }
        let mut totals = [[s.splat(T::ZERO); 2]; TOGETHER];
        for at in (0..step).step_by(group) {
            for v in 0..S::PER_GROUP {
                let real = s.load(real.add(at + v * S::LANES));
                for r in 0..TOGETHER {
                    let here = to.add(r * step + at + v * S::LANES);
                    let e = s.mul(exp(s, s.sub(s.load(here), shift[r])), real);
                    totals[r][v] = s.add(totals[r][v], e);
                    s.store(here, e);
                }
            }
        }
        for r in 0..TOGETHER {
            sums[r] = s.sum(totals[r]);
        }
        (greatest, sums)
    }
}

/// The error signal `-Y` of the original's rule, of an exponential and -1 / their sum.
#[inline(always)]
fn signal<T: Exponential, S: Lanes<T>>(s: S, e: S::V, minus_inverse: S::V) -> S::V {
    let minus_q = s.mul(e, minus_inverse);
    let small = s.mul(minus_q, s.splat(T::EPSILON));
    let small = s.fma(small, small, small);
    s.fma(small, minus_q, minus_q)
}

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
    // SAFETY (all of the body): the rows and `real` are as long as the callees want them, labels are inside a row, and
    // r * step + at + LANES <= rows.len() as a row is whole groups.
    unsafe {
        match step / S::LANES {
            1 => error_signals_of::<T, S, 1>(s, to, real.as_ptr()),
            2 => error_signals_of::<T, S, 2>(s, to, real.as_ptr()),
            4 if S::MANY_REGISTERS => error_signals_of::<T, S, 4>(s, to, real.as_ptr()),
            _ => {
                let (_, sums) = exponentials_in_place(s, to, step, real.as_ptr());
                for r in 0..TOGETHER {
                    let minus_inverse = s.splat(sums[r].minus_inverse());
                    for at in (0..step).step_by(S::LANES) {
                        let here = to.add(r * step + at);
                        s.store(here, signal::<T, S>(s, s.load(here), minus_inverse));
                    }
                }
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

/// Turns rows of `VECTORS` vectors into `-Y`.
///
/// # Safety
/// As for [`exponentials`], and `rows` can be written.
#[inline(always)]
unsafe fn error_signals_of<T: Exponential, S: Lanes<T>, const VECTORS: usize>(s: S, rows: *mut T, real: *const T) {
    // SAFETY: as the caller vouches.
    unsafe {
        let Exponentials { e, sums, .. } = exponentials::<T, S, VECTORS>(s, rows, real);
        for r in 0..TOGETHER {
            let minus_inverse = s.splat(sums[r].minus_inverse());
            for v in 0..VECTORS {
                s.store(rows.add((r * VECTORS + v) * S::LANES), signal::<T, S>(s, e[r][v], minus_inverse));
            }
        }
    }
}
