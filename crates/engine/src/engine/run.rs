//! Owns one job at work: its open tasks, who is at them, and what it had of each node.

use super::line::{Line, Place, Waiting};
use super::patience::{Patience, Watch};
use super::publish::News;
use super::rates::{QueryCount, Rates};
use super::words::Saving;
use crate::jobs::{
    BadAnswer, Effect, Figures, Heard, Job, Measure, Progress, Quorum, Refused, Saved, StreamFigures,
};
use crate::jobs::{TaskOutput, TaskSpec, Version, Word};
use crate::ledger::{JobOrder, NodeCounts, Span, State};
use crate::model::Measured;
use crate::types::{AttemptId, JobId, NodeId, Round, TaskId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A task that nodes say cannot be done fails its job after this many of them.
const FAULTS: usize = 2;
/// So it does when the same few nodes say so this often.
const REPEATED_FAULTS: usize = 3;

/// How many spans of a job are noted: enough for a picture, and no burden in a job of a million rounds.
pub const MOST_SPANS: usize = 50_000;

/// Where a task is that has no answer yet.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Where {
    /// It waits for a node.
    InLine(Place),
    /// It waits for a slot of this node.
    At(NodeId),
    /// It only has attempts.
    Sent,
}

/// A task that has no answer yet.
struct Open {
    spec: Arc<TaskSpec>,
    attempts: Vec<AttemptId>,
    /// Which nodes said that it cannot be done.
    faults: Vec<NodeId>,
    place: Where,
    first_sent: Option<Time>,
    /// Its queries are in its job's account.
    is_charged: bool,
}

impl Open {
    fn waiting(&self) -> Waiting {
        let TaskSpec { id, cost, queries, for_originals, .. } = *self.spec;
        Waiting { task: id, cost, queries, for_originals }
    }
}

pub(super) struct Run {
    id: JobId,
    work: Box<dyn Job>,
    pub(super) order: Arc<JobOrder>,
    pub(super) state: State,
    pub(super) patience: Patience,
    pub(super) watch: Watch,
    pub(super) news: News,
    pub(super) saving: Saving,
    open: BTreeMap<TaskId, Open>,
    /// Its attempts that nobody has given up.
    pub(super) at_work: usize,
    counts: BTreeMap<NodeId, NodeCounts>,
    rates: Rates,
    /// The nodes that are at its tasks, with how many.
    nodes_now: BTreeMap<NodeId, usize>,
    started: Time,
    /// What it took in other processes.
    before: Duration,
    last_close: Duration,
    last_progress: Time,
    round_opened: Time,
    spans: Vec<Span>,
    spans_noted: usize,
    time_is_up: bool,
    /// Rounds that other processes have closed.
    closed_before: BTreeSet<Round>,
}

impl Run {
    pub(super) fn new(now: Time, id: JobId, work: Box<dyn Job>, order: Arc<JobOrder>) -> Self {
        Self {
            id,
            work,
            order,
            state: State::Running,
            patience: Patience::default(),
            watch: Watch::default(),
            news: News::default(),
            saving: Saving::default(),
            open: BTreeMap::new(),
            at_work: 0,
            counts: BTreeMap::new(),
            rates: Rates::default(),
            nodes_now: BTreeMap::new(),
            started: now,
            before: Duration::ZERO,
            last_close: Duration::ZERO,
            last_progress: now,
            round_opened: now,
            spans: Vec::new(),
            spans_noted: 0,
            time_is_up: false,
            closed_before: BTreeSet::new(),
        }
    }

