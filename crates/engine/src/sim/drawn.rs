//! Owns plans of a few faults of chosen kinds, drawn from a seed: what a user asks for by `crash=2,partition=1`.

use super::faults::{Fault, Plan, Trouble};
use super::network::{Cut, Site};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A kind of fault that can be asked for by name.
pub struct FaultKind {
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    draw: fn(&mut ChaCha8Rng, u32, usize) -> Trouble,
}

/// All kinds.
pub static FAULT_KINDS: &[FaultKind] = &[
    FaultKind {
        name: "crash",
        about: "a node is gone, and comes back",
        draw: |chance, nodes, _| Trouble::Crash { site: node(chance, nodes), rude: chance.random() },
    },
    FaultKind {
        name: "failover",
        about: "the first coordinator is gone, and comes back",
        draw: |chance, _, _| Trouble::Crash { site: Site::Coordinator(0), rude: chance.random() },
    },
    FaultKind {
        name: "pause",
        about: "a node stands still for a while",
        draw: |chance, nodes, _| Trouble::Pause { site: node(chance, nodes) },
    },
    FaultKind {
        name: "slow",
        about: "a node is ten times as slow for a while",
        draw: |chance, nodes, _| Trouble::Slow { node: chance.random_range(0..nodes), factor: 10.0 },
    },
    FaultKind {
        name: "partition",
        about: "a tenth of the nodes, at least one, cannot reach the coordinators",
        draw: |chance, nodes, coordinators| {
            let first = chance.random_range(0..nodes);
            let away = (0..nodes.div_ceil(10)).map(|more| Site::Node((first + more) % nodes)).collect();
            let others = (0..coordinators).map(Site::Coordinator).collect();
            Trouble::Cut(Cut { from: away, to: others, one_way: false })
        },
    },
    FaultKind { name: "loss", about: "a fifth of all packets is lost", draw: |_, _, _| Trouble::Loss(0.2) },
    FaultKind {
        name: "store",
        about: "every third operation of the store fails",
        draw: |_, _, _| Trouble::StoreFails { before: 0.15, after: 0.1, late: 0.08 },
    },
];

fn node(chance: &mut ChaCha8Rng, nodes: u32) -> Site {
    Site::Node(chance.random_range(0..nodes))
}

impl Plan {
    /// So many faults of each kind, each some tenths of `time` long, over by then. `None`: there is no kind of a name.
    pub fn of_kinds(
        counts: &[(&str, u32)],
        seed: u64,
        time: Duration,
        nodes: u32,
        coordinators: usize,
    ) -> Option<Self> {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut plan = Self::default();
        for (name, count) in counts {
            let kind = FAULT_KINDS.iter().find(|kind| kind.name == *name)?;
            for _ in 0..*count {
                let (from, length) = (chance.random_range(0.0..0.6), chance.random_range(0.1..0.4));
                let trouble = (kind.draw)(&mut chance, nodes.max(1), coordinators);
                plan.faults.push(Fault { from: time.mul_f64(from), to: time.mul_f64(from + length), trouble });
            }
        }
        Some(plan)
    }
}
