//! Owns leading: writing records to the log, snapshots, and deleting what those make unnecessary.

use super::desk::{Desk, Put, Stop};
use super::keys::{self, LOG, SNAPSHOTS};
use super::{News, Term};
use crate::ledger::{self, Entry, Ledger};
use std::time::Duration;

/// A leader with nothing to write looks this often whether it still leads.
const LOOK: Duration = Duration::from_secs(1);
/// An answer waits so long for others, so that the end of a round, for which people wait, finds the store idle. It may have
/// to be given again if the leader dies meanwhile, like that of a task in flight.
const COMPANY: Duration = Duration::from_millis(20);
/// A snapshot is written after so many entries, or bytes of them.
const ENTRIES: u64 = if cfg!(test) { 6 } else { 512 };
const BYTES: usize = 32 << 20;
/// Entries that are left before a snapshot. No reader needs them; people may.
const LEFT: u64 = if cfg!(test) { 1 } else { 64 };
/// Snapshots that are kept: if the newest is damaged, there is another.
const SNAPSHOTS_KEPT: usize = 2;

/// Objects that are deleted after each commit at most: nobody is to wait for them.
const DELETED: usize = 4;

/// What has been written since the last snapshot.
#[derive(Default)]
struct Since {
    entries: u64,
    bytes: usize,
    /// What that snapshot has made unnecessary, the last to go first.
    surplus: Vec<String>,
}

/// Writes records until it leads no more; says why.
pub(super) async fn lead(desk: &Desk, mut term: Term) -> String {
    let mut since = Since::default();
    match write_all(desk, &mut term, &mut since).await {
        Ok(reason) => reason,
        Err(Stop) => "told to stand by".to_owned(),
    }
}

async fn write_all(desk: &Desk, term: &mut Term, since: &mut Since) -> Result<String, Stop> {
    let mut committed = 0;
    loop {
        if desk.shared().records.is_empty() {
            if desk.shared().wants_to_stop {
                return Err(Stop);
            }
            if let Some(key) = since.surplus.pop() {
                desk.delete(key).await?;
                continue;
            }
            desk.pause(LOOK).await;
            if desk.shared().records.is_empty() && newer_leader(desk, term).await? {
                return Ok("another leads".to_owned());
            }
            continue;
        }
        desk.gather(COMPANY).await;
        let records = desk.take_records();
        let count = records.len() as u64;
        let entry = Entry { records: ledger::reduced(records), ..header(desk, term) };
        let written = entry.write(&desk.ledger());
        for blob in written.blobs {
            desk.keep(&blob).await?;
        }
        since.entries += 1;
        since.bytes += written.bytes.len();
        if let Put::Taken(_) = desk.put(keys::log(term.position + 1), written.bytes).await? {
            return Ok(format!("another has written {}", keys::log(term.position + 1)));
        }
        // Without this, one that slept until the log was cut off before a snapshot would write where nobody reads.
        if newer_leader(desk, term).await? {
            return Ok("another leads".to_owned());
        }
        term.position += 1;
        entry.apply_to(&mut desk.ledger());
        committed += count;
        desk.tell(News::Committed { records: committed });
        if since.entries >= ENTRIES || since.bytes >= BYTES {
            let surplus = snapshot(desk, term).await?;
            *since = Since { surplus, ..Since::default() };
        }
        for key in since.surplus.split_off(since.surplus.len().saturating_sub(DELETED)).into_iter().rev() {
            desk.delete(key).await?;
        }
    }
}

fn header(desk: &Desk, term: &Term) -> Entry {
    let last_job = desk.ledger().last_job();
    let (leader, instance) = (term.leader.address.clone(), term.leader.instance.clone());
    Entry { epoch: term.epoch(), leader, instance, last_job, records: Vec::new() }
}

async fn newer_leader(desk: &Desk, term: &Term) -> Result<bool, Stop> {
    let next = crate::types::Epoch(term.epoch().0 + 1);
    Ok(desk.get(keys::leader(next)).await?.is_some())
}

/// Writes a snapshot of all up to here. Tells what it makes unnecessary, which is to be deleted from the end on: the log's
/// oldest entries first.
async fn snapshot(desk: &Desk, term: &Term) -> Result<Vec<String>, Stop> {
    let records = desk.ledger().records();
    let written = Entry { records, ..header(desk, term) }.write(&Ledger::default());
    for blob in written.blobs {
        desk.keep(&blob).await?;
    }
    desk.put(keys::snapshot(term.position), written.bytes).await?;
    let mut snapshots = desk.list(SNAPSHOTS, "").await?;
    // One that claims to lead may be reading from the snapshot before, or, if there was none, from the log's beginning.
    let Some(surplus) = snapshots.len().checked_sub(SNAPSHOTS_KEPT) else { return Ok(Vec::new()) };
    let Some(oldest) = snapshots.get(surplus).and_then(|key| keys::number(key)) else { return Ok(Vec::new()) };
    snapshots.truncate(surplus);
    let is_old = |key: &String| keys::number(key).is_some_and(|position| position + LEFT <= oldest);
    let log = desk.list(LOG, "").await?;
    let old = snapshots.into_iter().chain(log.into_iter().take_while(is_old));
    let mut old: Vec<String> = old.collect();
    old.reverse();
    Ok(old)
}
