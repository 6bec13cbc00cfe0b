//! Owns a job's queue: chunks of rows that feeders gave, in the order in which they came, until they are learnt.

use super::request::QueueSource;
use crate::data::shared::Blob;
use crate::jobs::Refused;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many rows may wait, if the request does not say.
const ROOM: u64 = 1 << 18;
/// How many bytes of them.
const ROOM_BYTES: usize = 256 << 20;
/// The most feeders of a job.
const MOST_FEEDERS: usize = 65_536;

/// Rows that came together.
pub(super) struct Chunk {
    /// Counted from 0 over all feeders.
    pub(super) number: u32,
    pub(super) feeder: String,
    pub(super) rows: u64,
    pub(super) blob: Arc<Blob>,
    /// The mini-batches of all chunks before it.
    pub(super) first_batch: u64,
    /// Its tasks.
    pub(super) units: u64,
    /// Those that are not in the model.
    left: u64,
}

/// Who gives rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Feeder {
    /// The number of its next chunk.
    pub(super) next: u64,
    /// Rows that are in the model.
    pub(super) acknowledged: u64,
    pub(super) ended: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) feeders: BTreeMap<String, Feeder>,
    /// Those that are not wholly learnt, by their first tasks.
    pub(super) chunks: BTreeMap<u64, Chunk>,
    pub(super) next_unit: u64,
    pub(super) next_chunk: u32,
    pub(super) next_batch: u64,
    /// Rows that are not in the model, and bytes of chunks with such rows.
    pub(super) waiting: u64,
    bytes: usize,
    room: u64,
    /// Feeders that must have ended.
    wanted: usize,
}

impl Queue {
    pub(super) fn new(source: &QueueSource) -> Self {
        let wanted = source.feeders.unwrap_or(1) as usize;
        Self { room: source.room.unwrap_or(ROOM), wanted, ..Self::default() }
    }

    /// Bytes that it holds at most.
    pub(super) fn most_bytes() -> usize {
        ROOM_BYTES
    }

    /// All rows that will ever come have come.
    pub(super) fn has_ended(&self) -> bool {
        let ended = self.feeders.values().filter(|feeder| feeder.ended).count();
        ended >= self.wanted && ended == self.feeders.len()
    }

    /// Whether a chunk is to be taken: true if it is new and there is room; `None` if it was taken before.
    ///
    /// # Errors
    /// It is not the feeder's next, and may not skip some.
    pub(super) fn wants(
        &self,
        feeder: &str,
        (number, may_skip): (u64, bool),
        rows: u64,
        bytes: usize,
    ) -> Result<Option<bool>, Refused> {
        let known = self.feeders.get(feeder);
        let next = known.map_or(0, |feeder| feeder.next);
        if number < next {
            return Ok(None);
        }
        if number > next && !may_skip {
            return Err(Refused(format!(
                "feeder '{feeder}' is to give its rows {next}, not {number}: none may be left out"
            )));
        }
        if known.is_some_and(|feeder| feeder.ended) {
            return Err(Refused(format!("feeder '{feeder}' has said before that it has no more rows")));
        }
        if known.is_none() && self.feeders.len() >= MOST_FEEDERS {
            return Err(Refused(format!("it has {MOST_FEEDERS} feeders; no more are taken")));
        }
        let fits = self.waiting + rows <= self.room && self.bytes.saturating_add(bytes) <= ROOM_BYTES;
        // What has more than there is room for at all is taken when nothing else waits.
        Ok(Some(fits || self.waiting == 0))
    }

    /// Takes a chunk that it wants.
    pub(super) fn push(
        &mut self,
        (feeder, number_of_feeder): (&str, u64),
        rows: u64,
        blob: Arc<Blob>,
        batch: u64,
        group: u64,
    ) {
        let batches = rows.div_ceil(batch);
        let units = batches.div_ceil(group);
        let number = self.next_chunk;
        let first_batch = self.next_batch;
        self.feeders.entry(feeder.to_owned()).or_default().next = number_of_feeder.saturating_add(1);
        self.restore(
            self.next_unit,
            Chunk { number, feeder: feeder.to_owned(), rows, blob, first_batch, units, left: units },
        );
        self.waiting += rows;
        self.next_unit += units;
        self.next_chunk += 1;
        self.next_batch += batches;
    }

    /// Puts a chunk where it was; `left` of it is counted by [`Queue::learnt`] later.
    fn restore(&mut self, first_unit: u64, chunk: Chunk) {
        self.bytes += chunk.blob.bytes().len();
        self.chunks.insert(first_unit, chunk);
    }

    /// The same for one that was saved, with so many tasks that are not in the model.
    pub(super) fn put_back(&mut self, first_unit: u64, chunk: Chunk, left: u64) {
        self.restore(first_unit, Chunk { left, ..chunk });
    }

    /// The chunk of a task, with the task's place in it.
    pub(super) fn find(&self, unit: u64) -> Option<(&Chunk, u64)> {
        let (&first, chunk) = self.chunks.range(..=unit).next_back()?;
        (unit - first < chunk.units).then_some((chunk, unit - first))
    }

    /// A task with so many rows is in the model.
    pub(super) fn learnt(&mut self, unit: u64, rows: u64) {
        let Some((&first, chunk)) = self.chunks.range_mut(..=unit).next_back() else { return };
        self.waiting = self.waiting.saturating_sub(rows);
        if let Some(feeder) = self.feeders.get_mut(&chunk.feeder) {
            feeder.acknowledged += rows;
        }
        chunk.left = chunk.left.saturating_sub(1);
        if chunk.left == 0 {
            self.bytes -= chunk.blob.bytes().len();
            self.chunks.remove(&first);
        }
    }

    /// This feeder has no more.
    ///
    /// # Errors
    /// There are too many feeders.
    pub(super) fn end(&mut self, feeder: &str) -> Result<(), Refused> {
        if !self.feeders.contains_key(feeder) && self.feeders.len() >= MOST_FEEDERS {
            return Err(Refused(format!("it has {MOST_FEEDERS} feeders; no more are taken")));
        }
        self.feeders.entry(feeder.to_owned()).or_default().ended = true;
        Ok(())
    }

    /// The number after the last that this feeder gave.
    pub(super) fn next(&self, feeder: &str) -> u64 {
        self.feeders.get(feeder).map_or(0, |feeder| feeder.next)
    }

    pub(super) fn acknowledged(&self, feeder: &str) -> u64 {
        self.feeders.get(feeder).map_or(0, |feeder| feeder.acknowledged)
    }
}

impl Chunk {
    /// One that was saved.
    pub(super) fn saved(
        number: u32,
        feeder: String,
        rows: u64,
        blob: Arc<Blob>,
        first_batch: u64,
        units: u64,
    ) -> Self {
        Self { number, feeder, rows, blob, first_batch, units, left: units }
    }
}
