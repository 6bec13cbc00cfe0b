//! Owns what is kept of the job each time that the store has room for it, and making the job again of it.

use super::measured::{Candidate, Tally, Unmeasured};
use super::queue::{Chunk, Feeder};
use super::seen::Seen;
use super::units::Units;
use super::{Stream, StreamJob};
use crate::data::shared::Blob;
use crate::jobs::{Corpus, JobError, Saved, StreamFigures, Version};
use crate::model::{Measured, Model, OuterState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The job between two events; blobs by their places.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The newest is the model.
    versions: Vec<KeptVersion>,
    outer: usize,
    /// The tasks that are in it, as ranges.
    done: Vec<(u64, u64)>,
    figures: StreamFigures,
    missed: u64,
    outside: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<usize>,
    round: u32,
    newest: Option<u64>,
    tally: Tally,
    unmeasured: Vec<KeptRound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<KeptResult>,
    no_better: u32,
    time_is_up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<KeptQueue>,
}

#[derive(Serialize, Deserialize)]
struct KeptVersion {
    number: u64,
    model: usize,
}

#[derive(Serialize, Deserialize)]
struct KeptRound {
    round: u32,
    version: KeptVersion,
    tally: Tally,
}

#[derive(Serialize, Deserialize)]
struct KeptResult {
    round: u32,
    version: KeptVersion,
    measured: Measured,
}

#[derive(Serialize, Deserialize)]
struct KeptQueue {
    feeders: BTreeMap<String, Feeder>,
    chunks: Vec<KeptChunk>,
    next_unit: u64,
    next_chunk: u32,
    next_batch: u64,
}

#[derive(Serialize, Deserialize)]
struct KeptChunk {
    first_unit: u64,
    number: u32,
    feeder: String,
    rows: u64,
    blob: usize,
    first_batch: u64,
    units: u64,
}

/// The blobs of a save.
#[derive(Default)]
struct Blobs(Vec<Arc<Blob>>);

impl Blobs {
    fn keep(&mut self, blob: &Arc<Blob>) -> usize {
        let known = self.0.iter().position(|known| Arc::ptr_eq(known, blob));
        known.unwrap_or_else(|| {
            self.0.push(blob.clone());
            self.0.len() - 1
        })
    }

    fn version(&mut self, version: &Version) -> KeptVersion {
        KeptVersion { number: version.number, model: self.keep(&version.blob) }
    }
}

pub(super) fn save(job: &StreamJob) -> Saved {
    let mut blobs = Blobs::default();
    let newest = job.learner.version();
    let older = job.learner.kept().iter().filter(|version| version.number < newest.number);
    let measures = &job.measures;
    let kept = Kept {
        versions: older.chain([&newest]).map(|version| blobs.version(version)).collect(),
        outer: blobs.keep(&Arc::new(Blob::new(job.learner.outer_state().to_bytes()))),
        done: job.done.ranges(),
        figures: job.figures,
        missed: job.missed,
        outside: job.outside,
        seen: (!job.seen.is_empty()).then(|| blobs.keep(&Arc::new(Blob::new(job.seen.to_bytes())))),
        round: measures.round,
        newest: measures.newest,
        tally: measures.tally,
        unmeasured: measures
            .unmeasured
            .iter()
            .map(|(&round, Unmeasured { version, tally })| KeptRound {
                round,
                version: blobs.version(version),
                tally: *tally,
            })
            .collect(),
        result: measures.result.as_ref().map(|Candidate { round, version, measured }| KeptResult {
            round: *round,
            version: blobs.version(version),
            measured: measured.clone(),
        }),
        no_better: measures.no_better,
        time_is_up: job.time_is_up,
        queue: match &job.stream {
            Stream::Queue(queue) => Some(KeptQueue {
                feeders: queue.feeders.clone(),
                chunks: queue
                    .chunks
                    .iter()
                    .map(|(&first_unit, chunk)| KeptChunk {
                        first_unit,
                        number: chunk.number,
                        feeder: chunk.feeder.clone(),
                        rows: chunk.rows,
                        blob: blobs.keep(&chunk.blob),
                        first_batch: chunk.first_batch,
                        units: chunk.units,
                    })
                    .collect(),
                next_unit: queue.next_unit,
                next_chunk: queue.next_chunk,
                next_batch: queue.next_batch,
            }),
            _ => None,
        },
    };
    // Numbers and names can be written.
    Saved { json: serde_json::to_string(&kept).unwrap_or_default(), blobs: blobs.0 }
}

