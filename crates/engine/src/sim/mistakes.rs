//! Owns the planted bugs that are made in jobs: around the real job, or in what it is made of.

use super::bugs::{Bug, Plant};
use crate::jobs::{BadAnswer, Effect, Job, Measure, Progress, Quorum, Saved, TaskOutput, TaskSpec};
use crate::ledger::History;
use crate::model::Measured;
use crate::types::{Round, TaskId};
use std::sync::Arc;
use std::time::Duration;

/// Spoils what a job is made of again.
pub(super) fn at_restore(bug: Option<&Bug>, history: &mut History) {
    match bug.map(|bug| bug.plant) {
        Some(Plant::AnswerForgotten) => {
            let first = history.answers.tasks().min();
            history.answers.retain(|task, _| Some(task) != first);
        }
        Some(Plant::SaveForgotten) => history.saved = None,
        Some(Plant::OtherRoundTold) => {
            if let Some(closed) = history.closed.first_mut() {
                Arc::make_mut(closed).result.validation_error += 1.0;
            }
        }
        _ => {}
    }
}

/// The job with a mistake around it, if it is one of those.
pub(super) fn in_job(bug: Option<&Bug>, work: Box<dyn Job>) -> Box<dyn Job> {
    match bug.map(|bug| bug.plant) {
        Some(plant @ (Plant::AnswerCountedTwice | Plant::OrderOfArrival)) => {
            Box::new(Spoilt { work, plant, answers: 0, in_round: (Round(0), 0) })
        }
        _ => work,
    }
}

struct Spoilt {
    work: Box<dyn Job>,
    plant: Plant,
    answers: u32,
    /// How many answers there were in a round.
    in_round: (Round, u32),
}

impl Job for Spoilt {
    fn complete(&mut self, mut task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        self.answers += 1;
        if self.in_round.0 != task.round {
            self.in_round = (task.round, 0);
        }
        if self.plant == Plant::OrderOfArrival {
            task.shard = self.in_round.1;
        }
        let effects = self.work.complete(task, output)?;
        self.in_round.1 += 1;
        let twice = self.plant == Plant::AnswerCountedTwice && self.answers.is_multiple_of(5);
        if twice && effects.is_empty() { self.work.complete(task, output) } else { Ok(effects) }
    }

    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        self.work.take_ready(room)
    }

    fn unmade(&self) -> u64 {
        self.work.unmade()
    }

    fn measure(&self) -> Measure {
        self.work.measure()
    }

    fn evaluated(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        self.work.evaluated(round, measured)
    }

    fn time_limit(&self) -> Option<Duration> {
        self.work.time_limit()
    }

    fn time_is_up(&mut self) -> Vec<Effect> {
        self.work.time_is_up()
    }

    fn quorum(&self) -> Option<Quorum> {
        self.work.quorum()
    }

    fn close_early(&mut self) -> Vec<Effect> {
        self.work.close_early()
    }

    fn save(&self) -> Saved {
        self.work.save()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        self.work.reopened()
    }

    fn progress(&self) -> Progress {
        self.work.progress()
    }

    fn memory(&self) -> usize {
        self.work.memory()
    }
}
