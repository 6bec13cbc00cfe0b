//! Owns what those who watch a job are told: nothing that is not durable, and how far it is no more often than eyes can
//! follow.

use super::{Action, Engine, QueryCount, Timer};
use crate::jobs::{Figures, Progress, StreamFigures, Version};
use crate::ledger::{ClosedRound, Finish, NodeStanding, State};
use crate::types::{JobId, NodeId, Time};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Short pauses are not worth telling.
const WORTH_A_WORD: Duration = Duration::from_secs(2);
/// Progress is told at most this often.
const EVERY: Duration = Duration::from_millis(50);
/// Rates are told at least this often: they change by time alone.
const RATES_EVERY: Duration = Duration::from_secs(1);

/// How a job stands, for those who watch it. Its progress is live; all else is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Whether it goes on.
    pub state: State,
    /// How far it is.
    pub progress: Progress,
    /// What it has done, if it answers queries.
    pub figures: Option<Figures>,
    /// What it has done, if it learns from a stream.
    pub stream: Option<StreamFigures>,
    /// The newest versions of its model that are durable, ascending, if there are any before its end.
    pub versions: Vec<Version>,
    /// Rounds that are over, and were not in an earlier status.
    pub closed: Vec<Arc<ClosedRound>>,
    /// How many queries it has answered and how fast, if it is counted in them.
    pub queries: Option<QueryCount>,
    /// Nodes with a task.
    pub nodes_busy: usize,
    /// Nodes that answer.
    pub nodes_ready: usize,
    /// Nodes known.
    pub nodes_known: usize,
    /// Why nothing moves, if so.
    pub notice: String,
    /// What the job had of each node so far; only when a round closed or the job ended, else empty.
    pub nodes: Vec<NodeStanding>,
    /// The ids of `nodes`, in the same order: spans name nodes by them.
    pub node_ids: Vec<NodeId>,
    /// Since the job came, in all processes that had it.
    pub wall: Duration,
    /// The result; told once, when there is one.
    pub finish: Option<Finish>,
}

/// What there is to tell of all jobs.
#[derive(Default)]
pub(super) struct Board {
    /// Something has happened since all were looked at.
    pub(super) is_stale: bool,
    /// Jobs with news that may be told now.
    pub(super) urgent: BTreeSet<JobId>,
    last: Option<Time>,
}

/// What there is to tell of one job, by the numbers of the records that must be durable before.
#[derive(Default)]
pub(super) struct News {
    /// Nothing is told before this one.
    pub(super) from: u64,
    pub(super) closed: VecDeque<(u64, Arc<ClosedRound>)>,
    pub(super) ending: Option<Ending>,
    told: Option<Status>,
}

/// A job's end.
pub(super) struct Ending {
    pub(super) number: u64,
    pub(super) nodes: Vec<NodeStanding>,
    pub(super) node_ids: Vec<NodeId>,
    pub(super) wall: Duration,
    pub(super) finish: Option<Finish>,
}

impl Engine {
    /// Tells of every job whose status is not what was told last, and forgets those whose end is told.
    pub(super) fn publish(&mut self, now: Time, actions: &mut Vec<Action>) {
        let mut jobs = std::mem::take(&mut self.board.urgent);
        let is_over = |time| self.board.last.is_none_or(|last| now >= last + time);
        let rates = self.line.share.counts_queries() && is_over(RATES_EVERY);
        if rates || self.board.is_stale && is_over(EVERY) {
            self.board.is_stale = false;
            self.board.last = Some(now);
            jobs.extend(self.jobs.keys());
        }
        let mut why = None;
        for job in jobs {
            self.tell(now, job, &mut why, actions);
        }
        let every = match self.board.is_stale {
            true => Some(EVERY),
            false => self.line.share.counts_queries().then_some(RATES_EVERY),
        };
        let later = self.board.last.filter(|_| !self.jobs.is_empty());
        self.timers.set(Timer::Tell, later.and_then(|last| Some(last + every?)));
        if let Some((_, since)) = self.books.behind().filter(|_| !self.timers.is_set(Timer::Store)) {
            self.timers.set(Timer::Store, Some(since + WORTH_A_WORD));
        }
    }

