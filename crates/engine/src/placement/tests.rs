//! Owns the tests of placement: nodes come, go and fill up, and copies end where they belong.

use super::*;
use crate::types::{Digest, Time};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn node(number: usize) -> NodeKey {
    NodeKey::new(&format!("10.0.0.{number}:9091"))
}

fn blob(number: usize) -> Digest {
    Digest::of(&number.to_le_bytes())
}

#[test]
fn the_rule_is_the_same_for_ever() {
    let members: Vec<NodeKey> = (0..6).map(node).collect();
    // Copies lie where an older version has put them: these places must not change.
    assert_eq!(holders(&blob(0), &members, 4), FIRST);
    assert_eq!(holders(&blob(1), &members, 9).len(), 6);
    assert_eq!(holders(&blob(1), &[], 4), [0; 0]);
}

const FIRST: [usize; 4] = [2, 1, 5, 4];

#[test]
fn copies_are_spread_evenly_and_few_move() {
    let members: Vec<NodeKey> = (0..10).map(node).collect();
    let mut counts = [0; 10];
    let mut moved = 0;
    for number in 0..4000 {
        let before: BTreeSet<usize> = holders(&blob(number), &members, 4).into_iter().collect();
        before.iter().for_each(|&place| counts[place] += 1);
        // The last one goes.
        let after: BTreeSet<usize> = holders(&blob(number), &members[..9], 4).into_iter().collect();
        moved += after.difference(&before).count();
        assert_eq!(after.difference(&before).count(), usize::from(before.contains(&9)), "only what it held moves");
    }
    assert!(counts.iter().all(|count| (1450..1750).contains(count)), "{counts:?}");
    assert!((1450..1750).contains(&moved), "{moved}");
}

/// Nodes with disks, and a coordinator that has some of the blobs; orders are carried out at once.
struct World {
    keeper: Keeper,
    disks: BTreeMap<NodeKey, BTreeSet<Digest>>,
    up: BTreeSet<NodeKey>,
    own: BTreeSet<Digest>,
    /// Cannot take any more.
    full: BTreeSet<NodeKey>,
    now: Time,
    copied: Vec<(Duration, u64)>,
}

impl World {
    fn new(nodes: usize, settings: Settings) -> Self {
        let now = Time(Duration::from_secs(100));
        let mut world = Self {
            keeper: Keeper::new(settings, now),
            disks: (0..nodes).map(|number| (node(number), BTreeSet::new())).collect(),
            up: BTreeSet::new(),
            own: BTreeSet::new(),
            full: BTreeSet::new(),
            now,
            copied: Vec::new(),
        };
        (0..nodes).for_each(|number| world.start(&node(number)));
        world
    }

    fn start(&mut self, node: &NodeKey) {
        self.up.insert(node.clone());
        self.keeper.node_up(node.clone());
    }

    fn stop(&mut self, node: &NodeKey) {
        self.up.remove(node);
        self.keeper.node_down(node);
    }

    fn put(&mut self, digest: Digest, size: u64, copies: usize) {
        self.own.insert(digest);
        self.keeper.want(digest, size, copies, true);
    }

    fn live(&self, digest: &Digest) -> BTreeSet<NodeKey> {
        self.up.iter().filter(|node| self.disks[node].contains(digest)).cloned().collect()
    }

    /// One look, 100 ms after the last.
    fn step(&mut self) -> usize {
        self.now = self.now + Duration::from_millis(100);
        let orders = self.keeper.orders(self.now);
        for order in &orders {
            let outcome = self.carry_out(order);
            self.keeper.done(order, outcome, self.now);
        }
        orders.iter().filter(|order| !matches!(order, Order::List { .. })).count()
    }

