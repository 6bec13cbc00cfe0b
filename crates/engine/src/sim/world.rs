//! Owns a simulated cluster as a whole: what is still to happen, and whom it happens to.

use super::bugs::Plant;
use super::calls::{Calls, Message};
use super::coordinator::{Coordinator, ForCoordinator};
use super::invariants::{Guard, Rule};
use super::network::{Network, Site};
use super::node::{ForNode, Node};
use super::queue::Queue;
use super::setup::Setup;
use super::store::{self, Store};
use super::summary::{Summary, Tally};
use crate::engine::Sizes;
use crate::tenure::Op;
use crate::types::Time;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client whose request was not answered asks again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// After the end of the job and of all faults nothing happens for so long, but for what is left over.
const QUIET: Duration = Duration::from_secs(45);
/// The same if nothing went wrong.
const SHORT_QUIET: Duration = Duration::from_secs(3);

/// Something that is to happen.
pub(super) enum What {
    /// A packet comes to its receiver.
    Arrival { from: Site, to: Site, message: Message, tries: u32 },
    /// A lost packet is sent again.
    Resend { from: Site, to: Site, message: Message, tries: u32 },
    /// Something in a coordinator, unless that has crashed meanwhile.
    Coordinator { who: usize, life: u64, then: ForCoordinator },
    /// Something in a node, unless that has crashed meanwhile.
    Node { node: u32, life: u64, then: ForNode },
    /// An operation reaches the store.
    Store { who: usize, life: u64, serial: u64, op: Box<Op> },
    /// A node's system finds that the coordinator's end of a call is gone.
    HungUp(u64),
    /// One that was said to have failed is done after all.
    StoreLate { op: Box<Op> },
    /// A fault begins.
    Fault(usize),
    /// A fault is over.
    Mended(usize),
    /// The client asks for its job.
    Request,
    /// Members have found out something about a node.
    Member { node: u32, life: u64, is_up: bool },
}

/// What all processes have in common.
#[derive(Default)]
pub(super) struct Process {
    /// Grows with each crash.
    pub(super) life: u64,
    /// How many faults keep it down.
    pub(super) down: u32,
    /// Nobody was told that it went down.
    pub(super) rude: bool,
    /// How many faults make it pause.
    pub(super) paused: u32,
    /// What has happened to it while it paused.
    pub(super) backlog: Vec<What>,
}

impl Process {
    pub(super) fn is_up(&self) -> bool {
        self.down == 0
    }

    pub(super) fn runs(&self) -> bool {
        self.down == 0 && self.paused == 0
    }
}

/// The cluster.
pub(super) struct World<'a> {
    pub(super) setup: &'a Setup,
    /// Real time, for measuring alone.
    pub(super) stopwatch: &'a dyn Fn() -> Duration,
    pub(super) now: Time,
    pub(super) queue: Queue<What>,
    pub(super) chance: ChaCha8Rng,
    pub(super) network: Network,
    pub(super) store: Store,
    pub(super) coordinators: Vec<Coordinator>,
    pub(super) nodes: Vec<Node>,
    pub(super) calls: Calls,
    /// The nodes that members hold to be there.
    pub(super) members: BTreeSet<u32>,
    pub(super) guard: Guard,
    pub(super) tally: Tally,
    /// Terms, probes and questions are numbered, each number used once.
    pub(super) last_serial: u64,
    /// The client knows that its job is taken.
    pub(super) is_taken: bool,
    /// When the client was told that the job has ended.
    pub(super) over: Option<Time>,
}

/// Simulates a cluster until its job has ended and nothing is left over, or a rule is broken. `stopwatch` gives real time
/// since any moment, to measure what the engine takes; nothing else depends on it.
pub fn simulate(setup: &Setup, stopwatch: &dyn Fn() -> Duration) -> Summary {
    let mut world = World::new(setup, stopwatch);
    world.begin();
    let deadline = Time(setup.deadline());
    while let Some((at, what)) = world.queue.pop() {
        world.now = world.now.max(at);
        world.guard.set_now(world.now);
        world.tally.so_far.happenings += 1;
        if world.over.is_none() && world.now > deadline {
            let after = deadline.since(Time(setup.faults.end()));
            world.guard.broken(Rule::Ends, format!("the job has not ended {after:?} after the last fault"));
        }
        world.happen(what);
        if world.guard.violation.is_some() {
            break;
        }
        if world.is_quiet() {
            world.check_the_end();
            break;
        }
    }
    let mut summary = world.tally.finish(world.now);
    summary.lower_bound = setup.lower_bound();
    summary.violation = world.guard.violation;
    summary
}

impl<'a> World<'a> {
    fn new(setup: &'a Setup, stopwatch: &'a dyn Fn() -> Duration) -> Self {
        let slots: usize = setup.nodes.iter().map(|node| node.slots).sum();
        let (nodes, tasks) = (setup.nodes.len(), setup.workload.tasks.0 as usize);
        // Records may wait until jobs open no more rounds, and then those of one round more.
        let limits = Sizes {
            jobs: 1,
            nodes,
            waiting: tasks,
            attempts: slots,
            timers: 3 * nodes + 6,
            records: 1024 + 2 * tasks + 16,
        };
        Self {
            setup,
            stopwatch,
            now: Time::default(),
            queue: Queue::default(),
            chance: ChaCha8Rng::seed_from_u64(setup.seed),
            network: Network::new(setup.links, setup.seed ^ 1),
            store: Store::default(),
            coordinators: (0..setup.coordinators.max(1)).map(Coordinator::new).collect(),
            nodes: (0..nodes as u64).map(|node| Node::new(setup.seed ^ node << 32)).collect(),
            calls: Calls::default(),
            members: (0..nodes as u32).collect(),
            guard: Guard::new(setup.workload.expected, limits),
            tally: Tally::new(nodes, slots),
            last_serial: 0,
            is_taken: false,
            over: None,
        }
    }

