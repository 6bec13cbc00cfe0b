//! Owns what follows from the end of an attempt: an answer is taken once, and what came to nothing is done again.

use super::pace::Taken;
use super::{Action, Attempt, Engine, Outcome, Timer, Traffic};
use crate::jobs::{BadAnswer, Effect, TaskOutput};
use crate::ledger::{Record, Span, State};
use crate::policy::REFUSAL_COST;
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};
use std::sync::Arc;
use std::time::Duration;

/// The answer of an attempt.
struct Answer {
    output: TaskOutput,
    busy_s: f64,
    delayed: bool,
}

impl Engine {
    pub(super) fn ended(
        &mut self,
        now: Time,
        id: AttemptId,
        outcome: Outcome,
        traffic: Traffic,
        actions: &mut Vec<Action>,
    ) {
        self.unwatch(id);
        let is_used = matches!(outcome, Outcome::Done { .. });
        self.settle_charge(now, id, is_used);
        let Some(attempt) = self.attempts.remove(&id) else { return };
        let Attempt { node, task, job, is_ahead, .. } = attempt;
        self.nodes.change(node, |known| known.running.remove(&id));
        if !is_ahead {
            self.begins_behind(now, node);
        }
        if let Some(run) = self.jobs.get_mut(&job) {
            run.counts(node).add(traffic);
            run.note(now, attempt.since, span(&attempt, &outcome));
        }
        if attempt.abandoned {
            return;
        }
        match outcome {
            Outcome::Done { output, busy_s, delayed } => {
                let answer = Answer { output, busy_s, delayed };
                if let Err(bad) = self.accept(now, &attempt, answer, actions) {
                    self.lost(now, id, &attempt, bad.to_string(), false);
                }
            }
            Outcome::Refused => {
                let pause = self.refusal_pause(&attempt);
                self.nodes.change(node, |known| known.refused(now, pause));
                if let Some(run) = self.jobs.get_mut(&job) {
                    run.counts(node).refusals += 1;
                    run.task_lost(task, id, &mut self.line);
                }
                self.watch_again(job, task);
            }
            Outcome::Impossible { reason } => {
                let address = self.nodes.get(node).map_or("a node", |node| &node.address);
                let fault = format!("{reason} (says {address})");
                self.lost(now, id, &attempt, reason, false);
                if self.jobs.get_mut(&job).is_some_and(|run| run.task_fault(task, node)) {
                    self.end(now, job, State::Failed { reason: fault }, None, actions);
                }
            }
            Outcome::Lost { reason } => self.lost(now, id, &attempt, reason, true),
        }
    }

