//! Owns what a simulated cluster works at: a job, its data, and the result that it must have.

use super::counting::{self, Request};
use crate::data::shared::Blob;
use crate::data::{Dataset, encode};
use crate::jobs::{Corpus, Job, JobError, JobKind, Shard, TaskInput, TaskSpec, training};
use crate::ledger::{CorpusRef, JobOrder, ShardRef};
use crate::local;
use crate::model;
use crate::model::{Measured, Model};
use crate::types::Digest;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A job for a simulated cluster.
#[derive(Clone)]
pub struct Workload {
    pub(super) kind: &'static JobKind,
    pub(super) order: Arc<JobOrder>,
    pub(super) corpus: Corpus,
    blobs: Arc<BTreeMap<Digest, Arc<Blob>>>,
    /// The SHA-256 of the weights of a run in which nothing goes wrong.
    pub(super) expected: Digest,
    /// Seconds of a node of speed 1 for a unit of cost.
    pub(super) pace: f64,
    /// Of the tasks of a round: how many, the cost of all, and of the longest.
    pub(super) tasks: (u32, f64, f64),
    pub(super) rounds: u32,
}

impl Workload {
    /// A job whose tasks only take time: the mean task `task_time` on a node of speed 1, each up to `spread` of that (0 to
    /// 1) more or less. Its result depends on every answer in its place.
    pub fn counting(rounds: u32, tasks: u32, task_time: Duration, spread: f64, seed: u64) -> Self {
        let request = Request { rounds, tasks, cost: task_time.as_secs_f64(), spread, seed };
        let costs = (0..tasks).map(|shard| request.cost_of(shard));
        let (sum, longest) = costs.fold((0.0, 0.0f64), |(sum, most), cost| (sum + cost, most.max(cost)));
        // Numbers can be written.
        let parameters = serde_json::to_string(&request).unwrap_or_default();
        let corpus = counting::corpus();
        Self {
            kind: &counting::KIND,
            order: order(counting::KIND.name, &parameters, &corpus),
            corpus,
            blobs: Arc::default(),
            expected: counting::expected(&request),
            pace: 1.0,
            tasks: (tasks, sum, longest),
            rounds,
        }
    }

    /// A job whose tasks are truly done, as nodes do them; the mean task of the first round takes `task_time` on a node of
    /// speed 1. It is done once here, in one process, to know its result.
    ///
    /// # Errors
    /// The kind refuses the parameters or the data, or the job fails.
    pub fn real(
        kind: &'static JobKind,
        parameters: &str,
        corpus: Corpus,
        task_time: Duration,
    ) -> Result<Self, JobError> {
        let shards = corpus.shards.iter().chain([&corpus.validation]);
        let blobs = Arc::new(shards.map(|shard| (shard.blob.digest(), shard.blob.clone())).collect());
        let mut workload = Self {
            kind,
            order: order(kind.name, parameters, &corpus),
            corpus: corpus.clone(),
            blobs,
            expected: Digest([0; 32]),
            pace: 1.0,
            tasks: (0, 0.0, 0.0),
            rounds: 0,
        };
        let job = (kind.start)(parameters, corpus.into())?;
        workload.rounds = job.progress().rounds;
        workload.expected = workload.do_straight(job)?;
        let (tasks, sum, _) = workload.tasks;
        workload.pace = task_time.as_secs_f64() * f64::from(tasks) / sum.max(f64::MIN_POSITIVE);
        Ok(workload)
    }

    /// A training job of a few rows, to be truly done: three rounds of four tasks.
    ///
    /// # Errors
    /// None that is known: its data and parameters are good.
    pub fn small_training(seed: u64, task_time: Duration) -> Result<Self, JobError> {
        let shard = |rows: usize, number: usize| {
            let value =
                |row: usize, column: usize| ((row * 7 + column * 3 + number + seed as usize % 97) % 11) as f32;
            let features = Array2::from_shape_fn((rows, 2), |(row, column)| value(row, column));
            let name = format!("part{number}");
            let data = Dataset::new(features, (0..rows as u32).map(|row| row % 3).collect(), 3);
            let data = data.map_err(|e| JobError::Data { shard: name.clone(), reason: e.to_string() })?;
            Ok::<_, JobError>(Shard { name, blob: Arc::new(Blob::new(encode(&data))), rows: rows as u64 })
        };
        let shards = [5, 8, 3, 6].into_iter().zip(1..).map(|(rows, number)| shard(rows, number));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        let corpus = Corpus { name: "small/".to_owned(), shards, validation: shard(7, 9)?, columns: 2, classes };
        let parameters = format!(r#"{{"rounds": 3, "epochs": 2, "hidden": [4], "eta": 0.01, "seed": {seed}}}"#);
        Self::real(&training::KIND, &parameters, corpus, task_time)
    }

    /// The inputs of a task.
    pub(super) fn inputs(&self, task: &TaskSpec) -> Vec<Arc<Blob>> {
        let blob = |input: &TaskInput| match input {
            TaskInput::Shard { digest, .. } => self.blobs.get(digest).cloned(),
            TaskInput::Made(blob) => Some(blob.clone()),
        };
        task.inputs.iter().filter_map(blob).collect()
    }

    /// Does the job without any cluster: the SHA-256 of its weights.
    fn do_straight(&mut self, mut job: Box<dyn Job>) -> Result<Digest, JobError> {
        let failed = |reason: String| JobError::Data { shard: "the simulated job".to_owned(), reason };
        let first = job.take_ready(usize::MAX);
        let costs = first.iter().map(|task| task.cost);
        self.tasks = (first.len() as u32, costs.clone().sum(), costs.fold(0.0, f64::max));
        let find = |input: &TaskInput| self.blobs.get(&input.digest()).cloned();
        let around =
            local::Surroundings { find: &find, clock: &|| 0.0, keep_going: &|| true, told: &mut |_, _| () };
        let done = local::run_from(self.kind, job, first, around).map_err(|e| failed(e.to_string()))?;
        Ok(done.weights)
    }
}

/// What a model is worth on validation rows.
pub(super) fn measure(model: &Model, validation: &Blob) -> Result<Measured, String> {
    let data = validation.dataset(model.classes()).map_err(|e| e.to_string())?;
    model::measure(model, &data).map_err(|e| e.to_string())
}

pub(super) fn order(kind: &str, parameters: &str, corpus: &Corpus) -> Arc<JobOrder> {
    let shard =
        |shard: &Shard| ShardRef { name: shard.name.clone(), digest: shard.blob.digest(), rows: shard.rows };
    let corpus = CorpusRef {
        name: corpus.name.clone(),
        shards: corpus.shards.iter().map(shard).collect(),
        validation: shard(&corpus.validation),
        columns: corpus.columns,
        classes: corpus.classes.clone(),
    };
    let request_id = Some("simulated".to_owned());
    Arc::new(JobOrder { request_id, ..JobOrder::new(kind, parameters, corpus) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_what_a_straight_run_comes_to() {
        let mut workload = Workload::counting(4, 7, Duration::from_secs(1), 0.5, 3);
        let expected = workload.expected;
        let job = (workload.kind.start)(&workload.order.parameters, workload.corpus.clone().into()).unwrap();
        assert_eq!(workload.do_straight(job).unwrap(), expected);
        assert_ne!(Workload::counting(4, 7, Duration::from_secs(1), 0.5, 4).expected, expected);
        assert_ne!(Workload::counting(3, 7, Duration::from_secs(1), 0.5, 3).expected, expected);
    }
}
