//! Owns the cluster's brain: [`Engine::handle`] takes an [`Event`] and the time, and answers with [`Action`]s.
//!
//! Nothing here waits, reads a clock or touches a socket: the coordinator (or a simulator) performs the actions and
//! reports what came of them as events. The engine alone knows which nodes there are, what they do, and how far each
//! job is.
//!
//! What jobs come to is written as [`Record`]s, and nobody is told of it before its record is
//! durable. No event makes the engine look at all nodes, tasks or attempts: each thing that has to be looked at later has
//! a timer, and what decisions need is kept in order.

mod ahead;
mod assignments;
mod attempts;
mod books;
mod bound;
mod line;
mod membership;
mod messages;
mod node;
mod nodes;
mod pace;
mod patience;
mod publish;
mod quorum;
mod rates;
mod restore;
mod run;
mod schedule;
mod share;
mod sizes;
mod timers;
mod usual;
mod words;

pub use crate::ledger::{ClosedRound, Finish, NodeCounts, NodeStanding, Span, State, Traffic};
pub use assignments::{Assignment, Headcount};
pub use messages::{Action, Event, Hello, Outcome};
pub use publish::Status;
pub use rates::QueryCount;
pub use run::MOST_SPANS;
pub use share::ShareReason;
pub use sizes::Sizes;

use crate::jobs::Effect;
use crate::jobs::Job;
use crate::ledger::{JobOrder, Record};
use crate::model::Measured;
use crate::policy::{Cluster, Policy, PolicyRow, Reason};
use crate::types::{AttemptId, JobId, NodeId, Round, TaskId, Time};
use books::Books;
use line::Line;
use nodes::Nodes;
use publish::Board;
use run::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use timers::{Timer, Timers};

/// How many open tasks of one job there are for each slot: the one at work and some more, since each slot is to have some
/// where the policy binds them to nodes at once; or the one at work and the next.
const OPEN: [usize; 2] = [4, 2];

/// A job has at most so many times as many open tasks as the one that gets the fewest.
const MOST_TIMES: f64 = 64.0;

/// One sending of one task to one node.
struct Attempt {
    job: JobId,
    task: TaskId,
    node: NodeId,
    sent: Time,
    /// When its node has probably begun: it was sent to a free slot, or the attempt before it was over.
    since: Time,
    cost: f64,
    /// The seconds that its job is charged with until it is over or given up.
    charge: f64,
    queries: u32,
    /// Why its job was given the slot, and its node the task.
    share: ShareReason,
    reason: Reason,
    /// Its node is to begin with it when it is done with another.
    is_ahead: bool,
    /// Nobody waits for its answer any more; it only holds its slot.
    abandoned: bool,
    /// When it is to be looked at, in its job's [`patience::Watch`].
    look: Option<Time>,
}

/// All that the coordinator knows of its cluster.
pub struct Engine {
    policy: Box<dyn Policy>,
    nodes: Nodes,
    /// The nodes as the policy sees them; brought up to date by [`Self::settle`].
    cluster: Cluster,
    jobs: BTreeMap<JobId, Run>,
    line: Line,
    attempts: BTreeMap<AttemptId, Attempt>,
    last_attempt: u64,
    /// Nodes that might get a task ahead.
    ahead: BTreeSet<NodeId>,
    /// Attempts that are overdue and have no copy yet.
    late: BTreeSet<(JobId, AttemptId)>,
    timers: Timers,
    books: Books,
    /// Jobs that open no round until the store has caught up.
    held: BTreeSet<JobId>,
    board: Board,
    /// When any job had something of any node last.
    last_moved: Time,
}

impl Engine {
    /// An engine that looks for these nodes by their addresses; their ids count from 0. Others may join.
    pub fn new(policy: &PolicyRow, seed: u64, addresses: &[String]) -> Self {
        Self {
            policy: (policy.make)(seed),
            nodes: Nodes::fixed(addresses),
            cluster: Cluster::default(),
            jobs: BTreeMap::new(),
            line: Line::default(),
            attempts: BTreeMap::new(),
            last_attempt: 0,
            ahead: BTreeSet::new(),
            late: BTreeSet::new(),
            timers: Timers::default(),
            books: Books::default(),
            held: BTreeSet::new(),
            board: Board::default(),
            last_moved: Time::default(),
        }
    }

