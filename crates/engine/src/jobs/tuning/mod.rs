//! Owns tuning: many trials of one kind of model, each a configuration, are learnt and measured on folds of the rows or on the
//! validation rows; a search says which are tried and which stop early.
//!
//! A task is a fold of a trial up to the end of a rung. All decisions follow from the order in which results come, which the
//! log keeps: a job that goes on elsewhere decides as it did here.

mod course;
mod folds;
mod learner;
mod metric;
mod output;
mod request;
mod saved;
mod search;
mod setting;
mod space;
mod specs;
mod stock;
mod task;
#[cfg(test)]
mod tests;
mod trial;

pub use learner::{LEARNERS, LearnerRow, ParameterRow, find as find_model};
pub use metric::{METRICS, MetricRow, Score, find as find_metric};
pub use output::{NoOutput, Tuned, TuningOutput};
pub use request::TuningRequest;
pub use search::{SEARCHES, SearchRow, SearchSettings};
pub use setting::{Configuration, Setting, described, name_of};
pub use space::{Domain, MOST_TRIALS, Parameter};
pub use stock::Stocks;
pub use task::{TuningMetrics, TuningTask, Want};
pub use trial::{Trial, TrialState, sort};

use super::{
    BadAnswer, Corpus, Effect, Job, JobError, JobKind, Needs, Progress, RoundResult, Saved, TaskOutput, TaskSpec,
};
use crate::data::shared::Blob;
use crate::model::{Measured, Mlp};
use crate::types::{Digest, Round, TaskId};
use course::{Courses, Done, Reported, Step};
use learner::{LearnerRow as Row, Takes};
use output::Told;
use space::Plan;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The row of [`super::JOB_KINDS`].
pub const KIND: JobKind = JobKind {
    name: "tune",
    needs: Needs::Rows,
    start: |parameters, data| Ok(Box::new(TuningJob::start(parameters, data.rows()?)?)),
    resume: |parameters, data, saved| Ok(Box::new(TuningJob::resume(parameters, data.rows()?, saved)?)),
    run: task::run,
};

/// The job saves after so many results, or as many as a quarter of those before: the log stays short, and saving cheap.
const SAVED_EVERY: usize = 200;

/// A tuning job between two events.
struct TuningJob {
    request: TuningRequest,
    corpus: Corpus,
    learner: &'static Row,
    plan: Plan,
    /// In which order trials begin.
    order: Vec<u32>,
    /// How many of them have begun.
    begun: usize,
    courses: Courses,
    /// Steps that were handed out.
    open: BTreeSet<Step>,
    /// Trials that came to the end of a rung, or failed.
    reports: u32,
    time_is_up: bool,
    refit: Refit,
    /// Results when it saved last.
    saved_at: usize,
    /// What has followed from answers that were remembered.
    retold: Vec<Effect>,
}

/// How far the learning of the best from all rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refit {
    /// Trials are at work.
    Later,
    /// It is to be handed out.
    Ready,
    /// It was.
    AtWork,
}

impl TuningJob {
    fn start(parameters: &str, corpus: Corpus) -> Result<Self, JobError> {
        let request: TuningRequest = serde_json::from_str(parameters)?;
        let request = request.renamed()?;
        let checked = request.check(&corpus)?;
        let order = request.order(&checked, &corpus);
        let search = (checked.search.make)(&request.search);
        Ok(Self {
            courses: Courses::new(request.folds, checked.rungs, checked.metric, search),
            learner: checked.learner,
            plan: checked.plan,
            order,
            request,
            corpus,
            begun: 0,
            open: BTreeSet::new(),
            reports: 0,
            time_is_up: false,
            refit: Refit::Later,
            saved_at: 0,
            retold: Vec::new(),
        })
    }

    /// Begins the next trial; whether there was one.
    fn begin_next(&mut self) -> bool {
        let Some(&trial) = self.order.get(self.begun).filter(|_| !self.time_is_up) else { return false };
        self.begun += 1;
        self.courses.begin(trial);
        true
    }

    fn task_of(&self, step: Step) -> TaskId {
        TaskId { round: Round(step.rung + 1), shard: step.trial * self.courses.folds + step.fold }
    }

    fn step_of(&self, task: TaskId) -> Option<Step> {
        let rung = task.round.0.checked_sub(1).filter(|rung| (*rung as usize) < self.courses.rungs.len())?;
        let (trial, fold) = (task.shard / self.courses.folds, task.shard % self.courses.folds);
        (trial < self.plan.trials).then_some(Step { trial, rung, fold })
    }

    /// The task that learns the best from all rows.
    fn refit_task(&self) -> TaskId {
        TaskId { round: Round(self.courses.rungs.len() as u32 + 1), shard: 0 }
    }

