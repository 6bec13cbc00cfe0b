//! Owns what is known of copies: which blobs are to have how many, where they are, what was ordered; told of events,
//! it answers with orders.

use super::queue::Queue;
use super::{Allowance, Bucket, Members, NodeKey, Order, Places, Situation, Wanted, plan};
use crate::types::{Digest, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a [`Keeper`] is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes in a second of copies that are restored or moved; the first copies of what is put are not limited.
    pub restore_rate: u64,
    /// Orders without an answer, for each node.
    pub per_node: usize,
    /// Nothing is restored or moved in this time after the start, so that nodes that are there anyway can be found.
    pub settle: Duration,
    /// How long a node is not asked again for a copy that it could not make.
    pub refused: Duration,
    /// How often a node is asked what it holds, though nothing tells that it has changed.
    pub list_again: Duration,
}

impl Default for Settings {
    /// 200 MiB/s, 32 orders for each node, 2 s to settle, half a minute after a refusal, lists every 20 s.
    fn default() -> Self {
        Self {
            restore_rate: 200 << 20,
            per_node: 32,
            settle: Duration::from_secs(2),
            refused: Duration::from_secs(30),
            list_again: Duration::from_secs(20),
        }
    }
}

/// How many blobs are looked at in one go; and after how many that must wait it is taken that there is no room.
const AT_ONCE: usize = 1024;
/// How long after a connection broke the same is asked for again.
const LOST: Duration = Duration::from_secs(1);

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The node answers, but cannot do it now.
    Refused,
    /// The node did not answer: what it holds must be asked again.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Want {
    size: u64,
    copies: usize,
    fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is to be asked what it holds at this time.
    Due(Time),
    /// It has been asked.
    Asked,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    wanted: BTreeMap<Digest, Want>,
    nodes: BTreeMap<NodeKey, Standing>,
    /// Those of `nodes` that have been listed once.
    members: Members,
    known: BTreeSet<NodeKey>,
    held: Places,
    in_flight: Places,
    refused: Places,
    /// The same as `refused`, by when it ends.
    pardons: BTreeSet<(Time, Digest, NodeKey)>,
    /// Blobs to look at again: the fresh ones first, then those with the fewest copies.
    touched: Queue,
    bucket: Bucket,
    settled: Time,
}

impl Keeper {
    /// Knows nothing yet.
    pub fn new(settings: Settings, now: Time) -> Self {
        Self {
            bucket: Bucket::new(settings.restore_rate, now),
            settled: now + settings.settle,
            settings,
            wanted: BTreeMap::new(),
            nodes: BTreeMap::new(),
            members: Members::default(),
            known: BTreeSet::new(),
            held: Places::new(),
            in_flight: Places::new(),
            refused: Places::new(),
            pardons: BTreeSet::new(),
            touched: Queue::default(),
        }
    }

    /// A blob is to have this many copies, or those that it was to have before if they are more. `fresh`: it has just
    /// been put.
    pub fn want(&mut self, digest: Digest, size: u64, copies: usize, fresh: bool) {
        let before = self.wanted.get(&digest).map_or(0, |want| want.copies);
        self.wanted.insert(digest, Want { size, copies: copies.max(before), fresh });
        self.touch(digest);
    }

    /// Nobody needs any blob but these: the copies of others are let go, wherever they are.
    pub fn want_only(&mut self, needed: &BTreeSet<Digest>) {
        let unneeded = self.wanted.keys().chain(self.held.keys()).filter(|digest| !needed.contains(digest));
        for digest in unneeded.copied().collect::<Vec<_>>() {
            self.wanted.insert(digest, Want { size: 0, copies: 0, fresh: false });
            self.touch(digest);
        }
    }

    /// A node answers. What it holds is asked if it did not answer before.
    pub fn node_up(&mut self, node: NodeKey) {
        self.nodes.entry(node).or_insert(Standing::Due(Time::default()));
    }

    /// A node does not answer.
    pub fn node_down(&mut self, node: &NodeKey) {
        if self.nodes.remove(node).is_some() && self.known.remove(node) {
            self.members_changed();
        }
        self.pardons.retain(|(_, _, refusing)| refusing != node);
        remove_everywhere(&mut self.refused, node);
    }

    /// What a node holds may have changed: it is asked.
    pub fn doubt(&mut self, node: &NodeKey) {
        if let Some(standing @ Standing::Due(_)) = self.nodes.get_mut(node) {
            // Not at once for one that is new: see `has_settled`.
            *standing = Standing::Due(Time(Duration::from_nanos(1)));
        }
    }

