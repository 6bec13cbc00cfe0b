//! Owns inference: a model is asked about files of the store, batch by batch; each query is answered once, in its place.
//!
//! A query is a picture, or a row of a table. Queries are counted over all inputs in their order, and a task is a batch of
//! consecutive ones, named by its first: batches may have other sizes after a restart, and the answers fit all the same.

mod answers;
mod models;
mod output;
mod ranges;
mod request;
mod saved;
mod task;
#[cfg(test)]
mod tests;
mod times;

pub use answers::{Answers, NoAnswers, Nothing};
pub use models::{Models, NoModel};
pub use output::{Batch, Header, Line, Output, Said};
pub use request::{Batches, InferenceOrder, InferenceRequest, MOST_IN_BATCH, ModelFacts};
pub use task::{InferenceMetrics, InferenceTask};

use super::{
    BadAnswer, Effect, Figures, Files, Job, JobError, JobKind, Measure, Needs, Progress, Saved, Source, TaskInput,
    TaskOutput, TaskSpec,
};
use crate::data::shared::Blob;
use crate::types::{Digest, Round, TaskId};
use ranges::Ranges;
use std::collections::BTreeMap;
use std::sync::Arc;
use times::Times;

/// The row of [`super::JOB_KINDS`].
pub const KIND: JobKind = JobKind {
    name: "infer",
    needs: Needs::Files,
    start: |parameters, data| Ok(Box::new(InferenceJob::start(parameters, data.files()?)?)),
    resume: |parameters, data, saved| Ok(Box::new(InferenceJob::resume(parameters, data.files()?, saved)?)),
    run: task::run,
};

/// Rows that are asked about are a data set of this many classes, all of them in the first.
pub const UNLABELLED: usize = 1;

/// The most inputs of a job.
pub const MOST_INPUTS: usize = 200_000;

/// What is answered is saved whenever so many bytes of answers have come: a log that only grows is slow to read.
const SAVED_EVERY: usize = 32 << 20;

/// There is one round.
const ROUND: Round = Round(1);

/// An inference job between two events.
struct InferenceJob {
    request: InferenceRequest,
    files: Files,
    /// The first query of each input; ascending.
    begins: Vec<u64>,
    total: u64,
    todo: Ranges,
    /// Batches that were handed out: the first query of each, and how many.
    open: BTreeMap<u64, u32>,
    answers: Answers,
    /// The nodes that answered, and which batches.
    nodes: Vec<String>,
    batches: BTreeMap<u64, Batch>,
    done: u64,
    times: Times,
    /// Bytes of answers since the last save.
    unsaved: usize,
}

impl InferenceJob {
    fn start(parameters: &str, files: Files) -> Result<Self, JobError> {
        let request: InferenceRequest = serde_json::from_str(parameters)?;
        let mut begins = Vec::with_capacity(files.inputs.len());
        let mut total = 0_u64;
        for input in &files.inputs {
            begins.push(total);
            total = total.saturating_add(input.rows.unwrap_or(1));
        }
        total = total.min(request.count.unwrap_or(u64::MAX));
        if !(1..=u64::from(u32::MAX)).contains(&total) {
            let range = format!("from 1 to {}", u32::MAX);
            return Err(JobError::Range { field: "the number of queries", value: total.to_string(), range });
        }
        Ok(Self {
            answers: Answers::zeros(total as usize, request.top as usize),
            request,
            files,
            begins,
            total,
            todo: Ranges::below(total),
            open: BTreeMap::new(),
            nodes: Vec::new(),
            batches: BTreeMap::new(),
            done: 0,
            times: Times::new(),
            unsaved: 0,
        })
    }

    /// The input of a query, and where it begins.
    fn input_of(&self, query: u64) -> Option<(usize, &Source, u64)> {
        let place = self.begins.partition_point(|&begin| begin <= query).checked_sub(1)?;
        Some((place, self.files.inputs.get(place)?, *self.begins.get(place)?))
    }

    /// The next batch that is to be handed out, at most so large; its queries are pictures, or rows of one input.
    fn next_batch(&mut self, most: u32) -> Option<(u64, u32)> {
        let (first, end) = self.todo.first()?;
        let (place, input, begin) = self.input_of(first)?;
        let fits = match input.rows {
            Some(rows) => (begin + rows).min(end),
            None => {
                let pictures = self.files.inputs[place..].iter().take(most as usize);
                first + pictures.take_while(|input| input.rows.is_none()).count() as u64
            }
        };
        let end = end.min(fits).min(first + u64::from(most));
        self.todo.take(first, end);
        Some((first, (end - first) as u32))
    }

    fn spec(&self, first: u64, queries: u32) -> Option<TaskSpec> {
        let (place, input, begin) = self.input_of(first)?;
        let rows = input.rows.map(|_| (first - begin, u64::from(queries)));
        let pictures = if rows.is_some() { 1 } else { queries as usize };
        let inputs = self.files.inputs.get(place..place + pictures)?;
        let parameters = InferenceTask {
            model: self.request.model.clone(),
            card: self.request.card.clone(),
            top: self.request.top,
            rows,
        };
        let blob = |source: &Source| TaskInput::Shard { path: source.name.clone(), digest: source.digest };
        Some(TaskSpec {
            id: TaskId { round: ROUND, shard: u32::try_from(first).ok()? },
            kind: KIND.name,
            // Numbers and names can be written.
            parameters: serde_json::to_string(&parameters).unwrap_or_default(),
            inputs: [&self.files.model].into_iter().chain(inputs).map(blob).collect(),
            cost: self.request.cost * f64::from(queries),
            for_originals: false,
            queries,
        })
    }