    /// An attempt has an answer: if it is one that the task can have, the task is done and its copies are not needed.
    fn accept(
        &mut self,
        now: Time,
        attempt: &Attempt,
        answer: Answer,
        actions: &mut Vec<Action>,
    ) -> Result<(), BadAnswer> {
        let &Attempt { job, task, node, since, cost, .. } = attempt;
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return Ok(()) };
        let Some(effects) = run.task_done(task, &answer.output)? else { return Ok(()) };
        let taken = now.since(since);
        run.patience.learn(taken, cost);
        if self.line.share.learn(job, taken.as_secs_f64() / cost.max(f64::MIN_POSITIVE)) {
            self.nodes.touch_all();
        }
        let counts = run.counts(node);
        counts.tasks += 1;
        counts.delays += u64::from(answer.delayed);
        counts.busy_s += answer.busy_s;
        run.answered(now, task);
        let keeps_answers = run.keeps_answers();
        let copies = run.close(task, &mut self.line);
        let taken = Taken { job, cost, time: taken };
        self.nodes.change(node, |node| node.finished(now, taken, &self.line.share));
        for copy in copies {
            self.overtaken(now, copy, actions);
        }
        self.last_moved = now;
        // What the job saves now makes the answer superfluous.
        if keeps_answers && !effects.iter().any(|effect| matches!(effect, Effect::Save)) {
            let output = Arc::new(answer.output);
            self.books.write(now, Record::Answered { job, task, output }, actions);
        }
        if !self.line.has(job) {
            self.watch_anew(job);
        }
        self.apply(now, job, effects, actions);
        self.open_ready(now, job);
        Ok(())
    }

    /// An attempt came to nothing by the node's fault: the task is for others, the node is left alone for a while.
    fn lost(&mut self, now: Time, id: AttemptId, attempt: &Attempt, reason: String, unreachable: bool) {
        self.nodes.change(attempt.node, |node| node.failed(now, reason, unreachable));
        self.unbind_queue(attempt.node);
        if let Some(run) = self.jobs.get_mut(&attempt.job) {
            run.counts(attempt.node).failures += 1;
            run.task_lost(attempt.task, id, &mut self.line);
        }
        self.watch_again(attempt.job, attempt.task);
    }

    /// Hangs up on an attempt: nobody waits for its answer any more.
    /// Its job has had the slot until `used`, if that is given.
    pub(super) fn abandon(&mut self, id: AttemptId, used: Option<Time>, actions: &mut Vec<Action>) {
        self.unwatch(id);
        self.settle_charge(used.unwrap_or_default(), id, used.is_some());
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| !attempt.abandoned) {
            attempt.abandoned = true;
            actions.push(Action::Abandon { attempt: id, node: attempt.node });
        }
    }

    /// A job is charged with what an attempt has really taken, or with nothing if it was of no use.
    fn settle_charge(&mut self, now: Time, id: AttemptId, is_used: bool) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| !attempt.abandoned) else { return };
        let taken = if is_used { now.since(attempt.since).as_secs_f64() } else { 0.0 };
        self.line.share.had_seconds(attempt.job, taken - attempt.charge);
    }

    /// An attempt was slower than a copy of it. If its node has been silent all the time it may hang, and has to
    /// answer a probe before it gets anything else.
    pub(super) fn overtaken(&mut self, now: Time, id: AttemptId, actions: &mut Vec<Action>) {
        let Some(&Attempt { job, node, since, cost, abandoned: false, .. }) = self.attempts.get(&id) else {
            return;
        };
        self.abandon(id, Some(now), actions);
        let taken = Taken { job, cost, time: now.since(since) };
        let is_doubted = self.nodes.change(node, |known| {
            known.pace.took_longer_than(now, taken, &self.line.share);
            known.is_doubted(now, since)
        });
        if is_doubted == Some(true) {
            self.unbind_queue(node);
        }
    }

    /// What waits for a slot of a node waits for any node.
    pub(super) fn unbind_queue(&mut self, id: NodeId) {
        self.line.release(id);
        let queue = self.nodes.change(id, |node| node.unbind_all()).unwrap_or_default();
        for bound in queue.iter().rev() {
            if let Some(run) = self.jobs.get_mut(&bound.job) {
                run.unbound(bound.task, id, &mut self.line);
            }
            self.watch_again(bound.job, bound.task);
        }
    }

    /// A copy came to nothing: the attempt that it was a copy of is late as before, and may have another.
    pub(super) fn watch_again(&mut self, job: JobId, task: TaskId) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let Some(id) = run.latest_attempt(task).filter(|id| !self.late.contains(&(job, *id))) else { return };
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| attempt.look.is_none()) else { return };
        run.watch.add(id, attempt, &run.patience);
        if let Some(at) = run.watch.next() {
            self.timers.set_by(Timer::Overdue(job), at);
        }
    }

    /// An attempt that nobody has given up is given up, or over.
    fn unwatch(&mut self, id: AttemptId) {
        let Some(attempt) = self.attempts.get_mut(&id).filter(|attempt| !attempt.abandoned) else { return };
        self.late.remove(&(attempt.job, id));
        if let Some(run) = self.jobs.get_mut(&attempt.job) {
            run.ends_at(attempt.node);
            run.watch.remove(id, attempt);
        }
        self.line.share.ends(attempt.job);
    }

    /// Plans anew when a job's attempts are looked at, if its tasks have become much quicker. While others of it wait for
    /// nodes there are no copies, and no need for it.
    fn watch_anew(&mut self, job: JobId) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let outdated = run.watch.outdated(&run.patience);
        if outdated.is_empty() {
            return;
        }
        for id in outdated {
            if let Some(attempt) = self.attempts.get_mut(&id) {
                run.watch.remove(id, attempt);
                run.watch.add(id, attempt, &run.patience);
            }
        }
        self.timers.set(Timer::Overdue(job), run.watch.next());
    }

    /// Finds the attempts of a job that are overdue: see [`Self::copy_late`].
    pub(super) fn look_for_late(&mut self, now: Time, job: JobId) {
        self.watch_anew(job);
        let Some(run) = self.jobs.get_mut(&job) else { return };
        while let Some(id) = run.watch.first_due(now) {
            let Some(attempt) = self.attempts.get_mut(&id) else { return };
            run.watch.remove(id, attempt);
            let overdue = run.patience.overdue_after(attempt.cost);
            if overdue.is_some_and(|after| attempt.since + after <= now) {
                self.late.insert((job, id));
            } else {
                run.watch.add(id, attempt, &run.patience);
            }
        }
        self.timers.set(Timer::Overdue(job), run.watch.next());
    }

    /// How long to leave a node alone that has refused a task: a part of what the task would have taken.
    fn refusal_pause(&self, attempt: &Attempt) -> Duration {
        let usual = self.jobs.get(&attempt.job).and_then(|run| run.patience.usual(attempt.cost));
        let pause = usual.map_or(Duration::from_millis(5), |usual| usual.mul_f64(REFUSAL_COST));
        pause.clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// How late a job's task of this cost may be before it is overdue.
    pub(super) fn overdue_after(&self, job: JobId, cost: f64) -> Option<Duration> {
        self.jobs.get(&job)?.patience.overdue_after(cost)
    }
}

/// What became of an attempt, but for the times.
fn span(attempt: &Attempt, outcome: &Outcome) -> Span {
    let (name, busy_s, delayed) = match outcome {
        _ if attempt.abandoned => ("abandoned", 0.0, false),
        Outcome::Done { busy_s, delayed, .. } => ("done", *busy_s, *delayed),
        Outcome::Refused => ("refused", 0.0, false),
        Outcome::Impossible { .. } => ("failed", 0.0, false),
        Outcome::Lost { .. } => ("lost", 0.0, false),
    };
    let Attempt { node, task, .. } = *attempt;
    Span { node, task, start: Duration::ZERO, end: Duration::ZERO, busy_s, outcome: name.into(), delayed }
}
