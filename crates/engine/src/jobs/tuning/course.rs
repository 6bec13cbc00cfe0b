//! Owns how far each trial is: the results in the order in which they came, and what follows from each.

use super::metric::{MetricRow, Score, mean_and_std};
use super::search::{Fate, Search};
use super::trial::{Trial, TrialState};
use crate::data::shared::Blob;
use crate::types::exact;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Weights that trials may go on from are kept up to so many bytes; without them a trial begins anew, to the same end.
const KEPT_STATES: usize = 256 << 20;

/// A fold of a trial, in a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Step {
    /// From 0.
    pub(super) trial: u32,
    pub(super) rung: u32,
    pub(super) fold: u32,
}

/// What a step has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    #[serde(flatten)]
    pub(super) step: Step,
    /// The node's place in the list of nodes.
    pub(super) node: u32,
    #[serde(with = "exact")]
    pub(super) seconds: f64,
    /// `None`: it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<Score>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::option")]
    pub(super) training_error: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

/// A trial under way, or over.
#[derive(Default)]
struct Course {
    /// The places of its results.
    results: Vec<u32>,
    rung: u32,
    /// Folds of this rung that are still to come.
    missing: u32,
    state: Option<TrialState>,
    /// What the next rung of each fold begins with.
    states: BTreeMap<u32, Arc<Blob>>,
}

/// The trials of a job.
pub(super) struct Courses {
    pub(super) folds: u32,
    pub(super) rungs: Vec<f64>,
    metric: &'static MetricRow,
    search: Box<dyn Search>,
    courses: BTreeMap<u32, Course>,
    /// All results, in the order in which they came.
    pub(super) log: Vec<Done>,
    /// The addresses of nodes.
    pub(super) nodes: Vec<String>,
    /// Steps that can be done now, by their rungs.
    ready: Vec<VecDeque<Step>>,
    pub(super) failed: u32,
    /// The best so far: how far it came, its badness, its number.
    pub(super) best: Option<Best>,
    kept: usize,
}

/// The best trial so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    rung: u32,
    badness: f64,
    pub(super) trial: u32,
}

/// A trial has come to the end of a rung, or failed.
pub(super) struct Reported {
    pub(super) trial: u32,
    pub(super) state: TrialState,
    pub(super) promoted: Vec<u32>,
}

impl Courses {
    pub(super) fn new(folds: u32, rungs: Vec<f64>, metric: &'static MetricRow, search: Box<dyn Search>) -> Self {
        Self {
            folds: folds.max(1),
            ready: vec![VecDeque::new(); rungs.len()],
            rungs,
            metric,
            search,
            courses: BTreeMap::new(),
            log: Vec::new(),
            nodes: Vec::new(),
            failed: 0,
            best: None,
            kept: 0,
        }
    }

    /// A trial begins: its folds are ready.
    pub(super) fn begin(&mut self, trial: u32) {
        self.open_rung(trial, 0);
    }

    pub(super) fn has_begun(&self, trial: u32) -> bool {
        self.courses.contains_key(&trial)
    }

    pub(super) fn has_failed(&self, trial: u32) -> bool {
        self.courses.get(&trial).is_some_and(|course| course.state == Some(TrialState::Failed))
    }

    fn open_rung(&mut self, trial: u32, rung: u32) {
        let course = self.courses.entry(trial).or_default();
        (course.rung, course.missing, course.state) = (rung, self.folds, None);
        if let Some(ready) = self.ready.get_mut(rung as usize) {
            ready.extend((0..self.folds).map(|fold| Step { trial, rung, fold }));
        }
    }

    /// How many steps can be done now.
    pub(super) fn ready(&self) -> usize {
        self.ready.iter().map(VecDeque::len).sum()
    }