    /// Reads an answer to a step.
    fn read(&mut self, step: Step, output: &TaskOutput) -> Result<(Done, Option<Arc<Blob>>), BadAnswer> {
        let metrics = metrics(output)?;
        let most =
            if self.corpus.classes.is_empty() || self.learner.takes == Takes::Nothing { f64::MAX } else { 1.0 };
        let TuningMetrics { score, failed, .. } = &metrics;
        if score.is_some() == failed.is_some() || score.is_some_and(|score| !(0.0..=most).contains(&score.error)) {
            return Err(BadAnswer(format!("it claims {score:?} and {failed:?}")));
        }
        let mut state = None;
        if !output.bytes.is_empty() {
            Mlp::from_safetensors(&output.bytes)
                .map_err(|e| BadAnswer(format!("what it leaves cannot be used: {e}")))?;
            state = Some(Arc::new(Blob::new(output.bytes.clone())));
        }
        let nodes = &mut self.courses.nodes;
        let node = nodes.iter().position(|node| *node == metrics.node).unwrap_or_else(|| {
            nodes.push(metrics.node.clone());
            nodes.len() - 1
        });
        let TuningMetrics { score, training_error, failed, seconds, .. } = metrics;
        Ok((Done { step, node: node as u32, seconds, score, training_error, failed }, state))
    }

    /// Takes what a step has come to.
    fn take(&mut self, done: Done, state: Option<Arc<Blob>>) -> Vec<Effect> {
        self.open.remove(&done.step);
        let reported = self.courses.done(done, state);
        let mut effects: Vec<Effect> = reported.map(|reported| self.closed(&reported)).into_iter().collect();
        effects.extend(self.go_on());
        effects
    }

    fn closed(&mut self, reported: &Reported) -> Effect {
        self.reports += 1;
        let trial = self.courses.trial(reported.trial, self.plan.configuration(reported.trial));
        let trial = Trial {
            state: reported.state,
            promoted: reported.promoted.iter().map(|trial| trial + 1).collect(),
            ..trial
        };
        let (error, loss, training_error) = self.courses.means(reported.trial);
        let result = RoundResult {
            validation_error: error,
            validation_loss: loss,
            training_error: training_error.unwrap_or(f64::NAN),
            training_loss: None,
        };
        // Numbers and names can be written.
        let detail = serde_json::to_string(&trial).ok().map(String::into_boxed_str);
        Effect::Closed { round: Round(self.reports), result, left_out: Vec::new(), detail }
    }

    /// What follows when nothing is left to be tried.
    fn go_on(&mut self) -> Option<Effect> {
        let nothing_left = self.begun >= self.order.len() || self.time_is_up;
        // Nobody waits for the other folds of a trial that has failed.
        let at_work = self.open.iter().any(|step| !self.courses.has_failed(step.trial));
        let idle = !at_work && (self.courses.ready() == 0 || self.time_is_up);
        let has_to_end = self.time_is_up && self.courses.best.is_some();
        if self.refit != Refit::Later || !(has_to_end || (nothing_left && idle)) {
            return None;
        }
        let Some(_) = self.courses.best else {
            let first = self.courses.log.iter().find_map(|done| self.courses.reason(done));
            let why = first.map_or_else(|| "the time is up".to_owned(), |reason| format!("the first: {reason}"));
            let failed = self.courses.failed;
            return Some(Effect::Failed { reason: format!("no trial succeeded, {failed} failed; {why}") });
        };
        if !self.request.refit {
            return self.finish(None);
        }
        self.refit = Refit::Ready;
        None
    }

    /// The job ends, with the model if one was learnt.
    fn finish(&self, model: Option<(Vec<u8>, Digest, Measured)>) -> Option<Effect> {
        let best = self.courses.best?.trial;
        let trials = self.trials().map(|trial| match trial.state {
            TrialState::Paused => Trial { state: TrialState::Stopped, ..trial },
            _ => trial,
        });
        // What the same request has for a result everywhere, if all trials come to their ends.
        let values: Vec<u8> =
            trials.clone().flat_map(|trial| trial.folds).flat_map(|value| value.to_le_bytes()).collect();
        let mut digest = Digest::of(&values);
        let (mut refit, mut file) = (None, None);
        if let Some((bytes, weights, measured)) = model {
            (digest, refit, file) = (weights, Some(measured), Some(bytes));
        }
        let told = Told { request: &self.request, trials, best: best + 1, refit: &refit };
        let model = Arc::new(Blob::new(told.to_bytes(file.as_deref())));
        let round = Round(self.reports.max(1));
        Some(Effect::Finished { weights: digest, model, round, measured: refit.map(Box::new) })
    }

