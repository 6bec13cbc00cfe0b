//! Owns the cluster's brain: [`Engine::handle`] takes an [`Event`] and the time, and answers with [`Action`]s.
//!
//! Nothing here waits, reads a clock or touches a socket: the coordinator (or a simulator) performs the actions and
//! reports what came of them as events. The engine alone knows which nodes there are, what they do, and how far each
//! job is.

mod messages;
mod node;
mod patience;
mod run;
mod schedule;

pub use crate::ledger::{ClosedRound, Finish, NodeCounts, NodeStanding, Span, State, Traffic};
pub use messages::{Action, Event, Hello, Outcome};
pub use run::{MOST_SPANS, Status};

use crate::jobs::{BadAnswer, Effect, TaskOutput};
use crate::model::Measured;
use crate::policy::{Policy, PolicyRow};
use crate::types::{AttemptId, JobId, NodeId, Round, TaskId, Time};
use node::Node;
use run::Run;
use std::collections::BTreeMap;
use std::time::Duration;

/// One sending of one task to one node.
struct Attempt {
    job: JobId,
    task: TaskId,
    node: NodeId,
    since: Time,
    cost: f64,
    /// Nobody waits for its answer any more; it only holds its slot.
    abandoned: bool,
    /// A copy of its task was asked for because it takes so long.
    overdue: bool,
}

/// All that the coordinator knows of its cluster.
pub struct Engine {
    policy: Box<dyn Policy>,
    nodes: Vec<Node>,
    jobs: BTreeMap<JobId, Run>,
    attempts: BTreeMap<AttemptId, Attempt>,
    last_attempt: u64,
}

impl Engine {
    /// An engine that knows these nodes by their addresses; their ids count from 0.
    pub fn new(policy: &PolicyRow, seed: u64, addresses: &[String]) -> Self {
        let nodes = addresses.iter().enumerate();
        Self {
            policy: (policy.make)(seed),
            nodes: nodes.map(|(place, address)| Node::new(NodeId(place as u32), address)).collect(),
            jobs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            last_attempt: 0,
        }
    }