    /// The step to be done next: those of trials that came furthest go first.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.ready.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Takes a step out of those that can be done; whether it was there.
    pub(super) fn take(&mut self, step: Step) -> bool {
        let Some(ready) = self.ready.get_mut(step.rung as usize) else { return false };
        let place = ready.iter().position(|ready| *ready == step);
        place.is_some_and(|place| ready.remove(place).is_some())
    }

    /// What a step begins with, if it is kept.
    pub(super) fn state_of(&self, step: Step) -> Option<&Arc<Blob>> {
        self.courses.get(&step.trial)?.states.get(&step.fold)
    }

    /// Takes what a step has come to, and what the next begins with; what follows for its trial, if anything does.
    pub(super) fn done(&mut self, done: Done, state: Option<Arc<Blob>>) -> Option<Reported> {
        let step = done.step;
        let value = done.score.map(|score| self.metric.of(&score)).filter(|value| value.is_finite());
        let place = u32::try_from(self.log.len()).unwrap_or(u32::MAX);
        self.log.push(done);
        let course = self.courses.get_mut(&step.trial)?;
        course.results.push(place);
        // A fold of a trial that has failed by another.
        if course.state.is_some() || course.rung != step.rung {
            return None;
        }
        if let Some(old) = course.states.remove(&step.fold) {
            self.kept = self.kept.saturating_sub(old.bytes().len());
        }
        if let Some(state) = state.filter(|state| self.kept + state.bytes().len() <= KEPT_STATES) {
            self.kept += state.bytes().len();
            course.states.insert(step.fold, state);
        }
        course.missing = course.missing.saturating_sub(1);
        match value {
            None => Some(self.fail(step)),
            Some(_) if course.missing > 0 => None,
            Some(_) => Some(self.close_rung(step)),
        }
    }

    fn fail(&mut self, step: Step) -> Reported {
        self.failed += 1;
        self.ready.iter_mut().for_each(|ready| ready.retain(|other| other.trial != step.trial));
        let promoted = self.search.report(step.trial, step.rung as usize, None).promoted;
        self.settle(step.trial, TrialState::Failed);
        self.promote(step.rung, &promoted);
        Reported { trial: step.trial, state: TrialState::Failed, promoted }
    }

