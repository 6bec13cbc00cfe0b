//! Owns the blobs that a node keeps on disk for others, until it is told to let them go.
//!
//! They survive a restart. A blob is compared with its digest when it comes, and again before it is first served in the
//! life of the process, when its file has changed, or when the last look is an hour ago; one that is damaged is removed
//! and not served: the coordinator finds it missing, and has it brought back.

use crate::rpc::{Address, Dialer, Timeouts};
use crate::store::{self, Archive, StoreError, pull};
use crate::types::Digest;
use crate::wire::CHUNK;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Blobs that are fetched at once.
const FETCHES: usize = 2;
/// How often one that waits for its turn looks whether its caller is still there.
const LOOK: Duration = Duration::from_millis(50);
/// How long a source may take for a chunk.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a look at a blob's bytes is good for.
const SOUND: Duration = Duration::from_secs(3600);
/// The most blobs in one answer.
const PAGE: usize = 10_000;

/// The blobs that a node keeps for others.
pub(super) struct Holdings {
    /// `None`: a temporary directory, made when it is needed, and removed at the end.
    directory: Option<PathBuf>,
    /// Bytes of blobs.
    limit: u64,
    dialer: Dialer,
    state: Mutex<State>,
    /// A fetch has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    archive: Option<Arc<Archive>>,
    temporary: Option<tempfile::TempDir>,
    held: BTreeMap<Digest, Held>,
    /// Of `held`.
    bytes: u64,
    /// What is on its way, with its bytes.
    fetching: BTreeMap<Digest, u64>,
}

struct Held {
    size: u64,
    /// When the file was written whose bytes were right, and when they were looked at.
    sound: Option<(SystemTime, Instant)>,
}