impl StreamJob {
    /// The job as it was when it was saved.
    pub(super) fn resume(parameters: &str, corpus: Corpus, saved: &Saved) -> Result<Self, JobError> {
        let mut job = Self::start(parameters, corpus)?;
        let kept: Kept = serde_json::from_str(&saved.json).map_err(wrong)?;
        let outer = OuterState::from_bytes(blob(saved, kept.outer)?.bytes()).map_err(wrong)?;
        let versions =
            kept.versions.iter().map(|version| job.version(saved, version)).collect::<Result<Vec<_>, _>>()?;
        if versions.is_empty() || !versions.is_sorted_by_key(|version| version.number) {
            return Err(wrong("it has no versions, or not in their order"));
        }
        let unmeasured = kept.unmeasured.into_iter().map(|KeptRound { round, version, tally }| {
            Ok::<_, JobError>((round, Unmeasured { version: job.version(saved, &version)?, tally }))
        });
        job.measures.unmeasured = unmeasured.collect::<Result<_, _>>()?;
        if let Some(KeptResult { round, version, measured }) = kept.result {
            job.measures.result = Some(Candidate { round, version: job.version(saved, &version)?, measured });
        }
        (job.measures.round, job.measures.newest) = (kept.round, kept.newest);
        (job.measures.tally, job.measures.no_better) = (kept.tally, kept.no_better);
        job.learner.restore(&outer, versions).map_err(wrong)?;
        job.done = Units::of_ranges(&kept.done).ok_or_else(|| wrong("its tasks are no ascending ranges"))?;
        job.next = job.done.floor();
        (job.figures, job.missed, job.outside) = (kept.figures, kept.missed, kept.outside);
        job.time_is_up = kept.time_is_up;
        if let Some(place) = kept.seen {
            let seen = Seen::from_bytes(blob(saved, place)?.bytes());
            job.seen = seen.ok_or_else(|| wrong("the names of changes are damaged"))?;
        }
        if let Some(queue) = kept.queue {
            job.refill(saved, queue)?;
        }
        if job.next > job.units() {
            return Err(wrong("it has done more tasks than there are"));
        }
        Ok(job)
    }

    fn version(&self, saved: &Saved, kept: &KeptVersion) -> Result<Version, JobError> {
        let blob = blob(saved, kept.model)?.clone();
        let model = Model::from_safetensors(blob.bytes()).map_err(wrong)?;
        let (got, expected) = (model.weights.shape(), self.learner.weights.shape());
        if got != expected {
            return Err(wrong(format!("weights are of shape {got}, not {expected}")));
        }
        Ok(Version { number: kept.number, model: Arc::new(model), blob })
    }

    /// Fills the queue as it was.
    fn refill(&mut self, saved: &Saved, kept: KeptQueue) -> Result<(), JobError> {
        let Stream::Queue(queue) = &mut self.stream else {
            return Err(wrong("it has a queue, which was not asked for"));
        };
        let rows_of_task = self.request.rows_of_task();
        queue.feeders = kept.feeders;
        (queue.next_unit, queue.next_chunk, queue.next_batch) = (kept.next_unit, kept.next_chunk, kept.next_batch);
        for KeptChunk { first_unit, number, feeder, rows, blob: place, first_batch, units } in kept.chunks {
            let chunk = Chunk::saved(number, feeder, rows, blob(saved, place)?.clone(), first_batch, units);
            let end = first_unit.checked_add(units).filter(|&end| end <= kept.next_unit);
            let there = chunk.blob.dataset(self.corpus.classes.len()).map_err(wrong)?.rows() as u64;
            if end.is_none() || there != rows || units != rows.div_ceil(rows_of_task) {
                return Err(wrong(format!("the rows {number} of its queue are not as many as they were")));
            }
            let of_unit = |place: u64| rows_of_task.min(rows - place * rows_of_task);
            let left: Vec<u64> = (0..units).filter(|place| !self.done.has(first_unit + place)).collect();
            queue.waiting += left.iter().map(|&place| of_unit(place)).sum::<u64>();
            queue.put_back(first_unit, chunk, left.len() as u64);
        }
        Ok(())
    }
}

fn blob(saved: &Saved, place: usize) -> Result<&Arc<Blob>, JobError> {
    saved.blobs.get(place).ok_or_else(|| wrong(format!("blob {place} of {} is missing", saved.blobs.len())))
}

fn wrong(reason: impl ToString) -> JobError {
    JobError::Saved(reason.to_string())
}
