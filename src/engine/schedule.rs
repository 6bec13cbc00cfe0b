//! Owns the step from waiting tasks to dispatched ones: the policy binds tasks to nodes, and each node's free slots
//! take from what is bound to it.

use super::{Action, Attempt, Engine, node};
use crate::policy::{Reason, TaskView};
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};

impl Engine {
    pub(super) fn schedule(&mut self, now: Time, actions: &mut Vec<Action>) {
        let reasons = self.bind(now);
        for place in 0..self.nodes.len() {
            while self.nodes[place].has_free_slot(now) {
                let Some((job, task, cost)) = self.nodes[place].queue.pop_front() else { break };
                let node = NodeId(place as u32);
                let bound = reasons.iter().find(|(key, _)| *key == (job, task, node));
                let reason = bound.map_or(Reason::Turn, |(_, reason)| reason.clone());
                self.dispatch(now, node, job, task, cost, reason, actions);
            }
        }
    }

    /// Lets the policy bind waiting tasks to nodes; answers with its reasons.
    fn bind(&mut self, now: Time) -> Vec<((JobId, TaskId, NodeId), Reason)> {
        let originals: Vec<NodeId> =
            self.nodes.iter().filter(|node| node.is_original).map(|node| node.id).collect();
        let mut waiting: Vec<(JobId, TaskId)> = Vec::new();
        let mut tasks: Vec<TaskView> = Vec::new();
        for (&job, run) in &mut self.jobs {
            for (spec, attempts) in run.waiting() {
                let at_it = attempts.iter().filter_map(|id| self.attempts.get(id)).map(|at| at.node);
                let unable = originals.iter().copied().filter(|_| !spec.for_originals);
                waiting.push((job, spec.id));
                tasks.push(TaskView { cost: spec.cost, avoid: at_it.chain(unable).collect() });
            }
        }
        if tasks.is_empty() {
            return Vec::new();
        }
        let running = |id: AttemptId| self.attempts.get(&id).map(|attempt| (attempt.since, attempt.cost));
        let views = node::views(&self.nodes, now, running);
        let mut reasons = Vec::new();
        for (place, decision) in self.policy.plan(now, &tasks, &views) {
            let (job, task) = waiting[place];
            let Some(run) = self.jobs.get_mut(&job) else { continue };
            run.bound(task);
            self.nodes[decision.node.0 as usize].queue.push_back((job, task, tasks[place].cost));
            reasons.push(((job, task, decision.node), decision.reason));
        }
        reasons
    }

    #[allow(clippy::too_many_arguments)]
    fn dispatch(
        &mut self,
        now: Time,
        node: NodeId,
        job: JobId,
        task: TaskId,
        cost: f64,
        reason: Reason,
        actions: &mut Vec<Action>,
    ) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        self.last_attempt += 1;
        let attempt = AttemptId(self.last_attempt);
        let Some(spec) = run.started(task, attempt) else { return };
        let record = Attempt { job, task, node, since: now, cost, abandoned: false, overdue: false };
        self.attempts.insert(attempt, record);
        let known = &mut self.nodes[node.0 as usize];
        known.running.insert(attempt);
        actions.push(Action::Dispatch { attempt, node, job, task: spec, patience: known.patience, reason });
    }
}
