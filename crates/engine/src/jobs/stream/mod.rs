//! Owns training on a stream: tasks are a few mini-batches each, start from the newest version of the model, and their
//! changes make the next versions as they come, however old the version is that they started from.
//!
//! What is saved says which tasks are in the model. What was not saved is done again, so that each mini-batch counts once
//! in whatever is told.

mod behind;
mod flight;
mod learner;
mod measured;
mod order;
mod queue;
mod request;
mod saved;
mod seen;
mod staleness;
mod task;
mod units;
mod words;

pub use behind::{Behind, Changes};
pub use request::{QueueSource, Source, StreamRequest};
pub use staleness::{STALENESS, Staleness, StalenessRow};
pub use task::{StreamMetrics, StreamTask};

use super::training::TrainingMetrics;
use super::{
    BadAnswer, Corpus, Effect, Heard, Job, JobError, JobKind, Needs, Progress, Refused, Saved, StreamFigures,
    TaskInput, TaskOutput, TaskSpec, Version, Word,
};
use crate::model::{Measured, Mlp, Model, Place, Shape};
use crate::types::{Round, TaskId};
use flight::{Answer, Before, Flight, Out};
use learner::Learner;
use measured::Measures;
use queue::Queue;
use seen::Seen;
use std::collections::BTreeSet;
use std::time::Duration;
use units::Units;

/// The row of [`super::JOB_KINDS`].
pub const KIND: JobKind = JobKind {
    name: "train-async",
    needs: Needs::Rows,
    start: |parameters, data| Ok(Box::new(StreamJob::start(parameters, data.rows()?)?)),
    resume: |parameters, data, saved| Ok(Box::new(StreamJob::resume(parameters, data.rows()?, saved)?)),
    run: task::run,
};

/// Where tasks come from.
enum Stream {
    /// So many rows, epoch after epoch.
    Rows {
        rows: u64,
        epochs: u64,
    },
    Queue(Queue),
    /// Learners outside, who send so many changes.
    Updates(u64),
}

/// A longer task is not sent ahead if the node cannot begin with its own last change: it would learn from an older model for
/// the sake of a short way to the coordinator and back.
const LONGEST_AHEAD: Duration = Duration::from_millis(5);

/// Of how many answers the versions are that were missed lately: enough to tell how many workers there are, and few enough to
/// see soon that one has gone.
const LATELY: f64 = 8.0;

/// A task whose change is with the learner, but in no version yet.
struct Taken {
    unit: u64,
    rows: u64,
    missed: u64,
}

/// A job that learns from a stream, between two events.
struct StreamJob {
    request: StreamRequest,
    corpus: Corpus,
    stream: Stream,
    learner: Learner,
    /// Tasks that are in the model.
    done: Units,
    /// All tasks below have been handed out, and some of them again.
    next: u64,
    /// Tasks whose change was too stale.
    again: BTreeSet<u64>,
    flight: Flight,
    taken: Vec<Taken>,
    seen: Seen,
    figures: StreamFigures,
    /// The sum of the versions that changes missed.
    missed: u64,
    /// How many they missed lately.
    missed_lately: f64,
    /// Changes from outside that were applied.
    outside: u64,
    measures: Measures,
    time_is_up: bool,
}

/// What a task takes.
struct Unit {
    id: TaskId,
    first_row: u64,
    rows: u64,
    /// Mini-batches of the stream before it.
    first_batch: u64,
    epoch: Option<u32>,
    inputs: Vec<TaskInput>,
}

impl StreamJob {
    fn start(parameters: &str, corpus: Corpus) -> Result<Self, JobError> {
        let request: StreamRequest = serde_json::from_str(parameters)?;
        request.check(&corpus)?;
        let outputs = corpus.classes.len().max(1);
        let shape = Shape::new([&[corpus.columns], request.hidden.as_slice(), &[outputs]].concat())?;
        let weights = Mlp::init_by(&shape, request.seed, request.init());
        let stream = match &request.source {
            Source::Rows => Stream::Rows {
                rows: corpus.shards.iter().map(|shard| shard.rows).sum(),
                epochs: request.epochs.into(),
            },
            Source::Queue(source) => Stream::Queue(Queue::new(source)),
            Source::Updates { updates } => Stream::Updates(*updates),
        };
        let learner = Learner::new(&request, corpus.form(request.activation, request.standardize)?, weights)?;
        Ok(Self {
            stream,
            learner,
            done: Units::default(),
            next: 0,
            again: BTreeSet::new(),
            flight: Flight::default(),
            taken: Vec::new(),
            seen: Seen::default(),
            figures: StreamFigures::default(),
            missed: 0,
            missed_lately: 0.0,
            outside: 0,
            measures: Measures::default(),
            time_is_up: false,
            request,
            corpus,
        })
    }

