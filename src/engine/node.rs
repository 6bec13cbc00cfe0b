//! Owns what is known of one node: whether it answers, what it does, how fast it is and when to leave it alone.

use super::{Action, Hello};
use crate::policy::NodeView;
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The first pause after a failure; each further failure in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A node that does not answer is probed at least this often.
const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(1);
/// A node that answers, but wrongly, is tried at least this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A node that refuses is asked again at least this often.
const LONGEST_REFUSAL_PAUSE: Duration = Duration::from_secs(5);
/// The first answer may take this long; each failure in a row doubles it.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// The weight of the newest observation in the running means.
const NEWEST: f64 = 0.25;
/// In this time without a task, half of what made a node look slow is forgotten.
const FORGET_HALF: f64 = 10.0;

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

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) software: String,
    slots: usize,
    pub(super) is_original: bool,
    link: Link,
    /// It was overtaken, and has not answered a probe since.
    is_slow: bool,
    /// Why it is down or was left alone last.
    trouble: String,
    /// Tasks bound to it that wait for a slot, with their costs.
    pub(super) queue: VecDeque<(JobId, TaskId, f64)>,
    pub(super) running: BTreeSet<AttemptId>,
    pub(super) available_at: Time,
    unanswered_in_row: u32,
    failures_in_row: u32,
    refusals_in_row: u32,
    refusal_rate: f64,
    /// Seconds for a unit of cost, and when that was learnt.
    pace: Option<(f64, Time)>,
    /// How long to wait for its answer to a probe, or for a connection.
    pub(super) patience: Duration,
    /// The last probe, while it has not been answered.
    asked: Option<Time>,
    last_heard: Time,
}

impl Node {
    pub(super) fn new(id: NodeId, address: &str) -> Self {
        Self {
            id,
            address: address.to_owned(),
            software: String::new(),
            slots: 1,
            is_original: true,
            link: Link::Down { until: Time::default() },
            is_slow: false,
            trouble: "not asked yet".to_owned(),
            queue: VecDeque::new(),
            running: BTreeSet::new(),
            available_at: Time::default(),
            unanswered_in_row: 0,
            failures_in_row: 0,
            refusals_in_row: 0,
            refusal_rate: 0.0,
            pace: None,
            patience: FIRST_PATIENCE,
            asked: None,
            last_heard: Time::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.link == Link::Ready
    }

    pub(super) fn has_free_slot(&self, now: Time) -> bool {
        self.is_ready() && self.available_at <= now && self.running.len() < self.slots
    }

    /// When it is to be probed because it did not answer.
    pub(super) fn next_probe(&self) -> Option<Time> {
        match self.link {
            Link::Down { until } if self.asked.is_none() => Some(until),
            _ => None,
        }
    }

    /// When it is to be probed because a task of it has been running since then.
    pub(super) fn next_silence_probe(&self, since: Time, every: Duration) -> Option<Time> {
        let may = self.is_ready() && !self.is_original && self.asked.is_none();
        may.then(|| since.max(self.last_heard) + every)
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
        self.trouble = reason;
        self.is_slow = false;
        self.asked = None;
        self.link = Link::Down { until: now + doubled(FIRST_PAUSE, times).min(LONGEST_PROBE_PAUSE) };
    }

    pub(super) fn refused(&mut self, now: Time, pause: Duration) {
        self.last_heard = now;
        self.available_at = now + doubled(pause, self.refusals_in_row).min(LONGEST_REFUSAL_PAUSE);
        self.refusals_in_row += 1;
        self.refusal_rate += NEWEST * (1.0 - self.refusal_rate);
        self.trouble = "refuses".to_owned();
    }

    pub(super) fn finished(&mut self, now: Time, taken: Duration, cost: f64) {
        self.last_heard = now;
        self.failures_in_row = 0;
        self.refusals_in_row = 0;
        self.refusal_rate -= NEWEST * self.refusal_rate;
        self.took(now, taken, cost);
    }

    /// A task took so long, or longer: it may have been given up.
    pub(super) fn took(&mut self, now: Time, taken: Duration, cost: f64) {
        let newest = taken.as_secs_f64() / cost;
        let known = self.pace.map_or(newest, |(known, _)| known);
        self.pace = Some((known + NEWEST * (newest - known), now));
    }

    /// "ready", "busy", "backing off", "slow" or "unreachable".
    pub(super) fn state(&self, now: Time) -> &'static str {
        match self.link {
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

/// The nodes that may have tasks, as policies see them.
pub(super) fn views(
    nodes: &[Node],
    now: Time,
    running: impl Fn(AttemptId) -> Option<(Time, f64)>,
) -> Vec<NodeView> {
    let mut paces: Vec<f64> = nodes.iter().filter_map(|node| node.pace.map(|(pace, _)| pace)).collect();
    paces.sort_by(f64::total_cmp);
    let usual = paces.get(paces.len() / 2).copied().unwrap_or_default();
    let pace = |(known, at): (f64, Time)| {
        let forgotten = 0.5f64.powf(now.since(at).as_secs_f64() / FORGET_HALF);
        if known > usual { usual + (known - usual) * forgotten } else { known }
    };
    let ready = nodes.iter().filter(|node| node.is_ready());
    ready
        .map(|node| NodeView {
            id: node.id,
            slots: node.slots,
            running: node.running.iter().filter_map(|&attempt| running(attempt)).collect(),
            queued: node.queue.iter().map(|&(_, _, cost)| cost).collect(),
            pace: node.pace.map(pace),
            refusal_rate: node.refusal_rate,
            available_at: node.available_at,
        })
        .collect()
}

/// For the user: why no task is running though some wait.
pub(super) fn why_nothing_moves(nodes: &[Node], now: Time) -> String {
    if nodes.is_empty() {
        return "there are no compute nodes; name them in the coordinator's nodes file".to_owned();
    }
    let mut by_trouble: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        let at_work = node.is_ready() && node.available_at <= now;
        let trouble = if at_work { "busy" } else { &node.trouble };
        by_trouble.entry(trouble).or_default().push(&node.address);
    }
    let troubles: Vec<String> = by_trouble
        .iter()
        .map(|(trouble, addresses)| {
            let shown = addresses.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            let more = addresses.len().saturating_sub(3);
            if more > 0 { format!("{shown} and {more} more: {trouble}") } else { format!("{shown}: {trouble}") }
        })
        .collect();
    format!("waiting for a compute node ({})", troubles.join("; "))
}
