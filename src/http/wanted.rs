//! Owns which version of which model a request is about, and the wait for a newer one.

use super::App;
use super::refusal::Refusal;
use super::serve::stopped;
use crate::coordinator::{Shown, ShownJob, ShownVersion};
use crate::types::JobId;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest that a request waits for a newer version, in seconds.
pub(super) const LONGEST_POLL: f64 = 30.0;

/// What may stand after the question mark.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Wanted {
    /// Which job; the newest with a model if not given.
    pub(super) job: Option<u64>,
    /// Answer when there is a version of a higher number.
    pub(super) newer_than: Option<u64>,
    /// Or after so many seconds.
    timeout: Option<f64>,
}

/// A query that was read, or not.
pub(super) type Asked = Result<Query<Wanted>, QueryRejection>;

/// A version that was found.
pub(super) struct Found {
    pub(super) id: JobId,
    pub(super) job: Arc<ShownJob>,
    pub(super) version: ShownVersion,
}

/// What a wait has come to.
pub(super) enum Awaited {
    /// This is what was asked for.
    Found(Found),
    /// There is nothing newer than this.
    NotYet(Found),
}

impl Wanted {
    pub(super) fn read(asked: Asked) -> Result<Self, Refusal> {
        let advice = "what can be asked is: job=<number>, newer-than=<update>, timeout=<seconds, at most 30>";
        let bad = |what: String| Refusal::new(StatusCode::BAD_REQUEST, what, advice);
        let Query(wanted) = asked.map_err(|e| bad(e.body_text()))?;
        match wanted.timeout {
            Some(seconds) if !(0.0..=LONGEST_POLL).contains(&seconds) => {
                Err(bad(format!("the timeout is {seconds} s, but must be from 0 to {LONGEST_POLL}")))
            }
            _ => Ok(wanted),
        }
    }

    fn patience(&self) -> Duration {
        self.newer_than.map_or(Duration::ZERO, |_| Duration::from_secs_f64(self.timeout.unwrap_or(LONGEST_POLL)))
    }
}

impl App {
    /// The newest version of what is wanted, as it is shown now.
    pub(super) fn find(&self, shown: &Shown, wanted: Option<u64>) -> Result<Found, Refusal> {
        let found = |(id, job): (JobId, &Arc<ShownJob>)| {
            job.newest().map(|version| Found { id, job: job.clone(), version: version.clone() })
        };
        if let Some(id) = wanted {
            let (id, job) = self.job(shown, JobId(id))?;
            return found((id, job)).ok_or_else(|| no_version(id, job));
        }
        self.leads(shown)?;
        shown.jobs.iter().rev().find_map(|(&id, job)| found((id, job))).ok_or_else(|| {
            let advice =
                "start one, such as: roundtable client HOST PORT letters --async; or ask again in a moment";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no job has a model yet", advice).after(1)
        })
    }

    /// A job, if it is here.
    pub(super) fn job<'s>(&self, shown: &'s Shown, id: JobId) -> Result<(JobId, &'s Arc<ShownJob>), Refusal> {
        self.leads(shown)?;
        let job = shown.jobs.get(&id).ok_or_else(|| Refusal::unknown(format!("there is no job {id} here")));
        job.map(|job| (id, job))
    }

    /// Fails unless this coordinator has the jobs.
    pub(super) fn leads(&self, shown: &Shown) -> Result<(), Refusal> {
        match shown {
            Shown { stops: true, .. } => Err(Refusal::stops()),
            Shown { leads: false, .. } => Err(Refusal::stands_by(self.front.leader())),
            _ => Ok(()),
        }
    }

    /// The same as soon as it is newer than what is known, if that was said.
    pub(super) async fn wait(&self, wanted: Wanted) -> Result<Awaited, Refusal> {
        let (mut shown, mut stops) = (self.shown.clone(), self.stops.clone());
        let end = Instant::now() + wanted.patience();
        let mut first = None;
        loop {
            let now = shown.borrow_and_update().clone();
            let found = self.find(&now, wanted.job);
            let Some(known) = wanted.newer_than else { return found.map(Awaited::Found) };
            let is_over = Instant::now() >= end || now.stops || !now.leads;
            match found {
                // Another job's numbers do not compare.
                Ok(found) if found.version.number > known || *first.get_or_insert(found.id) != found.id => {
                    return Ok(Awaited::Found(found));
                }
                Ok(found) if is_over || !found.job.is_at_work() => return Ok(Awaited::NotYet(found)),
                Err(refusal) if is_over => return Err(refusal),
                _ => {}
            }
            tokio::select! {
                changed = shown.changed() => changed.map_err(|_| Refusal::stops())?,
                () = tokio::time::sleep_until(end) => {}
                () = stopped(&mut stops) => return Err(Refusal::stops()),
            }
        }
    }
}

fn no_version(id: JobId, job: &ShownJob) -> Refusal {
    if job.is_at_work() {
        let advice = "ask again in a moment; a job that learns in rounds has a model only at its end";
        let what = format!("job {id} ({}) has no model yet", job.order.kind);
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, advice).after(1);
    }
    Refusal::unknown(format!("job {id} ({}) has ended without a model that is served here", job.order.kind))
}
