//! Owns what is known of one node: whether it answers, what it does, how fast it is and when to leave it alone.

use super::bound::{Bound, Queue};
use super::pace::{NEWEST, Pace, Taken};
use super::share::Share;
use super::{Action, Hello};
use crate::policy::NodeView;
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// The first pause after a failure; each further failure in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A node that does not answer is probed at least this often.
const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(1);
/// A node that answers, but wrongly, is tried at least this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A node that refuses is asked again at least this often.
const LONGEST_REFUSAL_PAUSE: Duration = Duration::from_secs(5);
/// Each refusal in a row makes the pause after it longer by this factor.
const REFUSAL_GROWTH: f64 = 1.5;
/// The first answer may take this long; each failure in a row doubles it.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// So many jobs are taken for those that a node has worked for lately.
const LATELY: usize = 4;

/// Whether a node answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Link {
    /// Waiting for the answer to a probe, before it may have tasks.
    Asked,
    /// It answers.
    Ready,
    /// It does not; it is probed again then.
    Down { until: Time },
}

/// Whether a node belongs to the cluster.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Member {
    /// It does.
    In,
    /// It is about to go: it may finish what it is at.
    Leaving,
    /// It has gone, and is known only for what jobs had of it.
    Gone,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) software: String,
    slots: usize,
    pub(super) is_original: bool,
    link: Link,
    /// It was named at the start: it is looked for whatever members say.
    is_fixed: bool,
    member: Member,
    /// The shell has been told of it.
    pub(super) is_connected: bool,
    /// How many jobs have counts of it.
    pub(super) holders: usize,
    /// It was overtaken, and has not answered a probe since.
    is_slow: bool,
    /// Why it is down or was left alone last.
    trouble: String,
    /// Tasks bound to it that wait for a slot.
    queue: Queue,
    pub(super) running: BTreeSet<AttemptId>,
    /// The last jobs that it has worked for, the latest first: it may still have what they need at hand.
    lately: Vec<JobId>,
    pub(super) available_at: Time,
    unanswered_in_row: u32,
    failures_in_row: u32,
    refusals_in_row: u32,
    refusal_rate: f64,
    pub(super) pace: Pace,
    /// How long to wait for its answer to a probe, or for a connection.
    pub(super) patience: Duration,
    /// The last probe, while it has not been answered.
    asked: Option<Time>,
    last_heard: Time,
}

impl Node {
    /// A node that is to be probed; a fixed one is looked for even when members say that it has gone.
    pub(super) fn new(id: NodeId, address: &str, is_fixed: bool) -> Self {
        Self {
            id,
            address: address.to_owned(),
            is_fixed,
            member: Member::In,
            is_connected: false,
            holders: 0,
            software: String::new(),
            slots: 1,
            is_original: true,
            link: Link::Down { until: Time::default() },
            is_slow: false,
            trouble: "not asked yet".to_owned(),
            queue: Queue::default(),
            running: BTreeSet::new(),
            lately: Vec::new(),
            available_at: Time::default(),
            unanswered_in_row: 0,
            failures_in_row: 0,
            refusals_in_row: 0,
            refusal_rate: 0.0,
            pace: Pace::default(),
            patience: FIRST_PATIENCE,
            asked: None,
            last_heard: Time::default(),
        }
    }

    /// A node of another process' history that nobody has heard of here.
    pub(super) fn remembered(id: NodeId, address: &str) -> Self {
        let member = Member::Gone;
        Self { member, trouble: "was here before the coordinator".to_owned(), ..Self::new(id, address, false) }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.link == Link::Ready && self.member != Member::Gone
    }

    /// Its slots, if it may have tasks.
    pub(super) fn ready_slots(&self) -> usize {
        if self.is_ready() && self.member == Member::In { self.slots } else { 0 }
    }

