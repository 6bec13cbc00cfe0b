//! Owns the closing of rounds without their last tasks, for jobs that allow it.

use super::{Action, Engine, Run, Timer};
use crate::types::{JobId, Round, Time};

impl Engine {
    /// Sets when a job's round may be closed early, once enough of its tasks have answered.
    pub(super) fn look_at_quorum(&mut self, now: Time, job: JobId) {
        if self.timers.is_set(Timer::Quorum(job)) {
            return;
        }
        let Some(run) = self.jobs.get(&job) else { return };
        if let Some((_, at)) = deadline(now, run) {
            self.timers.set(Timer::Quorum(job), Some(at));
        }
    }

    /// Closes a job's round, if it may be by now: attempts at the tasks that are left are given up.
    pub(super) fn close_early(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
        let Some((round, at)) = deadline(now, run) else { return };
        if at > now {
            self.timers.set(Timer::Quorum(job), Some(at));
            return;
        }
        let left: Vec<_> = run.open_of(round).map(|(task, ..)| task).collect();
        let effects = run.close_early();
        if effects.is_empty() {
            return;
        }
        let late: Vec<_> = left.into_iter().flat_map(|task| run.close(task, &mut self.line)).collect();
        for attempt in late {
            self.overtaken(now, attempt, actions);
        }
        self.apply(now, job, effects, actions);
        self.open_ready(now, job);
    }
}

/// The round at work of a job and when it may be closed, if enough of its tasks have answered and some have not.
fn deadline(now: Time, run: &Run) -> Option<(Round, Time)> {
    let quorum = run.quorum()?;
    let progress = run.progress();
    let (done, tasks) = (progress.tasks_done, progress.tasks);
    let round = Round(progress.round);
    if done == 0 || done >= tasks || f64::from(done) < quorum.share * f64::from(tasks) {
        return None;
    }
    if let Some(after) = quorum.deadline {
        return Some((round, run.round_opened() + after));
    }
    // When all that are left would be overdue; those that nobody has been given yet count from now.
    let overdue =
        |(_, cost, sent): (_, f64, Option<Time>)| Some(sent.unwrap_or(now) + run.patience.overdue_after(cost)?);
    let last = run.open_of(round).map(overdue).collect::<Option<Vec<_>>>()?.into_iter().max()?;
    Some((round, last))
}
