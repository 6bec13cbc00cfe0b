//! Owns what tasks are told: a fold of a trial up to the end of a rung, or the best trial with all rows.

use super::course::Step;
use super::learner::Takes;
use super::task::{TuningTask, Want};
use super::{Configuration, KIND, TuningJob, request};
use crate::data::shared::Blob;
use crate::jobs::{TaskInput, TaskSpec};
use crate::types::TaskId;
use std::sync::Arc;

impl TuningJob {
    /// The task of a step.
    pub(super) fn spec(&self, step: Step) -> TaskSpec {
        let settings = self.request.settings(&self.plan.configuration(step.trial));
        let learner = self.learner.of(&settings).ok();
        let state = self.courses.state_of(step).filter(|_| step.rung > 0);
        let to = step.rung as usize;
        let from = if state.is_some() { to } else { 0 };
        let goes_on = learner.as_ref().is_some_and(|learner| learner.goes_on());
        let task = TuningTask {
            settings,
            fold: step.fold,
            rungs: self.courses.rungs.clone(),
            from,
            to,
            wanted: if goes_on && to + 1 < self.courses.rungs.len() { Want::State } else { Want::Score },
            ..self.task()
        };
        let share = |rung: usize| self.courses.rungs.get(rung).copied().unwrap_or(1.0);
        let before = from.checked_sub(1).map_or(0.0, share);
        let size = request::size(&self.corpus, self.request.folds);
        let cost = learner.map_or(1.0, |learner| learner.cost(&size)) * (share(to) - before);
        self.spec_of(self.task_of(step), &task, state, cost)
    }

    /// The task of the best configuration, learnt from all rows.
    pub(super) fn refit_spec(&self, trial: u32) -> TaskSpec {
        let settings = self.request.settings(&self.plan.configuration(trial));
        let size = request::size(&self.corpus, 0);
        let cost = self.learner.of(&settings).map_or(1.0, |learner| learner.cost(&size));
        let names = self.corpus.classes.clone();
        let task = TuningTask { settings, rungs: vec![1.0], wanted: Want::Model, names, ..self.task() };
        self.spec_of(self.refit_task(), &task, None, cost)
    }

    /// What all tasks are told.
    fn task(&self) -> TuningTask {
        TuningTask {
            model: self.learner.name.to_owned(),
            settings: Configuration::new(),
            classes: self.corpus.classes.len(),
            seed: self.request.seed,
            folds: self.request.folds,
            fold: 0,
            rungs: Vec::new(),
            from: 0,
            to: 0,
            wanted: Want::Score,
            names: Vec::new(),
            timeout_s: self.request.trial_timeout_s,
        }
    }

    fn spec_of(&self, id: TaskId, task: &TuningTask, state: Option<&Arc<Blob>>, cost: f64) -> TaskSpec {
        let directory = self.corpus.name.trim_end_matches('/');
        let takes_rows = self.learner.takes != Takes::Nothing;
        let shards = self.corpus.shards.iter().chain([&self.corpus.validation]).filter(|_| takes_rows);
        let shards = shards.map(|shard| TaskInput::Shard {
            path: format!("{directory}/{}", shard.name),
            digest: shard.blob.digest(),
        });
        TaskSpec {
            id,
            kind: KIND.name,
            // Numbers and names can be written.
            parameters: serde_json::to_string(task).unwrap_or_default(),
            inputs: shards.chain(state.map(|state| TaskInput::Made(state.clone()))).collect(),
            cost,
            for_originals: false,
            queries: 0,
        }
    }
}
