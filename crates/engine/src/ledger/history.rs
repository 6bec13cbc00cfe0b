//! Owns the ledger: for each job, what the records about it add up to.

use super::told::{ClosedRound, Finish, NodeStanding, State};
use super::{Answers, JobOrder, Record};
use crate::data::shared::Blob;
use crate::jobs::Saved;
use crate::types::{Digest, JobId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many jobs that have ended are remembered.
const REMEMBERED: usize = 64;

/// All that is known of one job.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What is wanted.
    pub order: Arc<JobOrder>,
    /// Whether it goes on.
    pub state: State,
    /// What it saved last; `None` before the end of its first round.
    pub saved: Option<Saved>,
    /// The answers since.
    pub answers: Answers,
    /// Its rounds that are over and measured, ascending.
    pub closed: Vec<Arc<ClosedRound>>,
    /// The addresses of the nodes that those name.
    pub nodes: BTreeMap<NodeId, String>,
    /// What it had of each node; known once it has ended.
    pub standings: Vec<NodeStanding>,
    /// Its result, if it has one.
    pub finish: Option<Finish>,
    /// Time that it had taken when that was written last.
    pub elapsed: Duration,
}

impl History {
    /// A job of which nothing is known but what is wanted.
    pub fn new(order: Arc<JobOrder>) -> Self {
        Self {
            order,
            state: State::Running,
            saved: None,
            answers: Answers::default(),
            closed: Vec::new(),
            nodes: BTreeMap::new(),
            standings: Vec::new(),
            finish: None,
            elapsed: Duration::ZERO,
        }
    }

    /// The numbers that nodes of a record have here, by their numbers in the process that wrote it: one address has one
    /// number, whatever each process called it.
    fn numbers(&mut self, written: &[(NodeId, String)]) -> BTreeMap<NodeId, NodeId> {
        let mut known: BTreeMap<String, NodeId> = BTreeMap::new();
        let mut here = BTreeMap::new();
        for (id, address) in written {
            if self.nodes.get(id) == Some(address) {
                here.insert(*id, *id);
                continue;
            }
            if known.is_empty() {
                known = self.nodes.iter().map(|(id, address)| (address.clone(), *id)).collect();
            }
            let number = *known.entry(address.clone()).or_insert_with(|| {
                let next = self.nodes.last_key_value().map_or(0, |(last, _)| last.0.saturating_add(1));
                if self.nodes.contains_key(id) { NodeId(next) } else { *id }
            });
            self.nodes.entry(number).or_insert_with(|| address.clone());
            here.insert(*id, number);
        }
        here
    }

    /// What it saved, and its model.
    fn blobs(&self) -> impl Iterator<Item = &Arc<Blob>> {
        let saved = self.saved.iter().flat_map(|saved| &saved.blobs);
        saved.chain(self.finish.iter().map(|finish| &finish.model))
    }

    /// The records that make this history of nothing.
    fn records(&self, job: JobId) -> Vec<Record> {
        let mut records = vec![Record::Submitted { job, order: self.order.clone() }];
        let mut nodes: Vec<(NodeId, String)> =
            self.nodes.iter().map(|(&id, address)| (id, address.clone())).collect();
        for round in &self.closed {
            let (round, elapsed) = (round.clone(), self.elapsed);
            records.push(Record::Closed { job, round, nodes: std::mem::take(&mut nodes), elapsed });
        }
        records.extend(self.saved.clone().map(|saved| Record::Saved { job, saved }));
        let answers = self.answers.iter();
        records.extend(answers.map(|&(task, ref output)| Record::Answered { job, task, output: output.clone() }));
        let elapsed = self.elapsed;
        records.push(match self.state.clone() {
            State::Running => Record::Resumed { job, elapsed },
            state => {
                Record::Ended { job, state, finish: self.finish.clone(), nodes: self.standings.clone(), elapsed }
            }
        });
        records
    }
}

/// The jobs at work, and those that ended lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    jobs: BTreeMap<JobId, History>,
    last_job: u64,
    /// Jobs that have ended, the first to end first.
    ended: Vec<JobId>,
}

