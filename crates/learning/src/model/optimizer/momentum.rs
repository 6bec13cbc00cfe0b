//! Owns gradient descent with momentum: `v = momentum v + g; w -= rate v`, as `torch.optim.SGD`.

use super::super::kernels::{Path, Rule, Stretch};
use super::super::learning::OptimizerSettings;
use super::super::real::Real;
use super::Optimizer;

#[derive(Clone, Copy)]
pub(super) struct Momentum<T> {
    momentum: T,
    rate: T,
    decay: T,
}

impl<T: Real> Momentum<T> {
    pub(super) fn new(settings: &OptimizerSettings, weight_decay: f64) -> Self {
        let momentum = T::from_f64(settings.momentum);
        Self { momentum, rate: T::ZERO, decay: T::from_f64(weight_decay) }
    }
}

impl<T: Real> Optimizer<T> for Momentum<T> {
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

impl<T: Real> Rule<T> for Momentum<T> {
    const SLOTS: usize = 1;
    #[inline(always)]
    fn step(self, weight: T, gradient: T, [velocity, none]: [T; 2]) -> (T, [T; 2]) {
        let velocity = self.momentum * velocity + (gradient + self.decay * weight);
        (weight - self.rate * velocity, [velocity, none])
    }
}
