//! Owns the measure of what a processor can do at most: fused multiply-adds on registers and nothing else.

use super::lanes::Lanes;
use std::hint::black_box;

/// Chains side by side: more than a processor needs to be busy, few enough for its registers.
const CHAINS: usize = 12;

/// Goes `rounds` steps along all chains; returns the floating-point operations done.
#[inline(always)]
pub(super) fn chains<S: Lanes<f32>>(s: S, rounds: usize) -> usize {
    let (factor, more) = (s.splat(black_box(0.999)), s.splat(black_box(1e-3)));
    let mut sums = [s.splat(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.fma(*sum, factor, more);
        }
    }
    let total = sums.iter().fold(0.0, |total, &sum| total + s.sum([sum; 2]));
    black_box(total);
    rounds * CHAINS * S::LANES * 2
}
