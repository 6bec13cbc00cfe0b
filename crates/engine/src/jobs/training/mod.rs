//! Owns training in rounds: every task starts from the round's weights, learns from its part of the rows and returns
//! the change; the changes, folded in the order of the parts, take the outer step to the next round's weights.

mod answers;
mod parts;
mod request;
mod saved;
mod task;

pub use request::{EARLY_STOP, EarlyClose, Stopping, TrainingRequest};
pub use task::{OriginalTask, PartTask, TrainingMetrics, TrainingTask};

use super::{
    BadAnswer, Corpus, Effect, Job, JobError, JobKind, Needs, Progress, Quorum, RoundResult, Saved, TaskInput,
    TaskOutput, TaskSpec,
};
use crate::data::shared::Blob;

use crate::model::Outer;
use crate::model::{Form, Measured, Mlp, Model, Output, Place, Shape};
use crate::types::{Round, TaskId};
use answers::{Answers, Summary};
use parts::Part;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The row of [`super::JOB_KINDS`].
pub const KIND: JobKind = JobKind {
    name: "train",
    needs: Needs::Rows,
    start: |parameters, data| Ok(Box::new(TrainingJob::start(parameters, data.rows()?)?)),
    resume: |parameters, data, saved| Ok(Box::new(TrainingJob::resume(parameters, data.rows()?, saved)?)),
    run: task::run,
};

/// How many closed rounds may wait to be measured while the next one trains.
const MOST_UNMEASURED: usize = 2;

/// A training job between two events.
struct TrainingJob {
    request: TrainingRequest,
    corpus: Corpus,
    /// How the weights are used; names of classes and all.
    form: Form,
    parts: Vec<Part>,
    /// The round at work, from 1; one more than `request.rounds` when all are closed.
    round: u32,
    version: Version,
    handed_out: bool,
    answers: Answers,
    outer: Box<dyn Outer>,
    /// Rounds whose model is being measured.
    unmeasured: BTreeMap<u32, Unmeasured>,
    /// What would be the result if the job ended now.
    result: Option<Candidate>,
    /// Rounds in a row that were no better than one before.
    no_better: u32,
    time_is_up: bool,
}

/// The weights after a round, or the first ones.
#[derive(Clone)]
struct Version {
    weights: Arc<Mlp<f32>>,
    /// As tasks get them.
    blob: Arc<Blob>,
}

/// A round that is closed but for the measuring of its model.
struct Unmeasured {
    version: Version,
    training: Summary,
    left_out: Vec<u32>,
}

/// A round's model, measured.
struct Candidate {
    round: u32,
    version: Version,
    measured: Measured,
}

impl Version {
    fn new(weights: Arc<Mlp<f32>>, request: &TrainingRequest, form: &Form) -> Self {
        let bytes = if request.method.is_none() {
            weights.to_safetensors(None)
        } else {
            let mut form = form.clone();
            // Nodes need no names of classes.
            if let Output::Classes(names) = &mut form.output {
                names.clear();
            }
            Model { weights: Mlp::clone(&weights), form, notes: BTreeMap::new() }.to_safetensors()
        };
        Self { weights, blob: Arc::new(Blob::new(bytes)) }
    }
}

impl TrainingJob {
    fn start(parameters: &str, corpus: Corpus) -> Result<Self, JobError> {
        let request: TrainingRequest = serde_json::from_str(parameters)?;
        request.check(&corpus)?;
        let outputs = corpus.classes.len().max(1);
        let shape = Shape::new([&[corpus.columns], request.hidden.as_slice(), &[outputs]].concat())?;
        let form = corpus.form(request.activation, request.standardize)?;
        let weights = Arc::new(Mlp::init_by(&shape, request.seed, request.init()));
        Ok(Self {
            version: Version::new(weights, &request, &form),
            form,
            parts: parts::cut(&corpus, request.replicas),
            round: 1,
            handed_out: false,
            answers: Answers::new(request.fold.start()?),
            outer: request.outer.start()?,
            unmeasured: BTreeMap::new(),
            result: None,
            no_better: 0,
            time_is_up: false,
            request,
            corpus,
        })
    }

