//! Owns the round-robin policy: each task goes to the next node in turn, however busy it is.

use super::{Cluster, Decision, Policy, PolicyRow, Reason, Waiting};
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
    fn plan(&mut self, _: Time, waiting: &Waiting, nodes: &Cluster) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        for (place, task) in waiting.first.iter().enumerate() {
            let Some(node) = nodes.takers(task).after(self.last) else { continue };
            self.last = Some(node);
            decisions.push((place, Decision { node, reason: Reason::Turn }));
        }
        decisions
    }
}