    /// Takes an event and answers with what is to be done, in this order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Answered { node, hello } => self.answered(now, node, hello),
            Event::Unreachable { node, reason } => self.unreachable(now, node, reason, &mut actions),
            Event::Submit { job, work, give_up_after } => {
                self.jobs.insert(job, Run::new(now, work, give_up_after));
            }
            Event::Cancel { job } => self.end(job, State::Cancelled, &mut actions),
            Event::Ended { attempt, outcome, traffic } => self.ended(now, attempt, outcome, traffic, &mut actions),
            Event::Evaluated { job, round, measured } => self.evaluated(now, job, round, measured, &mut actions),
            Event::Tick => {}
        }
        self.look_after_attempts(now, &mut actions);
        self.keep_time(now, &mut actions);
        self.give_up(now, &mut actions);
        self.schedule(now, &mut actions);
        self.publish(now, &mut actions);
        actions
    }

    /// When to call with [`Event::Tick`], if nothing else happens before.
    pub fn next_wakeup(&self, now: Time) -> Option<Time> {
        let probes = self.nodes.iter().filter_map(Node::next_probe);
        let work_waits = self.jobs.values().any(Run::has_waiting);
        let pauses = self.nodes.iter().filter(|node| work_waits || !node.queue.is_empty());
        let pauses = pauses.map(|node| node.available_at).filter(|&at| at > now);
        let attempts = self.attempts.values().filter_map(|attempt| self.next_look_at(attempt));
        let patience = self.jobs.values().filter_map(Run::gives_up_at);
        let limits = self.jobs.values().filter_map(Run::time_limit);
        probes.chain(pauses).chain(attempts).chain(patience).chain(limits).min()
    }

    fn node_mut(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            change(node);
        }
    }

    fn answered(&mut self, now: Time, id: NodeId, hello: Hello) {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return };
        node.answered(now, hello);
        let mut running = node.running.iter().filter_map(|running| self.attempts.get(running));
        if running.any(|attempt| !attempt.abandoned) {
            self.something_moves(now);
        }
    }

    /// A node answers at its work, or has done some: no job is stuck, not even one that waits for others.
    fn something_moves(&mut self, now: Time) {
        self.jobs.values_mut().for_each(|run| run.moves(now));
    }

    /// A node that does not answer loses all its tasks, running and waiting.
    fn unreachable(&mut self, now: Time, id: NodeId, reason: String, actions: &mut Vec<Action>) {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return };
        if !node.unreachable(now, reason) {
            return;
        }
        self.unbind_queue(id);
        let running: Vec<AttemptId> = self.nodes[id.0 as usize].running.iter().copied().collect();
        for attempt in running {
            let Some(known) = self.attempts.get(&attempt).filter(|known| !known.abandoned) else { continue };
            if let Some(run) = self.jobs.get_mut(&known.job) {
                run.counts(id).failures += 1;
                run.task_lost(known.task, attempt);
            }
            self.abandon(attempt, actions);
        }
    }

    fn abandon(&mut self, attempt: AttemptId, actions: &mut Vec<Action>) {
        if let Some(known) = self.attempts.get_mut(&attempt).filter(|known| !known.abandoned) {
            known.abandoned = true;
            actions.push(Action::Abandon { attempt, node: known.node });
        }
    }

    /// An attempt was slower than a copy of it. If its node has been silent all the time it may hang, and has to
    /// answer a probe before it gets anything else.
    fn overtaken(&mut self, now: Time, attempt: AttemptId, actions: &mut Vec<Action>) {
        let Some(&Attempt { node, since, cost, .. }) = self.attempts.get(&attempt) else { return };
        self.abandon(attempt, actions);
        self.node_mut(node, |known| known.took(now, now.since(since), cost));
        if self.nodes.get_mut(node.0 as usize).is_some_and(|known| known.is_doubted(now, since)) {
            self.unbind_queue(node);
        }
    }

    fn unbind_queue(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return };
        for (job, task, _) in std::mem::take(&mut node.queue).into_iter().rev() {
            if let Some(run) = self.jobs.get_mut(&job) {
                run.wait_first(task);
            }
        }
    }

    fn ended(&mut self, now: Time, id: AttemptId, outcome: Outcome, traffic: Traffic, actions: &mut Vec<Action>) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        let Attempt { node, task, .. } = attempt;
        self.node_mut(node, |known| {
            known.running.remove(&id);
        });
        if let Some(run) = self.jobs.get_mut(&attempt.job) {
            run.counts(node).add(traffic);
            run.note(now, attempt.since, span(&attempt, &outcome));
        }
        if attempt.abandoned {
            return;
        }
        match outcome {
            Outcome::Done { output, busy_s, delayed } => {
                let bad = self.accept(now, &attempt, &output, busy_s, delayed, actions).err();
                if let Some(bad) = bad {
                    self.lost(now, id, &attempt, bad.to_string(), false);
                }
            }
            Outcome::Refused => {
                let pause = self.refusal_pause(&attempt);
                self.node_mut(node, |known| known.refused(now, pause));
                if let Some(run) = self.jobs.get_mut(&attempt.job) {
                    run.counts(node).refusals += 1;
                    run.task_lost(task, id);
                }
            }
            Outcome::Impossible { reason } => {
                let fault = format!("{reason} (says {})", self.nodes[node.0 as usize].address);
                self.lost(now, id, &attempt, reason, false);
                let is_believed = |run: &mut Run| run.task_fault(task, node);
                if self.jobs.get_mut(&attempt.job).is_some_and(is_believed) {
                    self.end(attempt.job, State::Failed { reason: fault }, actions);
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
        output: &TaskOutput,
        busy_s: f64,
        delayed: bool,
        actions: &mut Vec<Action>,
    ) -> Result<(), BadAnswer> {
        let Some(run) = self.jobs.get_mut(&attempt.job) else { return Ok(()) };
        let effects = run.task_done(attempt.task, output)?;
        let taken = now.since(attempt.since);
        run.patience.learn(taken, attempt.cost);
        let counts = run.counts(attempt.node);
        counts.tasks += 1;
        counts.delays += u64::from(delayed);
        counts.busy_s += busy_s;
        let copies = run.close(attempt.task);
        self.node_mut(attempt.node, |node| node.finished(now, taken, attempt.cost));
        for copy in copies {
            self.overtaken(now, copy, actions);
        }
        self.something_moves(now);
        self.apply(now, attempt.job, effects, actions);
        Ok(())
    }

    /// An attempt came to nothing by the node's fault: the task is for others, the node is left alone for a while.
    fn lost(&mut self, now: Time, id: AttemptId, attempt: &Attempt, reason: String, unreachable: bool) {
        self.node_mut(attempt.node, |node| node.failed(now, reason, unreachable));
        self.unbind_queue(attempt.node);
        if let Some(run) = self.jobs.get_mut(&attempt.job) {
            run.counts(attempt.node).failures += 1;
            run.task_lost(attempt.task, id);
        }
    }

    fn evaluated(
        &mut self,
        now: Time,
        job: JobId,
        round: Round,
        measured: Result<Box<Measured>, String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        match measured {
            Ok(measured) => {
                let effects = run.evaluated(now, round, &measured);
                self.apply(now, job, effects, actions);
            }
            Err(reason) => self.end(job, State::Failed { reason }, actions),
        }
    }

    fn apply(&mut self, now: Time, job: JobId, effects: Vec<Effect>, actions: &mut Vec<Action>) {
        for effect in effects {
            match effect {
                Effect::Evaluate { round, model, validation } => {
                    actions.push(Action::Evaluate { job, round, model, validation });
                }
                // Not kept anywhere yet.
                Effect::Save => {}
                Effect::Closed { round, result, left_out } => {
                    if let Some(run) = self.jobs.get_mut(&job) {
                        run.closed(now, round, result, left_out);
                    }
                }
                Effect::Failed { reason } => self.end(job, State::Failed { reason }, actions),
                Effect::Finished { weights, model, round, measured } => {
                    if let Some(run) = self.jobs.get_mut(&job) {
                        run.finish = Some(Finish { model, round, measured });
                    }
                    self.end(job, State::Done { weights }, actions);
                }
            }
        }
    }

    /// Ends a job: what it has running is abandoned; it is forgotten once [`Self::publish`] has told of it.
    fn end(&mut self, job: JobId, state: State, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.state == State::Running) else { return };
        run.state = state;
        for node in &mut self.nodes {
            node.queue.retain(|&(queued, ..)| queued != job);
        }
        let running = self.attempts.iter().filter(|(_, attempt)| attempt.job == job);
        let running: Vec<AttemptId> = running.map(|(&id, _)| id).collect();
        for attempt in running {
            self.abandon(attempt, actions);
        }
    }

    /// Tells jobs whose time is up.
    fn keep_time(&mut self, now: Time, actions: &mut Vec<Action>) {
        let over = |run: &Run| run.time_limit().is_some_and(|limit| limit <= now);
        let due: Vec<JobId> = self.jobs.iter().filter(|(_, run)| over(run)).map(|(&job, _)| job).collect();
        for job in due {
            let effects = self.jobs.get_mut(&job).map(Run::time_is_up).unwrap_or_default();
            self.apply(now, job, effects, actions);
        }
    }

    fn give_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        let due = self.jobs.iter().filter(|(_, run)| run.gives_up_at().is_some_and(|at| at <= now));
        let due: Vec<(JobId, Duration)> =
            due.filter_map(|(&id, run)| run.give_up_after.map(|after| (id, after))).collect();
        for (job, after) in due {
            let reason = format!("no progress for {after:?}: {}", node::why_nothing_moves(&self.nodes, now));
            self.end(job, State::Failed { reason }, actions);
        }
    }

    /// Tells of every job whose status is not what was told last, and forgets those that have ended.
    fn publish(&mut self, now: Time, actions: &mut Vec<Action>) {
        let at_work: Vec<JobId> = self.attempts.values().filter(|a| !a.abandoned).map(|a| a.job).collect();
        let nobody_answers = !self.nodes.iter().any(Node::is_ready);
        for (&job, run) in &mut self.jobs {
            let stuck = run.has_waiting() && !at_work.contains(&job);
            let notice = if stuck && (nobody_answers || run.is_quiet(now)) {
                node::why_nothing_moves(&self.nodes, now)
            } else {
                String::new()
            };
            if let Some(status) = run.status_to_tell(now, &self.nodes, notice) {
                actions.push(Action::Publish { job, status: Box::new(status) });
            }
        }
        self.jobs.retain(|_, run| run.state == State::Running);
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

#[cfg(test)]
mod tests;
