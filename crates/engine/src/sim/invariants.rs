//! Owns what must never happen, whatever goes wrong: it watches the cluster from outside and names what breaks a rule.
//!
//! What is durable is read from the log's objects as they are written, by nobody's word.

use super::counting::Kept;
use crate::data::shared::Blob;
use crate::engine::{Sizes, State, Status};
use crate::ledger::{Entry, EntryError, History, Ledger, Record};
use crate::types::{Digest, JobId, Round, TaskId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A rule that holds whatever goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Each task of a round counts exactly once.
    CountedOnce,
    /// Each place of the log has one leader's entry, and who acknowledges an entry has written it.
    OneLeader,
    /// What was told is in the log.
    Durable,
    /// What was told is not taken back: rounds keep their results.
    Told,
    /// The result is that of a run in which nothing goes wrong.
    SameResult,
    /// What is durable is not done again.
    NotRedone,
    /// Nothing grows without bound, and nothing is left over.
    Bounded,
    /// The job ends when the faults have ended.
    Ends,
}

/// A rule was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in virtual time.
    pub at: Time,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s: {}", self.rule, self.at.0.as_secs_f64(), self.what)
    }
}

/// What is known of a coordinator's term.
#[derive(Default)]
struct TermSeen {
    /// Tasks of the round at work that have been answered, by its own records or those before it.
    answered: BTreeSet<(JobId, TaskId)>,
    /// Answers that were durable when it began, and the round that was at work.
    durable: BTreeSet<(JobId, TaskId)>,
    round: BTreeMap<JobId, u32>,
}

/// The watcher.
pub(super) struct Guard {
    now: Time,
    /// What the log adds up to, and its last position.
    ledger: Ledger,
    position: u64,
    /// The SHA-256 of the entry that was first at each position, whether it has been deleted since or not.
    chain: BTreeMap<u64, Digest>,
    terms: BTreeMap<u64, TermSeen>,
    /// The results of rounds as they were told first.
    told: BTreeMap<(JobId, Round), u64>,
    expected: Digest,
    limits: Sizes,
    pub(super) violation: Option<Violation>,
}

impl Guard {
    pub(super) fn new(expected: Digest, limits: Sizes) -> Self {
        Self {
            now: Time::default(),
            ledger: Ledger::default(),
            position: 0,
            chain: BTreeMap::new(),
            terms: BTreeMap::new(),
            told: BTreeMap::new(),
            expected,
            limits,
            violation: None,
        }
    }

    pub(super) fn set_now(&mut self, now: Time) {
        self.now = now;
    }

    /// Notes that a rule is broken; the first counts.
    pub(super) fn broken(&mut self, rule: Rule, what: String) {
        let at = self.now;
        self.violation.get_or_insert(Violation { rule, at, what });
    }

    /// A log object was written. One that nobody will read, since it stands in a part that was cut off, counts for nothing.
    /// `blob` finds what is kept under a digest.
    pub(super) fn log_written(
        &mut self,
        position: u64,
        bytes: &[u8],
        blob: &dyn Fn(&Digest) -> Option<Arc<Blob>>,
    ) {
        if position <= self.position {
            return;
        }
        if position != self.position + 1 {
            return self.broken(Rule::Durable, format!("log {position} is written after {}", self.position));
        }
        let mut entry = Entry::read(bytes, &self.ledger, &BTreeMap::new());
        if let Err(EntryError::Missing(missing)) = &entry {
            let found = missing.iter().filter_map(|digest| Some((*digest, blob(digest)?))).collect();
            entry = Entry::read(bytes, &self.ledger, &found);
        }
        match entry {
            Ok(entry) => entry.apply_to(&mut self.ledger),
            Err(e) => return self.broken(Rule::Durable, format!("log {position} cannot be read: {e}")),
        }
        self.position = position;
        self.chain.insert(position, Digest::of(bytes));
    }

    /// A coordinator acknowledges what it last wrote to the log.
    pub(super) fn acknowledged(&mut self, who: &str, wrote: Option<(u64, Digest)>) {
        let Some((position, digest)) = wrote else {
            return self.broken(Rule::OneLeader, format!("{who} acknowledges what it has not written"));
        };
        match self.chain.get(&position) {
            Some(first) if *first == digest => {}
            Some(_) => {
                self.broken(Rule::OneLeader, format!("{who} acknowledges log {position}, which is another's"))
            }
            None => self.broken(Rule::Durable, format!("{who} acknowledges log {position}, which is not there")),
        }
    }

    /// A coordinator leads, with the ledger of its predecessors, as it was when it wrote its first entry.
    pub(super) fn term_begins(&mut self, who: &str, term: u64, ledger: &Ledger, wrote: Option<(u64, Digest)>) {
        // By now another may have written more.
        if wrote.is_some_and(|(at, _)| at == self.position) && ledger.jobs() != self.ledger.jobs() {
            self.broken(Rule::Durable, format!("{who} leads with another ledger than the log adds up to"));
        }
        let mut seen = TermSeen::default();
        for (&job, history) in ledger.jobs() {
            seen.durable.extend(history.answers.tasks().map(|task| (job, task)));
            seen.round.insert(job, round_of(history));
        }
        seen.answered = seen.durable.clone();
        self.terms.insert(term, seen);
    }

