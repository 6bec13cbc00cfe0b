//! Owns Adam: `m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2`, and
//! `w -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)`, as `torch.optim.Adam`.

use super::super::kernels::{Path, Rule, Stretch};
use super::super::learning::OptimizerSettings;
use super::super::real::Real;
use super::Optimizer;

#[derive(Clone, Copy)]
pub(super) struct Adam<T> {
    moments: Moments<T>,
    decay: T,
}

impl<T: Real> Adam<T> {
    pub(super) fn new(settings: &OptimizerSettings, weight_decay: f64) -> Self {
        Self { moments: Moments::new(settings), decay: T::from_f64(weight_decay) }
    }
}

impl<T: Real> Optimizer<T> for Adam<T> {
    fn slots(&self) -> usize {
        Self::SLOTS
    }
    fn begin(&mut self, rate: f64) {
        self.moments.begin(rate);
    }
    fn step(&self, path: Path, stretch: Stretch<'_, T>) {
        T::sweep(path, *self, stretch);
    }
}

impl<T: Real> Rule<T> for Adam<T> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(self, weight: T, gradient: T, numbers: [T; 2]) -> (T, [T; 2]) {
        let (step, numbers) = self.moments.step(gradient + self.decay * weight, numbers);
        (weight - step, numbers)
    }
}

/// The running moments that Adam and AdamW have in common.
#[derive(Clone, Copy)]
pub(super) struct Moments<T> {
    beta1: f64,
    beta2: f64,
    /// `beta1^t`, and so on: by one multiplication a step, as powers differ between machines.
    power1: f64,
    power2: f64,
    keep1: T,
    take1: T,
    keep2: T,
    take2: T,
    epsilon: T,
    /// `rate / (1 - beta1^t)`
    rate: T,
    /// `1 / sqrt(1 - beta2^t)`
    widen: T,
}

impl<T: Real> Moments<T> {
    pub(super) fn new(settings: &OptimizerSettings) -> Self {
        let (beta1, beta2) = (settings.beta1, settings.beta2);
        Self {
            beta1,
            beta2,
            power1: 1.0,
            power2: 1.0,
            keep1: T::from_f64(beta1),
            take1: T::from_f64(1.0 - beta1),
            keep2: T::from_f64(beta2),
            take2: T::from_f64(1.0 - beta2),
            epsilon: T::from_f64(settings.epsilon),
            rate: T::ZERO,
            widen: T::ZERO,
        }
    }

    pub(super) fn begin(&mut self, rate: f64) {
        self.power1 *= self.beta1;
        self.power2 *= self.beta2;
        self.rate = T::from_f64(rate / (1.0 - self.power1));
        self.widen = T::from_f64(1.0 / (1.0 - self.power2).sqrt());
    }

    /// How far a weight goes down, and its moments after that.
    #[inline(always)]
    pub(super) fn step(self, gradient: T, [first, second]: [T; 2]) -> (T, [T; 2]) {
        let first = self.keep1 * first + self.take1 * gradient;
        let second = self.keep2 * second + self.take2 * gradient * gradient;
        let step = self.rate * first / (second.root() * self.widen + self.epsilon);
        (step, [first, second])
    }
}