    fn close_rung(&mut self, step: Step) -> Reported {
        let values = self.values(step.trial, step.rung);
        let badness = self.metric.badness(mean_and_std(&values).0);
        let best = Best { rung: step.rung, badness, trial: step.trial };
        let is_better = |known: &Best| {
            let further = best.rung.cmp(&known.rung);
            further.then(known.badness.total_cmp(&badness)).then(known.trial.cmp(&best.trial)).is_gt()
        };
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(best);
        }
        let verdict = self.search.report(step.trial, step.rung as usize, Some(badness));
        let last = step.rung as usize + 1 >= self.rungs.len();
        let state = match verdict.fate {
            _ if verdict.promoted.contains(&step.trial) => TrialState::GoesOn,
            Fate::Done if last => TrialState::Done,
            _ if last => TrialState::Done,
            Fate::Paused => TrialState::Paused,
            Fate::Stopped | Fate::Done => TrialState::Stopped,
        };
        self.settle(step.trial, state);
        self.promote(step.rung, &verdict.promoted);
        Reported { trial: step.trial, state, promoted: verdict.promoted }
    }

    /// A trial is in this state; what it could go on from is not kept where it never does.
    fn settle(&mut self, trial: u32, state: TrialState) {
        let Some(course) = self.courses.get_mut(&trial) else { return };
        course.state = Some(state);
        if !matches!(state, TrialState::Paused | TrialState::GoesOn) {
            let freed: usize = std::mem::take(&mut course.states).values().map(|state| state.bytes().len()).sum();
            self.kept = self.kept.saturating_sub(freed);
        }
    }

    fn promote(&mut self, rung: u32, promoted: &[u32]) {
        for &trial in promoted {
            self.open_rung(trial, rung + 1);
        }
    }

    /// The results of a trial in a rung, in the order of the folds.
    fn results(&self, trial: u32, rung: u32) -> Vec<&Done> {
        let places = self.courses.get(&trial).map_or(&[][..], |course| &course.results);
        let results = places.iter().filter_map(|&place| self.log.get(place as usize));
        let mut results: Vec<&Done> = results.filter(|done| done.step.rung == rung).collect();
        results.sort_by_key(|done| done.step.fold);
        results
    }

    /// The metric of each fold.
    fn values(&self, trial: u32, rung: u32) -> Vec<f64> {
        let scores = self.results(trial, rung).into_iter().filter_map(|done| done.score);
        scores.map(|score| self.metric.of(&score)).filter(|value| value.is_finite()).collect()
    }

    /// The mean error, loss and training error of a trial at the end of its last rung.
    pub(super) fn means(&self, trial: u32) -> (f64, f64, Option<f64>) {
        let rung = self.last_whole_rung(trial).unwrap_or(0);
        let results = self.results(trial, rung);
        let mean = |of: &dyn Fn(&Done) -> Option<f64>| {
            let values: Vec<f64> = results.iter().filter_map(|done| of(done)).collect();
            (!values.is_empty()).then(|| mean_and_std(&values).0)
        };
        let score = |of: fn(&Score) -> f64| mean(&|done| done.score.as_ref().map(of)).unwrap_or(f64::NAN);
        (score(|score| score.error), score(|score| score.loss), mean(&|done| done.training_error))
    }

    /// The last rung that a trial has come to the end of.
    fn last_whole_rung(&self, trial: u32) -> Option<u32> {
        let course = self.courses.get(&trial)?;
        match course.state {
            Some(TrialState::Failed) => None,
            Some(_) => Some(course.rung),
            None => course.rung.checked_sub(1),
        }
    }

    /// A trial as it stands.
    pub(super) fn trial(&self, trial: u32, configuration: super::Configuration) -> Trial {
        let course = self.courses.get(&trial);
        let state = course.and_then(|course| course.state);
        let places = course.map_or(&[][..], |course| &course.results);
        let results = || places.iter().filter_map(|&place| self.log.get(place as usize));
        let rung = self.last_whole_rung(trial);
        let folds = rung.map(|rung| self.values(trial, rung)).unwrap_or_default();
        let (mean, std) = mean_and_std(&folds);
        let at_end_of = |rung| mean_and_std(&self.values(trial, rung)).0;
        let mut nodes: Vec<String> = Vec::new();
        for node in results().filter_map(|done| self.nodes.get(done.node as usize)) {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        let failed = results().find_map(|done| self.reason(done));
        let several = self.rungs.len() > 1;
        Trial {
            number: trial + 1,
            configuration,
            // One that was promoted and did not come to the end of its next rung.
            state: state.unwrap_or(TrialState::Stopped),
            metric: rung.map(|_| mean).filter(|_| !folds.is_empty()),
            std,
            folds,
            rungs: rung.filter(|_| several).map(|last| (0..=last).map(at_end_of).collect()).unwrap_or_default(),
            share: rung.and_then(|rung| self.rungs.get(rung as usize)).copied().unwrap_or(0.0),
            seconds: results().map(|done| done.seconds).sum(),
            nodes,
            reason: failed.filter(|_| state == Some(TrialState::Failed)),
            promoted: Vec::new(),
        }
    }

    /// Why a step has failed, if it has.
    pub(super) fn reason(&self, done: &Done) -> Option<String> {
        match done.score {
            None => Some(done.failed.clone().unwrap_or_else(|| "it gave no reason".to_owned())),
            Some(score) => {
                let value = self.metric.of(&score);
                (!value.is_finite()).then(|| format!("its {} is {value}", self.metric.name))
            }
        }
    }

    /// The trials that have begun and have a result, by their numbers.
    pub(super) fn begun(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.courses.iter().filter(|(_, course)| !course.results.is_empty()).map(|(&trial, _)| trial)
    }
}