impl Holdings {
    /// What is in a directory, if it is there; it is made when the first blob is to be held.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn open(directory: Option<PathBuf>, limit: u64) -> Result<Self, StoreError> {
        let timeouts = Timeouts {
            connect: Duration::from_secs(2),
            answer: Some(ANSWER),
            message: ANSWER,
            ..Timeouts::default()
        };
        let dialer = Dialer { timeouts, ..Dialer::default() };
        let is_there = directory.as_ref().is_some_and(|directory| directory.exists());
        let holdings = Self { directory, limit, dialer, state: Mutex::default(), ended: Condvar::new() };
        if is_there {
            let archive = holdings.archive()?;
            let mut state = holdings.lock();
            for (digest, size, _) in archive.blobs(None, usize::MAX)? {
                state.insert(digest, Held { size, sound: None });
            }
        }
        Ok(holdings)
    }

    /// How many blobs there are, and their bytes.
    pub(super) fn totals(&self) -> (u64, u64) {
        let state = self.lock();
        (state.held.len() as u64, state.bytes)
    }

    /// Fetches a blob from the first of `sources` that has it, and keeps it; at once if it is here. `wanted` is asked
    /// often: once it says no, nothing is fetched any more.
    pub(super) fn hold(
        &self,
        digest: Digest,
        size: u64,
        sources: &[Address],
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let Some(_turn) = self.turn(digest, size, wanted)? else { return Ok(()) };
        let archive = self.archive().map_err(|e| e.to_string())?;
        pull(&archive, &self.dialer, sources, digest, size, wanted).map_err(|e| e.to_string())?;
        let sound = written(&archive, &digest).map_err(|e| e.to_string())?.map(|at| (at, Instant::now()));
        self.lock().insert(digest, Held { size, sound });
        log::debug!("holds {}, {size} bytes", digest.short());
        Ok(())
    }

    /// Waits until a blob may be fetched; `None` if it is here by then.
    fn turn(&self, digest: Digest, size: u64, wanted: &dyn Fn() -> bool) -> Result<Option<Turn<'_>>, String> {
        let mut state = self.lock();
        loop {
            if let Some(held) = state.held.get(&digest) {
                return match held.size == size {
                    true => Ok(None),
                    false => Err(format!("the blob {digest} has {} bytes here, not {size}", held.size)),
                };
            }
            if !state.fetching.contains_key(&digest) && state.fetching.len() < FETCHES {
                break;
            }
            state = self.ended.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            if !wanted() {
                return Err("nobody waits for it any more".to_owned());
            }
        }
        let used = state.bytes + state.fetching.values().sum::<u64>();
        if size > self.limit.saturating_sub(used) {
            return Err(format!(
                "no room for {size} bytes: this node holds {used} for others, and may hold {}; --disk allows more",
                self.limit
            ));
        }
        state.fetching.insert(digest, size);
        Ok(Some(Turn { holdings: self, digest }))
    }

    /// Lets a blob go; it is fine if it is not here.
    pub(super) fn release(&self, digest: &Digest) -> Result<(), StoreError> {
        let archive = self.lock().archive.clone();
        self.lock().remove(digest);
        match archive {
            Some(archive) => archive.remove_blob(digest),
            None => Ok(()),
        }
    }

    /// What is here, by ascending digest, with the bytes; at most `limit`. Asked of the disk: what somebody has removed
    /// there is not here.
    pub(super) fn list(&self, after: Option<Digest>, limit: usize) -> Result<Vec<(Digest, u64)>, StoreError> {
        let Some(archive) = self.lock().archive.clone() else { return Ok(Vec::new()) };
        let limit = limit.min(PAGE);
        let blobs = archive.blobs(after, limit)?;
        let mut state = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let last = blobs.last().filter(|_| blobs.len() == limit).map(|(digest, ..)| *digest);
        let end = last.map_or(Bound::Unbounded, Bound::Included);
        let known: Vec<Digest> = state.held.range((start, end)).map(|(digest, _)| *digest).collect();
        let there = |digest: &Digest| blobs.binary_search_by_key(digest, |(there, ..)| *there).is_ok();
        // What came while the disk was asked may be missing in its answer; the next one has it.
        let fresh = |held: &Held| held.sound.is_some_and(|(_, at)| at.elapsed() < Duration::from_secs(10));
        for gone in known.iter().filter(|digest| !there(digest)) {
            if !state.held.get(gone).is_some_and(fresh) {
                log::warn!("{gone} was held here, and its file is gone");
                state.remove(gone);
            }
        }
        Ok(blobs.into_iter().map(|(digest, size, _)| (digest, size)).collect())
    }

    /// At most `limit` bytes of a blob from `offset` on; `None` if it is not held.
    pub(super) fn read(&self, digest: &Digest, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, String> {
        let (archive, size, sound) = {
            let state = self.lock();
            let Some(held) = state.held.get(digest) else { return Ok(None) };
            let Some(archive) = state.archive.clone() else { return Ok(None) };
            (archive, held.size, held.sound)
        };
        // Later chunks are of the blob whose first one was asked for a moment ago.
        if offset == 0 || sound.is_none() {
            self.check(&archive, digest, sound)?;
        }
        if offset > size {
            return Err(format!("offset {offset}: the blob has {size} bytes"));
        }
        archive.read_range(digest, offset, limit.min(CHUNK)).map_err(|e| e.to_string())
    }

    /// Whether a blob is held.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.lock().held.contains_key(digest)
    }

    /// All bytes of a blob; `None` if it is not held, or cannot be read.
    pub(super) fn read_whole(&self, digest: &Digest) -> Option<Vec<u8>> {
        let (archive, size) = {
            let state = self.lock();
            (state.archive.clone()?, state.held.get(digest)?.size)
        };
        archive.read_range(digest, 0, usize::try_from(size).ok()?).ok().flatten()
    }

    /// Finds out whether a blob's bytes are what they must be; if they are not it is let go.
    fn check(
        &self,
        archive: &Arc<Archive>,
        digest: &Digest,
        sound: Option<(SystemTime, Instant)>,
    ) -> Result<(), String> {
        let at = written(archive, digest).map_err(|e| e.to_string())?;
        if sound.is_some_and(|(written, looked)| Some(written) == at && looked.elapsed() < SOUND) {
            return Ok(());
        }
        let actual = digest_of(archive, digest).map_err(|e| e.to_string())?;
        let (Some(at), true) = (at, actual == Some(*digest)) else {
            log::error!("{digest} was held here, and is damaged: it is removed");
            self.release(digest).map_err(|e| e.to_string())?;
            return Err(format!("the blob {digest} was held here, but was damaged and is removed"));
        };
        if let Some(held) = self.lock().held.get_mut(digest) {
            held.sound = Some((at, Instant::now()));
        }
        Ok(())
    }

    /// The archive; it is opened, and its directory made, when it is first needed.
    fn archive(&self) -> Result<Arc<Archive>, StoreError> {
        let mut state = self.lock();
        if let Some(archive) = &state.archive {
            return Ok(archive.clone());
        }
        let url = match &self.directory {
            Some(directory) => directory.to_string_lossy().into_owned(),
            None => {
                let made = tempfile::Builder::new().prefix("roundtable-node-").tempdir();
                let made = made.map_err(|e| store::BackendError::Open {
                    url: std::env::temp_dir().to_string_lossy().into_owned(),
                    reason: e.to_string(),
                })?;
                state.temporary.insert(made).path().to_string_lossy().into_owned()
            }
        };
        let archive = Arc::new(Archive::new(store::open_uncached(&url)?));
        state.archive = Some(archive.clone());
        Ok(archive)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, digest: Digest, held: Held) {
        self.remove(&digest);
        self.bytes += held.size;
        self.held.insert(digest, held);
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(held) = self.held.remove(digest) {
            self.bytes -= held.size;
        }
    }
}

/// The right to fetch a blob, until it is dropped.
struct Turn<'a> {
    holdings: &'a Holdings,
    digest: Digest,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.holdings.lock().fetching.remove(&self.digest);
        self.holdings.ended.notify_all();
    }
}

/// When a blob's file was written.
fn written(archive: &Archive, digest: &Digest) -> Result<Option<SystemTime>, StoreError> {
    let entry = archive.backend().head(&format!("blobs/{digest}"))?;
    Ok(entry.map(|entry| entry.modified))
}

/// The digest of a blob's bytes as they are, read in chunks.
fn digest_of(archive: &Archive, digest: &Digest) -> Result<Option<Digest>, StoreError> {
    let mut hasher = sha2::Sha256::new();
    let mut offset = 0;
    loop {
        let Some(bytes) = archive.read_range(digest, offset, CHUNK)? else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(Some(Digest(hasher.finalize().into())));
        }
        offset += bytes.len() as u64;
        hasher.update(&bytes);
    }
}
