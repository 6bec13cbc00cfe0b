//! Owns the measuring of models on validation rows, on a thread of its own beside the next round's training.

use super::shell::Teller;
use crate::data::shared::Blob;
use crate::engine::Event;
use crate::model::{self, Measured, Model};
use crate::priority;
use crate::rpc::RpcError;
use crate::types::{JobId, Round};
use crossbeam_channel::Sender;
use std::sync::Arc;

/// How many models may wait to be measured.
const QUEUE: usize = 1024;

/// It gives way to the threads that answer, and that write the log.
const NICE: u8 = 5;

/// A model to measure.
pub(super) struct Measure {
    pub(super) job: JobId,
    pub(super) round: Round,
    pub(super) model: Arc<Model>,
    pub(super) validation: Arc<Blob>,
    /// Who wants to know.
    pub(super) teller: Teller,
}

/// Starts the thread; it ends when the sender is dropped.
pub(super) fn start() -> Result<Sender<Measure>, RpcError> {
    let (queue, work) = crossbeam_channel::bounded::<Measure>(QUEUE);
    let thread = std::thread::Builder::new().name("evaluator".to_owned());
    let run = move || {
        priority::give_way(NICE);
        for Measure { job, round, model, validation, teller } in work {
            let measured = measure(&model, &validation).map(Box::new);
            if !teller.tell(Event::Evaluated { job, round, measured }) {
                return;
            }
        }
    };
    thread.spawn(run).map_err(|source| RpcError::CannotServe { source })?;
    Ok(queue)
}

fn measure(model: &Model, validation: &Blob) -> Result<Measured, String> {
    let data = validation.dataset(model.classes()).map_err(|e| format!("validation rows: {e}"))?;
    model::measure(model, &data).map_err(|e| e.to_string())
}
