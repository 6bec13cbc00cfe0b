//! Owns plain gradient descent: `w -= rate (g + decay w)`, as `torch.optim.SGD`.

use super::super::kernels::{Path, Rule, Stretch};
use super::super::learning::OptimizerSettings;
use super::super::real::Real;
use super::Optimizer;

#[derive(Clone, Copy)]
pub(super) struct Sgd<T> {
    rate: T,
    decay: T,
}

impl<T: Real> Sgd<T> {
    pub(super) fn new(_: &OptimizerSettings, weight_decay: f64) -> Self {
        Self { rate: T::ZERO, decay: T::from_f64(weight_decay) }
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    fn slots(&self) -> usize {
        Self::SLOTS
    }
    fn begin(&mut self, rate: f64) {
        self.rate = T::from_f64(rate);
    }
    fn step(&self, path: Path, stretch: Stretch<'_, T>) {
        T::sweep(path, *self, stretch);
    }
}

impl<T: Real> Rule<T> for Sgd<T> {
    const SLOTS: usize = 0;
    #[inline(always)]
    fn step(self, weight: T, gradient: T, numbers: [T; 2]) -> (T, [T; 2]) {
        (weight - self.rate * (gradient + self.decay * weight), numbers)
    }
}