    pub(super) fn term_ends(&mut self, term: u64) {
        self.terms.remove(&term);
    }

    /// A task is given to a node.
    pub(super) fn dispatched(&mut self, term: u64, job: JobId, task: TaskId) {
        let Some(seen) = self.terms.get(&term) else { return };
        let is_over = seen.round.get(&job).is_some_and(|&round| task.round.0 < round);
        if is_over || seen.durable.contains(&(job, task)) {
            self.broken(Rule::NotRedone, format!("{task} is done again, though its answer is durable"));
        }
    }

    /// The engine has something recorded.
    pub(super) fn recorded(&mut self, term: u64, record: &Record) {
        let Some(seen) = self.terms.get_mut(&term) else { return };
        match record {
            Record::Answered { job, task, .. } if !seen.answered.insert((*job, *task)) => {
                self.broken(Rule::CountedOnce, format!("the answer to {task} is recorded twice"));
            }
            Record::Saved { job, saved } => {
                seen.answered.retain(|(of, _)| of != job);
                if let Some(wrong) = serde_json::from_str(&saved.json).ok().and_then(|kept: Kept| kept.wrong) {
                    self.broken(Rule::CountedOnce, wrong);
                }
            }
            _ => {}
        }
    }

    /// Watchers of a job are told; whether it is the end.
    pub(super) fn told(&mut self, who: &str, job: JobId, status: &Status) -> bool {
        let Some(history) = self.ledger.jobs().get(&job) else {
            self.broken(Rule::Durable, format!("{who} tells of job {job}, which is not in the log"));
            return false;
        };
        let mut wrong = None;
        for closed in &status.closed {
            let logged = history.closed.iter().find(|logged| logged.round == closed.round);
            if logged.is_none_or(|logged| logged.result != closed.result) {
                let what = format!("{who} tells that round {} is over, which is not in the log", closed.round);
                wrong.get_or_insert((Rule::Durable, what));
            }
            let result = closed.result.validation_error.to_bits();
            if *self.told.entry((job, closed.round)).or_insert(result) != result {
                wrong.get_or_insert((Rule::Told, format!("{who} tells another result of round {}", closed.round)));
            }
        }
        if status.state != State::Running && history.state != status.state {
            wrong.get_or_insert((Rule::Durable, format!("{who} tells of an end that is not in the log")));
        }
        match &status.state {
            State::Running => {}
            State::Done { weights } if *weights == self.expected => {}
            State::Done { weights } => {
                let (got, expected) = (weights.short(), self.expected.short());
                wrong.get_or_insert((Rule::SameResult, format!("the weights are {got}, not {expected}")));
            }
            other => drop(wrong.get_or_insert((Rule::SameResult, format!("the job ends as {other:?}")))),
        }
        if let Some((rule, what)) = wrong {
            self.broken(rule, what);
        }
        status.state != State::Running
    }

    /// An engine holds so much.
    pub(super) fn holds(&mut self, who: &str, sizes: Sizes) {
        let limits = &self.limits;
        let pairs = [
            ("jobs", sizes.jobs, limits.jobs),
            ("nodes", sizes.nodes, limits.nodes),
            ("waiting tasks", sizes.waiting, limits.waiting),
            ("attempts", sizes.attempts, limits.attempts),
            ("timers", sizes.timers, limits.timers),
            ("records", sizes.records, limits.records),
        ];
        if let Some((what, size, limit)) = pairs.into_iter().find(|(_, size, limit)| size > limit) {
            self.broken(Rule::Bounded, format!("the engine of {who} holds {size} {what}, more than {limit}"));
        }
    }

    /// All is over, and has been quiet for a while.
    pub(super) fn left_over(&mut self, who: &str, sizes: Sizes) {
        if sizes.jobs + sizes.waiting + sizes.attempts + sizes.records > 0 {
            self.broken(Rule::Bounded, format!("the engine of {who} holds {sizes:?} when all is over"));
        }
    }

    /// What another process reads in the store when all is over.
    pub(super) fn replayed(&mut self, replay: Result<Ledger, String>) {
        match replay {
            Ok(ledger) if ledger.jobs() == self.ledger.jobs() => {}
            Ok(_) => {
                self.broken(Rule::Durable, "a replay of the store is not what the log added up to".to_owned())
            }
            Err(reason) => self.broken(Rule::Durable, format!("the store cannot be replayed: {reason}")),
        }
    }
}

/// The round at work of a job, as it was saved.
fn round_of(history: &History) -> u32 {
    let saved =
        history.saved.as_ref().and_then(|saved| serde_json::from_str::<serde_json::Value>(&saved.json).ok());
    let round = saved.and_then(|saved| saved.get("round")?.as_u64());
    round.and_then(|round| u32::try_from(round).ok()).unwrap_or(0)
}
