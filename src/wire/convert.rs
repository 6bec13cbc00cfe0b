//! Owns the step between wire types and ours, in both directions.

use super::blobs::Rejected;
use super::compute_node::Weights;
use crate::model::{Mlp, ModelError};
use thrift::OrderedFloat;

/// The matrices of the original system's calls as a network.
///
/// # Errors
/// They are missing, ragged, do not fit each other, or hold something that is no finite number.
pub fn weights_from_original(weights: &Weights) -> Result<Mlp<f64>, ModelError> {
    let matrix = |rows: &Option<Vec<Vec<OrderedFloat<f64>>>>| -> Vec<Vec<f64>> {
        rows.iter().flatten().map(|row| row.iter().map(|value| value.0).collect()).collect()
    };
    Mlp::from_seed(&matrix(&weights.v), &matrix(&weights.w))
}

/// A network (or a change of one) as the matrices of the original system's calls.
///
/// # Errors
/// It has not exactly one hidden layer.
pub fn weights_to_original(model: &Mlp<f64>) -> Result<Weights, ModelError> {
    let (v, w) = model.to_seed()?;
    let matrix =
        |rows: Vec<Vec<f64>>| rows.into_iter().map(|row| row.into_iter().map(OrderedFloat).collect()).collect();
    Ok(Weights { v: Some(matrix(v)), w: Some(matrix(w)) })
}

/// An error for a call that declares none of its own.
pub fn application_error(reason: String) -> thrift::Error {
    thrift::Error::Application(thrift::ApplicationError::new(thrift::ApplicationErrorKind::InternalError, reason))
}

/// An error for a call that declares [`Rejected`].
pub fn rejected(reason: impl ToString) -> thrift::Error {
    Rejected { reason: reason.to_string() }.into()
}
