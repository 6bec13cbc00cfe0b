//! Owns the optimisers: the table of them, and what each must do.
//!
//! To add one, write a file like `momentum.rs` and a row in [`OPTIMIZERS`].

mod adam;
mod adamw;
mod momentum;
mod nesterov;
mod sgd;

use super::kernels::{Path, Stretch};
use super::learning::OptimizerSettings;

/// Turns gradients into steps, for one task: what it remembers begins at 0.
pub trait Optimizer<T> {
    /// How many numbers it keeps for each weight: 0, 1 or 2.
    fn slots(&self) -> usize;
    /// Begins the next step, which has this learning rate.
    fn begin(&mut self, rate: f64);
    /// Moves some of the weights; between two calls of `begin` it is called once for each.
    #[doc(hidden)]
    fn step(&self, path: Path, stretch: Stretch<'_, T>);
}

/// Makes an optimiser of its settings and the weight decay.
pub(super) type Make<T> = fn(&OptimizerSettings, f64) -> Box<dyn Optimizer<T>>;

/// A row of the table of optimisers.
#[derive(Clone, Copy)]
pub struct Entry {
    /// What it is called.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    pub(super) single: Make<f32>,
    pub(super) double: Make<f64>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A row, from the type of the optimiser: it has a `new` with the settings and the weight decay.
macro_rules! entry {
    ($name:expr, $Type:ident, $about:expr) => {
        Entry {
            name: $name,
            about: $about,
            single: |settings, weight_decay| Box::new($Type::<f32>::new(settings, weight_decay)),
            double: |settings, weight_decay| Box::new($Type::<f64>::new(settings, weight_decay)),
        }
    };
}

use adam::Adam;
use adamw::AdamW;
use momentum::Momentum;
use nesterov::Nesterov;
use sgd::Sgd;

/// All optimisers.
pub const OPTIMIZERS: &[Entry] = &[
    entry!("sgd", Sgd, "gradient descent, a step along the gradient of each batch"),
    entry!("momentum", Momentum, "gradient descent with a velocity (Polyak 1964)"),
    entry!("nesterov", Nesterov, "the same, with the gradient ahead of the step (Nesterov 1983)"),
    entry!("adam", Adam, "steps scaled by running moments of the gradient (Kingma and Ba 2015)"),
    entry!("adamw", AdamW, "Adam with weight decay beside the gradient (Loshchilov and Hutter 2019)"),
];

/// The optimiser of this name.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    OPTIMIZERS.iter().find(|entry| entry.name == name)
}
