//! Owns what is told of who does what now, and why.

use super::{Engine, ShareReason};
use crate::policy::Reason;
use crate::types::{AttemptId, JobId, NodeId, TaskId, Time};

/// A task that a node is at.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The number of the attempt.
    pub attempt: AttemptId,
    /// Which node.
    pub node: NodeId,
    /// Its host:port.
    pub address: String,
    /// Whose task.
    pub job: JobId,
    /// Which.
    pub task: TaskId,
    /// How many queries it answers; 0 if its job is not counted in them.
    pub queries: u32,
    /// When it was sent.
    pub since: Time,
    /// Why this job got the slot.
    pub share: ShareReason,
    /// Why this node got the task.
    pub reason: Reason,
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Headcount {
    /// That the coordinator has been told of and that have not gone.
    pub known: usize,
    /// Of those, how many answer and may have tasks.
    pub ready: usize,
    /// Of those known, how many are at a task.
    pub busy: usize,
}

impl Engine {
    /// How many nodes there are now.
    pub fn node_counts(&self) -> Headcount {
        let counts = self.nodes.counts();
        Headcount { known: counts.known, ready: counts.ready, busy: counts.busy }
    }

    /// What nodes are at, in the order in which it was sent, without what was given up.
    pub fn assignments(&self) -> Vec<Assignment> {
        let running = self.attempts.iter().filter(|(_, attempt)| !attempt.abandoned);
        let told = running.map(|(&id, attempt)| Assignment {
            attempt: id,
            node: attempt.node,
            address: self.nodes.get(attempt.node).map_or(String::new(), |node| node.address.clone()),
            job: attempt.job,
            task: attempt.task,
            queries: attempt.queries,
            since: attempt.since,
            share: attempt.share.clone(),
            reason: attempt.reason.clone(),
        });
        told.collect()
    }
}