    /// Whether it counts as a node of the cluster.
    pub(super) fn is_known(&self) -> bool {
        self.member != Member::Gone
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn may_be_dropped(&self) -> bool {
        self.member == Member::Gone && self.running.is_empty() && self.holders == 0
    }

    /// Whether it may have a task while its slots are at work.
    pub(super) fn may_go_ahead(&self, now: Time) -> bool {
        self.ready_slots() > 0 && !self.is_original && self.available_at <= now
    }

    fn has_free_slot(&self, now: Time) -> bool {
        self.is_ready() && self.member == Member::In && self.available_at <= now && self.running.len() < self.slots
    }

    /// The next task that it can start: one of the job whose turn it is.
    pub(super) fn take_queued(&mut self, now: Time, share: &Share) -> Option<Bound> {
        if !self.has_free_slot(now) {
            return None;
        }
        let first = share.first(self.queue.jobs())?;
        let job = share.stays(&self.lately, first, |job| self.queue.first_of(job).is_some());
        self.queue.pop(job)
    }

    /// The job whose turn it is, of those with tasks bound to it, and the cost of its next.
    pub(super) fn first_queued(&self, share: &Share) -> Option<(JobId, f64)> {
        let job = share.first(self.queue.jobs())?;
        Some((job, self.queue.first_of(job)?.cost))
    }

    /// The next task of a job that is bound to it.
    pub(super) fn pop_queued(&mut self, job: JobId) -> Option<Bound> {
        self.queue.pop(job)
    }

    /// It gets a task of a job.
    pub(super) fn works_for(&mut self, job: JobId) {
        self.lately.retain(|&other| other != job);
        self.lately.insert(0, job);
        self.lately.truncate(LATELY);
    }

    /// The last jobs that it has worked for, the latest first.
    pub(super) fn lately(&self) -> &[JobId] {
        &self.lately
    }

    /// The task of a job that it will do next, of those bound to it.
    pub(super) fn next_of(&self, job: JobId) -> Option<TaskId> {
        self.queue.first_of(job).map(|bound| bound.task)
    }

    pub(super) fn bind(&mut self, bound: Bound) {
        self.queue.push(bound);
    }

    /// Whether tasks wait for a slot of it.
    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What waits for a slot of it.
    #[cfg(test)]
    pub(super) fn queued(&self) -> impl Iterator<Item = &Bound> {
        self.queue.iter()
    }

    /// Takes away all that waits for a slot of it.
    pub(super) fn unbind_all(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    /// Takes away what waits for a slot of it, of one job.
    pub(super) fn unbind_job(&mut self, job: JobId) {
        self.queue.drop_job(job);
    }

    /// When it is to be probed because it did not answer.
    pub(super) fn next_probe(&self) -> Option<Time> {
        match self.link {
            Link::Down { until } if self.asked.is_none() && self.member != Member::Gone => Some(until),
            _ => None,
        }
    }

    /// When its pause is over, if it is in one.
    pub(super) fn pause_end(&self, now: Time) -> Option<Time> {
        (self.is_ready() && self.available_at > now).then_some(self.available_at)
    }

    /// When it is to be probed because a task of it has been running since then.
    pub(super) fn next_silence_probe(&self, since: Time, every: Duration) -> Option<Time> {
        let may = self.is_ready() && !self.is_original && self.asked.is_none();
        may.then(|| since.max(self.last_heard) + every)
    }

    /// Members say that it is there, perhaps anew: it is to be asked at once.
    pub(super) fn joined(&mut self, now: Time) {
        self.member = Member::In;
        self.available_at = now;
        (self.unanswered_in_row, self.failures_in_row, self.refusals_in_row) = (0, 0, 0);
        self.patience = FIRST_PATIENCE;
        if !self.is_ready() && self.asked.is_none() {
            self.link = Link::Down { until: now };
        }
    }

    /// Whether it may be asked who it is, out of turn.
    pub(super) fn may_be_asked(&self) -> bool {
        self.asked.is_none() && (!self.is_original || self.running.is_empty())
    }

    pub(super) fn leaving(&mut self) {
        if self.member == Member::In {
            self.member = Member::Leaving;
            self.trouble = "is leaving".to_owned();
        }
    }

    /// Members say that it has gone. One that was named at the start is looked for all the same.
    pub(super) fn gone(&mut self, now: Time, reason: String) {
        self.is_away(now, reason, self.unanswered_in_row);
        self.unanswered_in_row += 1;
        self.member = if self.is_fixed { Member::In } else { Member::Gone };
    }

    /// It has been slower than others since then: true if it has not been heard of either, and has to answer a probe
    /// before it may have tasks.
    pub(super) fn is_doubted(&mut self, now: Time, since: Time) -> bool {
        let silent = self.is_ready() && self.last_heard <= since;
        if silent {
            self.is_slow = true;
            self.trouble = "slow and silent".to_owned();
            self.link = if self.asked.is_some() { Link::Asked } else { Link::Down { until: now } };
        }
        silent
    }

    pub(super) fn probe(&mut self, now: Time) -> Action {
        self.asked = Some(now);
        if !self.is_ready() {
            self.link = Link::Asked;
        }
        Action::Probe { node: self.id, patience: self.patience }
    }

    pub(super) fn answered(&mut self, now: Time, hello: Hello) {
        if self.member == Member::Gone {
            // Its members know better, and will say so if it is back.
            self.asked = None;
            return;
        }
        if !self.is_ready() && !self.is_slow {
            // It was away: that its tasks took long says nothing about it.
            self.pace.forget_unproven();
        }
        // An answer that was slow in coming may be slower next time.
        let took = self.asked.take().map_or(Duration::ZERO, |asked| now.since(asked));
        self.patience = FIRST_PATIENCE.max(took * 8).min(LONGEST_PAUSE);
        self.last_heard = now;
        self.unanswered_in_row = 0;
        self.link = Link::Ready;
        self.is_slow = false;
        self.software = hello.software;
        self.slots = hello.slots.max(1);
        self.is_original = hello.is_original;
    }

    /// It did not answer a probe; false if it has been heard of meanwhile, so that this means nothing.
    pub(super) fn unreachable(&mut self, now: Time, reason: String) -> bool {
        if self.is_ready() && self.asked.take().is_some_and(|asked| self.last_heard > asked) {
            return false;
        }
        self.patience = (self.patience * 2).min(LONGEST_PAUSE);
        self.is_away(now, reason, self.unanswered_in_row);
        self.unanswered_in_row += 1;
        true
    }

    /// It lost a task; if it seems to be away, it has to answer a probe before it gets another.
    pub(super) fn failed(&mut self, now: Time, reason: String, away: bool) {
        if away {
            self.is_away(now, reason, self.failures_in_row);
        } else {
            self.trouble = reason;
            self.available_at = now + doubled(FIRST_PAUSE, self.failures_in_row).min(LONGEST_PAUSE);
        }
        self.failures_in_row += 1;
    }

    fn is_away(&mut self, now: Time, reason: String, times: u32) {
        if self.is_fixed && self.member == Member::Leaving {
            self.member = Member::In;
        }
        self.trouble = reason;
        self.is_slow = false;
        self.asked = None;
        self.link = Link::Down { until: now + doubled(FIRST_PAUSE, times).min(LONGEST_PROBE_PAUSE) };
    }

    pub(super) fn refused(&mut self, now: Time, pause: Duration) {
        self.last_heard = now;
        self.available_at = now
            + pause.mul_f64(REFUSAL_GROWTH.powi(self.refusals_in_row.min(100) as i32)).min(LONGEST_REFUSAL_PAUSE);
        self.refusals_in_row += 1;
        self.refusal_rate += NEWEST * (1.0 - self.refusal_rate);
        self.trouble = "refuses".to_owned();
    }

    pub(super) fn finished(&mut self, now: Time, taken: Taken, share: &Share) {
        self.last_heard = now;
        self.failures_in_row = 0;
        self.refusals_in_row = 0;
        self.refusal_rate -= NEWEST * self.refusal_rate;
        self.pace.done(now, taken, share);
    }

    /// It as policies see it, if it may have tasks; `running` tells since when an attempt runs, and its load.
    pub(super) fn view(
        &self,
        running: impl Fn(AttemptId) -> Option<(Time, f64)>,
        share: &Share,
    ) -> Option<NodeView> {
        let (pace, pace_since) = self.pace.now(share).unzip();
        (self.is_ready() && self.member == Member::In).then(|| NodeView {
            id: self.id,
            slots: self.slots,
            running: self.running.iter().filter_map(|&attempt| running(attempt)).collect(),
            queued: self.queue.len(),
            queued_cost: self.queue.load(share),
            pace,
            pace_since: pace_since.unwrap_or_default(),
            refusal_rate: self.refusal_rate,
            available_at: self.available_at,
            is_original: self.is_original,
        })
    }

    /// Why it does nothing now.
    pub(super) fn trouble(&self, now: Time) -> &str {
        let at_work = self.is_ready() && self.member == Member::In && self.available_at <= now;
        if at_work { "busy" } else { &self.trouble }
    }

    /// "ready", "busy", "backing off", "leaving", "slow", "gone" or "unreachable".
    pub(super) fn state(&self, now: Time) -> &'static str {
        match self.link {
            _ if self.member == Member::Gone => "gone",
            Link::Ready if self.member == Member::Leaving => "leaving",
            Link::Ready if !self.running.is_empty() => "busy",
            Link::Ready if self.available_at > now => "backing off",
            Link::Ready => "ready",
            _ if self.is_slow => "slow",
            Link::Asked | Link::Down { .. } => "unreachable",
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times.min(20)))
}