    /// Closes the round at work: the folded changes make the next weights.
    fn close_round(&mut self) -> Vec<Effect> {
        let left_out = self.answers.missing(self.parts.len() as u32);
        match self.next_weights() {
            Ok(training) => {
                let unmeasured = Unmeasured { version: self.version.clone(), training, left_out };
                let measure = self.evaluation(self.round, &unmeasured);
                self.unmeasured.insert(self.round, unmeasured);
                self.round += 1;
                self.handed_out = false;
                vec![Effect::Save, measure]
            }
            Err(e) => vec![Effect::Failed { reason: format!("round {}: {e}", self.round) }],
        }
    }

    fn evaluation(&self, round: u32, unmeasured: &Unmeasured) -> Effect {
        let model = Arc::new(self.model(unmeasured.version.weights.clone()));
        Effect::Evaluate { round: Round(round), model, validation: self.corpus.validation.blob.clone() }
    }

    fn next_weights(&mut self) -> Result<Summary, JobError> {
        let answers = std::mem::replace(&mut self.answers, Answers::new(self.request.fold.start()?));
        let (change, training) = answers.finish(&self.parts)?;
        let weights = Arc::new(self.outer.step(&self.version.weights, &change)?);
        self.version = Version::new(weights, &self.request, &self.form);
        Ok(training)
    }

    fn model(&self, weights: Arc<Mlp<f32>>) -> Model {
        Model { weights: Arc::unwrap_or_clone(weights), form: self.form.clone(), notes: BTreeMap::new() }
    }

    /// What a task is told.
    fn parameters(&self, place: usize, part: &Part) -> TrainingTask {
        let TrainingRequest { epochs, eta, rounds, seed, .. } = self.request;
        let Some(learning) = self.request.learning() else {
            return TrainingTask::Original(OriginalTask { epochs, eta, early_stop: EARLY_STOP });
        };
        let share = |round: u32| f64::from(round) / f64::from(rounds);
        let stream = u64::from(self.round) << 32 | place as u64;
        let place = Place { from: share(self.round - 1), to: share(self.round), seed, stream };
        TrainingTask::Part(PartTask { learning, place, first_row: part.first_row, rows: part.rows })
    }

    fn spec(&self, place: usize, part: &Part) -> TaskSpec {
        let directory = self.corpus.name.trim_end_matches('/');
        let shards = self.corpus.shards[part.shards.clone()].iter().map(|shard| TaskInput::Shard {
            path: format!("{directory}/{}", shard.name),
            digest: shard.blob.digest(),
        });
        let parameters = self.version.weights.shape().parameters() as f64;
        TaskSpec {
            id: TaskId { round: Round(self.round), shard: place as u32 },
            kind: KIND.name,
            // Numbers and names can be written.
            parameters: serde_json::to_string(&self.parameters(place, part)).unwrap_or_default(),
            inputs: shards.chain([TaskInput::Made(self.version.blob.clone())]).collect(),
            // Forward, backward, gradient: two operations each for a weight and a row.
            cost: 6.0 * parameters * part.rows as f64 * f64::from(self.request.epochs),
            for_originals: self.request.method.is_none(),
            queries: 0,
        }
    }

    /// Takes a measured round as the result, if it is to be; whether the job is over by what was asked.
    fn consider(&mut self, round: u32, version: Version, measured: &Measured) -> bool {
        let Stopping { target_error, patience, .. } = self.request.stopping;
        let better = self.result.as_ref().is_none_or(|result| measured.error < result.measured.error);
        self.no_better = if better { 0 } else { self.no_better + 1 };
        if better || !self.request.stopping.is_asked() {
            self.result = Some(Candidate { round, version, measured: measured.clone() });
        }
        round == self.request.rounds
            || self.time_is_up
            || target_error.is_some_and(|target| measured.error <= target)
            || patience.is_some_and(|patience| self.no_better >= patience)
    }

    /// The job ends with the result that it has, if it has one.
    fn finish(&mut self) -> Option<Effect> {
        let Candidate { round, version, measured } = self.result.take()?;
        let digest = version.weights.digest();
        let mut model = self.model(version.weights);
        let request = serde_json::to_string(&self.request).unwrap_or_default();
        model.notes = BTreeMap::from([
            ("round".to_owned(), round.to_string()),
            ("training".to_owned(), request),
            ("validation_error".to_owned(), measured.error.to_string()),
        ]);
        let model = Arc::new(Blob::new(model.to_safetensors()));
        Some(Effect::Finished { weights: digest, model, round: Round(round), measured: Some(Box::new(measured)) })
    }
}

