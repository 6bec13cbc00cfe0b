//! Owns what there is to simulate: a cluster, the work for it, and what goes wrong.

use super::bugs::Bug;
use super::faults::Plan;
use super::network::Links;
use super::workload::Workload;
use crate::policy::{POLICIES, PolicyRow};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A compute node.
#[derive(Clone, Copy, Debug)]
pub struct NodeSetup {
    /// How many times faster it is than a node of speed 1.
    pub speed: f64,
    /// How many tasks it does at once.
    pub slots: usize,
}

/// A cluster, its work, and what goes wrong.
#[derive(Clone)]
pub struct Setup {
    /// Who gets which task.
    pub policy: &'static PolicyRow,
    /// Where all random numbers come from.
    pub seed: u64,
    /// The compute nodes.
    pub nodes: Vec<NodeSetup>,
    /// The probability that a node delays a task, and, independently, that it refuses one where the policy lets nodes
    /// refuse.
    pub load: f64,
    /// How long a delayed task waits.
    pub delay: Duration,
    /// How many coordinators there are: the first leads at first, the others stand by. At least 1.
    pub coordinators: usize,
    /// After how long a silent leader is taken for gone.
    pub standby_patience: Duration,
    /// The network when nothing is wrong with it.
    pub links: Links,
    /// What the store takes for an operation at most; half of that at least.
    pub store_time: Duration,
    /// Coordinators learn of nodes from members that come and go, not from a list.
    pub by_gossip: bool,
    /// The job.
    pub workload: Workload,
    /// What goes wrong, and when.
    pub faults: Plan,
    /// A planted bug.
    pub bug: Option<&'static Bug>,
    /// How much longer the job may take than all of its work on the slowest node, once the faults are over.
    pub grace: Duration,
}

impl Setup {
    /// A cluster of nodes of speed 1 with one slot and without load, in which nothing goes wrong.
    pub fn new(policy: &'static PolicyRow, nodes: usize, workload: Workload) -> Self {
        Self {
            policy,
            seed: 1,
            nodes: vec![NodeSetup { speed: 1.0, slots: 1 }; nodes],
            load: 0.0,
            delay: Duration::from_secs(3),
            coordinators: 1,
            standby_patience: Duration::from_secs(1),
            links: Links::default(),
            store_time: Duration::from_millis(5),
            by_gossip: false,
            workload,
            faults: Plan::default(),
            bug: None,
            grace: Duration::from_secs(300),
        }
    }

    /// A small cluster in which, for 20 to 60 seconds, everything may go wrong: all of it follows from the seed. Every
    /// fourth job is a small training job that is truly done.
    pub fn random(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let task_time = Duration::from_millis(chance.random_range(50..2500));
        let (rounds, tasks) = (chance.random_range(2..6), chance.random_range(2..14));
        let spread = chance.random_range(0.0..0.9);
        let counting = Workload::counting(rounds, tasks, task_time, spread, seed);
        let workload = match chance.random_range(0..4) {
            0 => Workload::small_training(seed, task_time).unwrap_or(counting),
            _ => counting,
        };
        let nodes = (0..chance.random_range(2..7)).map(|_| NodeSetup {
            speed: if chance.random_bool(0.2) { 0.1 } else { chance.random_range(0.5..1.5) },
            slots: chance.random_range(1..3),
        });
        let nodes: Vec<NodeSetup> = nodes.collect();
        let links = Links {
            latency: Duration::from_micros(chance.random_range(100..5000)),
            jitter: Duration::from_micros(chance.random_range(0..20_000)),
            loss: if chance.random_bool(0.3) { chance.random_range(0.0..0.1) } else { 0.0 },
            duplicates: 0.0,
        };
        let coordinators = chance.random_range(1..4);
        let until = Duration::from_secs(chance.random_range(20..60));
        Self {
            seed,
            load: if chance.random_bool(0.5) { chance.random_range(0.0..0.8) } else { 0.0 },
            delay: Duration::from_millis(chance.random_range(100..3000)),
            coordinators,
            links,
            store_time: Duration::from_millis(chance.random_range(1..120)),
            by_gossip: chance.random_bool(0.3),
            faults: Plan::random(seed, until, nodes.len() as u32, coordinators),
            nodes,
            ..Self::new(&POLICIES[chance.random_range(0..POLICIES.len())], 0, workload)
        }
    }

    /// Seconds that the job takes at least, whoever decides and whatever is known before: all nodes at work from the start
    /// to the end of each round, at mean tasks with mean delays; or the longest task on the fastest node.
    pub fn lower_bound(&self) -> Duration {
        let (tasks, cost, longest) = self.workload.tasks;
        let mean = cost / f64::from(tasks.max(1));
        let pace = self.workload.pace;
        let waits = self.load * self.delay.as_secs_f64() + 2.0 * self.links.latency.as_secs_f64();
        let rate = |node: &NodeSetup| node.slots as f64 / (mean * pace / node.speed + waits);
        let rate: f64 = self.nodes.iter().map(rate).sum();
        let fastest = self.nodes.iter().map(|node| node.speed).fold(0.0, f64::max);
        let round = (f64::from(tasks) / rate).max(longest * pace / fastest);
        Duration::try_from_secs_f64(f64::from(self.workload.rounds) * round).unwrap_or(Duration::MAX)
    }

    /// When the job must have ended: all its work on the slowest node, delays included, and the grace, after the last
    /// fault.
    pub(super) fn deadline(&self) -> Duration {
        let (tasks, cost, _) = self.workload.tasks;
        let slowest = self.nodes.iter().map(|node| node.speed).fold(f64::INFINITY, f64::min);
        let round = cost * self.workload.pace / slowest + f64::from(tasks) * self.load * self.delay.as_secs_f64();
        let work = Duration::try_from_secs_f64(f64::from(self.workload.rounds) * round).unwrap_or(Duration::MAX);
        self.faults.end().saturating_add(work).saturating_add(self.grace)
    }
}
