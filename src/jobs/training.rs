//! Owns training in rounds: every task starts from the round's weights, trains on its shard and returns the change;
//! the changes, weighted by rows and added in the order of the shards, make the next round's weights.

use super::{
    BadAnswer, Corpus, Effect, Job, JobError, JobKind, Progress, TaskError, TaskInput, TaskOutput, TaskSpec,
};
use crate::data::shared::Blob;
use crate::model::{self, GradientDescent, Metadata, Mlp, ModelError, Shape, WeightedMean};
use crate::types::{Round, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The row of [`super::JOB_KINDS`].
pub const KIND: JobKind = JobKind { name: "train", start: TrainingJob::start, run };

/// The original system's rule: stop when the summed loss changes by no more than this between two epochs.
pub const EARLY_STOP: f64 = 0.2;

/// How many closed rounds may wait to be measured while the next one trains.
const MOST_UNMEASURED: usize = 2;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRequest {
    /// How often the shards' changes are averaged; 1 to 1,000,000.
    pub rounds: u32,
    /// Gradient steps of each task; 1 to 1,000,000.
    pub epochs: u32,
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// The learning rate, for gradients summed over the rows.
    pub eta: f64,
    /// Where the first weights come from.
    pub seed: u64,
}

/// What a task is told, beside its shard and the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingTask {
    /// Gradient steps at most.
    pub epochs: u32,
    /// The learning rate.
    pub eta: f64,
    /// See [`EARLY_STOP`].
    pub early_stop: f64,
}

/// What a task tells, beside the change of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingMetrics {
    /// Wrong answers on the shard after training, as a share of its rows.
    pub training_error: f64,
    /// The shard's rows; 0 if the node does not tell.
    pub rows: u64,
    /// Gradient steps done.
    pub epochs: u32,
}

/// A training job between two events.
struct TrainingJob {
    request: TrainingRequest,
    corpus: Corpus,
    task_parameters: String,
    /// The round at work, from 1; one more than `request.rounds` when all are closed.
    round: u32,
    weights: Arc<Mlp<f32>>,
    handed_out: bool,
    fold: Fold,
    /// Of rounds whose model is being measured.
    training_errors: BTreeMap<u32, f64>,
}

/// The answers of a round: added up in the order of the shards, as soon as that order allows.
struct Fold {
    mean: WeightedMean,
    next: u32,
    early: BTreeMap<u32, Mlp<f32>>,
    done: u32,
    wrong: f64,
    rows: u64,
}

impl Fold {
    fn new() -> Self {
        Self { mean: WeightedMean::new(), next: 0, early: BTreeMap::new(), done: 0, wrong: 0.0, rows: 0 }
    }
}

impl TrainingJob {
    fn start(parameters: &str, corpus: Corpus) -> Result<Box<dyn Job>, JobError> {
        let request: TrainingRequest = serde_json::from_str(parameters)?;
        check(&request, &corpus)?;
        let sizes = [&[corpus.columns], request.hidden.as_slice(), &[corpus.classes.len()]].concat();
        let shape = Shape::new(sizes)?;
        let task = TrainingTask { epochs: request.epochs, eta: request.eta, early_stop: EARLY_STOP };
        Ok(Box::new(Self {
            task_parameters: serde_json::to_string(&task)?,
            round: 1,
            weights: Arc::new(Mlp::init(&shape, request.seed)),
            handed_out: false,
            fold: Fold::new(),
            training_errors: BTreeMap::new(),
            request,
            corpus,
        }))
    }

    /// Closes the round at work: the folded changes make the next weights.
    fn close_round(&mut self) -> Effect {
        let fold = std::mem::replace(&mut self.fold, Fold::new());
        match fold.mean.finish(&self.weights) {
            Ok(weights) => self.weights = Arc::new(weights),
            Err(e) => return Effect::Failed { reason: format!("round {}: {e}", self.round) },
        }
        self.training_errors.insert(self.round, fold.wrong / fold.rows as f64);
        let round = Round(self.round);
        self.round += 1;
        self.handed_out = false;
        Effect::Evaluate { round, model: self.weights.clone(), validation: self.corpus.validation.digest }
    }
}