    /// Takes the answers to a batch of so many queries that is not answered yet.
    fn take(&mut self, first: u64, output: &TaskOutput, expected: Option<u32>) -> Result<u32, BadAnswer> {
        let metrics: InferenceMetrics = serde_json::from_str(&output.metrics)
            .map_err(|e| BadAnswer(format!("its metrics cannot be read: {e}")))?;
        let (some, Nothing {}) = Answers::from_bytes(&output.bytes).map_err(|e| BadAnswer(e.to_string()))?;
        let queries = u32::try_from(some.len()).unwrap_or(u32::MAX);
        if some.is_empty() || expected.is_some_and(|expected| expected != queries) || some.top != self.answers.top
        {
            let (top, wanted) = (some.top, self.answers.top);
            return Err(BadAnswer(format!("it answers {queries} queries with {top} classes each, not {wanted}")));
        }
        let known = self.request.labels.len();
        if some.classes.iter().any(|&class| class as usize >= known) {
            return Err(BadAnswer(format!("it names a class that is none of {known}")));
        }
        let probable = |number: &f32| number.is_finite() && (some.top == 0 || (-1e-3..=1.001).contains(number));
        if !some.numbers.iter().all(probable) || !metrics.seconds.is_finite() {
            return Err(BadAnswer("its numbers are out of range".to_owned()));
        }
        self.answers.place(first as usize, &some);
        let node = self.nodes.iter().position(|node| *node == metrics.node).unwrap_or_else(|| {
            self.nodes.push(metrics.node.clone());
            self.nodes.len() - 1
        });
        let batch = Batch { first, queries, node: node as u32, seconds: metrics.seconds.max(0.0) };
        self.count(batch);
        self.unsaved += output.bytes.len();
        Ok(queries)
    }

    fn count(&mut self, batch: Batch) {
        self.batches.insert(batch.first, batch);
        self.done += u64::from(batch.queries);
        self.times.add(batch.queries, batch.seconds);
    }

    /// What there is so far as a document.
    fn output(&self) -> Output {
        let input = |input: &Source| (input.name.clone(), input.rows);
        let header = Header {
            model: self.request.model.clone(),
            model_sha256: self.files.model.digest,
            labels: self.request.labels.clone(),
            inputs: self.files.inputs.iter().map(input).collect(),
            nodes: self.nodes.clone(),
            batches: self.batches.values().copied().collect(),
        };
        Output { header, answers: self.answers.clone() }
    }

    fn finish(&self) -> Effect {
        let (weights, model): (Digest, _) = (self.answers.digest(), Arc::new(Blob::new(self.output().to_bytes())));
        Effect::Finished { weights, model, round: ROUND, measured: None }
    }
}

impl Job for InferenceJob {
    fn measure(&self) -> Measure {
        Measure::Queries
    }

    fn unmade(&self) -> u64 {
        self.todo.count().div_ceil(u64::from(self.request.batches.next(self.times.query_s()).max(1)))
    }

    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        let mut ready = Vec::new();
        while ready.len() < room {
            let most = self.request.batches.next(self.times.query_s());
            let Some((first, queries)) = self.next_batch(most) else { break };
            self.open.insert(first, queries);
            ready.extend(self.spec(first, queries));
        }
        ready
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let first = u64::from(task.shard);
        let Some(&queries) = self.open.get(&first) else {
            return Err(BadAnswer(format!("{task} is not at work")));
        };
        self.take(first, output, Some(queries))?;
        self.open.remove(&first);
        if self.done == self.total {
            return Ok(vec![self.finish()]);
        }
        if self.unsaved >= SAVED_EVERY {
            self.unsaved = 0;
            return Ok(vec![Effect::Save]);
        }
        Ok(Vec::new())
    }

    fn remember(&mut self, task: TaskId, output: &TaskOutput) -> bool {
        let first = u64::from(task.shard);
        let Ok((some, Nothing {})) = Answers::from_bytes(&output.bytes) else { return false };
        // Only what is still to be done: an answer counts once.
        if !self.todo.take(first, first + some.len() as u64) {
            return false;
        }
        let taken = self.take(first, output, None).is_ok();
        if !taken {
            self.todo.put_back(first, first + some.len() as u64);
        }
        taken
    }

    fn set_batch_size(&mut self, model: &str, queries: u32) -> bool {
        let changes = self.request.model == model && self.request.batches != Batches::of(queries);
        if changes {
            self.request.batches = Batches::of(queries);
        }
        changes
    }

    fn figures(&self) -> Option<Figures> {
        let mut figures = Figures {
            done: self.done,
            total: self.total,
            failed: self.answers.errors.len() as u64,
            batch_size: self.request.batches.next(self.times.query_s()),
            ..Figures::default()
        };
        self.times.tell(&mut figures);
        Some(figures)
    }

    fn save(&self) -> Saved {
        saved::save(self)
    }

    fn reopened(&mut self) -> Vec<Effect> {
        if self.done == self.total { vec![self.finish()] } else { Vec::new() }
    }

    fn progress(&self) -> Progress {
        let count = |queries: u64| u32::try_from(queries).unwrap_or(u32::MAX);
        Progress { round: 1, rounds: 1, tasks_done: count(self.done), tasks: count(self.total) }
    }

    fn memory(&self) -> usize {
        // The answers, twice while the output is written, and what is known of each input and batch.
        let numbers = self.answers.classes.len() + self.answers.numbers.len();
        let inputs = self.files.inputs.len() * 256 + self.total as usize * size_of::<Batch>() / 4;
        numbers.saturating_mul(3 * size_of::<f32>()).saturating_add(inputs)
    }
}
