//! Owns who may have tasks: nodes answer probes or do not, join and leave, and are asked when they are silent for long.

use super::{Action, Engine, Hello, Timer};
use crate::types::{AttemptId, NodeId, Time};
use std::time::Duration;

/// A node that works in silence is asked at least this often whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn answered(&mut self, now: Time, id: NodeId, hello: Hello) {
        let slots = self.nodes.counts().slots;
        self.nodes.change(id, |node| node.answered(now, hello));
        if self.nodes.counts().slots > slots {
            self.open_more(now);
        }
        if self.listen(id) {
            // It answers at its work: no job is stuck, not even one that waits for others.
            self.last_moved = now;
        }
    }

    /// A node that does not answer loses all its tasks, running and waiting.
    pub(super) fn unreachable(&mut self, now: Time, id: NodeId, reason: String, actions: &mut Vec<Action>) {
        if self.nodes.change(id, |node| node.unreachable(now, reason)) == Some(true) {
            self.lose_all(id, actions);
        } else {
            self.listen(id);
        }
    }

    /// A node joined, or is back.
    pub(super) fn joined(&mut self, now: Time, address: &str, actions: &mut Vec<Action>) {
        let id = self.nodes.join(now, address);
        self.nodes.connect(actions);
        if self.nodes.get(id).is_some_and(|node| node.may_be_asked()) {
            actions.extend(self.nodes.change(id, |node| node.probe(now)));
        }
    }

    /// A node will go: it gets no more tasks, and may finish those that it is at.
    pub(super) fn leaving(&mut self, address: &str) {
        if let Some(id) = self.nodes.by_address(address) {
            self.nodes.change(id, |node| node.leaving());
            self.unbind_queue(id);
        }
    }

    /// A node has gone.
    pub(super) fn gone(&mut self, now: Time, address: &str, reason: String, actions: &mut Vec<Action>) {
        if let Some(id) = self.nodes.by_address(address) {
            self.nodes.change(id, |node| node.gone(now, reason));
            self.lose_all(id, actions);
        }
    }

    fn lose_all(&mut self, id: NodeId, actions: &mut Vec<Action>) {
        self.unbind_queue(id);
        for attempt in self.running(id) {
            let Some(known) = self.attempts.get(&attempt) else { continue };
            if let Some(run) = self.jobs.get_mut(&known.job) {
                run.counts(id).failures += 1;
                run.task_lost(known.task, attempt, &mut self.line);
            }
            let (job, task) = (known.job, known.task);
            self.abandon(attempt, None, actions);
            self.watch_again(job, task);
        }
    }

    /// The attempts of a node whose answers are waited for.
    fn running(&self, id: NodeId) -> Vec<AttemptId> {
        let running = self.nodes.get(id).into_iter().flat_map(|node| &node.running);
        let is_awaited = |id: &&AttemptId| self.attempts.get(id).is_some_and(|attempt| !attempt.abandoned);
        running.filter(is_awaited).copied().collect()
    }

    pub(super) fn probe_if_due(&mut self, now: Time, id: NodeId, actions: &mut Vec<Action>) {
        match self.nodes.get(id).and_then(|node| node.next_probe()) {
            Some(at) if at <= now => actions.extend(self.nodes.change(id, |node| node.probe(now))),
            later => self.timers.set(Timer::Probe(id), later),
        }
    }

    /// When a node is to be asked whether it is still there, because it has been at work in silence.
    fn next_question(&self, id: NodeId) -> Option<Time> {
        let node = self.nodes.get(id)?;
        let of_attempt = |id: AttemptId| {
            let attempt = self.attempts.get(&id)?;
            // No longer than a task may take.
            let every = self.overdue_after(attempt.job, attempt.cost).map_or(PROBE_EVERY, |d| d.min(PROBE_EVERY));
            node.next_silence_probe(attempt.since, every)
        };
        self.running(id).into_iter().filter_map(of_attempt).min()
    }

    /// Sets the moment at which a node is to be asked, if it is at work; whether it is.
    pub(super) fn listen(&mut self, id: NodeId) -> bool {
        if let Some(at) = self.next_question(id) {
            self.timers.set_by(Timer::Silence(id), at);
        }
        !self.running(id).is_empty()
    }

    pub(super) fn ask_if_silent(&mut self, now: Time, id: NodeId, actions: &mut Vec<Action>) {
        match self.next_question(id) {
            Some(at) if at <= now => actions.extend(self.nodes.change(id, |node| node.probe(now))),
            later => self.timers.set(Timer::Silence(id), later),
        }
    }
}
