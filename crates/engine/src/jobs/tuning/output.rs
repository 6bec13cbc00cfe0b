//! Owns the output of a tuning job: all trials, the best of them, and the model that was learnt with it.
//!
//! Safetensors: the text beside the tensors tells all but the model; that is the file of `model` as bytes (`U8`), if there is one.

use super::request::TuningRequest;
use super::trial::Trial;
use crate::model::Measured;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Display;

/// The key of the text in the file's `__metadata__`.
const KEY: &str = "roundtable-tuning";

/// What a tuning job has come to, but for the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// What was asked for.
    pub request: TuningRequest,
    /// All trials, by their numbers.
    pub trials: Vec<Trial>,
    /// The number of the best.
    pub best: u32,
    /// What the model is worth on the validation rows, if one was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit: Option<Measured>,
}

/// The output of a tuning job.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningOutput {
    /// All but the model.
    pub tuned: Tuned,
    /// The model's file, if one was learnt.
    pub model: Option<Vec<u8>>,
}

/// [`Tuned`] to be written, whose trials are made one after the other: thousands at once take more memory than all that is
/// kept of them.
#[derive(Serialize)]
#[serde(rename = "Tuned")]
pub(super) struct Told<'a, T: Iterator<Item = Trial> + Clone> {
    pub(super) request: &'a TuningRequest,
    #[serde(serialize_with = "one_by_one")]
    pub(super) trials: T,
    pub(super) best: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refit: &'a Option<Measured>,
}

fn one_by_one<T, S>(trials: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Iterator<Item = Trial> + Clone,
    S: Serializer,
{
    serializer.collect_seq(trials.clone())
}

impl<T: Iterator<Item = Trial> + Clone> Told<'_, T> {
    /// The bytes of the file, with the model's file.
    pub(super) fn to_bytes(&self, model: Option<&[u8]>) -> Vec<u8> {
        // Numbers and names can be written.
        let text = serde_json::to_string(self).unwrap_or_default();
        let model = model.unwrap_or_default();
        let view = TensorView::new(Dtype::U8, vec![model.len()], model);
        let tensors = view.map(|view| ("model", view)).into_iter();
        let metadata = [(KEY.to_owned(), text)].into();
        safetensors::serialize(tensors, Some(metadata)).unwrap_or_default()
    }
}

/// Bytes that are no output of a tuning job.
#[derive(Debug, thiserror::Error)]
#[error("not the output of a tuning job: {0}")]
pub struct NoOutput(String);

impl TuningOutput {
    /// The bytes of its file; the same output gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Tuned { request, trials, best, refit } = &self.tuned;
        let told = Told { request, trials: trials.iter().cloned(), best: *best, refit };
        told.to_bytes(self.model.as_deref())
    }

    /// Reads it.
    ///
    /// # Errors
    /// The bytes are no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoOutput> {
        let wrong = |e: &dyn Display| NoOutput(e.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(&e))?;
        let text =
            header.metadata().as_ref().and_then(|all| all.get(KEY)).ok_or_else(|| wrong(&"it has no text"))?;
        let tuned: Tuned = serde_json::from_str(text).map_err(|e| wrong(&e))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(&e))?;
        let model = tensors.tensor("model").map_err(|e| wrong(&e))?.data();
        Ok(Self { tuned, model: (!model.is_empty()).then(|| model.to_vec()) })
    }

    /// Whether bytes may be such a file, by their beginning.
    pub fn is_likely(bytes: &[u8]) -> bool {
        let head = bytes.get(8..bytes.len().min(64)).unwrap_or_default();
        head.windows(KEY.len()).any(|window| window == KEY.as_bytes())
    }
}
