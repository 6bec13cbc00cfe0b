//! Owns blobs of any size on their way here: in chunks, the next ones while the last is dealt with, from whichever
//! source has them.

use super::{Address, Dialer, RpcError};
use crate::types::Digest;
use crate::wire::CHUNK;
use crate::wire::blobs::{BlobStoreSyncClient, TBlobStoreSyncClient};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::thread;

/// Connections that the chunks of one blob come over in turn: one is served while the other's chunk travels.
const LANES: usize = 2;

/// What takes a blob's bytes in order.
pub trait Sink {
    /// How many bytes it has: the next ones start there.
    fn position(&self) -> u64;

    /// Takes the next bytes; with the last ones it finds out whether all of them are the right ones.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn take(&mut self, bytes: Vec<u8>) -> Result<(), SinkError>;

    /// Forgets all bytes.
    ///
    /// # Errors
    /// It cannot start again.
    fn restart(&mut self) -> Result<(), SinkError>;
}

/// Why bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// All have come, and they are not those of the blob: some may be right, but which is unknown.
    #[error("what came is not the blob {digest}, but {actual}: the copy there is damaged")]
    Wrong {
        /// The blob.
        digest: Digest,
        /// What came.
        actual: Digest,
    },
    /// They cannot be kept, from wherever they come.
    #[error("{0}")]
    Broken(String),
    /// Nobody wants them any more.
    #[error("it is not wanted any more")]
    Unwanted,
}

/// Why a blob did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// What is to take it does not.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// No source gave it.
    #[error("no source of the blob {digest} gives it: {reasons}")]
    NoSource {
        /// The blob.
        digest: Digest,
        /// What each of them said.
        reasons: String,
    },
}

/// Brings the bytes of a blob that a sink does not have yet, from the first of `sources` that gives them; where one
/// stops the next goes on. Of bytes that turn out to be wrong nothing is kept.
///
/// # Errors
/// See [`FetchError`]. The sink keeps what it has: it may go on later.
pub fn fetch_blob(
    dialer: &Dialer,
    sources: &[Address],
    digest: &Digest,
    size: u64,
    sink: &mut dyn Sink,
) -> Result<(), FetchError> {
    let mut reasons = Vec::new();
    for source in sources {
        // Bytes of before that were wrong are not this source's fault: it is asked once more for all of them.
        for from_the_start in [false, true] {
            let start = sink.position();
            match stream(dialer, source, digest, size, sink) {
                Ok(()) => return Ok(()),
                Err(Stop::Sink(wrong @ SinkError::Wrong { .. })) => {
                    log::warn!("from {source}: {wrong}");
                    sink.restart()?;
                    reasons.push(format!("{source}: {wrong}"));
                    if start == 0 || from_the_start {
                        break;
                    }
                }
                Err(Stop::Sink(other)) => return Err(other.into()),
                Err(Stop::Rpc(e)) => {
                    reasons.push(e.to_string());
                    break;
                }
            }
        }
    }
    let reasons = if reasons.is_empty() { "there is none".to_owned() } else { reasons.join("; ") };
    Err(FetchError::NoSource { digest: *digest, reasons })
}

enum Stop {
    Rpc(RpcError),
    Sink(SinkError),
}

/// Brings the bytes from one source.
fn stream(dialer: &Dialer, source: &Address, digest: &Digest, size: u64, sink: &mut dyn Sink) -> Result<(), Stop> {
    let start = sink.position();
    if start >= size {
        // Also of an empty blob: somebody must say that it is there, or that it is not.
        let bytes = lane(dialer, source).and_then(|mut lane| lane.chunk(digest, start, 0)).map_err(Stop::Rpc)?;
        return sink.take(bytes).map_err(Stop::Sink);
    }
    let chunks = (size - start).div_ceil(CHUNK as u64);
    if chunks == 1 {
        let wanted = (size - start) as usize;
        let bytes = lane(dialer, source).and_then(|mut lane| lane.chunk(digest, start, wanted));
        return sink.take(bytes.map_err(Stop::Rpc)?).map_err(Stop::Sink);
    }
    thread::scope(|scope| {
        let lanes = LANES.min(usize::try_from(chunks).unwrap_or(LANES));
        let mut incoming: Vec<Receiver<Result<Vec<u8>, RpcError>>> = Vec::new();
        for place in 0..lanes {
            let (give, get) = bounded(1);
            incoming.push(get);
            let first = start + (place * CHUNK) as u64;
            let offsets = (first..size).step_by(lanes * CHUNK);
            // Where a thread cannot be started the other end finds the channel closed.
            let lane = move || run_lane(dialer, source, digest, size, offsets, &give);
            if let Err(e) = thread::Builder::new().name("fetch".to_owned()).spawn_scoped(scope, lane) {
                return Err(Stop::Sink(SinkError::Broken(format!("cannot start a thread: {e}"))));
            }
        }
        for chunk in 0..chunks {
            let place = (chunk % lanes as u64) as usize;
            let closed = || Err(RpcError::Closed { address: source.clone() });
            let bytes = incoming[place].recv().unwrap_or_else(|_| closed()).map_err(Stop::Rpc)?;
            sink.take(bytes).map_err(Stop::Sink)?;
        }
        Ok(())
    })
}

fn run_lane(
    dialer: &Dialer,
    source: &Address,
    digest: &Digest,
    size: u64,
    offsets: impl Iterator<Item = u64>,
    give: &Sender<Result<Vec<u8>, RpcError>>,
) {
    let mut lane = match lane(dialer, source) {
        Ok(lane) => lane,
        Err(e) => {
            // Nobody listens any more if this fails.
            let _ = give.send(Err(e));
            return;
        }
    };
    for offset in offsets {
        let wanted = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
        let chunk = lane.chunk(digest, offset, wanted);
        let failed = chunk.is_err();
        if give.send(chunk).is_err() || failed {
            return;
        }
    }
}

fn lane(dialer: &Dialer, source: &Address) -> Result<Lane, RpcError> {
    Ok(Lane(dialer.dial(source)?.client(BlobStoreSyncClient::new)))
}

struct Lane(super::Client<BlobStoreSyncClient<super::Input, super::Output>>);

impl Lane {
    /// Exactly `wanted` bytes; an answer that is too short is none.
    fn chunk(&mut self, digest: &Digest, offset: u64, wanted: usize) -> Result<Vec<u8>, RpcError> {
        let Ok(at) = i64::try_from(offset) else {
            return Err(self.nonsense(format!("no blob has a byte {offset}")));
        };
        let bytes = self.0.call(|c| c.get_blob(digest.to_string(), at, wanted as i64))?;
        if bytes.len() == wanted {
            return Ok(bytes);
        }
        Err(self
            .nonsense(format!("of the blob {digest} it gives {} bytes from {offset}, not {wanted}", bytes.len())))
    }

    fn nonsense(&self, reason: String) -> RpcError {
        RpcError::Protocol { address: self.0.address().clone(), reason }
    }
}
