//! Owns what goes wrong in a simulated cluster, and when: a plan, given or drawn from a seed. Every fault has an end.

use super::network::{Cut, Site};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// A process is gone; it is started again at the end. Without `rude` its connections are closed by the system, with it
    /// nobody is told (a machine without power).
    Crash {
        /// Which process.
        site: Site,
        /// Nobody is told.
        rude: bool,
    },
    /// A process does nothing, and goes on at the end as if nothing had been.
    Pause {
        /// Which process.
        site: Site,
    },
    /// A node takes so many times as long.
    Slow {
        /// Which node.
        node: u32,
        /// How many times.
        factor: f64,
    },
    /// A node answers nonsense.
    Garbage {
        /// Which node.
        node: u32,
    },
    /// A coordinator's clock runs at so many thousandths of its rate.
    Skew {
        /// Which coordinator.
        coordinator: usize,
        /// 1000 is right.
        rate: u64,
    },
    /// Some do not hear others.
    Cut(Cut),
    /// More packets are lost: this share.
    Loss(f64),
    /// The network takes so many times as long.
    SlowNetwork(f64),
    /// The store takes so many times as long.
    SlowStore(f64),
    /// The store fails.
    StoreFails {
        /// The share of operations that are not done.
        before: f64,
        /// The share that are done, though it is said that they failed.
        after: f64,
        /// The share that are said to have failed, and are done seconds later.
        late: f64,
    },
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// What.
    pub trouble: Trouble,
}

/// All that goes wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The faults, in no order.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// Faults of all kinds, drawn from a seed, that are over by `until`, for a cluster of so many nodes and coordinators.
    pub fn random(seed: u64, until: Duration, nodes: u32, coordinators: usize) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed ^ 0x0066_6175_6c74_7300);
        let count = chance.random_range(0..12);
        let faults = (0..count).map(|_| {
            let from = until.mul_f64(chance.random_range(0.0..0.9));
            // Many are short: what is over before anybody has noticed is the hardest to get right.
            let longest = (until - from).as_secs_f64();
            let length = longest.min(20.0) * chance.random_range(0.0f64..1.0).powi(2);
            let trouble = trouble(&mut chance, nodes, coordinators);
            Fault { from, to: from + Duration::from_secs_f64(length), trouble }
        });
        Self { faults: faults.collect() }
    }

    /// When the last fault is over.
    pub fn end(&self) -> Duration {
        self.faults.iter().map(|fault| fault.to).max().unwrap_or_default()
    }
}

fn trouble(chance: &mut ChaCha8Rng, nodes: u32, coordinators: usize) -> Trouble {
    let node = chance.random_range(0..nodes);
    let coordinator = chance.random_range(0..coordinators);
    let site = if chance.random_bool(0.5) { Site::Node(node) } else { Site::Coordinator(coordinator) };
    match chance.random_range(0..13) {
        0..3 => Trouble::Crash { site, rude: chance.random_bool(0.5) },
        3..5 => Trouble::Pause { site },
        5 => Trouble::Slow { node, factor: chance.random_range(2.0..50.0) },
        6 => Trouble::Garbage { node },
        7 => Trouble::Skew { coordinator, rate: chance.random_range(500..2000) },
        8 | 9 => Trouble::Cut(cut(chance, nodes, coordinators)),
        10 => Trouble::Loss(chance.random_range(0.05..0.6)),
        11 => match chance.random_bool(0.5) {
            true => Trouble::SlowNetwork(chance.random_range(5.0..200.0)),
            false => Trouble::SlowStore(chance.random_range(5.0..100.0)),
        },
        _ => {
            let mut share = || if chance.random_bool(0.7) { chance.random_range(0.0..0.3) } else { 0.0 };
            Trouble::StoreFails { before: share(), after: share(), late: share() }
        }
    }
}

/// Two groups of all there are, of which one may be a single process.
fn cut(chance: &mut ChaCha8Rng, nodes: u32, coordinators: usize) -> Cut {
    let sites: Vec<Site> =
        (0..nodes).map(Site::Node).chain((0..coordinators).map(Site::Coordinator)).chain([Site::Store]).collect();
    let single = sites.choose(chance).copied().unwrap_or(Site::Store);
    let share = chance.random_range(0.1..0.9);
    let alone = chance.random_bool(0.4);
    let from: BTreeSet<Site> = sites
        .iter()
        .copied()
        .filter(|site| if alone { *site == single } else { chance.random_bool(share) })
        .collect();
    let to = sites.into_iter().filter(|site| !from.contains(site)).collect();
    Cut { from, to, one_way: chance.random_bool(0.4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_plans_have_all_kinds_and_end_in_time() {
        let until = Duration::from_secs(30);
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::random(seed, until, 4, 2)).collect();
        assert!(plans.iter().all(|plan| plan.end() <= until));
        assert_eq!(plans[7], Plan::random(7, until, 4, 2));
        let kinds: BTreeSet<String> = plans
            .iter()
            .flat_map(|plan| &plan.faults)
            .map(|fault| format!("{:?}", fault.trouble).chars().take_while(|c| c.is_alphabetic()).collect())
            .collect();
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}
