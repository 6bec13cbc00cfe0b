//! Owns the random policy: each task goes to a node drawn from all, however busy it is.

use super::{Decision, NodeView, Policy, PolicyRow, Reason, TaskView};
use crate::types::Time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) const ROW: PolicyRow = PolicyRow {
    number: 1,
    name: "random",
    about: "any node, drawn by chance",
    nodes_may_refuse: false,
    make: |seed| Box::new(Random { rng: ChaCha8Rng::seed_from_u64(seed) }),
};

struct Random {
    rng: ChaCha8Rng,
}

impl Policy for Random {
    fn plan(&mut self, now: Time, tasks: &[TaskView], nodes: &[NodeView]) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        for (place, task) in tasks.iter().enumerate() {
            let among: Vec<&NodeView> =
                nodes.iter().filter(|node| node.available_at <= now && !task.avoid.contains(&node.id)).collect();
            if among.is_empty() {
                continue;
            }
            let node = among[self.rng.random_range(0..among.len())].id;
            decisions.push((place, Decision { node, reason: Reason::Drawn { among: among.len() } }));
        }
        decisions
    }
}
