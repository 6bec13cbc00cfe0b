//! Owns the step from waiting tasks to dispatched ones: the policy binds tasks to nodes, each node's free slots take from
//! what is bound to it, and what is left of them makes copies of tasks that are late.

use super::bound::Bound;
use super::line::{Place, Waiting as InLine};
use super::{Action, Attempt, Engine, ShareReason, Timer};
use crate::jobs::TaskSpec;
use crate::ledger::NodeCounts;
use crate::policy::{Decision, Reason, TaskView, Waiting};
use crate::types::{AttemptId, JobId, NodeId, Time};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
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
        self.copy_late(now, actions);
        while self.bind(now) {
            self.start_bound(now, actions);
        }
        self.copy_late(now, actions);
        self.send_ahead(now, actions);
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
            let Some(&first) = head.get(at) else { continue };
            let ((job, _), InLine { task, cost, .. }) = self.best_for(node, first, slots_only);
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

    /// What a node should have when it is the turn of this task, which any other of its job can stand for if its share is
    /// counted in queries.
    fn best_for(&self, node: NodeId, first: (Place, InLine), at_once: bool) -> (Place, InLine) {
        let ((job, _), waiting) = first;
        if waiting.queries == 0 || waiting.for_originals {
            return first;
        }
        let lately = self.nodes.get(node).filter(|_| at_once).map_or(&[][..], |node| node.lately());
        let job = self.line.share.stays(lately, job, |job| self.line.best_for(job, node).is_some());
        self.line.best_for(job, node).unwrap_or(first)
    }

    /// Has copies of overdue tasks made by nodes that have nothing else to do: no other task of their jobs, and of other
    /// jobs none whose turn it is.
    fn copy_late(&mut self, now: Time, actions: &mut Vec<Action>) {
        let (mut tried, mut next) = (0, self.late.first().copied());
        while let Some((job, id)) = next
            && tried < MOST_COPIES_TRIED
        {
            if !self.cluster.has_free(false) {
                return;
            }
            let first = self.line.first().and_then(|first| self.line.share.turn(first));
            let is_before = |turn| first.is_none_or(|first| turn < first);
            if !self.line.has(job) && self.line.share.turn(job).is_some_and(is_before) {
                self.copy(now, id, actions);
                tried += 1;
                next = self.late.range((Excluded((job, id)), Unbounded)).next().copied();
            } else {
                next = self.late.range((Excluded((job, AttemptId(u64::MAX))), Unbounded)).next().copied();
            }
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
        self.late.remove(&(job, id));
        run.bound(task, node, &mut self.line);
        self.nodes.change(node, |node| node.bind(bound));
        self.start_bound(now, actions);
    }

    pub(super) fn dispatch(&mut self, now: Time, node: NodeId, bound: Bound, actions: &mut Vec<Action>) {
        let Bound { job, task, cost, reason } = bound;
        let behind = self.tasks_at(node, job);
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let attempt = AttemptId(self.last_attempt + 1);
        let reason = if self.line.share.pace(job).is_some() { reason } else { reason.without_time() };
        let is_copy = run.open(task).is_some_and(|(_, attempts)| !attempts.is_empty());
        let share = self.line.share.given(now, job);
        let share = if is_copy { ShareReason::Copy } else { share };
        let Some(spec) = run.sent(now, task, (attempt, node), &behind, &mut self.line) else { return };
        self.last_attempt += 1;
        let charge = self.line.share.charge_of(job, cost);
        self.line.share.had_seconds(job, charge);
        let mut record = Attempt {
            job,
            task,
            node,
            sent: now,
            since: now,
            cost,
            charge,
            queries: spec.queries,
            share: share.clone(),
            reason: reason.clone(),
            is_ahead: false,
            abandoned: false,
            look: None,
        };
        run.watch.add(attempt, &mut record, &run.patience);
        if let Some(at) = run.watch.next() {
            self.timers.set_by(Timer::Overdue(job), at);
        }
        let is_new = run.hold(node, NodeCounts::default());
        let sends_ahead = run.sends_ahead().is_some();
        self.attempts.insert(attempt, record);
        if sends_ahead {
            self.ahead.insert(node);
        }
        let patience = self.nodes.change(node, |node| {
            node.running.insert(attempt);
            node.holders += usize::from(is_new);
            node.patience
        });
        self.listen(node);
        let patience = patience.unwrap_or_default();
        let next = if spec.queries > 0 && !is_copy { self.next_of(job, node) } else { None };
        actions.push(Action::Dispatch { attempt, node, job, task: spec, patience, share, reason, next });
    }

    /// The task of a job that a node will probably get next: one that is bound to it, or is reserved for it now.
    fn next_of(&mut self, job: JobId, node: NodeId) -> Option<Arc<TaskSpec>> {
        self.nodes.change(node, |node| node.works_for(job));
        let known = self.nodes.get(node)?;
        let task = match self.policy.waits_for_slots() {
            true => self.line.reserve(job, node, known.ready_slots())?,
            false => known.next_of(job)?,
        };
        self.jobs.get(&job)?.spec(task)
    }
}