    /// Tasks of an epoch, and mini-batches.
    fn epoch(&self, rows: u64) -> (u64, u64) {
        let batches = rows.div_ceil(self.request.batch());
        (batches.div_ceil(self.request.group.into()), batches)
    }

    /// All tasks that there are by now.
    fn units(&self) -> u64 {
        match &self.stream {
            Stream::Rows { rows, epochs } => epochs * self.epoch(*rows).0,
            Stream::Queue(queue) => queue.next_unit,
            Stream::Updates(_) => 0,
        }
    }

    /// All mini-batches that there will be, if that is known.
    fn batches(&self) -> Option<u64> {
        match (&self.stream, &self.request.source) {
            (Stream::Rows { rows, epochs }, _) => Some(epochs * self.epoch(*rows).1),
            (_, Source::Queue(source)) => Some(source.rows?.div_ceil(self.request.batch())),
            (Stream::Updates(updates), _) => Some(*updates),
            _ => None,
        }
    }

    /// Everything that will ever come is in a version.
    fn is_complete(&self) -> bool {
        match &self.stream {
            Stream::Rows { .. } => self.done.count() == self.units(),
            Stream::Queue(queue) => queue.has_ended() && self.done.count() == queue.next_unit,
            Stream::Updates(updates) => self.outside >= *updates,
        }
    }

    /// What a task is; `None` if there is none of this number.
    fn unit(&self, unit: u64) -> Option<Unit> {
        let (batch, of_task) = (self.request.batch(), self.request.rows_of_task());
        let id = |round: u64, place: u64| {
            let (round, shard) = (u32::try_from(round).ok()?, u32::try_from(place).ok()?);
            Some(TaskId { round: Round(round), shard })
        };
        let directory = self.corpus.name.trim_end_matches('/');
        match &self.stream {
            Stream::Rows { rows, .. } => {
                let (units, batches) = self.epoch(*rows);
                let (epoch, place) = (unit / units, unit % units);
                let first_row = place * of_task;
                let shards = self.corpus.shards.iter().map(|shard| TaskInput::Shard {
                    path: format!("{directory}/{}", shard.name),
                    digest: shard.blob.digest(),
                });
                Some(Unit {
                    id: id(epoch + 1, place)?,
                    first_row,
                    rows: of_task.min(rows - first_row),
                    first_batch: epoch * batches + first_row / batch,
                    epoch: if self.request.method.shuffle { Some(u32::try_from(epoch).ok()?) } else { None },
                    inputs: shards.collect(),
                })
            }
            Stream::Queue(queue) => {
                let (chunk, place) = queue.find(unit)?;
                let first_row = place * of_task;
                Some(Unit {
                    id: id(u64::from(chunk.number) + 1, place)?,
                    first_row,
                    rows: of_task.min(chunk.rows - first_row),
                    first_batch: chunk.first_batch + first_row / batch,
                    epoch: None,
                    inputs: vec![TaskInput::Made(chunk.blob.clone())],
                })
            }
            Stream::Updates(_) => None,
        }
    }

    /// A task as a node gets it, with the newest version; `None` if there is none of this number.
    fn hand_out(&mut self, number: u64, behind: Vec<Before>) -> Option<TaskSpec> {
        let Unit { id, first_row, rows, first_batch, epoch, mut inputs } = self.unit(number)?;
        let share = |batch: u64| self.batches().map_or(0.0, |all| (batch as f64 / all as f64).min(1.0));
        let last = first_batch + rows.div_ceil(self.request.batch());
        let stream = u64::from(id.round.0) << 32 | u64::from(id.shard);
        let place = Place { from: share(first_batch), to: share(last), seed: self.request.seed, stream };
        let names = || behind.iter().map(|before| before.name.clone()).collect();
        let told = self.carries().filter(|_| !behind.is_empty()).map(|times| Behind { tasks: names(), times });
        let misses = Some(self.missed_lately).filter(|&misses| self.request.staleness.damps() && misses > 0.0);
        let learning = self.request.learning();
        let task = StreamTask { learning, place, first_row, rows, epoch, behind: told, misses };
        inputs.push(TaskInput::Made(self.learner.for_tasks()));
        // Numbers and names can be written.
        let parameters = serde_json::to_string(&task).unwrap_or_default();
        let base = self.learner.number;
        let (told, given) = (parameters.clone(), inputs.clone());
        self.flight.begins(id, Out { unit: number, base, behind, parameters: told, inputs: given });
        Some(TaskSpec {
            id,
            kind: KIND.name,
            parameters,
            inputs,
            // Forward, backward, gradient: two operations each for a weight and a row.
            cost: 6.0 * self.learner.weights.shape().parameters() as f64 * rows as f64,
            for_originals: false,
            queries: 0,
        })
    }