impl Job for TrainingJob {
    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        let far_ahead = self.unmeasured.len() > MOST_UNMEASURED;
        if self.handed_out || self.round > self.request.rounds || far_ahead || self.time_is_up {
            return Vec::new();
        }
        self.handed_out = true;
        let parts = self.parts.iter().enumerate();
        parts.map(|(place, part)| self.spec(place, part)).collect()
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let part = self.parts.get(task.shard as usize);
        let Some(part) = part.filter(|_| task.round == Round(self.round)) else {
            return Err(BadAnswer(format!("{task} is not at work")));
        };
        let metrics: TrainingMetrics = serde_json::from_str(&output.metrics)
            .map_err(|e| BadAnswer(format!("its metrics cannot be read: {e}")))?;
        let (change, _) = Mlp::from_safetensors(&output.bytes)
            .map_err(|e| BadAnswer(format!("its weights cannot be used: {e}")))?;
        let expected = self.version.weights.shape();
        if change.shape() != expected {
            let got = change.shape();
            return Err(BadAnswer(format!("its weights are of shape {got}, not {expected}")));
        }
        let rows_fit = metrics.rows == part.rows || metrics.rows == 0;
        let most = if self.corpus.classes.is_empty() { f64::MAX } else { 1.0 };
        if !(0.0..=most).contains(&metrics.training_error) || !rows_fit {
            let TrainingMetrics { training_error, rows, .. } = metrics;
            return Err(BadAnswer(format!("it claims an error of {training_error} on {rows} rows")));
        }
        self.answers.take(task.shard, change, &metrics, &self.parts)?;
        if self.answers.done() < self.parts.len() {
            return Ok(Vec::new());
        }
        Ok(self.close_round())
    }

    fn quorum(&self) -> Option<Quorum> {
        self.request.early_close.map(|early| early.quorum())
    }

    fn close_early(&mut self) -> Vec<Effect> {
        // At least one answer, or there is no mean.
        if self.handed_out && self.answers.done() > 0 { self.close_round() } else { Vec::new() }
    }

    fn save(&self) -> Saved {
        saved::save(self)
    }

    fn reopened(&mut self) -> Vec<Effect> {
        self.unmeasured.iter().map(|(&round, unmeasured)| self.evaluation(round, unmeasured)).collect()
    }

    fn evaluated(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        let Some(Unmeasured { version, training, left_out }) = self.unmeasured.remove(&round.0) else {
            return Vec::new();
        };
        let result = RoundResult {
            validation_error: measured.error,
            validation_loss: measured.loss,
            training_error: training.error(self.corpus.classes.is_empty()),
            training_loss: training.loss(),
        };
        let mut effects = vec![Effect::Closed { round, result, left_out, detail: None }];
        if self.consider(round.0, version, measured) {
            effects.extend(self.finish());
        }
        effects
    }

    fn time_limit(&self) -> Option<Duration> {
        // Limits out of range were refused.
        self.request.stopping.max_time_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    fn time_is_up(&mut self) -> Vec<Effect> {
        // The round at work goes on if nothing is measured yet: a job has a result.
        self.time_is_up = true;
        self.finish().into_iter().collect()
    }

    fn memory(&self) -> usize {
        // The weights of this round, of those that are being measured and of the best, each as numbers and as a blob; the
        // model file; the outer state, twice while it is saved; the fold, where all changes of a round may wait for the
        // first.
        let parameters = self.version.weights.shape().parameters();
        let copies = 2 * (2 + MOST_UNMEASURED) + 1;
        // Settings without a row were refused.
        let of_fold = self.request.fold.row().map_or(0, |row| (row.bytes)(parameters, self.parts.len()));
        let of_outer = self.request.outer.row().map_or(0, |row| 2 * row.bytes(parameters));
        parameters.saturating_mul(copies * size_of::<f32>()).saturating_add(of_fold).saturating_add(of_outer)
    }

    fn progress(&self) -> Progress {
        let tasks = self.parts.len() as u32;
        let over = self.round > self.request.rounds;
        Progress {
            round: self.round.min(self.request.rounds),
            rounds: self.request.rounds,
            tasks_done: if over { tasks } else { self.answers.done() as u32 },
            tasks,
        }
    }
}

#[cfg(test)]
mod tests;
