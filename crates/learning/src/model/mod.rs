//! Owns the model: its weights, how it learns and predicts, and how changes to it become the next one.

mod activation;
mod damping;
mod error;
pub mod files;
mod fold;
pub mod forest;
mod form;
mod forward;
mod kernels;
mod learn;
#[cfg(test)]
mod learn_tests;
mod learning;
mod loss;
mod measure;
mod mlp;
mod optimizer;
mod outer;
mod predict;
mod real;
#[cfg(test)]
mod reference;
mod schedule;
mod seed_lists;
mod shape;
mod train;
mod weights;

pub use activation::Activation;
pub use damping::{InputMeans, undershoot};
pub use error::ModelError;
pub(crate) use files::protobuf;
pub use fold::{FOLDS, Fold, FoldRow, FoldSettings, Order};
pub use form::{Form, Model, Output};
pub use forward::{Forward, to_probabilities};
pub use kernels::Path;
pub(crate) use kernels::images;
pub use learn::{learn, learn_on, learn_with_means};
pub use learning::{Learned, Learning, Method, OptimizerSettings, Place, Schedule};
pub use measure::{Answers, Confused, Measured, measure};
pub use mlp::{Init, Mlp};
pub use optimizer::{Entry as OptimizerEntry, OPTIMIZERS};
pub use outer::{OUTERS, Outer, OuterRow, OuterSettings, OuterState};
pub use predict::{error_rate, predict, probabilities, values};
pub use real::Real;
pub use schedule::{SCHEDULES, ScheduleEntry};
pub use seed_lists::Lists;
pub use shape::{MAX_LAYERS, MAX_PARAMETERS, MAX_UNITS, Shape};
pub use train::{GradientDescent, Trained, train, train_on};
