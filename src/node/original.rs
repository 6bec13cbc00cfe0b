//! Owns the original system's call on a node: training in double precision on a file that the node reads itself.

use crate::data::Classes;
use crate::ingest;
use crate::jobs::training::EARLY_STOP;
use crate::model::{self, GradientDescent};
use crate::wire::compute_node::{TrainResult, Weights};
use crate::wire::convert;
use std::path::Path;
use thrift::OrderedFloat;

/// The call's arguments that matter for training.
pub(super) struct Request {
    pub(super) training_file: String,
    pub(super) initial_weights: Weights,
    pub(super) k: i32,
    pub(super) h: i32,
    pub(super) eta: f64,
    pub(super) epochs: i32,
}

/// How the original system says no.
pub(super) fn refusal() -> TrainResult {
    TrainResult {
        accepted: Some(false),
        training_error: Some(OrderedFloat(-1.0)),
        weights: Some(Weights { v: Some(Vec::new()), w: Some(Vec::new()) }),
    }
}

/// Trains, and answers with the change of the weights and the share of wrong answers on the file.
pub(super) fn train(data_dir: &Path, request: &Request, wanted: &dyn Fn() -> bool) -> thrift::Result<TrainResult> {
    run(data_dir, request, wanted).map_err(|reason| {
        log::warn!("train_with_weights on {}: {reason}", request.training_file);
        convert::application_error(reason)
    })
}

fn run(data_dir: &Path, request: &Request, wanted: &dyn Fn() -> bool) -> Result<TrainResult, String> {
    let classes = usize::try_from(request.k).map_err(|_| format!("k is {}, but must be at least 2", request.k))?;
    let epochs = u32::try_from(request.epochs)
        .map_err(|_| format!("epochs is {}, but must be at least 1", request.epochs))?;
    let how = GradientDescent::new(request.eta, epochs, EARLY_STOP).map_err(|e| e.to_string())?;
    let before = convert::weights_from_original(&request.initial_weights).map_err(|e| e.to_string())?;
    let classes = Classes::integers(classes).map_err(|e| e.to_string())?;
    let path = ingest::resolve(data_dir, &request.training_file).map_err(|e| e.to_string())?;
    let data = ingest::load_shard(&path, &classes).map_err(|e| e.to_string())?;
    let (d, h, k) = (data.columns(), i64::from(request.h), classes.len());
    let sizes = before.shape();
    if sizes.sizes() != [d, usize::try_from(h).unwrap_or(0), k] {
        return Err(format!(
            "the weights are of shape {sizes}, but the file has {d} features, h is {h} and k is {k}"
        ));
    }
    let mut after = before.clone();
    model::train(&mut after, &data, &how, wanted).map_err(|e| e.to_string())?;
    let error = model::error_rate(&after, &data).map_err(|e| e.to_string())?;
    let change = after.minus(&before).map_err(|e| e.to_string())?;
    Ok(TrainResult {
        accepted: Some(true),
        training_error: Some(OrderedFloat(error)),
        weights: Some(convert::weights_to_original(&change).map_err(|e| e.to_string())?),
    })
}
