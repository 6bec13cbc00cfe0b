//! Owns who leads: a coordinator's way from standing by to leading and back, and the log that only a leader writes.
//!
//! Everything rests on one operation of the store, *put if absent*. Who creates the next `leaders/` object and then the
//! next `log/` object leads; whose next log object is there already, or who finds a newer object in `leaders/` after its
//! own was written, has been deposed, and what it wrote last was not acknowledged. Log objects are deleted once snapshots
//! make them unnecessary, those in `leaders/` never: that is what a leader that slept through it all finds.
//!
//! A [`Scribe`] waits for nothing: [`Scribe::step`] says which [`Op`] to perform next, and is told what came of it. So the
//! same code runs over a disk, a cloud, and a simulated store that fails in all ways.

mod desk;
mod keys;
mod lead;
mod standby;

use crate::ledger::{Ledger, Record};
use crate::types::{Epoch, Time};
use desk::{Desk, Shared};
pub use keys::{LEADERS, Leader, blob_key};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Something to be done with the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The keys that begin so, ascending, from the first after another on; [`Reply::Keys`].
    List {
        /// How they begin.
        prefix: &'static str,
        /// Only those after this one.
        after: String,
    },
    /// An object; [`Reply::Object`].
    Get {
        /// Its key.
        key: String,
    },
    /// Writes an object unless there is one; [`Reply::Put`].
    Put {
        /// Its key.
        key: String,
        /// Its bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// Deletes an object, if there is one; [`Reply::Deleted`].
    Delete {
        /// Its key.
        key: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Keys: at least one if there are any, and not necessarily all.
    Keys(Vec<String>),
    /// The object, if there is one.
    Object(Option<Vec<u8>>),
    /// Whether it was written; if not there was one.
    Put(bool),
    /// It is not there any more.
    Deleted,
    /// It is not known whether it was done.
    Failed(String),
}

/// What a coordinator is to know of its tenure.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Another leads, or did last; told when it changes.
    Leader(Leader),
    /// The leader has written to its log: it is alive.
    Grew,
    /// This coordinator leads from now on. The ledger is that of its predecessors.
    Leads(Leader),
    /// Another was faster, or the wish to lead could not be met; this one stands by.
    Lost {
        /// Why, for the log.
        reason: String,
    },
    /// So many of the records since it leads are durable.
    Committed {
        /// Counted from 1.
        records: u64,
    },
    /// It leads no more. Records that are not committed are forgotten.
    Deposed {
        /// Why, for the log.
        reason: String,
    },
    /// The store cannot be used; it is tried again.
    Trouble {
        /// Why, for the user.
        reason: String,
    },
    /// The store can be used again.
    Better,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// To perform this, and to step on with its reply.
    Do(Op),
    /// Nothing before that time, unless something is wished.
    Wait(Time),
}

/// A coordinator's hand in the log.
pub struct Scribe {
    shared: Arc<Mutex<Shared>>,
    ledger: Arc<Mutex<Ledger>>,
    life: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Scribe {
    /// Stands by. `address` is told to others; `instance` is a random name that no other process has.
    pub fn new(address: &str, instance: &str) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let desk = Desk::new(shared.clone(), ledger.clone());
        let life = Box::pin(standby::life(desk, address.to_owned(), instance.to_owned()));
        Self { shared, ledger, life }
    }

    /// The ledger, as far as it is durable; empty but while it leads. For reading.
    pub fn ledger(&self) -> Arc<Mutex<Ledger>> {
        self.ledger.clone()
    }

    /// Wishes to lead.
    pub fn take_over(&mut self) {
        self.shared().wants_to_lead = true;
    }

    /// Wishes to stand by.
    pub fn step_down(&mut self) {
        self.shared().wants_to_stop = true;
    }

    /// Has a record written; counts only while it leads.
    pub fn record(&mut self, record: Record) {
        let mut shared = self.shared();
        shared.is_urgent |= record.is_urgent();
        shared.records.push(record);
    }

    /// Goes on: with the reply to the operation that was asked for, if there was one.
    pub fn step(&mut self, now: Time, reply: Option<Reply>) -> (Vec<News>, Next) {
        {
            let mut shared = self.shared();
            shared.now = now;
            shared.reply = reply.or(shared.reply.take());
        }
        // It never ends.
        let _ = self.life.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut shared = self.shared();
        let news = std::mem::take(&mut shared.news);
        let next = match shared.op.take() {
            Some(op) => Next::Do(op),
            None => Next::Wait(shared.wake_at),
        };
        (news, next)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a leader's term rests on.
struct Term {
    leader: Leader,
    /// The log's last position.
    position: u64,
}

impl Term {
    fn epoch(&self) -> Epoch {
        self.leader.epoch
    }
}

#[cfg(test)]
mod tests;