fn check(request: &TrainingRequest, corpus: &Corpus) -> Result<(), JobError> {
    let range = |field, value: String, range: &str| Err(JobError::Range { field, value, range: range.to_owned() });
    if !(1..=1_000_000).contains(&request.rounds) {
        return range("rounds", request.rounds.to_string(), "from 1 to 1,000,000");
    }
    if request.hidden.is_empty() || request.hidden.len() > 16 {
        return range("hidden layers", request.hidden.len().to_string(), "from 1 to 16");
    }
    if corpus.shards.is_empty() || corpus.shards.len() > 1_000_000 {
        return range("shards", corpus.shards.len().to_string(), "from 1 to 1,000,000");
    }
    if let Some(empty) = corpus.shards.iter().find(|shard| shard.rows == 0) {
        return range("rows", format!("0 in {}", empty.name), "at least 1 in each shard");
    }
    GradientDescent::new(request.eta, request.epochs, EARLY_STOP)?;
    Ok(())
}

impl Job for TrainingJob {
    fn take_ready(&mut self) -> Vec<TaskSpec> {
        let unmeasured = self.training_errors.len();
        if self.handed_out || self.round > self.request.rounds || unmeasured > MOST_UNMEASURED {
            return Vec::new();
        }
        self.handed_out = true;
        let weights = Arc::new(Blob::new(self.weights.to_safetensors(None)));
        let round = Round(self.round);
        let parameters = self.weights.shape().parameters() as f64;
        let spec = |(place, shard): (usize, &super::Shard)| TaskSpec {
            id: TaskId { round, shard: place as u32 },
            kind: KIND.name,
            parameters: self.task_parameters.clone(),
            inputs: vec![
                TaskInput::Shard {
                    path: format!("{}/{}", self.corpus.name.trim_end_matches('/'), shard.name),
                    digest: shard.digest,
                },
                TaskInput::Made(weights.clone()),
            ],
            // Forward, backward, gradient: two operations each for a weight and a row.
            cost: 6.0 * parameters * shard.rows as f64 * f64::from(self.request.epochs),
        };
        self.corpus.shards.iter().enumerate().map(spec).collect()
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let shard = self.corpus.shards.get(task.shard as usize);
        let Some(shard) = shard.filter(|_| task.round == Round(self.round)) else {
            return Err(BadAnswer(format!("{task} is not at work")));
        };
        let metrics: TrainingMetrics = serde_json::from_str(&output.metrics)
            .map_err(|e| BadAnswer(format!("its metrics cannot be read: {e}")))?;
        let (change, _) = Mlp::from_safetensors(&output.bytes)
            .map_err(|e| BadAnswer(format!("its weights cannot be used: {e}")))?;
        if change.shape() != self.weights.shape() {
            let (got, expected) = (change.shape(), self.weights.shape());
            return Err(BadAnswer(format!("its weights are of shape {got}, not {expected}")));
        }
        let rows_fit = metrics.rows == shard.rows || metrics.rows == 0;
        if !(0.0..=1.0).contains(&metrics.training_error) || !rows_fit {
            let TrainingMetrics { training_error, rows, .. } = metrics;
            return Err(BadAnswer(format!("it claims an error of {training_error} on {rows} rows")));
        }
        let fold = &mut self.fold;
        fold.done += 1;
        fold.wrong += metrics.training_error * shard.rows as f64;
        fold.rows += shard.rows;
        fold.early.insert(task.shard, change);
        while let Some(change) = fold.early.remove(&fold.next) {
            let rows = self.corpus.shards[fold.next as usize].rows;
            fold.mean.add(&change, rows).map_err(|e| BadAnswer(e.to_string()))?;
            fold.next += 1;
        }
        if (fold.next as usize) < self.corpus.shards.len() {
            return Ok(Vec::new());
        }
        Ok(vec![self.close_round()])
    }

