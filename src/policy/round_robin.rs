//! Owns the round-robin policy: each task goes to the next node in turn, however busy it is.

use super::{Decision, NodeView, Policy, PolicyRow, Reason, TaskView};
use crate::types::{NodeId, Time};

pub(super) const ROW: PolicyRow = PolicyRow {
    number: 3,
    name: "round-robin",
    about: "one node after the other",
    nodes_may_refuse: false,
    make: |_| Box::new(RoundRobin { last: None }),
};

struct RoundRobin {
    last: Option<NodeId>,
}

impl Policy for RoundRobin {
    fn plan(&mut self, now: Time, tasks: &[TaskView], nodes: &[NodeView]) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        for (place, task) in tasks.iter().enumerate() {
            let may_take = |node: &&NodeView| node.available_at <= now && !task.avoid.contains(&node.id);
            let after_last = nodes.iter().filter(may_take).find(|node| Some(node.id) > self.last);
            let Some(node) = after_last.or_else(|| nodes.iter().find(may_take)) else { continue };
            self.last = Some(node.id);
            decisions.push((place, Decision { node: node.id, reason: Reason::Turn }));
        }
        decisions
    }
}
