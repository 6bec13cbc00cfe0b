//! Owns tasks that are sent ahead: of jobs that want it, a node gets the next task of a slot while it is at one, so that it
//! need not wait for the coordinator between two tasks.

use super::bound::Bound;
use super::{Action, Engine, Timer};
use crate::policy::Reason;
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};
use std::time::Duration;

/// A task is sent ahead when the one at work has this share of its usual time left. What is sent later starts from a newer
/// model, what is sent too late is waited for.
const LEFT: f64 = 1.0 / 3.0;
/// But so early that it is there in time even if tasks are short, and no earlier than the longest way needs.
const LEAST_LEFT: Duration = Duration::from_millis(4);
const MOST_LEFT: Duration = Duration::from_millis(500);
/// Two tasks that are sent at once may come to their node in the other order.
const APART: Duration = Duration::from_millis(1);
/// Nodes that are slower than usual by more than this get nothing ahead: their changes are stale enough.
const SLOW: f64 = 2.0;

impl Engine {
    /// Sends ahead what the nodes can have at which something began or ended.
    pub(super) fn send_ahead(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(node) = self.ahead.pop_first() {
            let Some(bound) = self.next_ahead(now, node) else { continue };
            let job = bound.job;
            let before = self.last_attempt;
            self.dispatch(now, node, bound, actions);
            let attempt = AttemptId(self.last_attempt);
            if let Some(record) = self.attempts.get_mut(&attempt).filter(|_| attempt.0 > before) {
                record.is_ahead = true;
                if let Some(run) = self.jobs.get_mut(&job) {
                    run.watch.remove(attempt, record);
                }
            }
        }
    }

    /// Takes what a node can have ahead, if its slots are all at work for jobs that want it, one of them is about to be
    /// free, and it is the turn of such a job.
    fn next_ahead(&mut self, now: Time, node: NodeId) -> Option<Bound> {
        let known = self.nodes.get(node).filter(|known| known.may_go_ahead(now))?;
        let (mut due, mut ahead) = (Vec::new(), 0);
        for attempt in known.running.iter().filter_map(|id| self.attempts.get(id)) {
            if attempt.is_ahead {
                ahead += 1;
            } else {
                let usual = self.short_enough(attempt.job, attempt.cost)?;
                let left = usual.mul_f64(LEFT).clamp(LEAST_LEFT, MOST_LEFT);
                due.push((attempt.since + usual.saturating_sub(left)).max(attempt.sent + APART));
            }
        }
        if due.len() < known.ready_slots() || ahead >= known.ready_slots() {
            return None;
        }
        due.sort_unstable();
        // Those that are there already are for the slots that are free first.
        let &due = due.get(ahead)?;
        if due > now {
            self.timers.set_by(Timer::Ahead(node), due);
            return None;
        }
        if let Some((job, cost)) = known.first_queued(&self.line.share) {
            self.short_enough(job, cost)?;
            return self.nodes.change(node, |node| node.pop_queued(job)).flatten();
        }
        let ((job, _), waiting) = self.line.head(true, 1).into_iter().next()?;
        let usual = self.short_enough(job, waiting.cost)?;
        let load = self.line.share.load(job, waiting.cost);
        if self.cluster.pace(now, node).is_some_and(|pace| pace * load > SLOW * usual.as_secs_f64()) {
            return None;
        }
        self.jobs.get_mut(&job)?.bound(waiting.task, node, &mut self.line);
        Some(Bound { job, task: waiting.task, cost: waiting.cost, reason: Reason::Turn })
    }

    /// What a task of this cost takes, if its job has such tasks sent ahead.
    fn short_enough(&self, job: JobId, cost: f64) -> Option<Duration> {
        let run = self.jobs.get(&job)?;
        let longest = run.sends_ahead()?;
        run.patience.usual(cost).filter(|usual| *usual <= longest)
    }

    /// The tasks that a node is at, of a job whose tasks may be sent ahead, in the order in which they were sent.
    pub(super) fn tasks_at(&self, node: NodeId, job: JobId) -> Vec<TaskId> {
        let is_asked = self.jobs.get(&job).is_some_and(|run| run.sends_ahead().is_some());
        let Some(known) = self.nodes.get(node).filter(|_| is_asked) else { return Vec::new() };
        let running = known.running.iter().filter_map(|id| self.attempts.get(id));
        running.filter(|attempt| attempt.job == job && !attempt.abandoned).map(|attempt| attempt.task).collect()
    }

    /// An attempt is over: the one that its node was sent ahead begins.
    pub(super) fn begins_behind(&mut self, now: Time, node: NodeId) {
        self.ahead.insert(node);
        let Some(known) = self.nodes.get(node) else { return };
        let next = known.running.iter().find(|id| self.attempts.get(id).is_some_and(|attempt| attempt.is_ahead));
        let Some(&id) = next else { return };
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        (attempt.is_ahead, attempt.since) = (false, now);
        if attempt.abandoned {
            return;
        }
        if let Some(run) = self.jobs.get_mut(&attempt.job) {
            run.watch.add(id, attempt, &run.patience);
        }
    }
}
