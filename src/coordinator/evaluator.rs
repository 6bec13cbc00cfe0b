//! Owns the measuring of models on validation rows, on a thread of its own beside the next round's training.

use super::shell::Message;
use crate::engine::Event;
use crate::model::{self, Mlp};
use crate::rpc::RpcError;
use crate::store::Store;
use crate::types::{Digest, JobId, Round};
use crossbeam_channel::Sender;
use std::sync::Arc;

/// How many models may wait to be measured.
const QUEUE: usize = 1024;

/// A model to measure.
pub(super) struct Measure {
    pub(super) job: JobId,
    pub(super) round: Round,
    pub(super) model: Arc<Mlp<f32>>,
    pub(super) validation: Digest,
}

/// Starts the thread; it ends when the sender is dropped.
pub(super) fn start(store: Arc<Store>, events: Sender<Message>) -> Result<Sender<Measure>, RpcError> {
    let (queue, work) = crossbeam_channel::bounded::<Measure>(QUEUE);
    let thread = std::thread::Builder::new().name("evaluator".to_owned());
    let run = move || {
        for Measure { job, round, model, validation } in work {
            let error = measure(&store, &model, &validation);
            if events.send(Message::Event(Event::Evaluated { job, round, error })).is_err() {
                return;
            }
        }
    };
    thread.spawn(run).map_err(|source| RpcError::CannotServe { source })?;
    Ok(queue)
}

fn measure(store: &Store, model: &Mlp<f32>, validation: &Digest) -> Result<f64, String> {
    let blob = store.get(validation).ok_or("the validation rows are no longer in the store")?;
    let data = blob.dataset(model.outputs()).map_err(|e| format!("validation rows: {e}"))?;
    model::error_rate(model, &data).map_err(|e| e.to_string())
}