    /// Takes an event and answers with what is to be done, in this order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.nodes.connect(&mut actions);
        self.settle(now, &mut actions);
        self.take(now, event, &mut actions);
        for timer in self.timers.take_due(now) {
            self.ring(now, timer, &mut actions);
        }
        self.schedule(now, &mut actions);
        self.publish(now, &mut actions);
        self.settle(now, &mut actions);
        actions
    }

    /// When to call with [`Event::Tick`], if nothing else happens before.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.timers.next()
    }

    fn take(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        if !matches!(event, Event::Tick) {
            self.board.is_stale = true;
        }
        match event {
            Event::Answered { node, hello } => self.answered(now, node, hello),
            Event::Unreachable { node, reason } => self.unreachable(now, node, reason, actions),
            Event::Joined { address } => self.joined(now, &address, actions),
            Event::Leaving { address } => self.leaving(&address),
            Event::Gone { address, reason } => self.gone(now, &address, reason, actions),
            Event::Submit { job, work, order } => self.submit(now, job, work, order, actions),
            Event::Restore { job, work, history, resumed } => {
                self.restore(now, job, work, *history, resumed, actions);
            }
            Event::SetBatchSize { model, queries } => self.set_batch_size(now, &model, queries, actions),
            Event::Said { job, word, ticket } => self.said(now, job, word, ticket, actions),
            Event::Cancel { job } => self.end(now, job, State::Cancelled, None, actions),
            Event::Ended { attempt, outcome, traffic } => self.ended(now, attempt, outcome, traffic, actions),
            Event::Evaluated { job, round, measured } => self.evaluated(now, job, round, measured, actions),
            Event::Committed { records } => self.committed(now, records, actions),
            Event::Tick => {}
        }
    }

    fn ring(&mut self, now: Time, timer: Timer, actions: &mut Vec<Action>) {
        self.board.is_stale |= !matches!(timer, Timer::Plan | Timer::Ahead(_) | Timer::Tell);
        match timer {
            Timer::Probe(node) => self.probe_if_due(now, node, actions),
            // The policy sees that it may be used again.
            Timer::Pause(node) => drop(self.nodes.change(node, |_| ())),
            Timer::Silence(node) => self.ask_if_silent(now, node, actions),
            Timer::Ahead(node) => drop(self.ahead.insert(node)),
            Timer::Overdue(job) => self.look_for_late(now, job),
            Timer::Limit(job) => self.keep_time(now, job, actions),
            Timer::GiveUp(job) => self.give_up(now, job, actions),
            Timer::Quorum(job) => self.close_early(now, job, actions),
            Timer::Save(job) => self.save_if_due(now, job, actions),
            Timer::Store => self.watch_store(now),
            Timer::Plan | Timer::Tell => {}
        }
    }

    /// Brings what is kept of nodes up to date with them; answers with those that have tasks waiting for a slot.
    fn settle(&mut self, now: Time, actions: &mut Vec<Action>) -> Vec<NodeId> {
        let mut with_queue = Vec::new();
        for id in self.nodes.take_changed() {
            self.nodes.drop_if_gone(id, actions);
            let node = self.nodes.get(id);
            let running = |id| {
                let attempt = self.attempts.get(&id).filter(|attempt| !attempt.is_ahead)?;
                Some((attempt.since, self.line.share.load(attempt.job, attempt.cost)))
            };
            match node.and_then(|node| node.view(running, &self.line.share)) {
                Some(view) => self.cluster.set(now, view),
                None => self.cluster.remove(id),
            }
            self.timers.set(Timer::Probe(id), node.and_then(|node| node.next_probe()));
            self.timers.set(Timer::Pause(id), node.and_then(|node| node.pause_end(now)));
            if node.is_none_or(|node| node.running.is_empty()) {
                self.timers.set(Timer::Silence(id), None);
            }
            if node.is_some_and(|node| node.has_queue()) {
                with_queue.push(id);
            }
        }
        with_queue
    }

    fn submit(
        &mut self,
        now: Time,
        job: JobId,
        work: Box<dyn Job>,
        order: Arc<JobOrder>,
        actions: &mut Vec<Action>,
    ) {
        let mut run = self.new_run(now, job, work, order.clone());
        run.news.from = self.books.write_news(now, job, Record::Submitted { job, order }, actions);
        run.is_as_durable();
        self.jobs.insert(job, run);
        self.start_clocks(now, job);
        self.open_ready(now, job);
    }

    fn new_run(&mut self, now: Time, job: JobId, work: Box<dyn Job>, order: Arc<JobOrder>) -> Run {
        let run = Run::new(now, job, work, order);
        self.line.share.join(job, run.order.weight, run.order.priority, run.measure());
        run
    }

    /// Sets what a job is looked at for by time alone.
    fn start_clocks(&mut self, now: Time, job: JobId) {
        let Some(run) = self.jobs.get(&job) else { return };
        self.timers.set(Timer::Limit(job), run.time_limit());
        self.timers.set(Timer::GiveUp(job), run.order.give_up_after.map(|after| now + after));
    }

    /// Opens the tasks that have become ready, unless too much waits for the store.
    fn open_ready(&mut self, now: Time, job: JobId) {
        let room = self.room_of(job);
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
        if self.books.are_full() {
            self.held.insert(job);
        } else {
            run.open_ready(now, room, &mut self.line);
            self.look_at_quorum(now, job);
        }
    }

    /// How many tasks of one job may be open, if it can cut its work as it likes.
    fn room(&self) -> usize {
        self.nodes.room(OPEN[usize::from(self.policy.waits_for_slots())])
    }

    /// The same for one job. Where tasks are bound to nodes at once, one that is to get more tasks than others needs more of
    /// them open, or nodes that have none of its tasks would do those of others.
    fn room_of(&self, job: JobId) -> usize {
        let room = self.room();
        match self.policy.waits_for_slots() {
            true => room,
            false => (room as f64 * self.line.share.turns(job).clamp(1.0, MOST_TIMES)) as usize,
        }
    }

    /// There are more slots: jobs that had more tasks than there was room for hand them out.
    pub(super) fn open_more(&mut self, now: Time) {
        let more: Vec<JobId> = self.jobs.iter().filter(|(_, run)| run.has_more()).map(|(&job, _)| job).collect();
        for job in more {
            self.open_ready(now, job);
        }
    }

    fn committed(&mut self, now: Time, records: u64, actions: &mut Vec<Action>) {
        let told = self.books.commit(records);
        for &job in &told {
            self.saves_are_durable(now, job, actions);
        }
        self.board.urgent.extend(told);
        if !self.books.are_full() {
            for job in std::mem::take(&mut self.held) {
                self.open_ready(now, job);
            }
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
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
        match measured {
            Ok(measured) => {
                let effects = run.evaluated(now, round, &measured);
                self.apply(now, job, effects, actions);
                self.open_ready(now, job);
            }
            Err(reason) => self.end(now, job, State::Failed { reason }, None, actions),
        }
    }

    fn apply(&mut self, now: Time, job: JobId, effects: Vec<Effect>, actions: &mut Vec<Action>) {
        for effect in effects {
            let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
            match effect {
                Effect::Evaluate { round, model, validation } => {
                    actions.push(Action::Evaluate { job, round, model, validation });
                }
                Effect::Save => {
                    let saved = run.save();
                    self.books.write(now, Record::Saved { job, saved }, actions);
                }
                Effect::SaveSoon => self.save_soon(now, job, actions),
                Effect::Closed { round, result, left_out, detail } => {
                    let Some((wall, spans)) = run.closed(now, round) else { continue };
                    let closed = Arc::new(ClosedRound { round, result, wall, spans, left_out, detail });
                    let (nodes, elapsed) = (self.nodes.addresses(&closed.spans), run.elapsed(now));
                    let record = Record::Closed { job, round: closed.clone(), nodes, elapsed };
                    let number = self.books.write_news(now, job, record, actions);
                    run.news.closed.push_back((number, closed));
                }
                Effect::Failed { reason } => self.end(now, job, State::Failed { reason }, None, actions),
                Effect::Finished { weights, model, round, measured } => {
                    let finish = Finish { model, round, measured, figures: run.figures().map(Box::new) };
                    self.end(now, job, State::Done { weights }, Some(finish), actions);
                }
            }
        }
    }

    fn set_batch_size(&mut self, now: Time, model: &str, queries: u32, actions: &mut Vec<Action>) {
        for (&job, run) in self.jobs.iter_mut().filter(|(_, run)| run.is_running()) {
            if let Some(saved) = run.set_batch_size(model, queries) {
                self.books.write(now, Record::Saved { job, saved }, actions);
            }
        }
    }

    /// Ends a job: what it has running is abandoned; it is forgotten once its end is durable and told.
    fn end(&mut self, now: Time, job: JobId, state: State, finish: Option<Finish>, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else { return };
        run.state = state.clone();
        let (attempts, nodes) = run.close_all(&mut self.line);
        for node in nodes {
            self.nodes.change(node, |node| node.unbind_job(job));
        }
        for attempt in attempts {
            self.abandon(attempt, None, actions);
        }
        self.line.share.leave(job);
        for timer in
            [Timer::Overdue(job), Timer::Limit(job), Timer::GiveUp(job), Timer::Quorum(job), Timer::Save(job)]
        {
            self.timers.set(timer, None);
        }
        self.held.remove(&job);
        let Some(run) = self.jobs.get_mut(&job) else { return };
        let elapsed = run.elapsed(now);
        let (node_ids, nodes) = self.nodes.standings(now, run.all_counts());
        let record = Record::Ended { job, state, finish: finish.clone(), nodes: nodes.clone(), elapsed };
        let number = self.books.write_news(now, job, record, actions);
        run.saving.end(number);
        run.news.ending = Some(publish::Ending { number, nodes, node_ids, wall: elapsed, finish });
    }

    /// Tells a job that its time is up.
    fn keep_time(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        match run.time_limit() {
            Some(at) if at <= now => {
                let effects = run.time_is_up();
                self.apply(now, job, effects, actions);
                self.open_ready(now, job);
            }
            later => self.timers.set(Timer::Limit(job), later),
        }
    }

    fn give_up(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get(&job) else { return };
        let Some(after) = run.order.give_up_after else { return };
        let at = run.last_progress().max(self.last_moved) + after;
        if at > now {
            self.timers.set(Timer::GiveUp(job), Some(at));
            return;
        }
        let why = self.why_the_store_is_late(now).unwrap_or_else(|| self.nodes.why_nothing_moves(now));
        let reason = format!("no progress for {after:?}: {why}");
        self.end(now, job, State::Failed { reason }, None, actions);
    }
}

#[cfg(test)]
mod tests;
