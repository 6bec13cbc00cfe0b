//! Owns the model: its weights, how it learns and predicts, and how changes to it are averaged.

mod average;
mod error;
mod kernels;
mod loss;
mod mlp;
mod predict;
mod real;
#[cfg(test)]
mod reference;
mod seed_lists;
mod shape;
mod train;
mod weights;

pub use average::WeightedMean;
pub use error::ModelError;
pub use kernels::Path;
pub use mlp::Mlp;
pub use predict::{error_rate, predict};
pub use real::Real;
pub use seed_lists::Lists;
pub use shape::{MAX_LAYERS, MAX_PARAMETERS, MAX_UNITS, Shape};
pub use train::{GradientDescent, Trained, train, train_on};
pub use weights::Metadata;