impl Ledger {
    /// Takes a record. One about a job that is not known, or has ended and is not resumed by it, changes nothing.
    pub fn apply(&mut self, record: &Record) {
        let job = record.job();
        if let Record::Submitted { order, .. } = record {
            self.last_job = self.last_job.max(job.0);
            self.jobs.entry(job).or_insert_with(|| History::new(order.clone()));
            return;
        }
        let Some(history) = self.jobs.get_mut(&job) else { return };
        if history.state != State::Running && !matches!(record, Record::Resumed { .. }) {
            return;
        }
        match record {
            Record::Submitted { .. } => {}
            Record::Answered { task, output, .. } => {
                history.answers.insert(*task, output.clone());
            }
            Record::Saved { saved, .. } => {
                history.saved = Some(saved.clone());
                history.answers.clear();
            }
            Record::Closed { round, nodes, elapsed, .. } => {
                history.elapsed = *elapsed;
                if history.closed.last().is_none_or(|last| last.round < round.round) {
                    let here = history.numbers(nodes);
                    history.closed.push(round.renumbered(&here));
                }
            }
            Record::Ended { state, finish, nodes, elapsed, .. } => {
                history.state = state.clone();
                history.finish = finish.clone();
                history.standings = nodes.clone();
                history.elapsed = *elapsed;
                if matches!(state, State::Done { .. }) {
                    // It never goes on.
                    (history.saved, history.answers) = (None, Answers::default());
                }
                self.forget_the_oldest(job);
            }
            Record::Resumed { elapsed, .. } => {
                history.state = State::Running;
                history.elapsed = *elapsed;
                (history.finish, history.standings) = (None, Vec::new());
                self.ended.retain(|ended| *ended != job);
            }
        }
    }

    fn forget_the_oldest(&mut self, ended: JobId) {
        self.ended.retain(|known| *known != ended);
        self.ended.push(ended);
        let surplus = self.ended.len().saturating_sub(REMEMBERED);
        for old in self.ended.drain(..surplus) {
            self.jobs.remove(&old);
        }
    }

    /// The jobs, by their numbers.
    pub fn jobs(&self) -> &BTreeMap<JobId, History> {
        &self.jobs
    }

    /// The highest number that a job has had.
    pub fn last_job(&self) -> JobId {
        JobId(self.last_job)
    }

    /// The job of this request, if its client has sent it before.
    pub fn find_request(&self, request_id: &str) -> Option<JobId> {
        let same = |history: &History| history.order.request_id.as_deref() == Some(request_id);
        self.jobs.iter().find(|(_, history)| same(history)).map(|(&job, _)| job)
    }

    /// The blobs that its jobs need: what they saved, models, and the data of those that go on or may be resumed.
    pub fn digests(&self) -> BTreeSet<Digest> {
        let of = |history: &History| {
            let is_done = matches!(history.state, State::Done { .. });
            let data = history.order.corpus.digests().into_iter().filter(|_| !is_done);
            data.chain(history.blobs().map(|blob| blob.digest())).collect::<Vec<_>>()
        };
        self.jobs.values().flat_map(of).collect()
    }

    /// A blob that a job saved, or that is its model.
    pub fn blob(&self, digest: &Digest) -> Option<Arc<Blob>> {
        self.jobs.values().flat_map(History::blobs).find(|blob| blob.digest() == *digest).cloned()
    }

    /// The records that make this ledger of nothing: those of jobs that have ended first, in the order of their ends.
    pub fn records(&self) -> Vec<Record> {
        let at_work = self.jobs.keys().filter(|job| !self.ended.contains(job));
        let jobs = self.ended.iter().chain(at_work);
        jobs.filter_map(|job| Some(self.jobs.get(job)?.records(*job))).flatten().collect()
    }

    /// Sets the highest number that a job has had, if it is higher than what is known.
    pub(super) fn numbered_to(&mut self, last: JobId) {
        self.last_job = self.last_job.max(last.0);
    }
}
