//! Owns the network of these tests: delays, losses, copies, cuts and pauses, all from a seed.

use super::super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeSet, VecDeque};

/// A datagram under way: to whom, from where, what.
type Datagram = (usize, SocketAddr, Vec<u8>);

/// Members and what lies between them.
pub(super) struct Network {
    pub(super) now: Time,
    pub(super) members: Vec<Option<Membership>>,
    under_way: BTreeMap<(Time, u64), Datagram>,
    /// What came for members that do not run.
    waiting: BTreeMap<usize, VecDeque<Datagram>>,
    pub(super) paused: BTreeSet<usize>,
    count: u64,
    pub(super) rng: ChaCha8Rng,
    pub(super) loss: f64,
    /// Members of different sides do not hear each other.
    pub(super) sides: Vec<u8>,
    pub(super) changes: Vec<(Time, usize, Change)>,
    pub(super) bytes: usize,
    settings: Settings,
    pub(super) starts: u64,
    /// The last datagrams, for tests that damage them.
    pub(super) last: VecDeque<Vec<u8>>,
}

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub(super) fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (place >> 8) as u8, place as u8], 9000))
}

impl Network {
    pub(super) fn new(members: usize, seed: u64, settings: Settings) -> Self {
        let mut network = Self {
            now: Time::default(),
            members: (0..members).map(|_| None).collect(),
            under_way: BTreeMap::new(),
            waiting: BTreeMap::new(),
            paused: BTreeSet::new(),
            count: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            loss: 0.0,
            sides: vec![0; members],
            changes: Vec::new(),
            bytes: 0,
            settings,
            starts: 1_000,
            last: VecDeque::new(),
        };
        (0..members).for_each(|place| network.start(place));
        network
    }

    /// A cluster in which all know each other.
    pub(super) fn joined(members: usize, seed: u64, settings: Settings) -> Self {
        let mut network = Self::new(members, seed, settings);
        (1..members).for_each(|place| network.join(place, 0));
        let took = network.run_until(seconds(20.0), |network| network.all_see(members));
        assert!(took.is_some(), "seed {seed}: {}", network.told());
        network
    }

    pub(super) fn start(&mut self, place: usize) {
        self.starts += 1;
        let me = Identity::new(address(place), Role::Node, self.rng.random(), self.starts);
        self.members[place] = Some(Membership::new(me, self.settings, self.rng.random()));
    }

    pub(super) fn join(&mut self, place: usize, seed: usize) {
        self.with(place, |member, now| member.join(now, &[address(seed)]));
    }

    pub(super) fn with(&mut self, place: usize, call: impl FnOnce(&mut Membership, Time) -> Vec<Output>) {
        let now = self.now;
        let Some(member) = self.members[place].as_mut() else { return };
        for output in call(member, now) {
            match output {
                Output::Send { to, bytes } => self.send(place, to, bytes),
                Output::Change(change) => self.changes.push((now, place, change)),
            }
        }
    }

    pub(super) fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= LONGEST);
        self.bytes += bytes.len();
        self.last.push_back(bytes.clone());
        self.last.truncate(64);
        let Some(target) = (0..self.members.len()).find(|&place| address(place) == to) else { return };
        let copies = if self.rng.random_bool(0.01) { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.random_bool(self.loss) || self.sides[from] != self.sides[target] {
                continue;
            }
            // Some come late, so that others overtake them.
            let slowest = if self.rng.random_bool(0.02) { 30_000 } else { 3_000 };
            let delay = Duration::from_micros(self.rng.random_range(100..slowest));
            self.count += 1;
            self.under_way.insert((self.now + delay, self.count), (target, address(from), bytes.clone()));
        }
    }

    pub(super) fn deliver(&mut self, (target, from, bytes): Datagram) {
        if self.paused.contains(&target) {
            self.waiting.entry(target).or_default().push_back((target, from, bytes));
        } else {
            self.with(target, |member, now| member.receive(now, from, &bytes).expect("it is gossip"));
        }
    }

    pub(super) fn wake(&mut self, place: usize) {
        self.paused.remove(&place);
        for datagram in self.waiting.remove(&place).unwrap_or_default() {
            self.deliver(datagram);
        }
    }

    /// Lets time pass, at most this much; how long it took until something became true.
    pub(super) fn run_until(&mut self, most: Duration, mut is: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while !is(self) {
            let next_datagram = self.under_way.first_key_value().map(|((time, _), _)| *time);
            let runs = |place: &usize| !self.paused.contains(place);
            let wakeup = |place: usize| self.members[place].as_ref().and_then(Membership::next_wakeup);
            let places = (0..self.members.len()).filter(runs);
            let next_timer = places.filter_map(|place| Some((wakeup(place)?.max(self.now), place))).min();
            let next = next_datagram.into_iter().chain(next_timer.map(|(time, _)| time)).min();
            let next = next.unwrap_or(start + most);
            if next.since(start) >= most {
                self.now = start + most;
                return None;
            }
            self.now = next;
            if next_datagram == Some(next) {
                let (_, datagram) = self.under_way.pop_first().expect("it is there");
                self.deliver(datagram);
            } else if let Some((_, place)) = next_timer {
                self.with(place, |member, now| member.tick(now));
            }
        }
        Some(self.now.since(start))
    }

    pub(super) fn run(&mut self, time: Duration) {
        assert!(self.run_until(time, |_| false).is_none());
    }

    /// Whom a member takes for present, itself among them.
    pub(super) fn seen_by(&self, place: usize) -> Vec<SocketAddr> {
        let Some(member) = &self.members[place] else { return Vec::new() };
        let there = member.members().into_iter().filter(|member| member.standing != Standing::Down);
        there.map(|member| member.address).collect()
    }

    /// Whether each that runs sees exactly this many, of which those that run are all.
    pub(super) fn all_see(&self, count: usize) -> bool {
        let running = |place: &usize| self.members[*place].is_some();
        let mut running = (0..self.members.len()).filter(running);
        running.all(|place| {
            let seen = self.seen_by(place);
            seen.len() == count
                && (0..self.members.len())
                    .all(|other| self.members[other].is_none() || seen.contains(&address(other)))
        })
    }

    /// How often a member was said to be gone by silence, although it ran.
    pub(super) fn wrongly_down(&self) -> usize {
        let silent = |change: &Change| matches!(change, Change::Down(_, Departure::Silent));
        self.changes.iter().filter(|(_, _, change)| silent(change)).count()
    }

    pub(super) fn told(&self) -> String {
        let seen = |place: usize| format!("{place}: {:?}", self.members[place].as_ref().map(Membership::members));
        (0..self.members.len()).map(seen).collect::<Vec<_>>().join("\n")
    }
}
