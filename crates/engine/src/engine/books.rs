//! Owns what has been recorded and how much of it is durable: nothing may be told before its record is committed, and
//! no job opens another round while too much waits for the store.

use super::Action;
use crate::ledger::Record;
use crate::types::{JobId, Time};
use std::collections::{BTreeMap, VecDeque};

/// How many records may wait for the store before jobs open no new rounds.
const MOST_RECORDS: usize = 1024;
/// How many bytes of answers and saves.
const MOST_BYTES: usize = 64 << 20;

/// A record that is not durable yet.
struct Waiting {
    bytes: usize,
    since: Time,
}

/// The records of this engine, counted from 1.
#[derive(Default)]
pub(super) struct Books {
    committed: u64,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Jobs that have something to tell once so many records are durable.
    news: BTreeMap<u64, JobId>,
}

impl Books {
    /// Has a record written; answers with its number.
    pub(super) fn write(&mut self, now: Time, record: Record, actions: &mut Vec<Action>) -> u64 {
        let bytes = record.weight();
        self.bytes += bytes;
        self.waiting.push_back(Waiting { bytes, since: now });
        actions.push(Action::Record(record));
        self.committed + self.waiting.len() as u64
    }

    /// The same, and remembers that its job has something to tell then.
    pub(super) fn write_news(&mut self, now: Time, job: JobId, record: Record, actions: &mut Vec<Action>) -> u64 {
        let number = self.write(now, record, actions);
        self.news.insert(number, job);
        number
    }

    /// So many records are durable; answers with the jobs that have something to tell.
    pub(super) fn commit(&mut self, records: u64) -> Vec<JobId> {
        while self.committed < records
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.committed += 1;
            self.bytes -= waiting.bytes;
        }
        let later = self.news.split_off(&(self.committed + 1));
        std::mem::replace(&mut self.news, later).into_values().collect()
    }

    pub(super) fn is_committed(&self, number: u64) -> bool {
        number <= self.committed
    }

    /// Whether so much waits that jobs must not open rounds.
    pub(super) fn are_full(&self) -> bool {
        self.waiting.len() > MOST_RECORDS || self.bytes > MOST_BYTES
    }

    /// How many records wait, and since when the first of them does.
    pub(super) fn behind(&self) -> Option<(usize, Time)> {
        self.waiting.front().map(|first| (self.waiting.len(), first.since))
    }
}
