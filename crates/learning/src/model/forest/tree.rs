//! Owns one tree as it is used: flat arrays, made of what pruning leaves of what has grown.

use super::grow::{Grown, LEAF, Raw};

/// A child with this bit is a leaf; the rest is its number: of the leaves of one class its class, then come the tree's
/// leaves of several classes.
pub(super) const LEAF_BIT: u32 = 1 << 31;

/// A split, in 16 bytes: what is read of it at once lies together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Rows go left if their value is at most this.
    pub(super) threshold: f32,
    /// The feature whose value it is.
    pub(super) feature: u16,
    /// The left child and the right one: a later node, or a leaf.
    pub(super) children: [u32; 2],
}

/// A tree: children after their parents.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    /// Node 0, or a leaf.
    pub(super) root: u32,
    pub(super) nodes: Vec<Node>,
    /// Where the classes of each leaf of several classes begin, and where the last one's end.
    pub(super) begins: Vec<u32>,
    /// The classes in these leaves, ascending in each.
    pub(super) classes: Vec<u16>,
    /// Their shares, which add up to 1 in each leaf.
    pub(super) shares: Vec<f32>,
}

impl Tree {
    /// The tree that is left of what has grown if it is pruned by `alpha`; adds to the features' `importances` what it
    /// says of them, which adds up to 1.
    pub(super) fn of(raw: &Raw, alpha: f64, classes: usize, importances: &mut [f64]) -> Self {
        let cut = if alpha > 0.0 { cuts(&raw.nodes, alpha) } else { Vec::new() };
        let mut making = Making {
            raw,
            sum: vec![0; if cut.is_empty() { 0 } else { classes }],
            cut,
            origin: Vec::new(),
            leaves: classes as u32,
            tree: Self { root: 0, nodes: Vec::new(), begins: vec![0], classes: Vec::new(), shares: Vec::new() },
        };
        let mut gains = vec![0.0; importances.len()];
        making.tree.root = making.child(0);
        let mut place = 0;
        while let Some(&from) = making.origin.get(place) {
            let grown = &raw.nodes[from as usize];
            let children = [making.child(grown.next), making.child(grown.next + 1)];
            let feature = grown.feature as u16;
            making.tree.nodes.push(Node { threshold: grown.threshold, feature, children });
            gains[usize::from(feature)] += gain(&raw.nodes, grown);
            place += 1;
        }
        let mut tree = making.tree;
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

    /// The classes of a leaf of several, counted from 0, and their shares.
    pub(super) fn mixed(&self, leaf: usize) -> impl Iterator<Item = (u16, f32)> + '_ {
        let range = self.begins[leaf] as usize..self.begins[leaf + 1] as usize;
        self.classes[range.clone()].iter().copied().zip(self.shares[range].iter().copied())
    }

    /// How much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let Self { root: _, nodes, begins, classes, shares } = self;
        size_of::<Node>() * nodes.capacity()
            + 4 * begins.capacity()
            + 2 * classes.capacity()
            + 4 * shares.capacity()
            + size_of::<Self>()
    }
}

/// A tree that is made of what has grown.
struct Making<'a> {
    raw: &'a Raw,
    /// Which nodes are cut to leaves; empty if none are.
    cut: Vec<bool>,
    /// Which node has grown as each of the tree's; those that the tree does not have yet are still to come.
    origin: Vec<u32>,
    /// The weight of each class in a cut branch; between two of them 0.
    sum: Vec<u64>,
    /// The number of the next leaf of several classes.
    leaves: u32,
    tree: Tree,
}

impl Making<'_> {
    /// The child that a grown node becomes.
    fn child(&mut self, from: u32) -> u32 {
        let raw = self.raw;
        let grown = &raw.nodes[from as usize];
        if grown.feature == LEAF {
            let all = raw.weights[grown.next as usize..].iter();
            return self.leaf(grown.sums.weight, all.map(|&(class, weight)| (class, u64::from(weight))));
        }
        if self.cut.get(from as usize) == Some(&true) {
            let mut sum = std::mem::take(&mut self.sum);
            add_leaves(raw, from, &mut sum);
            let all = (0..=u16::MAX).zip(&sum).filter(|&(_, &weight)| weight > 0);
            let leaf = self.leaf(grown.sums.weight, all.map(|(class, &weight)| (class, weight)));
            sum.fill(0);
            self.sum = sum;
            return leaf;
        }
        self.origin.push(from);
        self.origin.len() as u32 - 1
    }

    /// A leaf of so much weight: the first of `weights`, ascending, that make it up.
    fn leaf(&mut self, all: u64, weights: impl Iterator<Item = (u16, u64)>) -> u32 {
        let mut left = all;
        for (class, weight) in weights {
            if weight == all {
                return LEAF_BIT | u32::from(class);
            }
            self.tree.classes.push(class);
            self.tree.shares.push((weight as f64 / all as f64) as f32);
            left -= weight;
            if left == 0 {
                break;
            }
        }
        self.tree.begins.push(self.tree.classes.len() as u32);
        self.leaves += 1;
        LEAF_BIT | (self.leaves - 1)
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