    /// What a node holds: all of it.
    pub fn listed(&mut self, node: &NodeKey, digests: &BTreeSet<Digest>, now: Time) {
        let Some(standing) = self.nodes.get_mut(node) else { return };
        *standing = Standing::Due(now + self.settings.list_again);
        let mut changed = BTreeSet::new();
        // What was ordered meanwhile may have changed what it holds since it told.
        let unsure = |digest: &Digest| self.in_flight.get(digest).is_some_and(|nodes| nodes.contains(node));
        self.held.retain(|digest, at| {
            if !digests.contains(digest) && !unsure(digest) && at.remove(node) {
                changed.insert(*digest);
            }
            !at.is_empty()
        });
        for digest in digests.iter().filter(|digest| !unsure(digest)) {
            if self.held.entry(*digest).or_default().insert(node.clone()) {
                changed.insert(*digest);
            }
        }
        changed.into_iter().for_each(|digest| self.touch(digest));
        if self.known.insert(node.clone()) {
            self.members_changed();
        }
    }

    /// What came of an order.
    pub fn done(&mut self, order: &Order, outcome: Outcome, now: Time) {
        let (digest, node, copied) = match order {
            Order::List { at } => {
                if let Some(standing) = self.nodes.get_mut(at)
                    && *standing == Standing::Asked
                {
                    // Of a success `listed` has told. One that refuses is of another kind or version.
                    let again = if outcome == Outcome::Refused { self.settings.list_again } else { LOST };
                    *standing = Standing::Due(now + again);
                }
                return;
            }
            Order::Copy { digest, to, .. } => (digest, to, true),
            Order::Release { digest, at } => (digest, at, false),
        };
        remove(&mut self.in_flight, digest, node);
        match outcome {
            Outcome::Done if copied => {
                self.held.entry(*digest).or_default().insert(node.clone());
            }
            Outcome::Done => remove(&mut self.held, digest, node),
            Outcome::Refused | Outcome::Lost => {
                if self.nodes.contains_key(node) {
                    let until = now + if outcome == Outcome::Lost { LOST } else { self.settings.refused };
                    self.refused.entry(*digest).or_default().insert(node.clone());
                    self.pardons.insert((until, *digest, node.clone()));
                }
            }
        }
        if let (Outcome::Lost, Some(standing)) = (outcome, self.nodes.get_mut(node)) {
            *standing = Standing::Due(now);
        }
        self.touch(*digest);
    }

    /// What is to be done now. Each order is to be answered by [`Keeper::done`].
    pub fn orders(&mut self, now: Time) -> Vec<Order> {
        let mut orders = self.lists(now);
        self.pardon(now);
        let settled = self.has_settled(now);
        let mut left = 0;
        let mut looked_at = self.touched.all();
        while !looked_at.is_empty() && left <= AT_ONCE {
            let some = looked_at.drain(..looked_at.len().min(AT_ONCE));
            let wants = some.filter_map(|digest| Some((digest, *self.wanted.get(&digest)?)));
            let wanted: Vec<Wanted> = wants
                .filter(|(_, want)| settled || want.fresh)
                .map(|(digest, Want { size, copies, fresh })| Wanted { digest, size, copies, fresh })
                .collect();
            let situation = Situation {
                members: &self.members,
                held: &self.held,
                in_flight: &self.in_flight,
                refused: &self.refused,
            };
            let allowance = Allowance { per_node: self.settings.per_node, bytes: self.bucket.level(now) };
            let plan = plan(&wanted, &situation, allowance);
            wanted.iter().for_each(|blob| self.touched.remove(&blob.digest));
            plan.orders.iter().for_each(|order| self.ordered(order));
            left += plan.left.len();
            plan.left.into_iter().for_each(|digest| self.touch(digest));
            wanted.iter().for_each(|blob| self.grow_old(&blob.digest));
            orders.extend(plan.orders);
        }
        orders
    }

    /// How long nothing is to be done if nothing happens; at most a second.
    pub fn pause(&mut self, now: Time) -> Duration {
        let longest = Duration::from_secs(1);
        // What waits for room at a node is looked at again when the node answers.
        let due = match self.bucket.level(now) {
            _ if self.touched.is_empty() => longest,
            _ if now < self.settled => self.settled.since(now),
            level if level <= 0 => self.bucket.wait(),
            _ => longest,
        };
        due.clamp(Duration::from_millis(10), longest)
    }

