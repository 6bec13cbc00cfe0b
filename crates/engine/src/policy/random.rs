//! Owns the random policy: each task goes to a node drawn from all, however busy it is.

use super::{Cluster, Decision, Policy, PolicyRow, Reason, Waiting};
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
    fn plan(&mut self, _: Time, waiting: &Waiting, nodes: &Cluster) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        for (place, task) in waiting.first.iter().enumerate() {
            let takers = nodes.takers(task);
            if takers.is_empty() {
                continue;
            }
            let among = takers.len();
            let Some(node) = takers.get(self.rng.random_range(0..among)) else { continue };
            decisions.push((place, Decision { node, reason: Reason::Drawn { among } }));
        }
        decisions
    }
}
