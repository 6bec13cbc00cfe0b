//! Owns passes over elements: two operands into one, factors and terms of channels, exponentials.

use super::super::Path;
use super::super::lanes::Lanes;
use super::super::softmax::exp;
use super::*;

/// What two operands are combined by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The greater.
    Max,
    /// The smaller.
    Min,
}

impl Operator {
    /// Of one pair.
    #[inline(always)]
    pub(crate) fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Operator::Add => a + b,
            Operator::Sub => a - b,
            Operator::Mul => a * b,
            Operator::Div => a / b,
            Operator::Max => {
                if a > b {
                    a
                } else {
                    b
                }
            }
            Operator::Min => {
                if a < b {
                    a
                } else {
                    b
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn combine(operator: Operator, left: &[f32], right: &[f32], out: &mut [f32]) {
    // A loop for each, so that each becomes vectors.
    macro_rules! each {
        ($operator:expr) => {
            left.iter().zip(right).zip(out).for_each(|((&a, &b), to)| *to = $operator.apply(a, b))
        };
    }
    match operator {
        Operator::Add => each!(Operator::Add),
        Operator::Sub => each!(Operator::Sub),
        Operator::Mul => each!(Operator::Mul),
        Operator::Div => each!(Operator::Div),
        Operator::Max => each!(Operator::Max),
        Operator::Min => each!(Operator::Min),
    }
}

#[inline(always)]
pub(super) fn scale(from: &[f32], factors: &[f32], terms: &[f32], out: &mut [f32]) {
    let length = factors.len().max(1);
    for (from, out) in from.chunks_exact(length).zip(out.chunks_exact_mut(length)) {
        for (((to, &x), &factor), &term) in out.iter_mut().zip(from).zip(factors).zip(terms) {
            *to = x.mul_add(factor, term);
        }
    }
}

/// `e^(x - greatest)` of each `x`, none of which is more than `greatest`. The length is whole groups.
pub(crate) fn exponentials(path: Path, greatest: f32, data: &mut [f32]) {
    #[inline(always)]
    fn all<S: Lanes<f32>>(s: S, greatest: f32, data: &mut [f32]) {
        let mut at = 0;
        while at + S::LANES <= data.len() {
            // SAFETY: at + LANES <= data.len().
            unsafe {
                let to = data.as_mut_ptr().add(at);
                s.store(to, exp(s, s.sub(s.load(to), s.splat(greatest))));
            }
            at += S::LANES;
        }
    }
    on_path!(path, all, (greatest: f32, data: &mut [f32]) -> ());
}