    /// Tells of one job, if there is anything to tell; `why` keeps what is the same for all jobs.
    fn tell(&mut self, now: Time, job: JobId, why: &mut Option<String>, actions: &mut Vec<Action>) {
        let notice = self.notice(now, job, why);
        let Some(run) = self.jobs.get_mut(&job) else { return };
        if !self.books.is_committed(run.news.from) {
            return;
        }
        let ending = run.news.ending.take_if(|ending| self.books.is_committed(ending.number));
        let durable = run.news.closed.iter().take_while(|(number, _)| self.books.is_committed(*number)).count();
        let closed: Vec<Arc<ClosedRound>> = run.news.closed.drain(..durable).map(|(_, round)| round).collect();
        let counts = self.nodes.counts();
        let mut status = Status {
            state: if ending.is_some() { run.state.clone() } else { State::Running },
            progress: run.progress(),
            figures: run.figures(),
            stream: run.stream(),
            versions: run.saving.durable.clone(),
            queries: run.queries(now),
            closed: Vec::new(),
            nodes_busy: counts.busy,
            nodes_ready: counts.ready,
            nodes_known: counts.known,
            notice,
            nodes: Vec::new(),
            node_ids: Vec::new(),
            wall: Duration::ZERO,
            finish: None,
        };
        if ending.is_none() && closed.is_empty() && run.news.told.as_ref() == Some(&status) {
            return;
        }
        run.news.told = Some(status.clone());
        status.wall = run.elapsed(now);
        if !closed.is_empty() && ending.is_none() {
            (status.node_ids, status.nodes) = self.nodes.standings(now, run.all_counts());
        }
        status.closed = closed;
        let is_over = ending.is_some();
        if let Some(ending) = ending {
            (status.nodes, status.node_ids) = (ending.nodes, ending.node_ids);
            (status.wall, status.finish) = (ending.wall, ending.finish);
        }
        actions.push(Action::Publish { job, status: Box::new(status) });
        if is_over {
            self.forget(job);
        }
    }

    fn forget(&mut self, job: JobId) {
        let Some(run) = self.jobs.remove(&job) else { return };
        for &node in run.all_counts().keys() {
            self.nodes.change(node, |node| node.holders -= 1);
        }
    }

    /// Why a job does not move, if so.
    fn notice(&self, now: Time, job: JobId, why: &mut Option<String>) -> String {
        if let Some(late) = self.why_the_store_is_late(now) {
            return late;
        }
        let Some(run) = self.jobs.get(&job) else { return String::new() };
        let is_quiet = now.since(run.last_progress().max(self.last_moved)) >= WORTH_A_WORD;
        let is_stuck = run.at_work == 0 && self.line.has(job);
        if !is_stuck || !(is_quiet || self.nodes.counts().ready == 0) {
            return String::new();
        }
        why.get_or_insert_with(|| self.nodes.why_nothing_moves(now)).clone()
    }

    pub(super) fn why_the_store_is_late(&self, now: Time) -> Option<String> {
        let (records, since) = self.books.behind()?;
        let late = now.since(since);
        (late >= WORTH_A_WORD).then(|| {
            let seconds = late.as_secs();
            format!("waiting for the store ({records} records are not durable yet, the first for {seconds} s)")
        })
    }

    /// Looks again after a while whether the store has caught up.
    pub(super) fn watch_store(&mut self, now: Time) {
        let Some((_, since)) = self.books.behind() else { return };
        let at = since + WORTH_A_WORD;
        self.timers.set(Timer::Store, Some(if at > now { at } else { now + WORTH_A_WORD }));
    }
}
