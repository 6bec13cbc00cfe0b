//! Owns what happens when the coordinator's own disk lacks a content: it is read from a node, and brought back.

use super::Files;
use super::replicator::Replicator;
use crate::rpc::{Address, Client, Dialer, Input, Output, RpcError, Timeouts};
use crate::store::{Archive, BlobCalls, Rejection, pull};
use crate::types::Digest;
use crate::wire::blobs::{BlobStoreSyncClient, TBlobStoreSyncClient};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A connection to who has a blob.
type Source = Client<BlobStoreSyncClient<Input, Output>>;

/// Repairs that may wait; others are begun when somebody next reads.
const WAITING: usize = 256;
/// How long a node may take for a chunk.
const ANSWER: Duration = Duration::from_secs(10);

/// The blob calls of one connection: what is not here is read from the nodes that hold it.
pub(in crate::coordinator) struct FileBlobs {
    calls: BlobCalls,
    files: Arc<Files>,
    dialer: Dialer,
    /// Where the last chunk that was not here came from.
    source: Mutex<Option<(Digest, Source)>>,
}

impl FileBlobs {
    /// For a new connection.
    pub(in crate::coordinator) fn new(calls: BlobCalls, files: Arc<Files>) -> Self {
        Self { calls, files, dialer: dialer(), source: Mutex::new(None) }
    }

    /// See `missing_blobs` in idl/blobs.thrift.
    pub(in crate::coordinator) fn missing(&self, digests: &[String]) -> Result<Vec<String>, Rejection> {
        self.calls.missing(digests)
    }

    /// See `put_blob` in idl/blobs.thrift.
    pub(in crate::coordinator) fn put(
        &self,
        digest: &str,
        offset: i64,
        total: i64,
        chunk: &[u8],
    ) -> Result<(), Rejection> {
        self.calls.put(digest, offset, total, chunk)
    }

    /// See `blob_progress` in idl/blobs.thrift.
    pub(in crate::coordinator) fn progress(&self, digest: &str, total: i64) -> Result<i64, Rejection> {
        self.calls.progress(digest, total)
    }

    /// See `get_blob` in idl/blobs.thrift.
    pub(in crate::coordinator) fn get(&self, digest: &str, offset: i64, limit: i64) -> Result<Vec<u8>, Rejection> {
        let here = self.calls.get(digest, offset, limit);
        let Some(parsed) = Digest::parse(digest).filter(|_| here.is_err()) else { return here };
        if self.files.archive.contains(&parsed)? {
            return here;
        }
        let holders = addresses(&self.files.replicator, &parsed);
        if holders.is_empty() {
            return here;
        }
        self.files.repairer.repair(parsed);
        self.read_from_a_node(&parsed, offset, limit, &holders).map_err(|reason| {
            let told = here.err().map(|Rejection(told)| told).unwrap_or_default();
            Rejection(format!("{told}, nor at the nodes that hold copies: {reason}"))
        })
    }

    fn read_from_a_node(
        &self,
        digest: &Digest,
        offset: i64,
        limit: i64,
        holders: &[Address],
    ) -> Result<Vec<u8>, String> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = source.as_mut().filter(|(known, _)| known == digest)
            && let Ok(bytes) = client.call(|c| c.get_blob(digest.to_string(), offset, limit))
        {
            return Ok(bytes);
        }
        let mut reasons = Vec::new();
        for holder in holders {
            let dialled = self.dialer.dial(holder).map(|connection| connection.client(BlobStoreSyncClient::new));
            let got = dialled.and_then(|mut client| {
                let bytes = client.call(|c| c.get_blob(digest.to_string(), offset, limit))?;
                Ok((client, bytes))
            });
            match got {
                Ok((client, bytes)) => {
                    *source = Some((*digest, client));
                    return Ok(bytes);
                }
                Err(e) => {
                    self.files.replicator.doubt(holder);
                    reasons.push(e.to_string());
                }
            }
        }
        Err(reasons.join("; "))
    }
}

fn dialer() -> Dialer {
    let timeouts =
        Timeouts { connect: Duration::from_secs(2), answer: Some(ANSWER), message: ANSWER, ..Timeouts::default() };
    Dialer { timeouts, ..Dialer::default() }
}

fn addresses(replicator: &Replicator, digest: &Digest) -> Vec<Address> {
    replicator.holders(digest).iter().filter_map(|node| node.as_str().parse().ok()).collect()
}

/// The thread that brings contents back, one after the other, until it is dropped.
pub(super) struct Repairer {
    orders: Option<Sender<Digest>>,
    /// Those that wait or are at work.
    known: Arc<Mutex<BTreeSet<Digest>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repairer {
    pub(super) fn start(archive: Arc<Archive>, replicator: Arc<Replicator>) -> Result<Self, RpcError> {
        let (orders, waiting) = bounded(WAITING);
        let known: Arc<Mutex<BTreeSet<Digest>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { archive, replicator, known: known.clone(), stop: stop.clone() };
        let thread = std::thread::Builder::new().name("repairs".to_owned()).spawn(move || work.run(&waiting));
        let thread = thread.map_err(|source| RpcError::CannotServe { source })?;
        Ok(Self { orders: Some(orders), known, stop, thread: Some(thread) })
    }

    /// Has a content brought back, unless that is under way.
    fn repair(&self, digest: Digest) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(orders) = &self.orders else { return };
        if known.insert(digest)
            && let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = orders.try_send(digest)
        {
            known.remove(&digest);
        }
    }
}

impl Drop for Repairer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    archive: Arc<Archive>,
    replicator: Arc<Replicator>,
    known: Arc<Mutex<BTreeSet<Digest>>>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, waiting: &Receiver<Digest>) {
        for digest in waiting {
            let wanted = || !self.stop.load(Ordering::Relaxed);
            if let Some(size) = self.replicator.size(&digest).filter(|_| wanted()) {
                let sources = addresses(&self.replicator, &digest);
                match pull(&self.archive, &dialer(), &sources, digest, size, &wanted) {
                    Ok(()) => log::warn!("{digest} was missing here, and was brought back from a node"),
                    Err(e) => log::warn!("{digest} is missing here, and is not brought back: {e}"),
                }
            }
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        }
    }
}