    /// How many times a node may add its own change before it is in a version, if that is what will become of it.
    fn carries(&self) -> Option<f64> {
        self.learner.adds().filter(|_| self.request.publish_every == 1)
    }

    /// The next task to hand out, if there is one.
    fn next_unit(&mut self) -> Option<u64> {
        if let Some(unit) = self.again.pop_first() {
            return Some(unit);
        }
        while self.next < self.units() {
            self.next += 1;
            if !self.done.has(self.next - 1) {
                return Some(self.next - 1);
            }
        }
        None
    }

    /// Checks an answer to a task of so many rows.
    fn read(&self, output: &TaskOutput, rows: u64) -> Result<(Mlp<f32>, StreamMetrics), BadAnswer> {
        let metrics: StreamMetrics = serde_json::from_str(&output.metrics)
            .map_err(|e| BadAnswer(format!("its metrics cannot be read: {e}")))?;
        let change = Model::from_flat(&output.bytes)
            .map_err(|e| BadAnswer(format!("its weights cannot be used: {e}")))?
            .weights;
        let expected = self.learner.weights.shape();
        if change.shape() != expected {
            return Err(BadAnswer(format!("its weights are of shape {}, not {expected}", change.shape())));
        }
        let most = if self.corpus.classes.is_empty() { f64::MAX } else { 1.0 };
        if !(0.0..=most).contains(&metrics.learnt.training_error) || metrics.learnt.rows != rows {
            let TrainingMetrics { training_error, rows, .. } = metrics.learnt;
            return Err(BadAnswer(format!("it claims an error of {training_error} on {rows} rows")));
        }
        Ok((change, metrics))
    }

    fn take(&mut self, answer: Answer) -> Vec<Effect> {
        let missed = answer.missed(self.learner.number);
        self.missed_lately += (missed as f64 - self.missed_lately) / LATELY;
        let Answer { unit, rows, change, metrics, .. } = answer;
        match self.request.staleness.weight(missed) {
            Some(weight) => {
                if let Err(e) = self.learner.take(&change, weight, rows) {
                    return vec![Effect::Failed { reason: format!("a change of {rows} rows: {e}") }];
                }
                self.taken.push(Taken { unit, rows, missed });
                self.measures.learnt(rows, &metrics);
            }
            None => {
                self.figures.stale += 1;
                self.again.insert(unit);
            }
        }
        self.publish_if_due()
    }

    /// Makes a version if enough changes wait, or no more can come to join them.
    fn publish_if_due(&mut self) -> Vec<Effect> {
        // Nothing is out, and nothing is left to hand out.
        let idle = self.flight.is_empty() && self.done.count() + self.taken.len() as u64 >= self.units();
        let changes = self.learner.changes();
        if changes >= self.request.publish_every || changes > 0 && idle { self.publish() } else { Vec::new() }
    }

    fn publish(&mut self) -> Vec<Effect> {
        if let Err(e) = self.learner.publish() {
            let reason = format!("version {}: {e}", self.learner.number + 1);
            return vec![Effect::Failed { reason }];
        }
        for Taken { unit, rows, missed } in std::mem::take(&mut self.taken) {
            self.done.add(unit);
            self.flight.is_in(unit);
            if let Stream::Queue(queue) = &mut self.stream {
                queue.learnt(unit, rows);
            }
            self.figures.batches += rows.div_ceil(self.request.batch());
            self.applied(rows, missed);
        }
        let mut effects = vec![Effect::SaveSoon];
        effects.extend(self.measure_if_due());
        effects
    }

