//! Owns one job at work: its open tasks, who is at them, what it had of each node, and what its watchers were told.

use super::node::Node;
use super::patience::Patience;
use crate::jobs::{BadAnswer, Effect, Job, Progress, RoundResult, TaskOutput, TaskSpec};
use crate::ledger::{ClosedRound, Finish, NodeCounts, NodeStanding, Span, State};
use crate::model::Measured;
use crate::types::{AttemptId, NodeId, Round, TaskId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A task that nodes say cannot be done fails its job after this many of them.
const FAULTS: usize = 2;
/// So it does when the same few nodes say so this often.
const REPEATED_FAULTS: usize = 3;

/// Short pauses are not worth telling.
const WORTH_A_WORD: Duration = Duration::from_secs(2);

/// How many spans of a job are noted: enough for a picture, and no burden in a job of a million rounds.
pub const MOST_SPANS: usize = 50_000;

/// How a job stands, for those who watch it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Whether it goes on.
    pub state: State,
    /// How far it is.
    pub progress: Progress,
    /// Rounds that are over, and were not in an earlier status.
    pub closed: Vec<ClosedRound>,
    /// Nodes with a task, nodes that answer, nodes known.
    pub nodes_busy: usize,
    /// Nodes that answer.
    pub nodes_ready: usize,
    /// Nodes known.
    pub nodes_known: usize,
    /// Why nothing moves, if so.
    pub notice: String,
    /// What the job had of each node so far; only when a round closed or the job ended, else empty.
    pub nodes: Vec<NodeStanding>,
    /// Since the job came.
    pub wall: Duration,
    /// The result; told once, when there is one.
    pub finish: Option<Finish>,
}

/// A task that has no answer yet.
struct Open {
    spec: Arc<TaskSpec>,
    attempts: BTreeSet<AttemptId>,
    /// Which nodes said that it cannot be done.
    faults: Vec<NodeId>,
    waiting: bool,
}

pub(super) struct Run {
    work: Box<dyn Job>,
    pub(super) state: State,
    pub(super) give_up_after: Option<Duration>,
    pub(super) patience: Patience,
    pub(super) finish: Option<Finish>,
    open: BTreeMap<TaskId, Open>,
    waiting: VecDeque<TaskId>,
    counts: BTreeMap<NodeId, NodeCounts>,
    started: Time,
    last_close: Time,
    last_progress: Time,
    closed: Vec<ClosedRound>,
    spans: Vec<Span>,
    spans_noted: usize,
    time_is_up: bool,
    told: Option<Status>,
}

impl Run {
    pub(super) fn new(now: Time, work: Box<dyn Job>, give_up_after: Option<Duration>) -> Self {
        let mut run = Self {
            work,
            state: State::Running,
            give_up_after,
            patience: Patience::default(),
            finish: None,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            counts: BTreeMap::new(),
            started: now,
            last_close: now,
            last_progress: now,
            closed: Vec::new(),
            spans: Vec::new(),
            spans_noted: 0,
            time_is_up: false,
            told: None,
        };
        run.open_ready();
        run
    }

    fn open_ready(&mut self) {
        for spec in self.work.take_ready() {
            let id = spec.id;
            let open = Open { spec: Arc::new(spec), attempts: BTreeSet::new(), faults: Vec::new(), waiting: true };
            self.open.insert(id, open);
            self.waiting.push_back(id);
        }
    }

    pub(super) fn counts(&mut self, node: NodeId) -> &mut NodeCounts {
        self.counts.entry(node).or_default()
    }

    #[cfg(test)]
    pub(super) fn failures(&self) -> u64 {
        self.counts.values().map(|counts| counts.failures).sum()
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.state == State::Running && !self.waiting.is_empty()
    }