    fn carry_out(&mut self, order: &Order) -> Outcome {
        let (Order::List { at } | Order::Release { at, .. } | Order::Copy { to: at, .. }) = order;
        if !self.up.contains(at) {
            return Outcome::Lost;
        }
        match order {
            Order::List { .. } => {
                let held = self.disks[at].clone();
                self.keeper.listed(at, &held, self.now);
            }
            Order::Release { digest, .. } => {
                let live = self.live(digest);
                let others = live.iter().filter(|node| *node != at).count();
                assert!(others > 0 || !self.keeper.wants(digest), "the last copy of {digest} is not let go");
                self.disks.get_mut(at).unwrap().remove(digest);
            }
            Order::Copy { digest, from, size, counted, .. } => {
                assert!(!from.contains(at));
                let has = |node: &NodeKey| self.up.contains(node) && self.disks[node].contains(digest);
                if self.full.contains(at) || !(self.own.contains(digest) || from.iter().any(has)) {
                    return Outcome::Refused;
                }
                if *counted {
                    self.copied.push((self.now.0, *size));
                }
                self.disks.get_mut(at).unwrap().insert(*digest);
            }
        }
        Outcome::Done
    }

    /// Goes on until a minute passes without an order.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            quiet = if self.step() == 0 { quiet + 1 } else { 0 };
            if quiet > 350 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn belongs(&self, digest: &Digest, copies: usize) -> BTreeSet<NodeKey> {
        let up: Vec<NodeKey> = self.up.iter().cloned().collect();
        holders(digest, &up, copies).into_iter().map(|place| up[place].clone()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_three_may_go(
        nodes in 4usize..9,
        blobs in 1usize..40,
        gone in proptest::collection::btree_set(0usize..9, 3),
        coordinator_has_them in any::<bool>(),
    ) {
        let mut world = World::new(nodes, Settings::default());
        (0..blobs).for_each(|number| world.put(blob(number), 1 << 20, 4));
        world.settle();
        for number in 0..blobs {
            prop_assert_eq!(world.live(&blob(number)), world.belongs(&blob(number), 4));
        }
        if !coordinator_has_them {
            world.own.clear();
        }
        for number in gone {
            world.stop(&node(number % nodes));
        }
        for number in 0..blobs {
            prop_assert!(!world.live(&blob(number)).is_empty(), "one of four is left");
        }
        world.settle();
        for number in 0..blobs {
            prop_assert_eq!(world.live(&blob(number)), world.belongs(&blob(number), 4), "as many as there can be");
        }
        (0..nodes).for_each(|number| world.start(&node(number)));
        world.settle();
        for number in 0..blobs {
            prop_assert_eq!(world.live(&blob(number)), world.belongs(&blob(number), 4), "surplus is let go");
        }
    }

    #[test]
    fn whatever_happens_it_comes_to_rest(events in proptest::collection::vec((0usize..6, 0u8..6, 0usize..8), 1..60)) {
        let mut world = World::new(6, Settings::default());
        let mut put = BTreeMap::new();
        for (number, what, which) in events {
            match what {
                0 => world.stop(&node(number)),
                1 => world.start(&node(number)),
                2 => {
                    let copies = 1 + number.min(3);
                    world.put(blob(which), 1 << 16, copies);
                    let before = put.entry(blob(which)).or_insert(copies);
                    *before = copies.max(*before);
                }
                3 => {
                    // Its disk is lost while it is away.
                    world.stop(&node(number));
                    world.disks.insert(node(number), BTreeSet::new());
                    world.start(&node(number));
                }
                4 => {
                    let needed: BTreeSet<Digest> = put.keys().copied().filter(|digest| *digest != blob(which)).collect();
                    world.keeper.want_only(&needed);
                    put.remove(&blob(which));
                }
                _ => {
                    world.step();
                }
            }
        }
        (0..6).for_each(|number| world.start(&node(number)));
        world.settle();
        for number in 0..8 {
            let copies = put.get(&blob(number)).copied().unwrap_or(0);
            prop_assert_eq!(world.live(&blob(number)), world.belongs(&blob(number), copies), "{} copies", copies);
        }
    }
}

#[test]
fn what_is_restored_is_limited_and_what_is_put_is_not() {
    let settings = Settings { restore_rate: 10 << 20, per_node: 1000, ..Settings::default() };
    let mut world = World::new(6, settings);
    world.settle();
    let start = world.now.0;
    (0..100).for_each(|number| world.put(blob(number), 1 << 20, 4));
    world.step();
    world.step();
    assert!((0..100).all(|number| world.live(&blob(number)).len() == 4), "400 MiB at once");
    assert!(world.now.0 - start < Duration::from_secs(1) && world.copied.is_empty());
    world.stop(&node(2));
    world.settle();
    let total: u64 = world.copied.iter().map(|(_, size)| size).sum();
    assert!(total > 50 << 20, "{total}");
    let took = world.copied.last().unwrap().0 - world.copied[0].0;
    // A second's worth is there at the start, and the last order may go over.
    let least = Duration::from_secs_f64((total as f64 - (12 << 20) as f64) / (10 << 20) as f64);
    assert!(took >= least, "{total} bytes in {took:?}");
    assert!(took < least + Duration::from_secs(3), "{total} bytes in {took:?}");
}

#[test]
fn a_blob_larger_than_a_second_s_worth_is_restored_too() {
    let mut world = World::new(5, Settings { restore_rate: 1 << 20, ..Settings::default() });
    // The nodes are known before, so that only what is restored counts.
    world.settle();
    world.put(blob(0), 1 << 30, 2);
    world.settle();
    let first = world.live(&blob(0)).into_iter().next().unwrap();
    world.stop(&first);
    world.settle();
    assert_eq!(world.live(&blob(0)).len(), 2);
}

#[test]
fn a_full_node_is_passed_over_until_it_has_room() {
    let mut world = World::new(5, Settings::default());
    let best = world.belongs(&blob(0), 1).into_iter().next().unwrap();
    world.full.insert(best.clone());
    world.put(blob(0), 1000, 4);
    for _ in 0..30 {
        world.step();
    }
    assert_eq!(world.live(&blob(0)).len(), 4, "another one took it");
    assert!(!world.live(&blob(0)).contains(&best));
    world.full.clear();
    for _ in 0..600 {
        world.step();
    }
    assert_eq!(world.live(&blob(0)), world.belongs(&blob(0), 4), "then it goes where it belongs");
}

#[test]
fn those_with_the_fewest_copies_come_first() {
    let members = Members::new((0..6).map(node));
    let mut held = Places::new();
    for number in 0..3 {
        let at = members.ranked(&blob(number)).take(3 - number).cloned().collect();
        held.insert(blob(number), at);
    }
    let wanted: Vec<Wanted> =
        (0..3).map(|number| Wanted { digest: blob(number), size: 10, copies: 4, fresh: false }).collect();
    let (in_flight, refused) = (Places::new(), Places::new());
    let situation = Situation { members: &members, held: &held, in_flight: &in_flight, refused: &refused };
    let made = plan(&wanted, &situation, Allowance { per_node: 9, bytes: 100 });
    let digests: Vec<Digest> = made
        .orders
        .iter()
        .map(|order| match order {
            Order::Copy { digest, .. } => *digest,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [2, 2, 2, 1, 1, 0].map(blob);
    assert_eq!(digests, expected);
    assert!(made.left.is_empty());
    let made = plan(&wanted, &situation, Allowance { per_node: 9, bytes: 15 });
    assert_eq!((made.orders.len(), made.left.len()), (2, 3), "the second goes over, the third must wait");
}

#[test]
fn a_hundred_thousand_blobs_are_planned_for_in_little_time() {
    let mut keeper = Keeper::new(Settings::default(), Time::default());
    let digests: Vec<Digest> = (0..100_000).map(blob).collect();
    digests.iter().for_each(|&digest| keeper.want(digest, 1000, 4, false));
    (0..8).for_each(|number| keeper.node_up(node(number)));
    let now = Time(Duration::from_secs(10));
    for order in keeper.orders(now) {
        let Order::List { at } = &order else { panic!("{order:?}") };
        keeper.listed(at, &BTreeSet::new(), now);
    }
    let start = std::time::Instant::now();
    let orders = keeper.orders(now);
    assert_eq!(orders.len(), 8 * Settings::default().per_node);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}