    fn begin(&mut self) {
        for (place, fault) in self.setup.faults.faults.iter().enumerate() {
            self.queue.push(Time(fault.from), What::Fault(place));
            self.queue.push(Time(fault.to), What::Mended(place));
        }
        for who in 0..self.coordinators.len() {
            // One that is not told to stand by leads if nobody does.
            self.start_coordinator(who, who == 0);
        }
        self.queue.push(Time::default(), What::Request);
    }

    pub(super) fn has(&self, plant: Plant) -> bool {
        self.setup.bug.is_some_and(|bug| bug.plant == plant)
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// A random share of a time, at least a half of it.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.chance.random_range(0.5..1.0))
    }

    pub(super) fn process(&mut self, site: Site) -> Option<&mut Process> {
        match site {
            Site::Coordinator(who) => self.coordinators.get_mut(who).map(|coordinator| &mut coordinator.process),
            Site::Node(node) => self.nodes.get_mut(node as usize).map(|node| &mut node.process),
            Site::Store => None,
        }
    }

    /// Plans something in a coordinator.
    pub(super) fn in_coordinator(&mut self, who: usize, at: Time, then: ForCoordinator) {
        let life = self.coordinators[who].process.life;
        self.queue.push(at, What::Coordinator { who, life, then });
    }

    fn happen(&mut self, what: What) {
        let site = match &what {
            What::Arrival { to, .. } => Some((*to, None)),
            What::Coordinator { who, life, .. } => Some((Site::Coordinator(*who), Some(*life))),
            What::Node { node, life, .. } => Some((Site::Node(*node), Some(*life))),
            _ => None,
        };
        if let Some((site, life)) = site
            && let Some(process) = self.process(site)
        {
            if life.is_some_and(|life| life != process.life) {
                return;
            }
            if process.is_up() && process.paused > 0 {
                let request = match &what {
                    What::Arrival { message: Message::Request(call), .. } => Some(*call),
                    _ => None,
                };
                process.backlog.push(what);
                // Its system has taken the call.
                if let Some(call) = request.and_then(|call| self.calls.get(call)) {
                    call.has_arrived = true;
                }
                return;
            }
        }
        match what {
            What::Arrival { from, to, message, tries } => self.arrive(from, to, message, tries),
            What::Resend { from, to, message, tries } => self.transmit(from, to, message, tries),
            What::Coordinator { who, then, .. } => self.coordinator_does(who, then),
            What::Node { node, then, .. } => self.node_does(node, then),
            What::Store { who, life, serial, op } => self.store_does(who, life, serial, *op),
            What::HungUp(call) => self.hung_up(call),
            What::StoreLate { op } => drop(self.perform_op(&op)),
            What::Fault(place) => self.fault_begins(place),
            What::Mended(place) => self.fault_ends(place),
            What::Request => self.request(),
            What::Member { node, life, is_up } => self.member(node, life, is_up),
        }
    }

    /// The client asks each coordinator that says that it leads, until it is told of its job.
    fn request(&mut self) {
        if self.is_taken {
            return;
        }
        self.tally.started(self.now);
        for who in 0..self.coordinators.len() {
            self.submit(who);
        }
        self.queue.push(self.now + ASK_AGAIN, What::Request);
    }

    fn is_quiet(&self) -> bool {
        let quiet = if self.setup.faults.faults.is_empty() { SHORT_QUIET } else { QUIET };
        let Some(over) = self.over else { return false };
        let end = over.max(Time(self.setup.faults.end())) + quiet;
        // Packets are lost all the time, so that now and then one takes over from another that does not know it yet.
        self.now >= end && (self.leaders() == 1 || self.now >= end + quiet)
    }

    fn leaders(&self) -> usize {
        self.coordinators.iter().filter(|coordinator| coordinator.term.is_some()).count()
    }

    /// When all is over one coordinator leads, holds nothing, and its log can be read.
    fn check_the_end(&mut self) {
        let leading: Vec<usize> =
            (0..self.coordinators.len()).filter(|&who| self.coordinators[who].term.is_some()).collect();
        match leading.as_slice() {
            [who] => {
                let sizes = self.coordinators[*who].term.as_ref().map(|term| term.engine.sizes());
                self.guard.left_over(&Site::Coordinator(*who).to_string(), sizes.unwrap_or_default());
            }
            [] => self.guard.broken(Rule::Ends, "nobody leads when all is over".to_owned()),
            several => self.guard.broken(Rule::OneLeader, format!("{} lead when all is over", several.len())),
        }
        if self.calls.len() > 0 {
            self.guard.broken(Rule::Bounded, format!("{} calls are open when all is over", self.calls.len()));
        }
        self.guard.replayed(store::replay(&mut self.store));
    }
}