    /// It was at work for so long in other processes, which closed these rounds with so many spans.
    pub(super) fn goes_on(&mut self, elapsed: Duration, closed: BTreeSet<Round>, spans: usize) {
        (self.before, self.last_close, self.closed_before, self.spans_noted) = (elapsed, elapsed, closed, spans);
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Since the job came, in all processes that had it.
    pub(super) fn elapsed(&self, now: Time) -> Duration {
        self.before + now.since(self.started)
    }

    /// Opens the tasks that have become ready; of those that the job can cut as it likes, so many that `most` are open.
    pub(super) fn open_ready(&mut self, now: Time, most: usize, line: &mut Line) {
        let ready = self.work.take_ready(most.saturating_sub(self.open.len()));
        let unmade = self.work.unmade();
        line.share.hands_out(self.id, ready.first().map(|spec| (spec.cost, spec.queries)), unmade);
        for spec in ready {
            self.round_opened = now;
            let id = spec.id;
            let mut open = Open {
                spec: Arc::new(spec),
                attempts: Vec::new(),
                faults: Vec::new(),
                place: Where::Sent,
                first_sent: None,
                is_charged: false,
            };
            open.place = Where::InLine(line.put_last(self.id, open.waiting()));
            self.open.insert(id, open);
        }
    }

    /// Whether it has more tasks than there was room for.
    pub(super) fn has_more(&self) -> bool {
        self.is_running() && self.work.unmade() > 0
    }

    /// It will have something of this node; true if it has had nothing before.
    pub(super) fn hold(&mut self, node: NodeId, counts: NodeCounts) -> bool {
        let is_new = !self.counts.contains_key(&node);
        self.counts.entry(node).or_insert(counts);
        is_new
    }

    /// What it had of a node; it has had something.
    pub(super) fn counts(&mut self, node: NodeId) -> &mut NodeCounts {
        self.counts.entry(node).or_default()
    }

    /// What it had of all nodes that it had something of.
    pub(super) fn all_counts(&self) -> &BTreeMap<NodeId, NodeCounts> {
        &self.counts
    }

    /// A task waits no more: it is bound to a node.
    pub(super) fn bound(&mut self, task: TaskId, node: NodeId, line: &mut Line) {
        let Some(open) = self.open.get_mut(&task) else { return };
        match std::mem::replace(&mut open.place, Where::At(node)) {
            Where::InLine(place) => drop(line.bind(place)),
            Where::At(_) => {}
            Where::Sent => line.share.waits(self.id),
        }
    }

    /// A bound task is sent to a node that is at these tasks of the job; `None` if it has been answered meanwhile, or is
    /// bound no more.
    pub(super) fn sent(
        &mut self,
        now: Time,
        task: TaskId,
        (attempt, node): (AttemptId, NodeId),
        behind: &[TaskId],
        line: &mut Line,
    ) -> Option<Arc<TaskSpec>> {
        let open = self.open.get_mut(&task).filter(|open| open.place == Where::At(node))?;
        open.place = Where::Sent;
        if open.attempts.is_empty()
            && let Some(spec) = self.work.begins(task, behind)
        {
            open.spec = Arc::new(spec);
        }
        line.share.starts(self.id);
        if !std::mem::replace(&mut open.is_charged, true) {
            line.share.had_queries(self.id, f64::from(open.spec.queries));
        }
        open.attempts.push(attempt);
        open.first_sent.get_or_insert(now);
        let spec = open.spec.clone();
        self.begins_at(node);
        Some(spec)
    }

    /// A bound task is taken from its node; it waits before all others, unless somebody is at it.
    pub(super) fn unbound(&mut self, task: TaskId, node: NodeId, line: &mut Line) {
        let Some(open) = self.open.get_mut(&task).filter(|open| open.place == Where::At(node)) else { return };
        open.place = Where::Sent;
        line.share.waits_no_more(self.id);
        self.wait_if_idle(task, line);
    }

    /// An attempt came to nothing.
    pub(super) fn task_lost(&mut self, task: TaskId, attempt: AttemptId, line: &mut Line) {
        let Some(open) = self.open.get_mut(&task) else { return };
        open.attempts.retain(|&other| other != attempt);
        self.wait_if_idle(task, line);
    }

    fn wait_if_idle(&mut self, task: TaskId, line: &mut Line) {
        let Some(open) = self.open.get_mut(&task) else { return };
        if open.attempts.is_empty() && open.place == Where::Sent && self.state == State::Running {
            if std::mem::take(&mut open.is_charged) {
                line.share.had_queries(self.id, -f64::from(open.spec.queries));
            }
            open.place = Where::InLine(line.put_first(self.id, open.waiting()));
        }
    }

    /// The attempt at a task that began last, if none is to come.
    pub(super) fn latest_attempt(&self, task: TaskId) -> Option<AttemptId> {
        self.open.get(&task).filter(|open| open.place == Where::Sent)?.attempts.last().copied()
    }

    /// A node says that the task cannot be done; true if that is believed.
    pub(super) fn task_fault(&mut self, task: TaskId, node: NodeId) -> bool {
        let Some(open) = self.open.get_mut(&task) else { return false };
        open.faults.push(node);
        let who: BTreeSet<&NodeId> = open.faults.iter().collect();
        who.len() >= FAULTS || open.faults.len() >= REPEATED_FAULTS
    }

    /// The first answer to a task; an answer to a task that is not open is dropped.
    pub(super) fn task_done(
        &mut self,
        task: TaskId,
        output: &TaskOutput,
    ) -> Result<Option<Vec<Effect>>, BadAnswer> {
        if !self.open.contains_key(&task) {
            return Ok(None);
        }
        self.work.complete(task, output).map(Some)
    }

    /// A task has its answer: its queries count.
    pub(super) fn answered(&mut self, now: Time, task: TaskId) {
        if let Some(open) = self.open.get(&task) {
            self.rates.add(now, open.spec.queries);
        }
    }

    /// How it stands, if it is counted in queries.
    pub(super) fn queries(&self, now: Time) -> Option<QueryCount> {
        let count = || self.rates.count(now, self.started, self.nodes_now.len());
        (self.measure() == Measure::Queries).then(count)
    }

    /// A node is at one more of its tasks.
    fn begins_at(&mut self, node: NodeId) {
        self.at_work += 1;
        *self.nodes_now.entry(node).or_default() += 1;
    }

    /// A node is at one less.
    pub(super) fn ends_at(&mut self, node: NodeId) {
        self.at_work -= 1;
        if let Some(tasks) = self.nodes_now.get_mut(&node) {
            *tasks -= 1;
            if *tasks == 0 {
                self.nodes_now.remove(&node);
            }
        }
    }

    /// Closes a task that needs no answer any more; the attempts that are still at it.
    pub(super) fn close(&mut self, task: TaskId, line: &mut Line) -> Vec<AttemptId> {
        let Some(open) = self.open.remove(&task) else { return Vec::new() };
        match open.place {
            Where::InLine(place) => line.take(place),
            Where::At(_) => line.share.waits_no_more(self.id),
            Where::Sent => {}
        }
        open.attempts
    }

    /// Closes all tasks; the attempts that are still at them, and the nodes that tasks were bound to.
    pub(super) fn close_all(&mut self, line: &mut Line) -> (Vec<AttemptId>, BTreeSet<NodeId>) {
        let nodes = self.open.values().filter_map(|open| match open.place {
            Where::At(node) => Some(node),
            _ => None,
        });
        let nodes = nodes.collect();
        let tasks: Vec<TaskId> = self.open.keys().copied().collect();
        (tasks.into_iter().flat_map(|task| self.close(task, line)).collect(), nodes)
    }

    /// The tasks of a round that have no answer, with the cost and the moment of the first sending of each.
    pub(super) fn open_of(&self, round: Round) -> impl Iterator<Item = (TaskId, f64, Option<Time>)> {
        let (first, last) = (TaskId { round, shard: 0 }, TaskId { round, shard: u32::MAX });
        self.open.range(first..=last).map(|(&id, open)| (id, open.spec.cost, open.first_sent))
    }

    /// Whether a task has no answer yet, who is at it, and what it is.
    pub(super) fn open(&self, task: TaskId) -> Option<(&TaskSpec, &[AttemptId])> {
        self.open.get(&task).map(|open| (&*open.spec, open.attempts.as_slice()))
    }

    /// What a task is that has no answer yet.
    pub(super) fn spec(&self, task: TaskId) -> Option<Arc<TaskSpec>> {
        self.open.get(&task).map(|open| open.spec.clone())
    }

    pub(super) fn evaluated(&mut self, now: Time, round: Round, measured: &Measured) -> Vec<Effect> {
        self.moves(now);
        self.work.evaluated(round, measured)
    }

    /// A round is over: how long it took and what nodes did meanwhile; `None` if it was known to be over.
    pub(super) fn closed(&mut self, now: Time, round: Round) -> Option<(Duration, Box<[Span]>)> {
        if self.closed_before.remove(&round) {
            return None;
        }
        let elapsed = self.elapsed(now);
        let wall = elapsed.saturating_sub(std::mem::replace(&mut self.last_close, elapsed));
        Some((wall, std::mem::take(&mut self.spans).into()))
    }

    /// Notes what became of an attempt that was sent at `since`.
    pub(super) fn note(&mut self, now: Time, since: Time, span: Span) {
        if self.spans_noted < MOST_SPANS {
            self.spans_noted += 1;
            let (start, end) = (self.elapsed(since), self.elapsed(now));
            self.spans.push(Span { start, end, ..span });
        }
    }

    /// When the job's time is up, if it has a limit and has not been told.
    pub(super) fn time_limit(&self) -> Option<Time> {
        let limit = self.work.time_limit().filter(|_| self.is_running() && !self.time_is_up)?;
        Some(self.started + limit.saturating_sub(self.before))
    }

    /// Tells the job that its time is up.
    pub(super) fn time_is_up(&mut self) -> Vec<Effect> {
        self.time_is_up = true;
        self.work.time_is_up()
    }

    pub(super) fn save(&mut self) -> Saved {
        self.work.before_save();
        self.work.save()
    }

    /// Takes an answer that another process had, before any task is open; see [`Job::remember`].
    pub(super) fn remember(&mut self, task: TaskId, output: &TaskOutput) -> bool {
        self.work.remember(task, output)
    }

    /// What is to be saved, if the size of batches changes by it.
    pub(super) fn set_batch_size(&mut self, model: &str, queries: u32) -> Option<Saved> {
        self.work.set_batch_size(model, queries).then(|| self.work.save())
    }

    pub(super) fn versions(&self) -> Vec<Version> {
        self.work.versions()
    }

    pub(super) fn sends_ahead(&self) -> Option<Duration> {
        self.work.sends_ahead()
    }

    pub(super) fn keeps_answers(&self) -> bool {
        self.work.keeps_answers()
    }

    pub(super) fn receive(&mut self, now: Time, word: Word) -> Result<(Heard, Vec<Effect>), Refused> {
        let heard = self.work.receive(word)?;
        self.moves(now);
        Ok(heard)
    }

    /// It is as it will be made again of what is durable.
    pub(super) fn is_as_durable(&mut self) {
        self.saving.durable = self.work.versions();
    }

    pub(super) fn stream(&self) -> Option<StreamFigures> {
        self.work.stream()
    }

    pub(super) fn figures(&self) -> Option<Figures> {
        self.work.figures()
    }

    pub(super) fn reopened(&mut self) -> Vec<Effect> {
        self.work.reopened()
    }

    pub(super) fn progress(&self) -> Progress {
        self.work.progress()
    }

    pub(super) fn measure(&self) -> Measure {
        self.work.measure()
    }

    pub(super) fn quorum(&self) -> Option<Quorum> {
        self.work.quorum()
    }

    pub(super) fn close_early(&mut self) -> Vec<Effect> {
        self.work.close_early()
    }

    /// When the round at work was handed out.
    pub(super) fn round_opened(&self) -> Time {
        self.round_opened
    }

    /// Somebody is at work: the clock for giving up starts again.
    pub(super) fn moves(&mut self, now: Time) {
        self.last_progress = now;
    }

    /// When it moved last, for all that is known here.
    pub(super) fn last_progress(&self) -> Time {
        self.last_progress
    }

    #[cfg(test)]
    pub(super) fn failures(&self) -> u64 {
        self.counts.values().map(|counts| counts.failures).sum()
    }
}
