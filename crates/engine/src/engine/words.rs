//! Owns what somebody outside says to jobs at work, and the saves of jobs that save all the time: one at a time is on its
//! way to the store, and whatever happens meanwhile is in the next. Nobody has an answer before what follows from his word
//! is durable.

use super::{Action, Engine, Timer};
use crate::jobs::{Effect, Heard, Version, Word};
use crate::ledger::Record;
use crate::types::{JobId, Time};
use std::time::Duration;

/// A job for whose save nobody waits saves so often: what changes all the time is not worth writing all the time.
const EVERY: Duration = Duration::from_millis(500);

/// A job's saves and those who wait for them.
#[derive(Default)]
pub(super) struct Saving {
    /// The record of the save that is on its way, and the versions that are in it.
    under_way: Option<(u64, Vec<Version>)>,
    /// Something has happened since.
    is_due: bool,
    last: Option<Time>,
    /// What the last durable save has.
    pub(super) durable: Vec<Version>,
    waiting: Vec<Waiting>,
}

/// An answer that is not told yet.
struct Waiting {
    ticket: u64,
    heard: Heard,
    /// The record that must be durable before; not known until it is written.
    record: Option<u64>,
}

impl Saving {
    /// Its job is over with this record: nothing is saved any more.
    pub(super) fn end(&mut self, number: u64) {
        self.is_due = false;
        self.under_way = None;
        self.waiting.iter_mut().for_each(|waiting| waiting.record = Some(number));
    }

    /// The answers that may be told when so many records are durable.
    fn take_told(&mut self, is_committed: impl Fn(u64) -> bool) -> Vec<Waiting> {
        self.waiting.extract_if(.., |waiting| waiting.record.is_some_and(&is_committed)).collect()
    }
}

impl Engine {
    /// Somebody says something to a job.
    pub(super) fn said(&mut self, now: Time, job: JobId, word: Word, ticket: u64, actions: &mut Vec<Action>) {
        let told = |heard| Action::Heard { ticket, heard };
        let Some(run) = self.jobs.get_mut(&job).filter(|run| run.is_running()) else {
            return actions.push(told(Err(format!("job {job} is not at work"))));
        };
        if self.books.are_full() {
            return actions.push(told(Ok(Heard::default())));
        }
        let (heard, effects) = match run.receive(now, word) {
            Ok(heard) => heard,
            Err(refused) => return actions.push(told(Err(refused.to_string()))),
        };
        let changes = effects.iter().any(|effect| matches!(effect, Effect::SaveSoon));
        let record = run.saving.under_way.as_ref().map(|&(number, _)| number);
        if changes || run.saving.is_due || record.is_some() {
            let record = record.filter(|_| !changes && !run.saving.is_due);
            run.saving.waiting.push(Waiting { ticket, heard, record });
        } else {
            actions.push(told(Ok(heard)));
        }
        self.last_moved = now;
        self.apply(now, job, effects, actions);
        self.open_ready(now, job);
    }

    /// Has a job saved as soon as the save before is durable, if somebody waits for it; else a little later.
    pub(super) fn save_soon(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        if run.saving.under_way.is_some() {
            run.saving.is_due = true;
            return;
        }
        let is_awaited = run.saving.waiting.iter().any(|waiting| waiting.record.is_none());
        if let Some(at) = run.saving.last.map(|last| last + EVERY).filter(|&at| at > now && !is_awaited) {
            run.saving.is_due = true;
            return self.timers.set_by(Timer::Save(job), at);
        }
        let (saved, versions) = (run.save(), run.versions());
        let number = self.books.write_news(now, job, Record::Saved { job, saved }, actions);
        (run.saving.is_due, run.saving.last) = (false, Some(now));
        run.saving.under_way = Some((number, versions));
        let waiting = run.saving.waiting.iter_mut().filter(|waiting| waiting.record.is_none());
        waiting.for_each(|waiting| waiting.record = Some(number));
    }

    /// Has a job saved that has put it off.
    pub(super) fn save_if_due(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        if self.jobs.get(&job).is_some_and(|run| run.saving.is_due && run.is_running()) {
            self.save_soon(now, job, actions);
        }
    }

    /// Records about a job are durable: what waited for them is told, and the next save begins if one is due.
    pub(super) fn saves_are_durable(&mut self, now: Time, job: JobId, actions: &mut Vec<Action>) {
        let Some(run) = self.jobs.get_mut(&job) else { return };
        for Waiting { ticket, heard, .. } in run.saving.take_told(|number| self.books.is_committed(number)) {
            actions.push(Action::Heard { ticket, heard: Ok(heard) });
        }
        let is_durable = |&mut (number, _): &mut (u64, Vec<Version>)| self.books.is_committed(number);
        if let Some((_, versions)) = run.saving.under_way.take_if(is_durable) {
            run.saving.durable = versions;
            if run.saving.is_due && run.is_running() {
                self.save_soon(now, job, actions);
            }
        }
    }
}