    fn trials(&self) -> impl Iterator<Item = Trial> + Clone + '_ {
        self.courses.begun().map(|trial| self.courses.trial(trial, self.plan.configuration(trial)))
    }

    fn take_refit(&mut self, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let metrics = metrics(output)?;
        if let Some(reason) = metrics.failed {
            let reason = format!("the best configuration cannot be learnt from all rows: {reason}");
            return Ok(vec![Effect::Failed { reason }]);
        }
        let Some((digest, measured)) = metrics.model.filter(|_| !output.bytes.is_empty()) else {
            return Err(BadAnswer("it gives no model".to_owned()));
        };
        Ok(self.finish(Some((output.bytes.clone(), digest, measured))).into_iter().collect())
    }

    /// Whether it is time to save.
    fn saves(&mut self) -> bool {
        let results = self.courses.log.len();
        let is_due = results >= self.saved_at + SAVED_EVERY.max(self.saved_at / 4);
        if is_due {
            self.saved_at = results;
        }
        is_due
    }
}

fn metrics(output: &TaskOutput) -> Result<TuningMetrics, BadAnswer> {
    let metrics: TuningMetrics = serde_json::from_str(&output.metrics)
        .map_err(|e| BadAnswer(format!("its metrics cannot be read: {e}")))?;
    match metrics.seconds.is_finite() && metrics.seconds >= 0.0 {
        true => Ok(metrics),
        false => Err(BadAnswer(format!("it claims to have taken {} s", metrics.seconds))),
    }
}

impl Job for TuningJob {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        if self.refit == Refit::Ready {
            self.refit = Refit::AtWork;
            return self.courses.best.map(|best| self.refit_spec(best.trial)).into_iter().collect();
        }
        let mut ready = Vec::new();
        while self.refit == Refit::Later && !(self.time_is_up && self.courses.best.is_some()) && ready.len() < room
        {
            match self.courses.next() {
                Some(step) => {
                    self.open.insert(step);
                    ready.push(self.spec(step));
                }
                None if self.begin_next() => {}
                None => break,
            }
        }
        ready
    }

    fn unmade(&self) -> u64 {
        if self.refit != Refit::Later || self.time_is_up {
            return 0;
        }
        let later = (self.order.len() - self.begun) as u64 * u64::from(self.courses.folds);
        self.courses.ready() as u64 + later
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        if task == self.refit_task() && self.refit == Refit::AtWork {
            return self.take_refit(output);
        }
        let Some(step) = self.step_of(task).filter(|step| self.open.contains(step)) else {
            return Err(BadAnswer(format!("{task} is not at work")));
        };
        let (done, state) = self.read(step, output)?;
        let mut effects = self.take(done, state);
        let is_over = effects.iter().any(|e| matches!(e, Effect::Finished { .. } | Effect::Failed { .. }));
        if !is_over && self.saves() {
            effects.push(Effect::Save);
        }
        Ok(effects)
    }

    fn remember(&mut self, task: TaskId, output: &TaskOutput) -> bool {
        let Some(step) = self.step_of(task) else { return false };
        while !self.courses.has_begun(step.trial) && self.begin_next() {}
        if !self.courses.take(step) {
            return false;
        }
        let Ok((done, state)) = self.read(step, output) else { return false };
        self.replay(done, state);
        true
    }

    fn time_limit(&self) -> Option<Duration> {
        // Limits out of range were refused.
        self.request.max_time_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    fn time_is_up(&mut self) -> Vec<Effect> {
        self.time_is_up = true;
        let mut effects: Vec<Effect> = self.go_on().into_iter().collect();
        if effects.is_empty() {
            effects.push(Effect::Save);
        }
        effects
    }

    fn save(&self) -> Saved {
        saved::save(self)
    }

    fn reopened(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.retold)
    }

    fn progress(&self) -> Progress {
        let trials = self.order.len() as u32;
        let planned = trials.saturating_mul(self.courses.folds);
        let results = u32::try_from(self.courses.log.len()).unwrap_or(u32::MAX);
        Progress {
            round: (self.reports + 1).min(trials),
            rounds: trials,
            tasks_done: results,
            tasks: planned.max(results),
        }
    }

    fn memory(&self) -> usize {
        // Results and trials, and once more as they are saved and told; the states of trials; the model.
        let trials = self.order.len();
        let results = trials.saturating_mul(self.courses.folds as usize * self.courses.rungs.len().min(2));
        let size = request::size(&self.corpus, 0);
        let largest = self.request.space.iter().flat_map(|parameter| {
            let first = self.plan.configuration(0);
            parameter.domain.ends().into_iter().map(move |value| {
                let mut one = first.clone();
                one.insert(parameter.name.clone(), value);
                one
            })
        });
        let bytes = |one: &Configuration| {
            self.learner.of(&self.request.settings(one)).map_or(0, |learner| learner.bytes(&size))
        };
        let model = largest.map(|one| bytes(&one)).max().unwrap_or(0);
        let models = if self.request.refit { 3 * model } else { 0 };
        let states = if self.courses.rungs.len() > 1 { results.saturating_mul(model).min(256 << 20) } else { 0 };
        results.saturating_mul(400).saturating_add(trials * 600).saturating_add(states).saturating_add(models)
    }
}
