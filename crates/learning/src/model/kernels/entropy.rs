//! Owns the output layer of learning: exact softmax with cross-entropy, and squared error.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::super::loss::Tally;
use super::super::real::Real;
use super::lanes::Lanes;
use super::softmax::{Exponentials, TOGETHER, exponentials, exponentials_in_place};

/// What the rows of a block are to teach.
#[derive(Clone, Copy)]
pub enum Goal<'a, T> {
    /// A class each.
    Classes {
        /// One per row.
        labels: &'a [u32],
        /// What the class of the row gets over the others: 1 without label smoothing.
        surplus: T,
        /// What every class gets, a padded row: 0 without label smoothing, and in the padding.
        share: &'a [T],
    },
    /// A number each, standardised.
    Values(&'a [T]),
}

impl<T> Goal<'_, T> {
    /// Of how many rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Goal::Classes { labels, .. } => labels.len(),
            Goal::Values(values) => values.len(),
        }
    }
}

/// Turns the outputs of a block, in rows as long as `real`, into error signals, and counts its loss.
///
/// `real` is 1 for every output and 0 for padding.
#[inline(always)]
pub(super) fn signals<T: Real, S: Lanes<T>>(
    s: S,
    out: &mut [T],
    real: &[T],
    goal: Goal<'_, T>,
    tally: &mut Tally,
) {
    match goal {
        Goal::Classes { labels, surplus, share } => {
            let blocks = out.chunks_exact_mut(TOGETHER * real.len());
            for (rows, labels) in blocks.zip(labels.chunks(TOGETHER)) {
                // Rows of padding get some label; nobody looks at their signal.
                let label = std::array::from_fn(|row| labels.get(row).map_or(0, |&label| label as usize));
                let (sums, margins) = softmax(s, rows, real, share, surplus, label);
                for (&sum, &margin) in sums.iter().zip(&margins).take(labels.len()) {
                    tally.class(sum, margin);
                }
                tally.settle();
            }
        }
        Goal::Values(values) => {
            for (row, &value) in out.chunks_exact_mut(real.len()).zip(values) {
                let missing = value - row[0];
                row.fill(T::ZERO);
                row[0] = missing;
                tally.value(missing.to_f64());
            }
        }
    }
}

/// Turns rows of logits into error signals `R - Y`, where `Y_j = exp(O_j - max) / sum_m exp(O_m - max)` and `R` is
/// `share`, and `surplus` more for the label. Returns each row's sum, and how far its label's logit is below its
/// greatest.
#[inline(always)]
fn softmax<T: Real, S: Lanes<T>>(
    s: S,
    rows: &mut [T],
    real: &[T],
    share: &[T],
    surplus: T,
    labels: [usize; TOGETHER],
) -> ([f64; TOGETHER], [f64; TOGETHER]) {
    let (step, group) = (real.len(), S::LANES * S::PER_GROUP);
    assert!(step >= group && step.is_multiple_of(group) && rows.len() == TOGETHER * step && share.len() == step);
    assert!(labels.iter().all(|&label| label < step));
    let to = rows.as_mut_ptr();
    let mut margins = [0.0; TOGETHER];
    // SAFETY (all of the body): the rows, `real` and `share` are as long as the callees want them, labels are inside a
    // row, and r * step + at + LANES <= rows.len() as a row is whole groups.
    unsafe {
        let mut right = [T::ZERO; TOGETHER];
        for r in 0..TOGETHER {
            right[r] = *to.add(r * step + labels[r]);
        }
        let (greatest, sums) = match step / S::LANES {
            1 => softmax_of::<T, S, 1>(s, to, real.as_ptr(), share.as_ptr()),
            2 => softmax_of::<T, S, 2>(s, to, real.as_ptr(), share.as_ptr()),
            4 if S::MANY_REGISTERS => softmax_of::<T, S, 4>(s, to, real.as_ptr(), share.as_ptr()),
            _ => {
                let (greatest, sums) = exponentials_in_place(s, to, step, real.as_ptr());
                for r in 0..TOGETHER {
                    let minus_inverse = s.splat(sums[r].minus_inverse());
                    for at in (0..step).step_by(S::LANES) {
                        let here = to.add(r * step + at);
                        s.store(here, s.fma(s.load(here), minus_inverse, s.load(share.as_ptr().add(at))));
                    }
                }
                (greatest, sums)
            }
        };
        let mut totals = [0.0; TOGETHER];
        for r in 0..TOGETHER {
            let here = to.add(r * step + labels[r]);
            *here = *here + surplus;
            margins[r] = (greatest[r] - right[r]).to_f64();
            totals[r] = sums[r].to_f64();
        }
        (totals, margins)
    }
}

/// Turns rows of `VECTORS` vectors into `share - Y`; returns the greatest logits and the sums.
///
/// # Safety
/// As for [`exponentials`], `rows` can be written, and one row can be read at `share`.
#[inline(always)]
unsafe fn softmax_of<T: Real, S: Lanes<T>, const VECTORS: usize>(
    s: S,
    rows: *mut T,
    real: *const T,
    share: *const T,
) -> ([T; TOGETHER], [T; TOGETHER]) {
    // SAFETY: as the caller vouches.
    unsafe {
        let Exponentials { e, greatest, sums } = exponentials::<T, S, VECTORS>(s, rows, real);
        for r in 0..TOGETHER {
            let minus_inverse = s.splat(sums[r].minus_inverse());
            for v in 0..VECTORS {
                let signal = s.fma(e[r][v], minus_inverse, s.load(share.add(v * S::LANES)));
                s.store(rows.add((r * VECTORS + v) * S::LANES), signal);
            }
        }
        (greatest, sums)
    }
}
