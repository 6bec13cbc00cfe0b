//! Owns what somebody outside says to a job at work: rows for its queue, changes of its model.

use super::Shared;
use crate::jobs::{Heard, Word};
use crate::types::{Digest, JobId};
use crate::wire::coordinator as wire;
use crossbeam_channel::RecvTimeoutError;
use std::time::{Duration, Instant};

/// How long a word may take to be durable.
const DURABLE: Duration = Duration::from_secs(30);
/// How often it is looked whether a full queue has room.
const LOOK: Duration = Duration::from_millis(10);
/// The longest name of a feeder, in bytes.
const LONGEST_NAME: usize = 200;

impl Shared {
    /// Says something to a job; answers when what follows from it is durable, or that there is no room for it after
    /// `patience`.
    pub(super) fn say(&self, job: JobId, word: Word, patience: Duration) -> Result<Heard, String> {
        let end = Instant::now() + patience;
        loop {
            let heard = match self.desk.say(job, word.clone()).recv_timeout(DURABLE) {
                Ok(heard) => heard?,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the store was not written in {DURABLE:?}; see the coordinator's log"));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("another coordinator leads now".to_owned()),
            };
            if heard.is_taken || Instant::now() >= end {
                return Ok(heard);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Gives a job rows that were put before; an empty digest says that there are no more.
    pub(super) fn feed(
        &self,
        job: JobId,
        feeder: String,
        number: i64,
        digest: &str,
        patience: Duration,
    ) -> Result<wire::Heard, String> {
        if feeder.is_empty() || feeder.len() > LONGEST_NAME {
            return Err(format!("a feeder has a name of 1 to {LONGEST_NAME} bytes"));
        }
        let number = u64::try_from(number).map_err(|_| format!("{number} is no number of rows that are fed"))?;
        let word = if digest.is_empty() {
            Word::FeedEnd { feeder }
        } else {
            let digest = Digest::parse(digest).ok_or_else(|| format!("'{digest}' is no digest"))?;
            let rows = self.blobs.load(&digest).map_err(|e| e.to_string())?;
            let rows = rows.ok_or_else(|| format!("the rows {digest} are not in the coordinator's store"))?;
            Word::Feed { feeder, number, may_skip: false, rows }
        };
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.say(job, word, patience).map(|heard| wire::Heard {
            is_taken: heard.is_taken,
            version: count(heard.version),
            acknowledged: count(heard.acknowledged),
            waiting: count(heard.waiting),
        })
    }
}
