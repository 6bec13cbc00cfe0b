//! Owns the thread that keeps the log: it performs what the scribe asks of the store, and passes on its news.

use crate::ledger::{Ledger, Record};
use crate::rpc::RpcError;
use crate::store::Backend;
use crate::tenure::{News, Next, Op, Reply, Scribe};
use crate::types::{Epoch, Time};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// How many wishes may wait: more than the records that the engine lets go uncommitted, so that it never waits.
const WISHES: usize = 8192;
/// Keys of one listing.
const PAGE: usize = 1000;

/// What the scribe is to do.
pub(super) enum Wish {
    /// Write this, if this coordinator still leads in that epoch.
    Record(Epoch, Record),
    /// Lead.
    TakeOver,
    /// Stand by.
    StepDown,
}

/// The way to the thread; it ends when this is dropped.
pub(super) struct Keeper {
    wishes: Option<Sender<Wish>>,
    ledger: Arc<Mutex<Ledger>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread; `told` hears the scribe's news there, with the ledger as it is then.
    pub(super) fn start(
        backend: Arc<dyn Backend>,
        address: &str,
        instance: &str,
        told: impl Fn(News, &Mutex<Ledger>) + Send + 'static,
    ) -> Result<Self, RpcError> {
        let scribe = Scribe::new(address, instance);
        let ledger = scribe.ledger();
        let (wishes, inbox) = crossbeam_channel::bounded(WISHES);
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || keep(scribe, &*backend, &inbox, &told));
        let thread = thread.map_err(|source| RpcError::CannotServe { source })?;
        Ok(Self { wishes: Some(wishes), ledger, thread: Some(thread) })
    }

    /// A way to wish.
    pub(super) fn wishes(&self) -> Sender<Wish> {
        // It is there until this is dropped.
        self.wishes.clone().unwrap_or_else(|| crossbeam_channel::bounded(0).0)
    }

    /// The same, for those who look at it for long.
    pub(super) fn shared_ledger(&self) -> Arc<Mutex<Ledger>> {
        self.ledger.clone()
    }

    /// What is durable of all jobs; empty unless this coordinator leads.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.wishes.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(mut scribe: Scribe, backend: &dyn Backend, inbox: &Receiver<Wish>, told: &dyn Fn(News, &Mutex<Ledger>)) {
    let start = Instant::now();
    let now = || Time(start.elapsed());
    let ledger = scribe.ledger();
    let mut reply = None;
    let mut term = None;
    loop {
        let (news, next) = scribe.step(now(), reply.take());
        for news in news {
            match &news {
                News::Leads(leader) => {
                    term = Some(Term { epoch: leader.epoch, wished: VecDeque::new(), committed: 0 })
                }
                News::Deposed { .. } => term = None,
                News::Committed { records } => {
                    if let Some(term) = &mut term {
                        term.note_commit(now(), *records);
                    }
                }
                _ => {}
            }
            told(news, &ledger);
        }
        match next {
            Next::Do(op) => reply = Some(perform(backend, op)),
            Next::Wait(until) => match inbox.recv_timeout(until.since(now())) {
                Ok(wish) => wished(&mut scribe, term.as_mut(), now(), wish),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
        }
        // All that has come meanwhile is written together.
        loop {
            match inbox.try_recv() {
                Ok(wish) => wished(&mut scribe, term.as_mut(), now(), wish),
                Err(crossbeam_channel::TryRecvError::Empty) => break,
                // What is being written when the coordinator stops may be lost: nobody was told of it.
                Err(crossbeam_channel::TryRecvError::Disconnected) => return,
            }
        }
    }
}

/// The time in which this coordinator leads.
struct Term {
    epoch: Epoch,
    /// When the records that are not durable yet were wished; of those that may wait for others, nothing.
    wished: VecDeque<Option<Time>>,
    committed: u64,
}

impl Term {
    /// So many records are durable, in all.
    fn note_commit(&mut self, now: Time, records: u64) {
        let count = usize::try_from(records - self.committed).unwrap_or(usize::MAX).min(self.wished.len());
        self.committed = records;
        match self.wished.drain(..count).flatten().next() {
            Some(first) => {
                log::debug!(
                    "{count} records of the log are durable, the first that is urgent in {:?}",
                    now.since(first)
                );
            }
            None => log::debug!("{count} records of the log are durable"),
        }
    }
}

fn wished(scribe: &mut Scribe, term: Option<&mut Term>, now: Time, wish: Wish) {
    match wish {
        Wish::Record(epoch, record) => {
            // Else it is of an engine that has been deposed and has not heard of it.
            if let Some(term) = term.filter(|term| term.epoch == epoch) {
                term.wished.push_back(record.is_urgent().then_some(now));
                scribe.record(record);
            }
        }
        Wish::TakeOver => scribe.take_over(),
        Wish::StepDown => scribe.step_down(),
    }
}

fn perform(backend: &dyn Backend, op: Op) -> Reply {
    let done = match op {
        Op::List { prefix, after } => backend
            .list(prefix, &after, PAGE)
            .map(|entries| Reply::Keys(entries.into_iter().map(|entry| entry.key).collect())),
        Op::Get { key } => backend.get(&key).map(Reply::Object),
        Op::Put { key, bytes } => backend.put_new(&key, &bytes).map(Reply::Put),
        Op::Delete { key } => backend.delete(&key).map(|()| Reply::Deleted),
    };
    done.unwrap_or_else(|e| Reply::Failed(e.to_string()))
}
