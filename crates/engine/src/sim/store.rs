//! Owns the simulated store of the log: objects that are written if absent, slowly, and with failures of all kinds.

use super::bugs::Plant;
use super::coordinator::ForCoordinator;
use super::network::Site;
use super::world::{What, World};
use crate::data::shared::Blob;
use crate::ledger::Ledger;
use crate::tenure::{News, Next, Op, Reply, Scribe, blob_key};
use crate::types::{Digest, Time};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// An operation without an answer is given up after this.
const TIMEOUT: Duration = Duration::from_secs(2);
/// So is one that takes longer than this; it is done all the same.
const LONGEST: Duration = Duration::from_secs(20);
/// Keys of one listing: few, so that there are several.
const PAGE: usize = 100;
const LOG: &str = "log/";

/// The objects, and what is wrong with the store.
#[derive(Default)]
pub(super) struct Store {
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    /// By fault: the shares of operations that fail before, that fail after, that are late.
    pub(super) failures: Vec<(usize, [f64; 3])>,
    pub(super) slower: Vec<(usize, f64)>,
}

/// The position of a log object.
pub(super) fn log_position(key: &str) -> Option<u64> {
    key.strip_prefix(LOG)?.parse().ok()
}

impl Store {
    /// Does an operation, and whether it made a new object.
    fn perform(&mut self, op: &Op) -> (Reply, bool) {
        match op {
            Op::List { prefix, after } => {
                let from = if after.is_empty() { (*prefix).to_owned() } else { format!("{after}\u{0}") };
                let keys = self.objects.range(from..).map(|(key, _)| key);
                let keys = keys.take_while(|key| key.starts_with(prefix)).take(PAGE);
                (Reply::Keys(keys.cloned().collect()), false)
            }
            Op::Get { key } => (Reply::Object(self.objects.get(key).map(|bytes| bytes.to_vec())), false),
            Op::Put { key, bytes } => {
                let is_new = !self.objects.contains_key(key);
                if is_new {
                    self.objects.insert(key.clone(), bytes.clone());
                }
                (Reply::Put(is_new), is_new)
            }
            Op::Delete { key } => {
                self.objects.remove(key);
                (Reply::Deleted, false)
            }
        }
    }
}

impl World<'_> {
    /// A coordinator's scribe wants something of the store.
    pub(super) fn store_asked(&mut self, who: usize, serial: u64, op: Op) {
        self.tally.so_far.operations += 1;
        if self.network.is_cut(Site::Coordinator(who), Site::Store) {
            return self.store_replies(who, None, serial, self.now + TIMEOUT, failed("no answer from the store"));
        }
        let (life, takes) = (self.coordinators[who].process.life, self.store_takes());
        if takes >= LONGEST / 2 {
            self.queue.push(self.now + LONGEST, What::StoreLate { op: Box::new(op) });
            return self.store_replies(who, None, serial, self.now + LONGEST, failed("no answer from the store"));
        }
        self.queue.push(self.now + takes, What::Store { who, life, serial, op: Box::new(op) });
    }

    /// Half of what an operation takes.
    fn store_takes(&mut self) -> Duration {
        let slower: f64 = self.store.slower.iter().map(|(_, factor)| factor).product();
        let takes = self.setup.store_time.mul_f64(0.5 * slower);
        self.about(takes)
    }

    /// An operation has come to the store: whoever sent it may be gone by now.
    pub(super) fn store_does(&mut self, who: usize, life: u64, serial: u64, op: Op) {
        let shares = self
            .store
            .failures
            .iter()
            .fold([0.0; 3], |sum, (_, shares)| [sum[0] + shares[0], sum[1] + shares[1], sum[2] + shares[2]]);
        let [before, after, late] = shares;
        let drawn = if shares == [0.0; 3] { 1.0 } else { self.chance.random::<f64>() };
        let at = self.now + self.store_takes().min(LONGEST / 2);
        let is_cut = self.network.is_cut(Site::Store, Site::Coordinator(who));
        if drawn < before {
            return self.store_replies(who, Some(life), serial, at, failed("the store is busy"));
        }
        if drawn < before + late {
            let later = self.now + Duration::from_secs(6).mul_f64(self.chance.random());
            self.queue.push(later, What::StoreLate { op: Box::new(op) });
            return self.store_replies(who, Some(life), serial, at, failed("the store is busy"));
        }
        let mut reply = self.perform_op(&op);
        if self.has(Plant::DeposedWrites) && self.coordinators[who].term.is_some() {
            reply = blind(&op, reply);
        }
        if is_cut {
            let at = self.now + TIMEOUT;
            return self.store_replies(who, Some(life), serial, at, failed("no answer from the store"));
        }
        if drawn < before + late + after {
            reply = failed("the connection to the store was lost");
        }
        self.store_replies(who, Some(life), serial, at, reply);
    }

    fn store_replies(&mut self, who: usize, life: Option<u64>, serial: u64, at: Time, reply: Reply) {
        let life = life.unwrap_or(self.coordinators[who].process.life);
        self.queue.push(at, What::Coordinator { who, life, then: ForCoordinator::Reply { serial, reply } });
    }

    /// Does an operation; what is written to the log is seen by those who watch.
    pub(super) fn perform_op(&mut self, op: &Op) -> Reply {
        if self.has(Plant::WriteNotSynced)
            && matches!(op, Op::Put { key, .. } if log_position(key).is_some_and(|position| position > 1))
            && self.chance.random_bool(0.05)
        {
            return Reply::Put(true);
        }
        let (reply, is_new) = self.store.perform(op);
        if let Op::Put { key, bytes } = op
            && is_new
        {
            self.tally.so_far.bytes_written += bytes.len() as u64;
            if let Some(position) = log_position(key) {
                let objects = &self.store.objects;
                let blob = |digest: &Digest| {
                    objects.get(&blob_key(digest)).map(|bytes| Arc::new(Blob::new(bytes.to_vec())))
                };
                self.guard.log_written(position, bytes, &blob);
            }
        }
        reply
    }
}

fn failed(reason: &str) -> Reply {
    Reply::Failed(reason.to_owned())
}

/// What a leader sees of the store that does not look whether it still leads.
fn blind(op: &Op, reply: Reply) -> Reply {
    match op {
        Op::Put { key, .. } if log_position(key).is_some() => Reply::Put(true),
        Op::Get { key } if key.starts_with("leaders/") => Reply::Object(None),
        _ => reply,
    }
}

/// What another process that leads reads in the store.
///
/// # Errors
/// It cannot lead; says why.
pub(super) fn replay(store: &mut Store) -> Result<Ledger, String> {
    let mut scribe = Scribe::new("replay", "replay");
    scribe.take_over();
    let ledger = scribe.ledger();
    let mut reply = None;
    // A step for each object, twice, and some.
    for tick in 0..1_000 + 4 * store.objects.len() as u64 {
        let (news, next) = scribe.step(Time(Duration::from_millis(tick)), reply.take());
        for news in news {
            match news {
                News::Leads(_) => return Ok(ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()),
                News::Lost { reason } | News::Trouble { reason } => return Err(reason),
                _ => {}
            }
        }
        if let Next::Do(op) = next {
            reply = Some(store.perform(&op).0);
        }
    }
    Err("it never leads".to_owned())
}
