//! Owns who leads, as far as this coordinator knows: what its calls answer and its standby watches by.

use crate::tenure::Leader;
use crate::wire::coordinator::NotLeader;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who leads.
#[derive(Default)]
pub(super) struct Seat {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Default)]
struct Known {
    /// Who leads, or did last.
    leader: Option<Leader>,
    /// It is this coordinator.
    leads: bool,
    /// When the log last grew by another's hand.
    grew: Option<Instant>,
    /// Why it could not lead, or the store not be used, last.
    trouble: Option<String>,
    /// It leaves, and will not lead again.
    retired: bool,
}

impl Seat {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who leads, or did last; `None` if nobody ever has.
    pub(super) fn leader(&self) -> Option<Leader> {
        self.known().leader.clone()
    }

    /// Whether it is this coordinator.
    pub(super) fn leads(&self) -> bool {
        self.known().leads
    }

    /// When another leader was last seen to write.
    pub(super) fn grew(&self) -> Option<Instant> {
        self.known().grew
    }

    /// This coordinator leads from now on.
    pub(super) fn take(&self, leader: Leader) {
        let mut known = self.known();
        *known = Known { leader: Some(leader), leads: true, grew: None, trouble: None, retired: known.retired };
        self.changed.notify_all();
    }

    /// It could not lead, or not use the store.
    pub(super) fn fail(&self, reason: String) {
        self.known().trouble = Some(reason);
        self.changed.notify_all();
    }

    /// Waits until this coordinator leads.
    ///
    /// # Errors
    /// It cannot, for this reason.
    pub(super) fn await_term(&self, patience: Duration) -> Result<(), String> {
        let waits = |known: &mut Known| !known.leads && known.trouble.is_none();
        let waited = self.changed.wait_timeout_while(self.known(), patience, waits);
        let (mut known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if known.leads {
            return Ok(());
        }
        Err(known.trouble.take().unwrap_or_else(|| format!("the store does not answer in {patience:?}")))
    }

    /// This coordinator is to lead no more, now or later; whether that was known.
    pub(super) fn retire(&self) -> bool {
        std::mem::replace(&mut self.known().retired, true)
    }

    /// Whether it is not to lead again.
    pub(super) fn is_retired(&self) -> bool {
        self.known().retired
    }

    /// Waits until another leads; false if none does in time.
    pub(super) fn await_successor(&self, patience: Duration) -> bool {
        let known = self.known();
        let epoch = known.leader.as_ref().map(|leader| leader.epoch);
        let waits = |known: &mut Known| known.leader.as_ref().map(|leader| leader.epoch) <= epoch;
        let waited = self.changed.wait_timeout_while(known, patience, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// This coordinator leads no more.
    pub(super) fn leave(&self) {
        self.known().leads = false;
    }

    /// Another leads.
    pub(super) fn see(&self, leader: Leader) {
        let mut known = self.known();
        known.leader = Some(leader);
        known.grew = Some(Instant::now());
        self.changed.notify_all();
    }

    /// The log has grown.
    pub(super) fn see_growth(&self) {
        self.known().grew = Some(Instant::now());
    }

    /// What those are told who ask this coordinator for what only the leader does.
    ///
    /// # Errors
    /// It does not lead.
    pub(super) fn check(&self) -> thrift::Result<()> {
        let known = self.known();
        if known.leads { Ok(()) } else { Err(refer(&known)) }
    }

    /// The same, for those who learnt too late.
    pub(super) fn refer(&self) -> thrift::Error {
        refer(&self.known())
    }
}

/// Names the leader; nobody if it was this coordinator that led last.
fn refer(known: &Known) -> thrift::Error {
    let leader = known.leader.as_ref().map(|leader| leader.address.clone()).unwrap_or_default();
    NotLeader { leader }.into()
}
