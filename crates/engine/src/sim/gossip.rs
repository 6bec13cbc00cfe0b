//! Owns simulated gossip: how soon members find out that others are gone, and whom they wrongly hold to be.

use super::network::{Links, Network, Site};
use super::queue::Queue;
use crate::membership::{Change, Identity, Membership, Output, Role, Settings};
use crate::types::Time;
use core::net::SocketAddr;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Members join one after the other, and settle, within this.
const SETTLING: Duration = Duration::from_secs(20);
/// Then nothing happens for so long, but that packets are lost.
const CALM: Duration = Duration::from_secs(600);
/// Those that are gone are gone from then on; what was not noticed in this time is not noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What gossip came to.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    /// For each that was gone and each that was left, how long until the latter knew.
    pub times: Vec<Duration>,
    /// How many of these pairs came to nothing.
    pub missed: usize,
    /// How often a member held another to be gone that was there, while nobody was gone.
    pub wrong: usize,
    /// How long nobody was gone.
    pub calm: Duration,
    /// Datagrams that were sent.
    pub datagrams: u64,
}

enum What {
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
    Tick(usize),
    Start(usize),
}

struct Gossip {
    now: Time,
    queue: Queue<What>,
    network: Network,
    members: Vec<Membership>,
    alive: Vec<bool>,
    killed: Option<Time>,
    noticed: Noticed,
}

/// Lets `members` of them find each other, leaves them alone for ten minutes, then takes away `killed` at random all at once, and looks who notices when.
pub fn gossip(members: usize, killed: usize, links: Links, seed: u64) -> Noticed {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let member = |place: usize| {
        let identity = Identity::new(address(place), Role::Node, place as u64 + 1, place as u64 + 1);
        Membership::new(identity, Settings::default(), seed ^ (place as u64) << 20)
    };
    let mut world = Gossip {
        now: Time::default(),
        queue: Queue::default(),
        network: Network::new(links, seed),
        members: (0..members).map(member).collect(),
        alive: vec![true; members],
        killed: None,
        noticed: Noticed::default(),
    };
    for place in 0..members {
        let at = SETTLING.mul_f64(0.25 * place as f64 / members as f64);
        world.queue.push(Time(at), What::Start(place));
    }
    world.run_until(Time(SETTLING));
    // At any moment between two probes: these would otherwise come at the same times in every run.
    let calm = CALM + Duration::from_secs(1).mul_f64(chance.random());
    world.noticed = Noticed { calm, ..Noticed::default() };
    world.run_until(Time(SETTLING + calm));
    world.killed = Some(world.now);
    let killed = killed.min(members.saturating_sub(1));
    while world.alive.iter().filter(|alive| !**alive).count() < killed {
        world.alive[chance.random_range(0..members)] = false;
    }
    world.run_until(Time(SETTLING + calm + PATIENCE));
    let pairs = killed * (members - killed);
    world.noticed.missed = pairs.saturating_sub(world.noticed.times.len());
    world.noticed
}

fn address(place: usize) -> SocketAddr {
    let [.., a, b, c] = (place as u32).to_be_bytes();
    SocketAddr::from(([10, a, b, c], 7946))
}

fn place(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) => Some((u32::from_be_bytes(v4.ip().octets()) & 0x00ff_ffff) as usize),
        SocketAddr::V6(_) => None,
    }
}

impl Gossip {
    fn run_until(&mut self, end: Time) {
        while let Some((at, what)) = self.queue.pop() {
            if at > end {
                self.queue.push(at, what);
                break;
            }
            self.now = at;
            let who = match &what {
                What::Datagram { to, .. } => *to,
                What::Tick(who) | What::Start(who) => *who,
            };
            if self.alive.get(who) != Some(&true) {
                continue;
            }
            let member = &mut self.members[who];
            let out = match what {
                // What cannot be read harms nobody.
                What::Datagram { from, bytes, .. } => {
                    member.receive(at, address(from), &bytes).unwrap_or_default()
                }
                What::Tick(_) if member.next_wakeup().is_some_and(|due| due <= at) => member.tick(at),
                What::Tick(_) => continue,
                What::Start(_) => member.join(at, &[address(0)]),
            };
            let wakeup = member.next_wakeup();
            for output in out {
                self.perform(who, output);
            }
            if let Some(due) = wakeup {
                self.queue.push(due.max(at), What::Tick(who));
            }
        }
        self.now = end;
    }

    fn perform(&mut self, who: usize, output: Output) {
        match output {
            Output::Send { to, bytes } => {
                let Some(to) = place(to).filter(|to| *to < self.members.len()) else { return };
                self.noticed.datagrams += 1;
                let copies = if self.network.doubles() { 2 } else { 1 };
                for _ in 0..copies {
                    let (from_site, to_site) = (Site::Node(who as u32), Site::Node(to as u32));
                    if let Some(delay) = self.network.packet(from_site, to_site) {
                        let datagram = What::Datagram { from: who, to, bytes: bytes.clone() };
                        self.queue.push(self.now + delay, datagram);
                    }
                }
            }
            Output::Change(Change::Down(view, _)) => {
                match place(view.address).and_then(|place| self.alive.get(place)) {
                    Some(false) => {
                        let since = self.killed.unwrap_or_default();
                        self.noticed.times.push(self.now.since(since));
                    }
                    _ => self.noticed.wrong += usize::from(self.killed.is_none()),
                }
            }
            Output::Change(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_six_are_missed_by_the_others() {
        let links = Links { loss: 0.02, duplicates: 0.1, jitter: Duration::from_millis(3), ..Links::default() };
        for seed in 0..10 {
            let noticed = gossip(6, 3, links, seed);
            assert_eq!(
                (noticed.times.len(), noticed.missed, noticed.wrong),
                (9, 0, 0),
                "seed {seed}: {noticed:?}"
            );
            let slowest = noticed.times.iter().max().copied().unwrap_or_default();
            assert!(slowest < Duration::from_secs(20), "seed {seed}: {slowest:?}");
        }
    }

    /// Otherwise that nobody is wrongly held to be gone would mean nothing.
    #[test]
    fn where_next_to_nothing_gets_through_members_are_wrongly_held_to_be_gone() {
        let wrong = |loss| gossip(6, 3, Links { loss, ..Links::default() }, 1).wrong;
        assert_eq!((wrong(0.03), wrong(0.9) > 20), (0, true));
    }
}
