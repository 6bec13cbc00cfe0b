//! Owns the plan: what to copy and what to let go, so that each blob is where it belongs.

use super::{Members, NodeKey};
use crate::types::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Blobs, and the nodes at which something is so.
pub type Places = BTreeMap<Digest, BTreeSet<NodeKey>>;

/// A blob that is to have copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// How many copies; 0 for one that nobody needs any more.
    pub copies: usize,
    /// It has just been put: the limit on bytes is not for its first copies.
    pub fresh: bool,
}

/// What the plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The nodes that answer, and of which it is known what they hold.
    pub members: &'a Members,
    /// Where copies are, also at nodes that do not answer.
    pub held: &'a Places,
    /// Where something was ordered that has not been answered.
    pub in_flight: &'a Places,
    /// Where a copy could not be made lately.
    pub refused: &'a Places,
}

/// How much may be ordered.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Orders without an answer, for each node; twice as many while there are fresh blobs.
    pub per_node: usize,
    /// Bytes of copies of blobs that are not fresh. An order is given as long as this is above zero, however large.
    pub bytes: i64,
}

/// Something that a node is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tell what you hold.
    List {
        /// Who.
        at: NodeKey,
    },
    /// Hold a copy.
    Copy {
        /// Of what.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// Who.
        to: NodeKey,
        /// Nodes that have it, the heaviest first.
        from: Vec<NodeKey>,
        /// It restores or moves a copy: its bytes count.
        counted: bool,
    },
    /// Let a copy go.
    Release {
        /// Of what.
        digest: Digest,
        /// Who.
        at: NodeKey,
    },
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The orders, the most urgent first.
    pub orders: Vec<Order>,
    /// Blobs for which something is left to order once more is allowed.
    pub left: Vec<Digest>,
}

/// Plans for some blobs: each is planned for by itself, those with the fewest copies first.
pub fn plan(wanted: &[Wanted], situation: &Situation<'_>, allowance: Allowance) -> Plan {
    let none = BTreeSet::new();
    let mut waiting: BTreeMap<&NodeKey, usize> = BTreeMap::new();
    situation.in_flight.values().flatten().for_each(|node| *waiting.entry(node).or_default() += 1);
    let mut bytes = allowance.bytes;
    let mut by_need: Vec<(usize, &Wanted)> =
        wanted.iter().map(|blob| (situation.live(&blob.digest).count(), blob)).collect();
    by_need.sort_by_key(|(live, blob)| (*live, !blob.fresh, blob.digest));
    let mut plan = Plan::default();
    for (_, blob) in by_need {
        let live: BTreeSet<&NodeKey> = situation.live(&blob.digest).collect();
        let refused = situation.refused.get(&blob.digest).unwrap_or(&none);
        let in_flight = situation.in_flight.get(&blob.digest).unwrap_or(&none);
        let may = |node: &&NodeKey| live.contains(*node) || !refused.contains(*node);
        let ranked: Vec<&NodeKey> = situation.members.ranked(&blob.digest).filter(may).collect();
        let belongs = &ranked[..ranked.len().min(blob.copies)];
        let mut left = false;
        for &to in belongs.iter().filter(|node| !live.contains(**node)) {
            if in_flight.contains(to) {
                continue;
            }
            let waits = waiting.entry(to).or_default();
            let room = if blob.fresh { allowance.per_node.saturating_mul(2) } else { allowance.per_node };
            if *waits >= room || (!blob.fresh && bytes <= 0) {
                left = true;
                continue;
            }
            *waits += 1;
            let counted = !blob.fresh;
            if counted {
                bytes = bytes.saturating_sub_unsigned(blob.size);
            }
            let from = ranked.iter().filter(|node| live.contains(**node)).map(|&node| node.clone()).collect();
            plan.orders.push(Order::Copy { digest: blob.digest, size: blob.size, to: to.clone(), from, counted });
        }
        if belongs.iter().all(|node| live.contains(*node)) {
            let surplus = live.into_iter().filter(|node| !belongs.contains(node) && !in_flight.contains(*node));
            plan.orders.extend(surplus.map(|at| Order::Release { digest: blob.digest, at: at.clone() }));
        }
        if left {
            plan.left.push(blob.digest);
        }
    }
    plan
}

impl<'a> Situation<'a> {
    /// The nodes that answer and have a blob, ascending.
    fn live(&self, digest: &Digest) -> impl Iterator<Item = &'a NodeKey> + use<'a> {
        let members = self.members;
        self.held.get(digest).into_iter().flatten().filter(|node| members.contains(node))
    }
}
