//! Owns AdamW: `w -= rate decay w`, then Adam's step of the gradient alone, as `torch.optim.AdamW`.

use super::super::kernels::{Path, Rule, Stretch};
use super::super::learning::OptimizerSettings;
use super::super::real::Real;
use super::Optimizer;
use super::adam::Moments;

#[derive(Clone, Copy)]
pub(super) struct AdamW<T> {
    moments: Moments<T>,
    decay: f64,
    /// `1 - rate decay`
    keep: T,
}

impl<T: Real> AdamW<T> {
    pub(super) fn new(settings: &OptimizerSettings, weight_decay: f64) -> Self {
        Self { moments: Moments::new(settings), decay: weight_decay, keep: T::ZERO }
    }
}

impl<T: Real> Optimizer<T> for AdamW<T> {
    fn slots(&self) -> usize {
        Self::SLOTS
    }
    fn begin(&mut self, rate: f64) {
        self.moments.begin(rate);
        self.keep = T::from_f64(1.0 - rate * self.decay);
    }
    fn step(&self, path: Path, stretch: Stretch<'_, T>) {
        T::sweep(path, *self, stretch);
    }
}

impl<T: Real> Rule<T> for AdamW<T> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(self, weight: T, gradient: T, numbers: [T; 2]) -> (T, [T; 2]) {
        let (step, numbers) = self.moments.step(gradient, numbers);
        (self.keep * weight - step, numbers)
    }
}
