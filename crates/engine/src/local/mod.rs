//! Owns doing a job in this process alone, one task after the other: what a cluster's result and speed are compared with.
//!
//! Nothing is kept, sent or named: what a task works on and what it comes to are handed over as they are.

use crate::data::shared::Blob;
use crate::jobs::inference::Models;
use crate::jobs::{Effect, Job, JobKind, RoundResult, StreamFigures, TaskInput, TaskSpec, Workbench};
use crate::model::{self, Measured, Model};
use crate::types::{Digest, Round};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a job has come to.
#[derive(Debug)]
pub struct Outcome {
    /// The SHA-256 of the weights.
    pub weights: Digest,
    /// The model file.
    pub model: Arc<Blob>,
    /// The round whose model it is.
    pub round: Round,
    /// What it is worth, if it is a model.
    pub measured: Option<Box<Measured>>,
    /// What it has done, if it learns from a stream.
    pub stream: Option<StreamFigures>,
    /// Tasks that were done.
    pub tasks: u64,
    /// Seconds of the clock in them.
    pub tasks_s: f64,
    /// Seconds in measuring models on the validation rows.
    pub measuring_s: f64,
}

/// Why a job has come to nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LocalError {
    /// The job says so.
    #[error("the job failed: {0}")]
    Failed(String),
    /// A task cannot be done, or its answer is not one that it can have.
    #[error("{task}: {reason}")]
    Task {
        /// Which.
        task: String,
        /// Why.
        reason: String,
    },
    /// A model cannot be measured on the validation rows.
    #[error("validation rows: {0}")]
    Validation(String),
    /// It waits for something that nobody here will do.
    #[error("the job has nothing more to do and no result: it waits for others")]
    NoEnd,
    /// Nobody wants it any more.
    #[error("interrupted")]
    Interrupted,
}

/// What a job is done with.
pub struct Surroundings<'a> {
    /// The data, by the inputs of tasks.
    pub find: &'a dyn Fn(&TaskInput) -> Option<Arc<Blob>>,
    /// Seconds since some moment.
    pub clock: &'a dyn Fn() -> f64,
    /// Whether to go on; asked often.
    pub keep_going: &'a dyn Fn() -> bool,
    /// Is told of each round that is over, by its number.
    pub told: &'a mut dyn FnMut(u32, &RoundResult),
}

/// Does a job to its end.
///
/// # Errors
/// The job fails, a task or a measurement does, or it comes to no end.
pub fn run(kind: &JobKind, job: Box<dyn Job>, around: Surroundings<'_>) -> Result<Outcome, LocalError> {
    run_from(kind, job, Vec::new(), around)
}

/// The same for a job that has handed out its first tasks.
///
/// # Errors
/// As [`run`].
pub fn run_from(
    kind: &JobKind,
    mut job: Box<dyn Job>,
    first: Vec<TaskSpec>,
    around: Surroundings<'_>,
) -> Result<Outcome, LocalError> {
    let start = (around.clock)();
    let mut doing = Doing { kind, around, models: Models::new(0), tasks: 0, tasks_s: 0.0, measuring_s: 0.0 };
    let (mut effects, mut ready) = (VecDeque::new(), VecDeque::from(first));
    let mut limit = job.time_limit().map(|limit| limit.as_secs_f64());
    loop {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Evaluate { round, model, validation } => {
                    effects.extend(job.evaluated(round, &doing.measure(&model, &validation)?));
                }
                Effect::Closed { round, result, .. } => (doing.around.told)(round.0, &result),
                Effect::Failed { reason } => return Err(LocalError::Failed(reason)),
                Effect::Finished { weights, model, round, measured } => {
                    let Doing { tasks, tasks_s, measuring_s, .. } = doing;
                    let stream = job.stream();
                    return Ok(Outcome { weights, model, round, measured, stream, tasks, tasks_s, measuring_s });
                }
                Effect::Save | Effect::SaveSoon => {}
            }
        }
        if limit.is_some_and(|limit| (doing.around.clock)() - start >= limit) {
            limit = None;
            effects.extend(job.time_is_up());
            continue;
        }
        if ready.is_empty() {
            ready.extend(job.take_ready(1));
        }
        let task: TaskSpec = ready.pop_front().ok_or(LocalError::NoEnd)?;
        let task = job.begins(task.id, &[]).unwrap_or(task);
        effects.extend(doing.task(&mut *job, &task)?);
    }
}

/// A job that is being done.
struct Doing<'a, 'b> {
    kind: &'a JobKind,
    around: Surroundings<'b>,
    models: Models,
    tasks: u64,
    tasks_s: f64,
    measuring_s: f64,
}

impl Doing<'_, '_> {
    fn task(&mut self, job: &mut dyn Job, task: &TaskSpec) -> Result<Vec<Effect>, LocalError> {
        let wrong = |reason: String| LocalError::Task { task: task.id.to_string(), reason };
        let Surroundings { find, clock, keep_going, .. } = &self.around;
        if !keep_going() {
            return Err(LocalError::Interrupted);
        }
        let input = |input: &TaskInput| match input {
            TaskInput::Made(blob) => Ok(blob.clone()),
            TaskInput::Shard { path, .. } => find(input).ok_or_else(|| wrong(format!("{path} is not here"))),
        };
        let inputs = task.inputs.iter().map(input).collect::<Result<Vec<_>, _>>()?;
        let start = clock();
        let workbench = Workbench { clock, ..Workbench::bare(keep_going, &self.models) };
        let output = (self.kind.run)(&task.parameters, &inputs, &workbench).map_err(|e| wrong(e.to_string()))?;
        self.tasks += 1;
        self.tasks_s += clock() - start;
        job.complete(task.id, &output).map_err(|e| wrong(e.to_string()))
    }

    fn measure(&mut self, model: &Model, validation: &Blob) -> Result<Measured, LocalError> {
        let start = (self.around.clock)();
        let data = validation.dataset(model.classes()).map_err(|e| LocalError::Validation(e.to_string()))?;
        let measured = model::measure(model, &data).map_err(|e| LocalError::Validation(e.to_string()));
        self.measuring_s += (self.around.clock)() - start;
        measured
    }
}