    /// Which nodes there are is about to be found out anew: until the time to settle is over nothing is restored.
    pub fn settle(&mut self, now: Time) {
        self.settled = now + self.settings.settle;
    }

    /// The nodes that answer and have a copy, ascending.
    pub fn holders(&self, digest: &Digest) -> Vec<NodeKey> {
        let held = self.held.get(digest).into_iter().flatten();
        held.filter(|node| self.members.contains(node)).cloned().collect()
    }

    /// Whether a blob is where it belongs at `now`, as far as there are nodes that take it.
    pub fn is_settled(&self, digest: &Digest, now: Time) -> bool {
        self.has_settled(now) && !self.touched.contains(digest) && !self.in_flight.contains_key(digest)
    }

    /// Whether a blob is to have copies.
    pub fn wants(&self, digest: &Digest) -> bool {
        self.wanted.get(digest).is_some_and(|want| want.copies > 0)
    }

    /// The bytes of a blob that is to have copies.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.wanted.get(digest).filter(|want| want.copies > 0).map(|want| want.size)
    }

    /// The nodes that answer and have told what they hold.
    pub fn members(&self) -> &[NodeKey] {
        self.members.keys()
    }

    fn members_changed(&mut self) {
        self.members = Members::new(self.known.iter().cloned());
        let all: Vec<Digest> = self.wanted.keys().copied().collect();
        all.into_iter().for_each(|digest| self.touch(digest));
    }

    /// Whether what there is was found: the time to settle is over, and no new node is about to tell what it holds.
    fn has_settled(&self, now: Time) -> bool {
        let telling = |(node, standing): (&NodeKey, &Standing)| {
            !self.known.contains(node) && matches!(standing, Standing::Asked | Standing::Due(Time(Duration::ZERO)))
        };
        now >= self.settled && !self.nodes.iter().any(telling)
    }

    /// Puts a blob among those to look at, if it is wanted or no longer wanted anywhere.
    fn touch(&mut self, digest: Digest) {
        let Some(want) = self.wanted.get(&digest) else { return };
        let live = self.held.get(&digest).into_iter().flatten().filter(|node| self.members.contains(node)).count();
        self.touched.insert(digest, if want.fresh { 0 } else { 1 + live });
    }

    /// Orders of lists.
    fn lists(&mut self, now: Time) -> Vec<Order> {
        let due = |standing: &Standing| matches!(standing, Standing::Due(at) if *at <= now);
        let mut orders = Vec::new();
        for (node, standing) in self.nodes.iter_mut().filter(|(_, standing)| due(standing)) {
            *standing = Standing::Asked;
            orders.push(Order::List { at: node.clone() });
        }
        orders
    }

    fn pardon(&mut self, now: Time) {
        while let Some((until, digest, node)) = self.pardons.first().cloned()
            && until <= now
        {
            self.pardons.pop_first();
            remove(&mut self.refused, &digest, &node);
            self.touch(digest);
        }
    }

    fn ordered(&mut self, order: &Order) {
        match order {
            Order::List { .. } => {}
            Order::Copy { digest, to, size, counted, .. } => {
                self.in_flight.entry(*digest).or_default().insert(to.clone());
                if *counted {
                    self.bucket.take(*size);
                }
            }
            Order::Release { digest, at } => {
                self.in_flight.entry(*digest).or_default().insert(at.clone());
                // It is nobody's source any more.
                remove(&mut self.held, digest, at);
            }
        }
    }

    /// Once nothing is left to order for a fresh blob it is as any other; one that nobody needs and nobody holds is
    /// forgotten.
    fn grow_old(&mut self, digest: &Digest) {
        if !self.in_flight.contains_key(digest)
            && !self.touched.contains(digest)
            && let Some(want) = self.wanted.get_mut(digest)
        {
            want.fresh = false;
            if want.copies == 0 && !self.held.contains_key(digest) {
                self.wanted.remove(digest);
            }
        }
    }
}

fn remove(places: &mut Places, digest: &Digest, node: &NodeKey) {
    if let Some(nodes) = places.get_mut(digest) {
        nodes.remove(node);
        if nodes.is_empty() {
            places.remove(digest);
        }
    }
}

fn remove_everywhere(places: &mut Places, node: &NodeKey) {
    places.retain(|_, nodes| {
        nodes.remove(node);
        !nodes.is_empty()
    });
}