    /// The tasks that wait for a node, and the attempts that are at them already.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&TaskSpec, &BTreeSet<AttemptId>)> {
        let going_on = self.state == State::Running;
        let waiting = self.waiting.iter().filter(move |_| going_on);
        waiting.filter_map(|id| self.open.get(id).map(|open| (&*open.spec, &open.attempts)))
    }

    /// A task waits no more: it is bound to a node.
    pub(super) fn bound(&mut self, task: TaskId) {
        self.waiting.retain(|&waiting| waiting != task);
        if let Some(open) = self.open.get_mut(&task) {
            open.waiting = false;
        }
    }

    /// A bound task is sent; `None` if it has been answered meanwhile.
    pub(super) fn started(&mut self, task: TaskId, attempt: AttemptId) -> Option<Arc<TaskSpec>> {
        let open = self.open.get_mut(&task)?;
        open.attempts.insert(attempt);
        Some(open.spec.clone())
    }

    /// A task waits again, before all others.
    pub(super) fn wait_first(&mut self, task: TaskId) {
        if self.waits_again(task) {
            self.waiting.push_front(task);
        }
    }

    /// A task waits again, for a copy, after all others.
    pub(super) fn wait_last(&mut self, task: TaskId) {
        if self.waits_again(task) {
            self.waiting.push_back(task);
        }
    }

    fn waits_again(&mut self, task: TaskId) -> bool {
        self.open.get_mut(&task).is_some_and(|open| !std::mem::replace(&mut open.waiting, true))
    }

    /// An attempt came to nothing.
    pub(super) fn task_lost(&mut self, task: TaskId, attempt: AttemptId) {
        let Some(open) = self.open.get_mut(&task) else { return };
        open.attempts.remove(&attempt);
        if open.attempts.is_empty() {
            self.wait_first(task);
        }
    }

    /// A node says that the task cannot be done; true if that is believed.
    pub(super) fn task_fault(&mut self, task: TaskId, node: NodeId) -> bool {
        let Some(open) = self.open.get_mut(&task) else { return false };
        open.faults.push(node);
        let who: BTreeSet<&NodeId> = open.faults.iter().collect();
        who.len() >= FAULTS || open.faults.len() >= REPEATED_FAULTS
    }

    /// The first answer to a task; an answer to a task that is not open is dropped.
    pub(super) fn task_done(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        if !self.open.contains_key(&task) {
            return Ok(Vec::new());
        }
        let effects = self.work.complete(task, output)?;
        self.waiting.retain(|&waiting| waiting != task);
        self.open_ready();
        Ok(effects)
    }

    /// Closes a task that has its answer; the attempts that are still at it.
    pub(super) fn close(&mut self, task: TaskId) -> BTreeSet<AttemptId> {
        self.open.remove(&task).map(|open| open.attempts).unwrap_or_default()
    }

    pub(super) fn evaluated(&mut self, now: Time, round: Round, measured: &Measured) -> Vec<Effect> {
        self.moves(now);
        let effects = self.work.evaluated(round, measured);
        self.open_ready();
        effects
    }

    pub(super) fn closed(&mut self, now: Time, round: Round, result: RoundResult, left_out: Vec<u32>) {
        let wall = now.since(self.last_close);
        self.last_close = now;
        self.closed.push(ClosedRound { round, result, wall, spans: std::mem::take(&mut self.spans), left_out });
    }

    /// Notes what became of an attempt that was sent at `since`.
    pub(super) fn note(&mut self, now: Time, since: Time, span: Span) {
        if self.spans_noted < MOST_SPANS {
            self.spans_noted += 1;
            let (start, end) = (since.since(self.started), now.since(self.started));
            self.spans.push(Span { start, end, ..span });
        }
    }

    /// When the job's time is up, if it has a limit and has not been told.
    pub(super) fn time_limit(&self) -> Option<Time> {
        let limit = self.work.time_limit().filter(|_| self.state == State::Running && !self.time_is_up)?;
        Some(self.started + limit)
    }

    /// Tells the job that its time is up.
    pub(super) fn time_is_up(&mut self) -> Vec<Effect> {
        self.time_is_up = true;
        self.work.time_is_up()
    }

    /// Somebody is at work: the clock for giving up starts again.
    pub(super) fn moves(&mut self, now: Time) {
        self.last_progress = now;
    }

    /// Whether nothing has come for so long that a user wonders.
    pub(super) fn is_quiet(&self, now: Time) -> bool {
        now.since(self.last_progress) >= WORTH_A_WORD
    }

    /// When the job fails if nothing comes before.
    pub(super) fn gives_up_at(&self) -> Option<Time> {
        let limit = self.give_up_after.filter(|_| self.state == State::Running)?;
        Some(self.last_progress + limit)
    }

    /// The status, if it is not what was told last.
    pub(super) fn status_to_tell(&mut self, now: Time, nodes: &[Node], notice: String) -> Option<Status> {
        let mut status = Status {
            state: self.state.clone(),
            progress: self.work.progress(),
            closed: std::mem::take(&mut self.closed),
            nodes_busy: nodes.iter().filter(|node| !node.running.is_empty()).count(),
            nodes_ready: nodes.iter().filter(|node| node.is_ready()).count(),
            nodes_known: nodes.len(),
            notice,
            nodes: Vec::new(),
            wall: Duration::ZERO,
            finish: self.finish.take(),
        };
        if self.told.as_ref() == Some(&status) {
            return None;
        }
        self.told = Some(Status { closed: Vec::new(), finish: None, ..status.clone() });
        if !status.closed.is_empty() || status.state != State::Running {
            let standing = |node: &Node| NodeStanding {
                address: node.address.clone(),
                state: node.state(now).into(),
                software: node.software.clone(),
                counts: self.counts.get(&node.id).copied().unwrap_or_default(),
            };
            status.nodes = nodes.iter().map(standing).collect();
        }
        status.wall = now.since(self.started);
        Some(status)
    }
}
