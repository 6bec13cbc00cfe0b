//! Owns giving a task to a node of the original system: by its one call, in double precision.

use crate::engine::Outcome;
use crate::jobs::training::{self, OriginalTask, TrainingMetrics};
use crate::jobs::{TaskInput, TaskOutput, TaskSpec};
use crate::model::Mlp;
use crate::rpc::{Client, Input, Output, RpcError};
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient, TrainResult, Weights};
use crate::wire::convert;
use std::time::Instant;
use thrift::OrderedFloat;

/// Has a training task done; what the call cannot say makes the outcome `Lost`, so that another node gets the task.
pub(super) fn train(
    client: &mut Client<ComputeNodeSyncClient<Input, Output>>,
    task: &TaskSpec,
    policy: i32,
) -> Result<Outcome, RpcError> {
    let (before, weights, path, parameters) = match arguments(task) {
        Ok(arguments) => arguments,
        Err(reason) => return Ok(Outcome::Lost { reason }),
    };
    let (h, k) = (before.shape().sizes()[1] as i32, before.outputs() as i32);
    let (eta, epochs) = (OrderedFloat(parameters.eta), parameters.epochs.min(i32::MAX as u32) as i32);
    let start = Instant::now();
    // The fourth argument is the node's own affair; the original coordinator's value was not used either.
    let answer =
        client.call(|c| c.train_with_weights(path, weights, OrderedFloat(0.0), k, h, eta, epochs, policy))?;
    let busy_s = start.elapsed().as_secs_f64();
    if !answer.accepted.unwrap_or(false) {
        return Ok(Outcome::Refused);
    }
    Ok(match output(&answer, &before) {
        Ok(output) => Outcome::Done { output, busy_s, delayed: false },
        Err(reason) => Outcome::Lost { reason },
    })
}

fn arguments(task: &TaskSpec) -> Result<(Mlp<f32>, Weights, String, OriginalTask), String> {
    let [TaskInput::Shard { path, .. }, TaskInput::Made(weights)] = task.inputs.as_slice() else {
        return Err(format!("the original system has no tasks of kind '{}'", task.kind));
    };
    let parameters = serde_json::from_str(&task.parameters).map_err(|e| e.to_string())?;
    let (before, _) = Mlp::from_safetensors(weights.bytes()).map_err(|e| e.to_string())?;
    if task.kind != training::KIND.name || before.shape().sizes().len() != 3 {
        return Err("the original system trains networks of one hidden layer only".to_owned());
    }
    let weights = before.cast().and_then(|wide| convert::weights_to_original(&wide)).map_err(|e| e.to_string())?;
    Ok((before, weights, path.clone(), parameters))
}

fn output(answer: &TrainResult, before: &Mlp<f32>) -> Result<TaskOutput, String> {
    let weights = answer.weights.as_ref().ok_or("it answers without weights")?;
    let change =
        convert::weights_from_original(weights).and_then(|wide| wide.cast::<f32>()).map_err(|e| e.to_string())?;
    if change.shape() != before.shape() {
        return Err(format!("its weights are of shape {}, not {}", change.shape(), before.shape()));
    }
    let training_error = answer.training_error.map_or(f64::NAN, |error| error.0);
    // The call does not tell the number of rows: 0 stands for "those of the shard".
    let metrics = TrainingMetrics { training_error, rows: 0, epochs: 0, loss: None };
    let metrics = serde_json::to_string(&metrics).map_err(|e| e.to_string())?;
    Ok(TaskOutput { bytes: change.to_safetensors(None), metrics })
}
