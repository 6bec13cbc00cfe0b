//! Owns what is kept of a training job at the end of each round, and making the job again of it.
//!
//! The weights are blobs that tasks got anyway, so that saving encodes nothing twice; the rest is JSON.

use super::answers::Summary;
use super::{Candidate, TrainingJob, TrainingRequest, Unmeasured, Version};
use crate::data::shared::Blob;
use crate::jobs::{Corpus, JobError, Saved};
use crate::model::{Measured, Mlp, Model, OuterState};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A job between two rounds; blobs by their places.
#[derive(Serialize, Deserialize)]
struct Kept {
    round: u32,
    weights: usize,
    outer: usize,
    unmeasured: Vec<KeptRound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<KeptResult>,
    no_better: u32,
    time_is_up: bool,
}

#[derive(Serialize, Deserialize)]
struct KeptRound {
    round: u32,
    weights: usize,
    training: Summary,
    left_out: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct KeptResult {
    round: u32,
    weights: usize,
    measured: Measured,
}

pub(super) fn save(job: &TrainingJob) -> Saved {
    let mut blobs: Vec<Arc<Blob>> = Vec::new();
    let mut keep = |blob: &Arc<Blob>| {
        let known = blobs.iter().position(|known| known.digest() == blob.digest());
        known.unwrap_or_else(|| {
            blobs.push(blob.clone());
            blobs.len() - 1
        })
    };
    let kept = Kept {
        round: job.round,
        weights: keep(&job.version.blob),
        outer: keep(&Arc::new(Blob::new(job.outer.state().to_bytes()))),
        unmeasured: job
            .unmeasured
            .iter()
            .map(|(&round, Unmeasured { version, training, left_out })| KeptRound {
                round,
                weights: keep(&version.blob),
                training: training.clone(),
                left_out: left_out.clone(),
            })
            .collect(),
        result: job.result.as_ref().map(|Candidate { round, version, measured }| KeptResult {
            round: *round,
            weights: keep(&version.blob),
            measured: measured.clone(),
        }),
        no_better: job.no_better,
        time_is_up: job.time_is_up,
    };
    // Numbers and names can be written.
    Saved { json: serde_json::to_string(&kept).unwrap_or_default(), blobs }
}

impl TrainingJob {
    /// The job as it was when it was saved.
    pub(super) fn resume(parameters: &str, corpus: Corpus, saved: &Saved) -> Result<Self, JobError> {
        let mut job = Self::start(parameters, corpus)?;
        let kept: Kept = serde_json::from_str(&saved.json).map_err(wrong)?;
        let rounds = 1..=job.request.rounds + 1;
        if !rounds.contains(&kept.round) {
            return Err(wrong(format!("it is in round {} of {}", kept.round, job.request.rounds)));
        }
        let state = OuterState::from_bytes(blob(saved, kept.outer)?.bytes()).map_err(wrong)?;
        job.outer.restore(&state).map_err(wrong)?;
        let version = |job: &Self, place: usize| version(job, blob(saved, place)?);
        job.version = version(&job, kept.weights)?;
        for KeptRound { round, weights, training, left_out } in kept.unmeasured {
            let unmeasured = Unmeasured { version: version(&job, weights)?, training, left_out };
            job.unmeasured.insert(round, unmeasured);
        }
        if let Some(KeptResult { round, weights, measured }) = kept.result {
            job.result = Some(Candidate { round, version: version(&job, weights)?, measured });
        }
        job.round = kept.round;
        job.no_better = kept.no_better;
        job.time_is_up = kept.time_is_up;
        Ok(job)
    }
}

fn blob(saved: &Saved, place: usize) -> Result<&Arc<Blob>, JobError> {
    saved.blobs.get(place).ok_or_else(|| wrong(format!("blob {place} of {} is missing", saved.blobs.len())))
}

fn version(job: &TrainingJob, blob: &Arc<Blob>) -> Result<Version, JobError> {
    let weights = weights(&job.request, blob)?;
    let (got, expected) = (weights.shape(), job.version.weights.shape());
    if got != expected {
        return Err(wrong(format!("weights are of shape {got}, not {expected}")));
    }
    Ok(Version { weights: Arc::new(weights), blob: blob.clone() })
}

fn weights(request: &TrainingRequest, blob: &Blob) -> Result<Mlp<f32>, JobError> {
    if request.method.is_none() {
        return Ok(Mlp::from_safetensors(blob.bytes()).map_err(wrong)?.0);
    }
    Ok(Model::from_safetensors(blob.bytes()).map_err(wrong)?.weights)
}

fn wrong(reason: impl ToString) -> JobError {
    JobError::Saved(reason.to_string())
}
