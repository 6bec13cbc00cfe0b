//! Owns standing by, and the way from there to leading.

use super::desk::{Desk, Put, Stop};
use super::keys::{self, LEADERS, LOG, SNAPSHOTS};
use super::{Leader, News, Term, lead};
use crate::data::shared::Blob;
use crate::ledger::{Entry, EntryError, Ledger};
use crate::types::{Digest, Epoch, JobId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often one that stands by looks at the log.
const LOOK: Duration = Duration::from_millis(200);

/// Why the wish to lead could not be met.
pub(super) enum Lost {
    /// Told to stand by.
    Stopped,
    /// For this reason.
    Because(String),
}

impl From<Stop> for Lost {
    fn from(_: Stop) -> Self {
        Self::Stopped
    }
}

/// A scribe's life: it stands by, leads, stands by again, and so on.
pub(super) async fn life(desk: Desk, address: String, instance: String) {
    let mut seen = Seen::default();
    loop {
        desk.ledger().clone_from(&Ledger::default());
        if stand_by(&desk, &mut seen).await.is_err() {
            desk.shared().wants_to_stop = false;
            continue;
        }
        match claim(&desk, &mut seen, &address, &instance).await {
            Ok(term) => {
                desk.shared().records.clear();
                desk.tell(News::Leads(term.leader.clone()));
                let reason = lead::lead(&desk, term).await;
                desk.tell(News::Deposed { reason });
            }
            Err(Lost::Stopped) => desk.tell(News::Lost { reason: "told to stand by".to_owned() }),
            Err(Lost::Because(reason)) => desk.tell(News::Lost { reason }),
        }
        let mut shared = desk.shared();
        (shared.wants_to_lead, shared.wants_to_stop) = (false, false);
        shared.records.clear();
    }
}

/// What one that stands by has seen of the others.
#[derive(Default)]
struct Seen {
    leader: Option<Leader>,
    /// The key of the last log object.
    log: String,
}

/// Looks who leads and whether the log grows, until it wishes to lead.
async fn stand_by(desk: &Desk, seen: &mut Seen) -> Result<(), Stop> {
    loop {
        newest_leader(desk, seen).await?;
        if let Some(last) = desk.list(LOG, &seen.log).await?.pop() {
            seen.log = last;
            desk.tell(News::Grew);
        }
        desk.pause(LOOK).await;
        let mut shared = desk.shared();
        shared.records.clear();
        if std::mem::take(&mut shared.wants_to_lead) {
            return Ok(());
        }
        shared.wants_to_stop = false;
    }
}

async fn newest_leader(desk: &Desk, seen: &mut Seen) -> Result<(), Stop> {
    let after = seen.leader.as_ref().map_or(String::new(), |leader| keys::leader(leader.epoch));
    let Some(key) = desk.list(LEADERS, &after).await?.pop() else { return Ok(()) };
    let bytes = desk.get(key.clone()).await?.unwrap_or_default();
    match Leader::read(&key, &bytes) {
        Ok(leader) => {
            seen.leader = Some(leader.clone());
            desk.tell(News::Leader(leader));
        }
        Err(reason) => desk.tell(News::Trouble { reason }),
    }
    Ok(())
}

/// The ledger as far as it was read, and its last position.
type Read = (Ledger, u64);

/// Replays the log, takes the next epoch, reads what has come meanwhile, and writes its first entry of that epoch.
async fn claim(desk: &Desk, seen: &mut Seen, address: &str, instance: &str) -> Result<Term, Lost> {
    newest_leader(desk, seen).await?;
    let before = seen.leader.as_ref().map(|leader| leader.epoch);
    // Others wait for whoever has taken the epoch, but not for long: what can be read before is read before.
    let mut read = newest_snapshot(desk).await?;
    catch_up(desk, &mut read, None).await?;
    newest_leader(desk, seen).await?;
    let (epoch, cluster) = match &seen.leader {
        Some(last) if before != Some(last.epoch) => {
            return Err(Lost::Because(format!("{} was faster", last.address)));
        }
        Some(last) => (Epoch(last.epoch.0 + 1), last.cluster.clone()),
        // The first process to lead names the store.
        None => (Epoch(1), instance.to_owned()),
    };
    let leader = Leader { epoch, address: address.to_owned(), instance: instance.to_owned(), cluster };
    let key = keys::leader(epoch);
    if let Put::Taken(other) = desk.put(key.clone(), leader.to_bytes()).await? {
        let other = Leader::read(&key, &other).map_err(Lost::Because)?;
        return Err(Lost::Because(format!("{} was faster", other.address)));
    }
    seen.leader = Some(leader.clone());
    begin(desk, seen, leader, read).await
}

/// Reads the rest of the log, and writes the first entry of a new epoch behind it.
async fn begin(desk: &Desk, seen: &mut Seen, leader: Leader, mut read: Read) -> Result<Term, Lost> {
    let epoch = leader.epoch;
    let mut is_read_anew = false;
    loop {
        catch_up(desk, &mut read, Some(epoch)).await?;
        let (ledger, position) = &read;
        // Objects beyond a gap: what was read is not all of it, and must not be continued.
        if let Some(beyond) = desk.list(LOG, &keys::log(*position)).await?.first() {
            if *beyond == keys::log(position + 1) {
                continue;
            }
            // The leader before may have cut the log off meanwhile.
            if !std::mem::replace(&mut is_read_anew, true) {
                read = newest_snapshot(desk).await?;
                continue;
            }
            superseded(desk, epoch).await?;
            let gap = keys::log(position + 1);
            return Err(Lost::Because(format!("the store's {gap} is missing, though there is {beyond}")));
        }
        let first = Entry {
            epoch,
            leader: leader.address.clone(),
            instance: leader.instance.clone(),
            last_job: JobId(0),
            records: Vec::new(),
        };
        // If it is taken, the leader before was still writing: that is read, and the next place tried.
        let position = position + 1;
        if let Put::Ours = desk.put(keys::log(position), first.write(ledger).bytes).await? {
            // As after every entry: see `lead`.
            superseded(desk, epoch).await?;
            *desk.ledger() = read.0;
            seen.log = keys::log(position);
            return Ok(Term { leader, position });
        }
    }
}

/// Reads the log to its end; fails if it is of a later epoch than the own.
async fn catch_up(desk: &Desk, read: &mut Read, own: Option<Epoch>) -> Result<(), Lost> {
    while let Some(entry) = next_entry(desk, &read.0, read.1 + 1).await? {
        if own.is_some_and(|own| entry.epoch > own) {
            return Err(Lost::Because(format!("{} leads by now", entry.leader)));
        }
        entry.apply_to(&mut read.0);
        read.1 += 1;
    }
    Ok(())
}

/// Fails if another has taken a later epoch: one that sleeps on its way may find that the log has gone on without it.
async fn superseded(desk: &Desk, epoch: Epoch) -> Result<(), Lost> {
    let key = keys::leader(Epoch(epoch.0 + 1));
    match desk.get(key.clone()).await? {
        Some(bytes) => Err(Lost::Because(format!(
            "{} leads by now",
            Leader::read(&key, &bytes).map_err(Lost::Because)?.address
        ))),
        None => Ok(()),
    }
}

/// The newest snapshot that can be read, and its position.
async fn newest_snapshot(desk: &Desk) -> Result<Read, Lost> {
    let mut damaged = None;
    for key in desk.list(SNAPSHOTS, "").await?.into_iter().rev() {
        let (Some(position), Some(bytes)) = (keys::number(&key), desk.get(key.clone()).await?) else { continue };
        match entry(desk, &key, &bytes, &Ledger::default()).await? {
            Ok(entry) => {
                let mut ledger = Ledger::default();
                entry.apply_to(&mut ledger);
                return Ok((ledger, position));
            }
            // The log after the one before may still be there.
            Err(reason) => {
                desk.tell(News::Trouble { reason: reason.clone() });
                damaged.get_or_insert(reason);
            }
        }
    }
    match damaged {
        // Without a snapshot the log must begin at its beginning.
        Some(reason) if desk.get(keys::log(1)).await?.is_none() => Err(Lost::Because(reason)),
        _ => Ok((Ledger::default(), 0)),
    }
}

/// The log's entry at a position, if there is one.
async fn next_entry(desk: &Desk, ledger: &Ledger, position: u64) -> Result<Option<Entry>, Lost> {
    let key = keys::log(position);
    let Some(bytes) = desk.get(key.clone()).await? else { return Ok(None) };
    entry(desk, &key, &bytes, ledger).await?.map(Some).map_err(Lost::Because)
}

/// Reads an entry, with the blobs that it needs; says what is wrong with it otherwise.
async fn entry(desk: &Desk, key: &str, bytes: &[u8], ledger: &Ledger) -> Result<Result<Entry, String>, Stop> {
    let mut fetched: BTreeMap<Digest, Arc<Blob>> = BTreeMap::new();
    let wrong = |e: EntryError| format!("the store's {key} cannot be used: {e}; restore it from a backup");
    let missing = match Entry::read(bytes, ledger, &fetched) {
        Err(EntryError::Missing(missing)) => missing,
        other => return Ok(other.map_err(wrong)),
    };
    for digest in missing {
        let key = keys::blob_key(&digest);
        let Some(blob) = desk.get(key.clone()).await?.map(Blob::new) else { continue };
        if blob.digest() != digest {
            return Ok(Err(format!("the store's {key} is damaged: its SHA-256 is {}", blob.digest())));
        }
        fetched.insert(digest, Arc::new(blob));
    }
    Ok(Entry::read(bytes, ledger, &fetched).map_err(wrong))
}
