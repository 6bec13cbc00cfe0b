//! Owns tasks that are sent ahead: of jobs that want it, a node gets the next task of a slot while it is at one, so that it
//! need not wait for the coordinator between two short tasks.

use super::bound::Bound;
use super::run::Run;
use super::{Action, Engine};
use crate::policy::Reason;
use crate::types::{AttemptId, NodeId, Time};
use std::time::Duration;

/// Between longer tasks the way to the coordinator and back hardly matters, and what is sent later starts from a newer model:
/// sixteen mini-batches sent ahead to one worker were learnt a tenth faster, and took a quarter more passes to the same error.
const LONGEST: Duration = Duration::from_millis(5);
/// Nodes that are slower than usual by more than this get nothing ahead: their changes are stale enough.
const SLOW: f64 = 2.0;

/// What a task of this cost takes, if it may be sent ahead.
fn usual(run: &Run, cost: f64) -> Option<Duration> {
    run.patience.usual(cost).filter(|usual| *usual <= LONGEST)
}

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

    /// Takes what a node can have ahead, if its slots are all at work for jobs that want it, and it is the turn of such a job.
    fn next_ahead(&mut self, now: Time, node: NodeId) -> Option<Bound> {
        let known = self.nodes.get(node).filter(|known| known.may_go_ahead(now))?;
        let (mut at_work, mut ahead) = (0, 0);
        for attempt in known.running.iter().filter_map(|id| self.attempts.get(id)) {
            if !self.jobs.get(&attempt.job).is_some_and(|run| run.sends_ahead()) {
                return None;
            }
            *(if attempt.is_ahead { &mut ahead } else { &mut at_work }) += 1;
        }
        if at_work < known.ready_slots() || ahead >= known.ready_slots() {
            return None;
        }
        if let Some((job, cost)) = known.first_queued(&self.line.share) {
            let run = self.jobs.get(&job).filter(|run| run.sends_ahead())?;
            usual(run, cost)?;
            return self.nodes.change(node, |node| node.pop_queued(job)).flatten();
        }
        let ((job, _), waiting) = self.line.head(true, 1).into_iter().next()?;
        let run = self.jobs.get_mut(&job).filter(|run| run.sends_ahead())?;
        let usual = usual(run, waiting.cost)?;
        let load = self.line.share.load(job, waiting.cost);
        if self.cluster.pace(now, node).is_some_and(|pace| pace * load > SLOW * usual.as_secs_f64()) {
            return None;
        }
        run.bound(waiting.task, node, &mut self.line);
        Some(Bound { job, task: waiting.task, cost: waiting.cost, reason: Reason::Turn })
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