    /// A change that missed so many versions is in the newest.
    fn applied(&mut self, rows: u64, missed: u64) {
        self.figures.updates += 1;
        self.figures.rows += rows;
        self.missed += missed;
        self.figures.version = self.learner.number;
    }
}

impl Job for StreamJob {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        let mut ready = Vec::new();
        while ready.len() < room && !self.time_is_up {
            let Some(number) = self.next_unit() else { break };
            // Those that were handed out are there.
            ready.extend(self.hand_out(number, Vec::new()));
        }
        ready
    }

    fn begins(&mut self, task: TaskId, behind: &[TaskId]) -> Option<TaskSpec> {
        let behind = if self.carries().is_some() { self.flight.before(behind) } else { Vec::new() };
        let out = self.flight.get(task)?;
        let is_as_handed_out = out.base == self.learner.number && behind.is_empty() && out.behind.is_empty();
        if is_as_handed_out { None } else { self.hand_out(out.unit, behind) }
    }

    fn sends_ahead(&self) -> Option<Duration> {
        Some(if self.carries().is_some() { Duration::MAX } else { LONGEST_AHEAD })
    }

    fn unmade(&self) -> u64 {
        if self.time_is_up { 0 } else { self.units().saturating_sub(self.next) + self.again.len() as u64 }
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let at_work = self.flight.get(task).and_then(|out| Some(self.unit(out.unit)?.rows));
        let Some(rows) = at_work else { return Err(BadAnswer(format!("{task} is not at work"))) };
        let (change, StreamMetrics { learnt: metrics, behind: had }) = self.read(output, rows)?;
        self.flight.answered(task, &had, rows, change, metrics);
        let mut effects = Vec::new();
        while let Some(answer) = self.flight.next_answer() {
            effects.extend(self.take(answer));
        }
        Ok(effects)
    }

    fn evaluated(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        self.was_measured(round, measured)
    }

    fn stream(&self) -> Option<StreamFigures> {
        let waiting = if let Stream::Queue(queue) = &self.stream { queue.waiting } else { 0 };
        let mean_staleness = self.missed as f64 / self.figures.updates.max(1) as f64;
        Some(StreamFigures { waiting, mean_staleness, ..self.figures })
    }

    fn receive(&mut self, word: Word) -> Result<(Heard, Vec<Effect>), Refused> {
        self.hear(word)
    }

    fn versions(&self) -> Vec<Version> {
        self.learner.kept().iter().cloned().collect()
    }

    fn before_save(&mut self) {
        self.learner.keep_newest();
    }

    fn keeps_answers(&self) -> bool {
        false
    }

    fn time_limit(&self) -> Option<Duration> {
        // Limits out of range were refused.
        self.request.stopping.max_time_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    fn time_is_up(&mut self) -> Vec<Effect> {
        self.time_is_up = true;
        self.end_early()
    }

    fn save(&self) -> Saved {
        saved::save(self)
    }

    fn reopened(&mut self) -> Vec<Effect> {
        let mut effects = self.measure_again();
        effects.extend(self.measure_if_due());
        effects
    }

    fn progress(&self) -> Progress {
        let every = self.measure_every();
        let rounds = self.batches().map_or(0, |all| all.div_ceil(every));
        let moved = self.moved();
        let round = moved / every + 1;
        let round = if rounds > 0 { round.min(rounds) } else { round };
        Progress {
            round: u32::try_from(round).unwrap_or(u32::MAX),
            rounds: u32::try_from(rounds.max(round)).unwrap_or(u32::MAX),
            tasks_done: u32::try_from(moved - (round - 1) * every).unwrap_or(u32::MAX),
            tasks: u32::try_from(every).unwrap_or(u32::MAX),
        }
    }

    fn memory(&self) -> usize {
        // The versions that are kept, measured and at work, each as numbers and as files, the change that is gathered in
        // double precision, the outer state twice while it is saved.
        let parameters = self.learner.weights.shape().parameters();
        let copies = 2 * (self.request.keep as usize + measured::MOST_UNMEASURED + 4);
        // Settings without a row were refused.
        let of_outer = self.request.outer.row().map_or(0, |row| 2 * row.bytes(parameters));
        let of_queue = if let Stream::Queue(_) = self.stream { Queue::most_bytes() } else { 0 };
        let of_changes = parameters.saturating_mul(copies * size_of::<f32>() + size_of::<f64>());
        of_changes.saturating_add(of_outer).saturating_add(of_queue)
    }
}

#[cfg(test)]
mod tests;
