//! Owns the step from waiting tasks to dispatched ones: the policy binds tasks to nodes, each node's free slots take from
//! what is bound to it, and what is left of them makes copies of tasks that are late.

use super::bound::Bound;
use super::line::{Place, Waiting as InLine};
use super::{Action, Attempt, Engine, Timer};
use crate::ledger::NodeCounts;
use crate::policy::{Decision, Reason, TaskView, Waiting};
use crate::types::{AttemptId, NodeId, Time};
use std::time::Duration;

/// How many tasks the policy is shown at once.
const HEAD: usize = 64;
/// How many late tasks are looked at after an event.
const MOST_COPIES_TRIED: usize = 4;
/// Tasks that the policy keeps waiting are shown to it again after this at the earliest.
const PLAN_LATER: Duration = Duration::from_millis(1);
/// A late task that no node is worth a copy for is looked at again after this.
const COPY_LATER: Duration = Duration::from_millis(100);

impl Engine {
    pub(super) fn schedule(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.start_bound(now, actions);
        while self.bind(now) {
            self.start_bound(now, actions);
        }
        self.copy_late(now, actions);
    }

    /// Starts what waits for a slot, where there is one.
    fn start_bound(&mut self, now: Time, actions: &mut Vec<Action>) {
        for node in self.settle(now, actions) {
            while let Some(bound) =
                self.nodes.change(node, |node| node.take_queued(now, &self.line.share)).flatten()
            {
                self.dispatch(now, node, bound, actions);
            }
        }
        self.settle(now, actions);
    }

    /// Lets the policy bind tasks of the line to nodes; whether it has.
    fn bind(&mut self, now: Time) -> bool {
        let slots_only = self.policy.waits_for_slots();
        let may = |ours| if slots_only { self.cluster.has_free(ours) } else { self.cluster.has_takers(ours) };
        if self.line.is_empty() || !may(false) {
            return false;
        }
        let head = self.line.head(may(true), HEAD);
        let (all, load) = self.line.work();
        self.cluster.review(now, Some(load / all.max(1) as f64));
        let view = |&((job, _), InLine { cost, for_originals, .. }): &(Place, InLine)| TaskView {
            for_originals,
            ..TaskView::of(self.line.share.load(job, cost))
        };
        let tasks: Vec<TaskView> = head.iter().map(view).collect();
        let waiting = Waiting { first: &tasks, tasks: all, cost: load };
        let mut any = false;
        for (at, Decision { node, reason }) in self.policy.plan(now, &waiting, &self.cluster) {
            let Some(&((job, _), InLine { task, cost, .. })) = head.get(at) else { continue };
            let Some(run) = self.jobs.get_mut(&job) else { continue };
            let bound = Bound { job, task, cost, reason };
            if self.nodes.change(node, |node| node.bind(bound)).is_some() {
                run.bound(task, node, &mut self.line);
                any = true;
            }
        }
        // Tasks that wait for nodes at work must not wait for those that do not end.
        if !any && let Some(at) = self.cluster.next_surprise() {
            self.timers.set(Timer::Plan, Some(at.max(now + PLAN_LATER)));
        }
        any
    }

    /// Has copies of overdue tasks made by nodes that have nothing else to do.
    fn copy_late(&mut self, now: Time, actions: &mut Vec<Action>) {
        if !self.line.is_empty() {
            return;
        }
        let late: Vec<AttemptId> = self.late.iter().take(MOST_COPIES_TRIED).copied().collect();
        for id in late {
            if !self.cluster.has_free(false) {
                return;
            }
            self.copy(now, id, actions);
        }
    }

    fn copy(&mut self, now: Time, id: AttemptId, actions: &mut Vec<Action>) {
        let Some(&Attempt { job, task, since, cost, .. }) = self.attempts.get(&id) else { return };
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let Some((spec, attempts)) = run.open(task) else { return };
        let at_it = attempts.iter().filter_map(|id| self.attempts.get(id)).map(|attempt| attempt.node);
        let for_originals = spec.for_originals;
        let load = self.line.share.load(job, cost);
        let view = TaskView { cost: load, avoid: at_it.collect(), for_originals, at_once: true };
        self.cluster.review(now, None);
        let plan = self.policy.plan(now, &Waiting::only(std::slice::from_ref(&view)), &self.cluster);
        let Some((_, Decision { node, reason })) = plan.into_iter().next() else { return };
        // A task that is over its time is likely to need as long again as it has had.
        if let Reason::Soonest { expected, .. } = reason
            && run.patience.usual(cost).is_some()
            && expected >= now.since(since)
        {
            self.timers.set_by(Timer::Overdue(job), now + COPY_LATER);
            return;
        }
        let bound = Bound { job, task, cost, reason };
        self.late.remove(&id);
        run.bound(task, node, &mut self.line);
        self.nodes.change(node, |node| node.bind(bound));
        self.start_bound(now, actions);
    }

    fn dispatch(&mut self, now: Time, node: NodeId, bound: Bound, actions: &mut Vec<Action>) {
        let Bound { job, task, cost, reason } = bound;
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let attempt = AttemptId(self.last_attempt + 1);
        let reason = if self.line.share.is_known(job) { reason } else { reason.without_time() };
        self.line.share.given(now, job);
        let Some(spec) = run.sent(now, task, attempt, &mut self.line) else { return };
        self.last_attempt += 1;
        let charge = self.line.share.charge_of(job, cost);
        self.line.share.had_seconds(job, charge);
        let mut record = Attempt { job, task, node, since: now, cost, charge, abandoned: false, look: None };
        run.watch.add(attempt, &mut record, &run.patience);
        if let Some(at) = run.watch.next() {
            self.timers.set_by(Timer::Overdue(job), at);
        }
        let is_new = run.hold(node, NodeCounts::default());
        self.attempts.insert(attempt, record);
        let patience = self.nodes.change(node, |node| {
            node.running.insert(attempt);
            node.holders += usize::from(is_new);
            node.patience
        });
        self.listen(node);
        let patience = patience.unwrap_or_default();
        actions.push(Action::Dispatch { attempt, node, job, task: spec, patience, reason });
    }
}
