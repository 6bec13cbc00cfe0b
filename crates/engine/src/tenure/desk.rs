//! Owns what a scribe's life waits for: replies of the store, the time, wishes. Each is a future that is polled by
//! [`Scribe::step`](super::Scribe::step) alone, so none needs a waker.

use super::{News, Op, Reply, blob_key};
use crate::data::shared::Blob;
use crate::ledger::{Ledger, Record};
use crate::types::Time;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// The first pause after the store failed; each further failure in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What passes between a scribe and its life.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) now: Time,
    pub(super) op: Option<Op>,
    pub(super) reply: Option<Reply>,
    pub(super) wake_at: Time,
    pub(super) news: Vec<News>,
    pub(super) records: Vec<Record>,
    /// Somebody waits until one of them is durable.
    pub(super) is_urgent: bool,
    pub(super) wants_to_lead: bool,
    pub(super) wants_to_stop: bool,
}

pub(super) struct Desk {
    shared: Arc<Mutex<Shared>>,
    ledger: Arc<Mutex<Ledger>>,
}

/// An object that was to be written.
pub(super) enum Put {
    /// It is there, and ours.
    Ours,
    /// There is another's.
    Taken(Vec<u8>),
}

/// It is to stand by: nothing is tried any longer.
pub(super) struct Stop;

impl Desk {
    pub(super) fn new(shared: Arc<Mutex<Shared>>, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { shared, ledger }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, news: News) {
        self.shared().news.push(news);
    }

    /// Waits until then, or until something is wished.
    pub(super) async fn pause(&self, time: Duration) {
        let end = self.shared().now + time;
        poll_fn(|_| {
            let mut shared = self.shared();
            shared.wake_at = end;
            let wished = shared.wants_to_lead || shared.wants_to_stop || !shared.records.is_empty();
            if wished || shared.now >= end { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits for more records, until then or until one is urgent: answers are many, and nobody waits for theirs.
    pub(super) async fn gather(&self, time: Duration) {
        let end = self.shared().now + time;
        poll_fn(|_| {
            let mut shared = self.shared();
            shared.wake_at = end;
            if shared.is_urgent || shared.wants_to_stop || shared.now >= end {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// The records that are to be written.
    pub(super) fn take_records(&self) -> Vec<Record> {
        let mut shared = self.shared();
        shared.is_urgent = false;
        std::mem::take(&mut shared.records)
    }

    /// Waits until then, or until it is to stop: for pauses that records do not end.
    async fn rest(&self, time: Duration) {
        let end = self.shared().now + time;
        poll_fn(|_| {
            let mut shared = self.shared();
            shared.wake_at = end;
            if shared.wants_to_stop || shared.now >= end { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn ask(&self, op: Op) -> Reply {
        let mut op = Some(op);
        poll_fn(|_| {
            let mut shared = self.shared();
            match op.take() {
                Some(op) => {
                    // A reply to what was given up means nothing.
                    (shared.op, shared.reply) = (Some(op), None);
                    Poll::Pending
                }
                None => shared.reply.take().map_or(Poll::Pending, Poll::Ready),
            }
        })
        .await
    }

    /// Asks until the store gives an answer.
    async fn insist(&self, op: Op) -> Result<Reply, Stop> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.ask(op.clone()).await {
                Reply::Failed(reason) => {
                    self.tell(News::Trouble { reason });
                    if self.shared().wants_to_stop {
                        return Err(Stop);
                    }
                    self.rest(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                reply => {
                    if pause > FIRST_PAUSE {
                        self.tell(News::Better);
                    }
                    return Ok(reply);
                }
            }
        }
    }

    /// All keys that begin so, after another.
    pub(super) async fn list(&self, prefix: &'static str, after: &str) -> Result<Vec<String>, Stop> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map_or(after, String::as_str).to_owned();
            match self.insist(Op::List { prefix, after }).await? {
                Reply::Keys(more) if !more.is_empty() => keys.extend(more),
                _ => return Ok(keys),
            }
        }
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Stop> {
        match self.insist(Op::Get { key }).await? {
            Reply::Object(object) => Ok(object),
            _ => Ok(None),
        }
    }

    pub(super) async fn delete(&self, key: String) -> Result<(), Stop> {
        self.insist(Op::Delete { key }).await.map(drop)
    }

    /// Keeps a blob under its digest; one that is there already is the same.
    pub(super) async fn keep(&self, blob: &Blob) -> Result<(), Stop> {
        let (key, bytes) = (blob_key(&blob.digest()), Arc::new(blob.bytes().to_vec()));
        self.insist(Op::Put { key, bytes }).await.map(drop)
    }

    /// Writes an object whose bytes nobody else would write. After a failure it may be there, and still be ours.
    pub(super) async fn put(&self, key: String, bytes: Vec<u8>) -> Result<Put, Stop> {
        let bytes = Arc::new(bytes);
        let op = Op::Put { key: key.clone(), bytes: bytes.clone() };
        if self.insist(op).await? == Reply::Put(true) {
            return Ok(Put::Ours);
        }
        match self.get(key).await? {
            Some(there) if there == *bytes => Ok(Put::Ours),
            there => Ok(Put::Taken(there.unwrap_or_default())),
        }
    }
}
