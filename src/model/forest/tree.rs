//! Owns one tree as it is used: flat arrays, made of what has grown, with what pruning leaves of it.

use super::grow::{Grown, LEAF, Raw};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Rows go on from it.
    Inner,
    /// A leaf of one class.
    Pure,
    /// A leaf of several.
    Mixed,
}

/// A node, in 12 bytes: what is read of it at once lies together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Rows go left if their value is at most this; 0 in leaves.
    pub(super) threshold: f32,
    /// The left child, after which comes the right one; the class of a pure leaf; the number of a mixed one.
    pub(super) next: u32,
    /// The feature whose value it is; 0 in leaves.
    pub(super) feature: u16,
    pub(super) kind: Kind,
}

/// A tree: the root first, children after their parents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Where the classes of each mixed leaf begin, and where the last one's end.
    pub(super) begins: Vec<u32>,
    /// The classes in mixed leaves, ascending in each.
    pub(super) classes: Vec<u16>,
    /// Their shares, which add up to 1 in each leaf.
    pub(super) shares: Vec<f32>,
}

impl Tree {
    /// The tree that is left of what has grown if it is pruned by `alpha`, of so many classes; adds to the features'
    /// `importances` what it says of them, which adds up to 1.
    pub(super) fn of(raw: &Raw, alpha: f64, classes: usize, importances: &mut [f64]) -> Self {
        let cut = if alpha > 0.0 { cuts(&raw.nodes, alpha) } else { Vec::new() };
        let is_inner = |place: u32| {
            raw.nodes[place as usize].feature != LEAF && !cut.get(place as usize).copied().unwrap_or(false)
        };
        let mut tree = Self { nodes: Vec::new(), begins: vec![0], classes: Vec::new(), shares: Vec::new() };
        let mut gains = vec![0.0; importances.len()];
        // Which node has grown as each of the tree.
        let mut origin = vec![0_u32];
        let mut sum = vec![0_u64; if cut.is_empty() { 0 } else { classes }];
        let mut place = 0;
        while let Some(&from) = origin.get(place) {
            let grown = &raw.nodes[from as usize];
            if is_inner(from) {
                let next = origin.len() as u32;
                origin.extend([grown.next, grown.next + 1]);
                let (feature, kind) = (grown.feature as u16, Kind::Inner);
                tree.nodes.push(Node { threshold: grown.threshold, next, feature, kind });
                gains[usize::from(feature)] += gain(&raw.nodes, grown);
            } else if grown.feature == LEAF {
                let all = raw.weights[grown.next as usize..].iter();
                tree.leaf(grown.sums.weight, all.map(|&(class, weight)| (class, u64::from(weight))));
            } else {
                add_leaves(raw, from, &mut sum);
                let all = (0..=u16::MAX).zip(&sum).filter(|&(_, &weight)| weight > 0);
                tree.leaf(grown.sums.weight, all.map(|(class, &weight)| (class, weight)));
                sum.fill(0);
            }
            place += 1;
        }
        tree.nodes.shrink_to_fit();
        tree.begins.shrink_to_fit();
        tree.classes.shrink_to_fit();
        tree.shares.shrink_to_fit();
        let all: f64 = gains.iter().sum();
        if all > 0.0 {
            importances.iter_mut().zip(gains).for_each(|(to, gain)| *to += gain / all);
        }
        tree
    }

    /// Adds a leaf of so much weight: the first of `weights`, ascending, that make it up.
    fn leaf(&mut self, all: u64, weights: impl Iterator<Item = (u16, u64)>) {
        let mut left = all;
        let node = |next, kind| Node { threshold: 0.0, next, feature: 0, kind };
        for (class, weight) in weights {
            if weight == all {
                return self.nodes.push(node(u32::from(class), Kind::Pure));
            }
            self.classes.push(class);
            self.shares.push((weight as f64 / all as f64) as f32);
            left -= weight;
            if left == 0 {
                break;
            }
        }
        self.nodes.push(node(self.begins.len() as u32 - 1, Kind::Mixed));
        self.begins.push(self.classes.len() as u32);
    }

    /// The classes of a mixed leaf and their shares.
    pub(super) fn mixed(&self, leaf: u32) -> impl Iterator<Item = (u16, f32)> + '_ {
        let range = self.begins[leaf as usize] as usize..self.begins[leaf as usize + 1] as usize;
        self.classes[range.clone()].iter().copied().zip(self.shares[range].iter().copied())
    }

    /// How much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let Self { nodes, begins, classes, shares } = self;
        size_of::<Node>() * nodes.capacity()
            + 4 * begins.capacity()
            + 2 * classes.capacity()
            + 4 * shares.capacity()
            + size_of::<Self>()
    }
}

/// The sum of the squares of the classes' weights by the weight.
fn quotient(node: &Grown) -> f64 {
    node.sums.squares as f64 / node.sums.weight as f64
}

/// By how much splitting it lowers the impurity, times its weight.
fn gain(nodes: &[Grown], node: &Grown) -> f64 {
    quotient(&nodes[node.next as usize]) + quotient(&nodes[node.next as usize + 1]) - quotient(node)
}

/// Which nodes minimal cost-complexity pruning makes leaves, as in Breiman et al. 1984; those below them do not count.
///
/// The weakest links are cut until the next is stronger than `alpha`: what is left is the smallest of the subtrees whose
/// impurity plus `alpha` for each leaf is least, and this is found from the leaves up.
fn cuts(nodes: &[Grown], alpha: f64) -> Vec<bool> {
    let all = nodes[0].sums.weight as f64;
    let mut cut = vec![false; nodes.len()];
    // Impurity and leaves of what is left of each branch.
    let mut branches = vec![(0.0, 0.0); nodes.len()];
    for (place, node) in nodes.iter().enumerate().rev() {
        let alone = (node.sums.weight as f64 - quotient(node)) / all;
        branches[place] = (alone, 1.0);
        if node.feature == LEAF {
            continue;
        }
        let (left, right): ((f64, f64), (f64, f64)) =
            (branches[node.next as usize], branches[node.next as usize + 1]);
        let (impurity, leaves) = (left.0 + right.0, left.1 + right.1);
        if (alone - impurity) / (leaves - 1.0) <= alpha {
            cut[place] = true;
        } else {
            branches[place] = (impurity, leaves);
        }
    }
    cut
}

/// Adds the weights in all leaves below a node to those of the classes.
fn add_leaves(raw: &Raw, node: u32, to: &mut [u64]) {
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        let grown = &raw.nodes[node as usize];
        if grown.feature != LEAF {
            waiting.extend([grown.next, grown.next + 1]);
            continue;
        }
        let mut left = grown.sums.weight;
        for &(class, weight) in &raw.weights[grown.next as usize..] {
            to[usize::from(class)] += u64::from(weight);
            left -= u64::from(weight);
            if left == 0 {
                break;
            }
        }
    }
}
