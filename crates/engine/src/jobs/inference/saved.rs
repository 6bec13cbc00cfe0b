//! Owns what is kept of an inference job: the answers so far as an output, and how large batches are.

use super::{Batches, InferenceJob, Output};
use crate::data::shared::Blob;
use crate::jobs::{Files, JobError, Saved};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Kept {
    batches: Batches,
}

pub(super) fn save(job: &InferenceJob) -> Saved {
    // Numbers can be written.
    let json = serde_json::to_string(&Kept { batches: job.request.batches }).unwrap_or_default();
    Saved { json, blobs: vec![Arc::new(Blob::new(job.output().to_bytes()))] }
}

impl InferenceJob {
    /// The job as it was when it was saved.
    pub(super) fn resume(parameters: &str, files: Files, saved: &Saved) -> Result<Self, JobError> {
        let mut job = Self::start(parameters, files)?;
        let Kept { batches } = serde_json::from_str(&saved.json).map_err(wrong)?;
        job.request.batches = batches;
        let [blob] = saved.blobs.as_slice() else {
            return Err(wrong(format!("there are {} blobs, not one", saved.blobs.len())));
        };
        let Output { header, answers } = Output::from_bytes(blob.bytes()).map_err(wrong)?;
        let fits = answers.top == job.answers.top && answers.len() == job.answers.len();
        if !fits || header.model_sha256 != job.files.model.digest {
            return Err(wrong("the answers are to other queries"));
        }
        (job.answers, job.nodes) = (answers, header.nodes);
        for batch in header.batches {
            let end = batch.first.saturating_add(u64::from(batch.queries));
            if batch.node as usize >= job.nodes.len() || !job.todo.take(batch.first, end) {
                return Err(wrong(format!("the batch from {} on is there twice, or nobody's", batch.first)));
            }
            job.count(batch);
        }
        Ok(job)
    }
}

fn wrong(reason: impl ToString) -> JobError {
    JobError::Saved(reason.to_string())
}