    fn evaluated(&mut self, round: Round, error: f64) -> Vec<Effect> {
        let Some(training_error) = self.training_errors.remove(&round.0) else { return Vec::new() };
        let mut effects = vec![Effect::Closed { round, validation_error: error, training_error }];
        if round.0 == self.request.rounds {
            let metadata = Metadata { classes: self.corpus.classes.clone(), ..Metadata::default() };
            let model = Arc::new(Blob::new(self.weights.to_safetensors(Some(&metadata))));
            effects.push(Effect::Finished { weights: self.weights.digest(), model });
        }
        effects
    }

    fn memory(&self) -> usize {
        // The weights of this round and of those that are being measured, as a blob, and the sums of the fold; changes
        // that come out of order are not foreseen.
        let copies = 2 + MOST_UNMEASURED;
        self.weights.shape().parameters() * (copies * size_of::<f32>() + size_of::<f64>())
    }

    fn progress(&self) -> Progress {
        let tasks = self.corpus.shards.len() as u32;
        let over = self.round > self.request.rounds;
        Progress {
            round: self.round.min(self.request.rounds),
            rounds: self.request.rounds,
            tasks_done: if over { tasks } else { self.fold.done },
            tasks,
        }
    }
}

/// The node's side: inputs are the shard and the weights, the output is the change of the weights.
fn run(parameters: &str, inputs: &[Arc<Blob>], keep_going: &dyn Fn() -> bool) -> Result<TaskOutput, TaskError> {
    let impossible = |what: &str, why: &dyn std::fmt::Display| TaskError::Impossible(format!("{what}: {why}"));
    let task: TrainingTask = serde_json::from_str(parameters).map_err(|e| impossible("parameters", &e))?;
    let [shard, weights] = inputs else {
        return Err(impossible("inputs", &format!("{} given, not shard and weights", inputs.len())));
    };
    let how =
        GradientDescent::new(task.eta, task.epochs, task.early_stop).map_err(|e| impossible("parameters", &e))?;
    let (before, _) = Mlp::from_safetensors(weights.bytes()).map_err(|e| impossible("weights", &e))?;
    let data = shard.dataset(before.outputs()).map_err(|e| impossible("shard", &e))?;
    let mut model = before.clone();
    let trained = model::train(&mut model, &data, &how, keep_going).map_err(|e| match e {
        ModelError::Interrupted { .. } => TaskError::Abandoned,
        other => TaskError::Impossible(other.to_string()),
    })?;
    let metrics = TrainingMetrics {
        training_error: model::error_rate(&model, &data).map_err(|e| impossible("shard", &e))?,
        rows: data.rows() as u64,
        epochs: trained.epochs,
    };
    let metrics = serde_json::to_string(&metrics).map_err(|e| impossible("metrics", &e))?;
    let change = model.minus(&before).map_err(|e| impossible("weights", &e))?;
    Ok(TaskOutput { bytes: change.to_safetensors(None), metrics })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::types::Digest;
    use ndarray::Array2;

    /// Shards of 3, 5 and 2 rows of two features and three classes.
    fn shards() -> Vec<Arc<Blob>> {
        let shard = |rows: usize| {
            let features = Array2::from_shape_fn((rows, 2), |(row, column)| (row * 2 + column) as f32);
            let labels = (0..rows as u32).map(|row| row % 3).collect();
            let data = Dataset::new(features, labels, 3).expect("a data set");
            Arc::new(Blob::new(crate::data::encode(&data)))
        };
        [3, 5, 2].map(shard).into()
    }

    fn corpus(blobs: &[Arc<Blob>]) -> Corpus {
        let shard = |blob: &Arc<Blob>| super::super::Shard {
            name: "train.txt".to_owned(),
            digest: blob.digest(),
            rows: blob.dataset(3).expect("a data set").rows() as u64,
        };
        let shards: Vec<_> = blobs.iter().map(shard).collect();
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        Corpus { name: "dir/".to_owned(), validation: shards[0].clone(), shards, columns: 2, classes }
    }

    fn job(blobs: &[Arc<Blob>], rounds: u32) -> Box<dyn Job> {
        let parameters = format!(r#"{{"rounds": {rounds}, "epochs": 3, "hidden": [4], "eta": 0.01, "seed": 7}}"#);
        TrainingJob::start(&parameters, corpus(blobs)).expect("a job")
    }

    fn answer(spec: &TaskSpec, blobs: &[Arc<Blob>]) -> TaskOutput {
        let [TaskInput::Shard { digest, .. }, TaskInput::Made(weights)] = spec.inputs.as_slice() else {
            panic!("shard and weights")
        };
        let shard = blobs.iter().find(|blob| blob.digest() == *digest).expect("the shard");
        run(&spec.parameters, &[shard.clone(), weights.clone()], &|| true).expect("an answer")
    }

    /// Does a job with its answers in the order that `order` gives them in each round.
    fn weights(order: [usize; 3]) -> Digest {
        let blobs = shards();
        let mut job = job(&blobs, 2);
        for round in [1, 2] {
            let tasks = job.take_ready();
            assert!(job.take_ready().is_empty(), "tasks are handed out once");
            let mut effects = Vec::new();
            for place in order {
                effects = job.complete(tasks[place].id, &answer(&tasks[place], &blobs)).expect("a good answer");
            }
            assert!(matches!(effects.as_slice(), [Effect::Evaluate { round: Round(r), .. }] if *r == round));
        }
        assert!(job.take_ready().is_empty());
        assert_eq!(job.evaluated(Round(1), 0.5).len(), 1);
        match job.evaluated(Round(2), 0.25).pop() {
            Some(Effect::Finished { weights, .. }) => weights,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_order_of_answers_does_not_matter() {
        let in_order = weights([0, 1, 2]);
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(weights(order), in_order, "{order:?}");
        }
    }

    /// Changes that are the same everywhere, and large enough for their order to show: the sums of doubles cancel.
    fn flat_change(value: f32) -> Vec<u8> {
        let layers = Mlp::<f32>::zeros(&Shape::new([2, 4, 3]).expect("a shape"));
        let layers = layers.layers().iter().map(|layer| layer.mapv(|_| value)).collect();
        Mlp::new(layers).expect("a model").to_safetensors(None)
    }

    fn after_one_round(order: [usize; 3], changes: [f32; 3]) -> (Mlp<f32>, Mlp<f32>) {
        let blobs = shards();
        let mut job = job(&blobs, 1);
        let tasks = job.take_ready();
        let TaskInput::Made(weights) = &tasks[0].inputs[1] else { panic!("weights") };
        let (before, _) = Mlp::from_safetensors(weights.bytes()).expect("weights");
        let mut effects = Vec::new();
        for place in order {
            let metrics = answer(&tasks[place], &blobs).metrics;
            let output = TaskOutput { bytes: flat_change(changes[place]), metrics };
            effects = job.complete(tasks[place].id, &output).expect("a good answer");
        }
        match effects.pop() {
            Some(Effect::Evaluate { model, .. }) => (before, Mlp::clone(&model)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn changes_are_weighted_by_rows() {
        // 3, 5 and 2 rows: (3 * 1 + 5 * 2 + 2 * 4) / 10 = 2.1
        let (before, after) = after_one_round([0, 1, 2], [1.0, 2.0, 4.0]);
        let change = after.minus(&before).expect("one shape");
        assert!(change.layers().iter().flatten().all(|value| (value - 2.1).abs() < 1e-5), "{change:?}");
    }

    #[test]
    fn changes_are_added_in_the_order_of_shards() {
        // 3 * 5 - 5 * 3 = 0, but only if the third does not come between: 2^60 swallows it.
        let huge = 2f32.powi(60);
        let changes = [5.0 * huge, -3.0 * huge, 1.0];
        let (_, in_order) = after_one_round([0, 1, 2], changes);
        for order in [[0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(after_one_round(order, changes).1, in_order, "{order:?}");
        }
    }

    #[test]
    fn paths_are_as_the_original_nodes_expect_them() {
        let tasks = job(&shards(), 1).take_ready();
        let [TaskInput::Shard { path, .. }, _] = tasks[0].inputs.as_slice() else { panic!("shard and weights") };
        assert_eq!(path, "dir/train.txt");
    }

    #[test]
    fn bad_answers_change_nothing() {
        let blobs = shards();
        let mut job = job(&blobs, 1);
        let tasks = job.take_ready();
        let good = answer(&tasks[0], &blobs);
        let metrics = |text: &str| TaskOutput { metrics: text.to_owned(), ..good.clone() };
        let other_shape = Mlp::<f32>::zeros(&Shape::new([2, 5, 3]).expect("a shape")).to_safetensors(None);
        for bad in [
            TaskOutput { bytes: Vec::new(), ..good.clone() },
            TaskOutput { bytes: good.bytes[..good.bytes.len() - 1].to_vec(), ..good.clone() },
            TaskOutput { bytes: other_shape, ..good.clone() },
            metrics("{}"),
            metrics(r#"{"training_error": 1.5, "rows": 3, "epochs": 3}"#),
            metrics(r#"{"training_error": 0.5, "rows": 4, "epochs": 3}"#),
        ] {
            assert!(job.complete(tasks[0].id, &bad).is_err(), "{bad:?}");
        }
        let elsewhere = TaskId { round: Round(2), shard: 0 };
        assert!(job.complete(elsewhere, &good).is_err());
        assert_eq!(job.progress().tasks_done, 0);
        job.complete(tasks[0].id, &good).expect("a good answer");
        assert_eq!(job.progress().tasks_done, 1);
    }

    #[test]
    fn training_waits_for_measuring_when_it_is_far_ahead() {
        let blobs = shards();
        let mut job = job(&blobs, 10);
        let mut ahead = 0;
        loop {
            let tasks = job.take_ready();
            if tasks.is_empty() {
                break;
            }
            ahead += 1;
            for task in &tasks {
                job.complete(task.id, &answer(task, &blobs)).expect("a good answer");
            }
        }
        assert_eq!(ahead, 3);
        job.evaluated(Round(1), 0.5);
        assert_eq!(job.take_ready().len(), 3);
    }

    #[test]
    fn requests_are_checked() {
        let blobs = shards();
        for (parameters, expected) in [
            ("", "cannot be read"),
            (r#"{"rounds": 1, "epochs": 3, "hidden": [4], "eta": 0.01}"#, "missing field `seed`"),
            (
                r#"{"rounds": 0, "epochs": 3, "hidden": [4], "eta": 0.01, "seed": 1}"#,
                "rounds is 0, but must be from 1",
            ),
            (r#"{"rounds": 1, "epochs": 0, "hidden": [4], "eta": 0.01, "seed": 1}"#, "epochs is 0"),
            (r#"{"rounds": 1, "epochs": 3, "hidden": [], "eta": 0.01, "seed": 1}"#, "hidden layers is 0"),
            (r#"{"rounds": 1, "epochs": 3, "hidden": [0], "eta": 0.01, "seed": 1}"#, "is 0"),
            (r#"{"rounds": 1, "epochs": 3, "hidden": [65537], "eta": 0.01, "seed": 1}"#, "65537"),
            (r#"{"rounds": 1, "epochs": 3, "hidden": [4], "eta": -1, "seed": 1}"#, "eta is -1"),
        ] {
            let error = TrainingJob::start(parameters, corpus(&blobs)).err().expect(parameters).to_string();
            assert!(error.contains(expected), "{parameters}: {error}");
        }
    }
}
