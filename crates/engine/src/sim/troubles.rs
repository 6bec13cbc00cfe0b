//! Owns the beginning and the end of each fault.

use super::calls::Message;
use super::clock::TRUE_RATE;
use super::coordinator::ForCoordinator;
use super::faults::Trouble;
use super::network::Site;
use super::world::{What, World};
use rand::Rng;
use std::time::Duration;

/// Members hold one to be dead that was silent for so long, at least; and at most half as long again.
const SUSPICION: Duration = Duration::from_secs(3);
/// They find one that is back within this.
const WELCOME: Duration = Duration::from_secs(1);

impl World<'_> {
    pub(super) fn fault_begins(&mut self, place: usize) {
        let Some(fault) = self.setup.faults.faults.get(place) else { return };
        match &fault.trouble {
            Trouble::Crash { site, rude } => self.goes_down(*site, *rude),
            Trouble::Pause { site } => {
                if let Some(process) = self.process(*site) {
                    process.paused += 1;
                }
                self.suspect(*site);
            }
            Trouble::Slow { node, factor } => self.change_pace(*node, |slow| slow.push((place, *factor))),
            Trouble::Garbage { node } => {
                if let Some(node) = self.nodes.get_mut(*node as usize) {
                    node.garbage += 1;
                }
            }
            Trouble::Skew { coordinator, rate } => self.set_clock(*coordinator, *rate),
            Trouble::Cut(cut) => self.network.cut(place, cut.clone()),
            Trouble::Loss(share) => self.network.lose(place, *share),
            Trouble::SlowNetwork(factor) => self.network.slow_down(place, *factor),
            Trouble::SlowStore(factor) => self.store.slower.push((place, *factor)),
            Trouble::StoreFails { before, after, late } => {
                self.store.failures.push((place, [*before, *after, *late]));
            }
        }
    }

    pub(super) fn fault_ends(&mut self, place: usize) {
        let Some(fault) = self.setup.faults.faults.get(place) else { return };
        match &fault.trouble {
            Trouble::Crash { site, .. } => self.comes_back(*site),
            Trouble::Pause { site } => {
                if let Some(process) = self.process(*site) {
                    process.paused = process.paused.saturating_sub(1);
                }
                self.wakes_up(*site);
            }
            Trouble::Slow { node, .. } => self.change_pace(*node, |slow| slow.retain(|(of, _)| *of != place)),
            Trouble::Garbage { node } => {
                if let Some(node) = self.nodes.get_mut(*node as usize) {
                    node.garbage = node.garbage.saturating_sub(1);
                }
            }
            Trouble::Skew { coordinator, .. } => self.set_clock(*coordinator, TRUE_RATE),
            Trouble::Cut(_) | Trouble::Loss(_) | Trouble::SlowNetwork(_) => self.network.mend(place),
            Trouble::SlowStore(_) => self.store.slower.retain(|(of, _)| *of != place),
            Trouble::StoreFails { .. } => self.store.failures.retain(|(of, _)| *of != place),
        }
    }

    fn goes_down(&mut self, site: Site, rude: bool) {
        let Some(process) = self.process(site) else { return };
        process.down += 1;
        if process.down > 1 {
            return;
        }
        let held = std::mem::take(&mut process.backlog);
        match site {
            Site::Coordinator(who) => self.coordinator_crashes(who, rude),
            Site::Node(node) => self.node_crashes(node, rude),
            Site::Store => {}
        }
        // What its system had taken for it is lost with it.
        for what in held {
            match what {
                What::Arrival { message: Message::Request(call), .. } if rude => self.will_time_out(call),
                What::Arrival { from, message: Message::Request(call), .. } => {
                    self.send(site, from, Message::Reset(call));
                }
                _ => {}
            }
        }
        self.suspect(site);
    }

    fn comes_back(&mut self, site: Site) {
        let Some(process) = self.process(site) else { return };
        process.down = process.down.saturating_sub(1);
        if !process.is_up() {
            return;
        }
        match site {
            Site::Coordinator(who) => self.start_coordinator(who, false),
            Site::Node(node) => {
                if self.nodes[node as usize].process.rude {
                    self.forgets_connections(node);
                }
                self.welcome(node);
            }
            Site::Store => {}
        }
    }

    /// A process goes on after a pause: what has happened meanwhile happens now, in its order.
    fn wakes_up(&mut self, site: Site) {
        let now = self.now;
        let Some(process) = self.process(site) else { return };
        if !process.runs() {
            return;
        }
        for what in std::mem::take(&mut process.backlog) {
            self.queue.push(now, what);
        }
        match site {
            Site::Node(node) => self.welcome(node),
            Site::Coordinator(who) => self.pump(who),
            Site::Store => {}
        }
    }

    /// Members will find that a node is silent, if it is for long enough.
    fn suspect(&mut self, site: Site) {
        let Site::Node(node) = site else { return };
        let after = SUSPICION.mul_f64(self.chance.random_range(1.0..1.5));
        let life = self.nodes[node as usize].process.life;
        self.queue.push(self.now + after, What::Member { node, life, is_up: false });
    }

    /// Members will find that it is there.
    fn welcome(&mut self, node: u32) {
        let after = WELCOME.mul_f64(self.chance.random());
        let life = self.nodes[node as usize].process.life;
        self.queue.push(self.now + after, What::Member { node, life, is_up: true });
    }

    /// Members have found out something about a node.
    pub(super) fn member(&mut self, node: u32, life: u64, is_up: bool) {
        let Some(known) = self.nodes.get_mut(node as usize) else { return };
        let (same, runs) = (known.process.life == life, known.process.runs());
        if !self.setup.by_gossip || !same || runs != is_up {
            return;
        }
        // One that is back before it was missed has another life: to members it has gone and come.
        let was_in = self.members.remove(&node);
        if is_up {
            self.members.insert(node);
        }
        for who in 0..self.coordinators.len() {
            let address = Site::Node(node).to_string();
            if was_in && !(is_up && self.was_only_asleep(node)) {
                let then = ForCoordinator::Member { address: address.clone(), is_up: false };
                self.in_coordinator(who, self.now, then);
            }
            if is_up {
                self.in_coordinator(who, self.now, ForCoordinator::Member { address, is_up: true });
            }
        }
        self.nodes[node as usize].known_life = life;
    }

    /// Whether a node that is back is the process that members knew.
    fn was_only_asleep(&self, node: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.known_life == node.process.life
    }
}
