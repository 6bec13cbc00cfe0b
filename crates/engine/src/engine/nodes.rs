//! Owns the list of nodes: who is in it, how many of them are ready and at work, and which have changed since policies
//! and timers were told.

use super::Action;
use super::node::Node;
use crate::ledger::{NodeCounts, NodeStanding, Span};
use crate::types::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};

/// How many addresses a message names for one trouble.
const NAMED: usize = 3;
/// A job may always have so many open tasks.
const LEAST_ROOM: usize = 16;

/// Nodes by their ids, which are never given twice.
#[derive(Default)]
pub(super) struct Nodes {
    known: BTreeMap<NodeId, Node>,
    by_address: BTreeMap<String, NodeId>,
    next: u32,
    counts: Counts,
    changed: BTreeSet<NodeId>,
    /// Those that the shell has not been told of.
    unconnected: Vec<NodeId>,
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) known: usize,
    pub(super) ready: usize,
    pub(super) busy: usize,
    /// Slots of those that are ready.
    pub(super) slots: usize,
}

impl Counts {
    fn add(&mut self, node: &Node) {
        self.known += usize::from(node.is_known());
        self.ready += usize::from(node.is_ready());
        self.busy += usize::from(!node.running.is_empty());
        self.slots += node.ready_slots();
    }

    fn subtract(&mut self, node: &Node) {
        self.known -= usize::from(node.is_known());
        self.ready -= usize::from(node.is_ready());
        self.busy -= usize::from(!node.running.is_empty());
        self.slots -= node.ready_slots();
    }
}

impl Nodes {
    /// The nodes that are looked for whatever members say.
    pub(super) fn fixed(addresses: &[String]) -> Self {
        let mut nodes = Self::default();
        for address in addresses {
            nodes.add(|id| Node::new(id, address, true));
        }
        nodes
    }

    fn add(&mut self, make: impl FnOnce(NodeId) -> Node) -> NodeId {
        let id = NodeId(self.next);
        let node = make(id);
        if let Some(&known) = self.by_address.get(&node.address) {
            return known;
        }
        self.next += 1;
        self.by_address.insert(node.address.clone(), id);
        self.counts.add(&node);
        if node.is_known() {
            self.unconnected.push(id);
        }
        self.changed.insert(id);
        self.known.insert(id, node);
        id
    }

    /// The node of this address, which members say is there.
    pub(super) fn join(&mut self, now: Time, address: &str) -> NodeId {
        let id = self.add(|id| Node::new(id, address, false));
        self.change(id, |node| node.joined(now));
        if self.get(id).is_some_and(|node| !node.is_connected) {
            self.unconnected.push(id);
        }
        id
    }

    /// The node of this address; if there is none, one that has gone.
    pub(super) fn remember(&mut self, address: &str) -> NodeId {
        self.add(|id| Node::remembered(id, address))
    }

    pub(super) fn by_address(&self, address: &str) -> Option<NodeId> {
        self.by_address.get(address).copied()
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.known.get(&id)
    }

    /// All changes go this way, so that nothing that is kept of a node is forgotten.
    pub(super) fn change<R>(&mut self, id: NodeId, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let node = self.known.get_mut(&id)?;
        self.counts.subtract(node);
        let result = change(node);
        self.counts.add(node);
        self.changed.insert(id);
        Some(result)
    }

    /// What is told of nodes has changed, though they have not.
    pub(super) fn touch_all(&mut self) {
        self.changed.extend(self.known.keys());
    }

    /// The nodes that have changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.changed)
    }

    /// Tells the shell of nodes that it does not know.
    pub(super) fn connect(&mut self, actions: &mut Vec<Action>) {
        for id in std::mem::take(&mut self.unconnected) {
            if let Some(node) = self.known.get_mut(&id).filter(|node| !node.is_connected) {
                node.is_connected = true;
                actions.push(Action::Connect { node: id, address: node.address.clone() });
            }
        }
    }

    /// Forgets a node that has gone, if nothing needs it any more; true if it is forgotten.
    pub(super) fn drop_if_gone(&mut self, id: NodeId, actions: &mut Vec<Action>) -> bool {
        if !self.known.get(&id).is_some_and(Node::may_be_dropped) {
            return false;
        }
        if let Some(node) = self.known.remove(&id) {
            self.counts.subtract(&node);
            self.by_address.remove(&node.address);
            if node.is_connected {
                actions.push(Action::Disconnect { node: id });
            }
        }
        true
    }

    /// How many are in the list, with those that have gone.
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    /// How many open tasks of one job are enough when each slot may have so many of them, and some may be lost.
    pub(super) fn room(&self, each: usize) -> usize {
        LEAST_ROOM.max(each * self.counts.slots + 4)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// All of them in the order of their ids.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.known.values()
    }

    /// All nodes of the cluster and all that a job had something of, for its report.
    pub(super) fn standings(
        &self,
        now: Time,
        counts: &BTreeMap<NodeId, NodeCounts>,
    ) -> (Vec<NodeId>, Vec<NodeStanding>) {
        let of_interest = |node: &&Node| node.is_known() || counts.contains_key(&node.id);
        let standing = |node: &Node| {
            let standing = NodeStanding {
                address: node.address.clone(),
                state: node.state(now).into(),
                software: node.software.clone(),
                counts: counts.get(&node.id).copied().unwrap_or_default(),
            };
            (node.id, standing)
        };
        self.known.values().filter(of_interest).map(standing).unzip()
    }

    /// Where the nodes of these spans are.
    pub(super) fn addresses(&self, spans: &[Span]) -> Vec<(NodeId, String)> {
        let nodes: BTreeSet<NodeId> = spans.iter().map(|span| span.node).collect();
        nodes.into_iter().filter_map(|id| Some((id, self.known.get(&id)?.address.clone()))).collect()
    }

    /// For the user: why no task is running though some wait.
    pub(super) fn why_nothing_moves(&self, now: Time) -> String {
        if self.counts.known == 0 {
            return "there are no compute nodes; name them in the coordinator's nodes file".to_owned();
        }
        let mut by_trouble: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in self.known.values().filter(|node| node.is_known()) {
            by_trouble.entry(node.trouble(now)).or_default().push(&node.address);
        }
        let of_trouble = |(trouble, addresses): (&&str, &Vec<&str>)| {
            let shown = addresses.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            match addresses.len().saturating_sub(NAMED) {
                0 => format!("{shown}: {trouble}"),
                more => format!("{shown} and {more} more: {trouble}"),
            }
        };
        let troubles: Vec<String> = by_trouble.iter().take(NAMED).map(of_trouble).collect();
        let more = if by_trouble.len() > NAMED { "; ..." } else { "" };
        format!("waiting for a compute node ({}{more})", troubles.join("; "))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert!(self.by_address.len() == self.known.len() && self.unconnected.is_empty());
        let mut counts = Counts::default();
        self.known.values().for_each(|node| counts.add(node));
        assert_eq!(counts, self.counts);
        self.known.len()
    }
}
