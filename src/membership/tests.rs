//! Owns the tests of membership, on a network of their own: delays, losses, copies, cuts and pauses, all from a seed.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeSet, VecDeque};

/// A datagram under way: to whom, from where, what.
type Datagram = (usize, SocketAddr, Vec<u8>);

/// Members and what lies between them.
struct Network {
    now: Time,
    members: Vec<Option<Membership>>,
    under_way: BTreeMap<(Time, u64), Datagram>,
    /// What came for members that do not run.
    waiting: BTreeMap<usize, VecDeque<Datagram>>,
    paused: BTreeSet<usize>,
    count: u64,
    rng: ChaCha8Rng,
    loss: f64,
    /// Members of different sides do not hear each other.
    sides: Vec<u8>,
    changes: Vec<(Time, usize, Change)>,
    bytes: usize,
    settings: Settings,
    starts: u64,
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (place >> 8) as u8, place as u8], 9000))
}

impl Network {
    fn new(members: usize, seed: u64, settings: Settings) -> Self {
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
        };
        (0..members).for_each(|place| network.start(place));
        network
    }

    /// A cluster in which all know each other.
    fn joined(members: usize, seed: u64, settings: Settings) -> Self {
        let mut network = Self::new(members, seed, settings);
        (1..members).for_each(|place| network.join(place, 0));
        let took = network.run_until(seconds(20.0), |network| network.all_see(members));
        assert!(took.is_some(), "seed {seed}: {}", network.told());
        network
    }

    fn start(&mut self, place: usize) {
        self.starts += 1;
        let me = Identity::new(address(place), Role::Node, self.rng.random(), self.starts);
        self.members[place] = Some(Membership::new(me, self.settings, self.rng.random()));
    }

    fn join(&mut self, place: usize, seed: usize) {
        self.with(place, |member, now| member.join(now, &[address(seed)]));
    }

    fn with(&mut self, place: usize, call: impl FnOnce(&mut Membership, Time) -> Vec<Output>) {
        let now = self.now;
        let Some(member) = self.members[place].as_mut() else { return };
        for output in call(member, now) {
            match output {
                Output::Send { to, bytes } => self.send(place, to, bytes),
                Output::Change(change) => self.changes.push((now, place, change)),
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= LONGEST);
        self.bytes += bytes.len();
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

    fn deliver(&mut self, (target, from, bytes): Datagram) {
        if self.paused.contains(&target) {
            self.waiting.entry(target).or_default().push_back((target, from, bytes));
        } else {
            self.with(target, |member, now| member.receive(now, from, &bytes).expect("it is gossip"));
        }
    }

    fn wake(&mut self, place: usize) {
        self.paused.remove(&place);
        for datagram in self.waiting.remove(&place).unwrap_or_default() {
            self.deliver(datagram);
        }
    }

    /// Lets time pass, at most this much; how long it took until something became true.
    fn run_until(&mut self, most: Duration, mut is: impl FnMut(&Self) -> bool) -> Option<Duration> {
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

    fn run(&mut self, time: Duration) {
        assert!(self.run_until(time, |_| false).is_none());
    }

    /// Whom a member takes for present, itself among them.
    fn seen_by(&self, place: usize) -> Vec<SocketAddr> {
        let Some(member) = &self.members[place] else { return Vec::new() };
        let there = member.members().into_iter().filter(|member| member.standing != Standing::Down);
        there.map(|member| member.address).collect()
    }

    /// Whether each that runs sees exactly this many, of which those that run are all.
    fn all_see(&self, count: usize) -> bool {
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
    fn wrongly_down(&self) -> usize {
        let silent = |change: &Change| matches!(change, Change::Down(_, Departure::Silent));
        self.changes.iter().filter(|(_, _, change)| silent(change)).count()
    }

    fn told(&self) -> String {
        let seen = |place: usize| format!("{place}: {:?}", self.members[place].as_ref().map(Membership::members));
        (0..self.members.len()).map(seen).collect::<Vec<_>>().join("\n")
    }
}

/// The longest time, over many seeds, until all that are left know that three of six are dead.
fn time_to_notice(seeds: u64, loss: f64, settings: Settings) -> (Duration, Duration) {
    let times: Vec<Duration> = (0..seeds)
        .map(|seed| {
            let mut network = Network::joined(6, seed, settings);
            network.loss = loss;
            let quiet = seconds(network.rng.random_range(0.5..3.0));
            network.run(quiet);
            for place in [1, 3, 5] {
                network.members[place] = None;
            }
            let took = network.run_until(seconds(30.0), |network| network.all_see(3));
            took.unwrap_or_else(|| panic!("seed {seed}: {}", network.told()))
        })
        .collect();
    (times.iter().sum::<Duration>() / seeds as u32, times.iter().copied().max().unwrap_or_default())
}

/// How many of six were wrongly taken for dead per minute and member, and the bytes that each sent per second.
fn mistakes(seeds: std::ops::Range<u64>, minutes: u64, loss: f64, settings: Settings) -> (usize, f64, f64) {
    let (mut wrong, mut bytes, runs) = (0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let mut network = Network::joined(6, seed, settings);
        network.loss = loss;
        network.changes.clear();
        network.bytes = 0;
        network.run(Duration::from_secs(60 * minutes));
        wrong += network.wrongly_down();
        bytes += network.bytes;
    }
    let member_minutes = (6 * minutes * runs) as f64;
    // Each that was taken for dead is told of by up to five others: the bar is about members, this counts more.
    (wrong, wrong as f64 / member_minutes, bytes as f64 / member_minutes / 60.0)
}

#[test]
fn all_find_each_other_in_any_order_of_joining() {
    for seed in 0..50 {
        let mut network = Network::new(8, seed, Settings::default());
        network.loss = 0.1;
        // Each knows one that may not know anyone yet, and the first knows the last.
        for place in 0..8 {
            let pause = seconds(network.rng.random_range(0.0..2.0));
            network.join(place, (place + 1) % 8);
            network.run(pause);
        }
        let took = network.run_until(seconds(20.0), |network| network.all_see(8));
        assert!(took.is_some(), "seed {seed}: {}", network.told());
    }
}

#[test]
fn three_of_six_that_die_are_noticed_in_two_seconds() {
    let (_, longest) = time_to_notice(200, 0.0, Settings::default());
    assert!(longest <= seconds(2.0), "{longest:?}");
}

#[test]
fn the_living_are_seldom_taken_for_dead() {
    assert_eq!(mistakes(0..1, 10, 0.03, Settings::default()).0, 0);
    let (_, rate, _) = mistakes(0..10, 10, 0.3, Settings::default());
    assert!(rate <= 0.01, "{rate} per member and minute");
}

/// Prints how the bars are met: `cargo test --release --lib membership -- --ignored --nocapture table`.
#[test]
#[ignore = "it measures, for minutes"]
fn table_of_what_settings_do() {
    println!(
        "probe ms  suspicion ms  mean s  longest s  at 10 % loss  wrong at 3 %  at 30 % /min  B/s  B/s at 30 %"
    );
    for (probe, suspicion) in
        [(100, 800), (100, 1000), (150, 800), (150, 900), (150, 1000), (200, 800), (200, 1000)]
    {
        let settings = Settings {
            probe_period: Duration::from_millis(probe),
            suspicion: Duration::from_millis(suspicion),
            ..Settings::default()
        };
        let (mean, longest) = time_to_notice(200, 0.0, settings);
        let (_, lossy) = time_to_notice(200, 0.1, settings);
        let (wrong, _, bytes) = mistakes(0..10, 10, 0.03, settings);
        let (_, rate, bytes_lossy) = mistakes(0..20, 10, 0.3, settings);
        println!(
            "{probe:>8}  {suspicion:>12}  {:>6.2}  {:>9.2}  {:>12.2}  {wrong:>12}  {rate:>12.5}  {bytes:>4.0}  {bytes_lossy:>4.0}",
            mean.as_secs_f64(),
            longest.as_secs_f64(),
            lossy.as_secs_f64(),
        );
    }
}
