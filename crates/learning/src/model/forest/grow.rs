//! Owns how one tree grows: which rows it learns from, and which of its nodes are split by what.

use super::binned::{Binned, Bins, bit};
use super::settings::ForestSettings;
use super::split::{Entry, Found, Search, Split, Sums};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// So many looks at rows lie between two questions whether to go on.
const LOOKS: usize = 1 << 20;
/// In place of a leaf's feature.
pub(super) const LEAF: u32 = u32::MAX;

/// A node of a tree that grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grown {
    /// The feature that splits it; [`LEAF`] if none does.
    pub(super) feature: u32,
    /// Rows go left if their value is at most this.
    pub(super) threshold: f32,
    /// The left child, after which comes the right one; of leaves the first of its classes.
    pub(super) next: u32,
    pub(super) sums: Sums,
}

/// A tree as it has grown: the root first, children after their parents and next to each other.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) nodes: Vec<Grown>,
    /// The classes of each leaf's rows and their weights, ascending.
    pub(super) weights: Vec<(u16, u32)>,
}

/// The caller wanted no more.
pub(super) struct Stopped;

/// What growing one tree after the other needs.
pub(super) struct Grower<'a> {
    data: &'a Binned,
    rows: &'a [u32],
    settings: &'a ForestSettings,
    /// How many features are looked at for a split.
    wanted: usize,
    keep_going: &'a dyn Fn() -> bool,
    looks: usize,
    search: Search,
    entries: Vec<Entry>,
    /// For those that go right, while a node is parted.
    aside: Vec<Entry>,
    drawn: Vec<u32>,
    order: Order,
    /// Columns of one value, which never split.
    constant: usize,
    waiting: Vec<Waiting>,
    pub(super) raw: Raw,
}

/// Features in the order in which a node looks at them.
struct Order {
    features: Vec<u32>,
    /// Those known to be constant in the node's parent stand first, in the order in which they were found.
    constants: Vec<u32>,
}

/// A node that is still to be split, or to become a leaf.
struct Waiting {
    node: u32,
    begin: u32,
    end: u32,
    depth: u32,
    /// How many of [`Order::constants`] are constant in it.
    constants: usize,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        data: &'a Binned,
        rows: &'a [u32],
        settings: &'a ForestSettings,
        keep_going: &'a dyn Fn() -> bool,
    ) -> Self {
        let columns = data.features();
        let (mut constants, others): (Vec<u32>, Vec<u32>) =
            (0..columns as u32).partition(|&column| data.columns()[column as usize].count() < 2);
        let constant = constants.len();
        let features = [&constants[..], &others].concat();
        constants.resize(columns, 0);
        Self {
            data,
            rows,
            settings,
            wanted: settings.max_features.of(columns),
            keep_going,
            looks: 0,
            search: Search::new(data.classes(), settings.min_samples_leaf as usize),
            entries: Vec::with_capacity(rows.len()),
            aside: Vec::new(),
            drawn: Vec::new(),
            order: Order { features, constants },
            constant,
            waiting: Vec::new(),
            raw: Raw::default(),
        }
    }

    /// Grows the tree of this number into `raw`; its random numbers are its own.
    pub(super) fn tree(&mut self, seed: u64, number: u32) -> Result<(), Stopped> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(number));
        self.sample(&mut random);
        self.raw.nodes.clear();
        self.raw.weights.clear();
        self.waiting.clear();
        let end = self.entries.len() as u32;
        self.add_nodes([(Sums::default(), 0, end)], 0, self.constant);
        while let Some(node) = self.waiting.pop() {
            let range = node.begin as usize..node.end as usize;
            self.look(range.len())?;
            if self.raw.nodes[node.node as usize].sums.is_pure() {
                self.pure_leaf(&node);
                continue;
            }
            self.search.enter(&self.entries[range.clone()]);
            self.raw.nodes[node.node as usize].sums = self.search.sums;
            let split = self.split(&node, &mut random)?;
            match split {
                None => self.leaf(&node),
                Some((split, constants)) => self.part(&node, &split, constants),
            }
            // Parting has only brought them in another order.
            self.search.leave(&self.entries[range]);
        }
        Ok(())
    }

    /// Draws the tree's rows.
    fn sample(&mut self, random: &mut ChaCha8Rng) {
        self.entries.clear();
        let labels = self.data.labels();
        let entry = |row: u32, weight| Entry { row, class: labels[row as usize], weight };
        if !self.settings.bootstrap {
            self.entries.extend(self.rows.iter().map(|&row| entry(row, 1)));
            return;
        }
        self.drawn.clear();
        self.drawn.resize(self.rows.len(), 0);
        for _ in 0..self.rows.len() {
            self.drawn[below(random, self.rows.len() as u32) as usize] += 1;
        }
        for (&row, &count) in self.rows.iter().zip(&self.drawn) {
            let mut rest = count;
            while rest > 0 {
                let weight = rest.min(u32::from(u16::MAX));
                self.entries.push(entry(row, weight as u16));
                rest -= weight;
            }
        }
    }

    fn look(&mut self, rows: usize) -> Result<(), Stopped> {
        self.looks += rows;
        if self.looks >= LOOKS {
            self.looks = 0;
            if !(self.keep_going)() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// The best split of a node and how many features are known to be constant in it; none if it is to be a leaf.
    fn split(&mut self, node: &Waiting, random: &mut ChaCha8Rng) -> Result<Option<(Split, usize)>, Stopped> {
        let range = node.begin as usize..node.end as usize;
        let ForestSettings { max_depth, min_samples_split, min_samples_leaf, .. } = *self.settings;
        if range.len() < min_samples_split as usize
            || range.len() / 2 < min_samples_leaf as usize
            || max_depth.is_some_and(|most| node.depth >= most)
            || self.search.sums.is_pure()
        {
            return Ok(None);
        }
        let (mut best, mut worth) = (None, f64::NEG_INFINITY);
        // As scikit-learn draws: features without replacement until so many are seen, and on until one of them is not
        // constant. Those known to be constant stand first: drawn ones, others, and behind them those found now.
        let (known, mut drawn, mut found) = (node.constants, 0, 0);
        let (mut end, mut seen) = (self.order.features.len(), 0);
        while end > known + found && (seen < self.wanted || seen <= found + drawn) {
            seen += 1;
            let place = drawn + below(random, (end - found - drawn) as u32) as usize;
            let features = &mut self.order.features;
            if place < known {
                features.swap(drawn, place);
                drawn += 1;
                continue;
            }
            let place = place + found;
            let feature = features[place];
            self.look(range.len())?;
            let column = &self.data.columns()[feature as usize];
            let features = &mut self.order.features;
            match self.search.by(feature, column, &self.entries[range.clone()], worth) {
                Found::Constant => {
                    features.swap(place, known + found);
                    found += 1;
                    continue;
                }
                Found::Nothing => {}
                Found::Better(split) => (best, worth) = (Some(split), split.worth),
            }
            end -= 1;
            features.swap(place, end);
        }
        let Order { features, constants } = &mut self.order;
        // The order of the known ones is also the sibling's.
        features[..known].copy_from_slice(&constants[..known]);
        constants[known..known + found].copy_from_slice(&features[known..known + found]);
        Ok(best.map(|split| (split, known + found)))
    }

    /// Makes a node whose rows are of one class a leaf; most are.
    fn pure_leaf(&mut self, node: &Waiting) {
        let Raw { nodes, weights } = &mut self.raw;
        let grown = &mut nodes[node.node as usize];
        (grown.feature, grown.next) = (LEAF, weights.len() as u32);
        weights.push((self.entries[node.begin as usize].class, grown.sums.weight as u32));
    }

    /// Makes a node a leaf.
    fn leaf(&mut self, node: &Waiting) {
        let Raw { nodes, weights } = &mut self.raw;
        let grown = &mut nodes[node.node as usize];
        (grown.feature, grown.next) = (LEAF, weights.len() as u32);
        let entries = &self.entries[node.begin as usize..node.end as usize];
        let total = &self.search.total;
        let first = weights.len();
        if entries.len() < total.len() {
            weights.extend(entries.iter().map(|entry| (entry.class, total[usize::from(entry.class)])));
            weights[first..].sort_unstable();
            let mut kept = first;
            for place in first..weights.len() {
                if place == first || weights[place].0 != weights[kept - 1].0 {
                    weights[kept] = weights[place];
                    kept += 1;
                }
            }
            weights.truncate(kept);
        } else {
            let there = (0..).zip(total).filter(|&(_, &weight)| weight > 0);
            weights.extend(there.map(|(class, &weight)| (class, weight)));
        }
    }

    /// Parts a node's rows and adds its children.
    fn part(&mut self, node: &Waiting, split: &Split, constants: usize) {
        let column = &self.data.columns()[split.column as usize];
        let grown = &mut self.raw.nodes[node.node as usize];
        grown.feature = split.column;
        grown.threshold = column.threshold(split.left, split.right);
        let entries = &mut self.entries[node.begin as usize..node.end as usize];
        if self.aside.len() < entries.len() {
            self.aside.resize(entries.len(), Entry::default());
        }
        match &column.bins {
            Bins::Bits(bits) => part(entries, &mut self.aside, |row| bit(bits, row) == 0),
            Bins::Bytes(bytes) => part(entries, &mut self.aside, |row| bytes[row as usize] <= split.left),
        }
        let middle = node.begin + split.rows;
        let Sums { weight, .. } = self.search.sums;
        let [left, right] = split.squares;
        let sides = [
            (Sums { weight: split.weight, squares: left }, node.begin, middle),
            (Sums { weight: weight - split.weight, squares: right }, middle, node.end),
        ];
        self.raw.nodes[node.node as usize].next = self.raw.nodes.len() as u32;
        self.add_nodes(sides, node.depth + 1, constants);
    }

    fn add_nodes<const N: usize>(&mut self, nodes: [(Sums, u32, u32); N], depth: u32, constants: usize) {
        let first = self.raw.nodes.len() as u32;
        let add = |(sums, _, _)| Grown { feature: LEAF, threshold: 0.0, next: 0, sums };
        self.raw.nodes.extend(nodes.map(add));
        // The last that waits is next: the left one.
        for (offset, (_, begin, end)) in nodes.into_iter().enumerate().rev() {
            self.waiting.push(Waiting { node: first + offset as u32, begin, end, depth, constants });
        }
    }
}

/// Brings those that go left before the others; either keep their order, so that rows stay near each other.
fn part(entries: &mut [Entry], aside: &mut [Entry], is_left: impl Fn(u32) -> bool) {
    let (mut left, mut right) = (0, 0);
    for place in 0..entries.len() {
        let entry = entries[place];
        let goes = is_left(entry.row);
        // Written to both, so that there is nothing to guess: `left` is never after `place`.
        entries[left] = entry;
        aside[right] = entry;
        left += usize::from(goes);
        right += usize::from(!goes);
    }
    entries[left..].copy_from_slice(&aside[..right]);
}

/// A number below `count`, which is above 0, each as likely as the others: Lemire 2019, "Fast random integer generation
/// in an interval".
fn below(random: &mut ChaCha8Rng, count: u32) -> u32 {
    loop {
        let product = u64::from(random.next_u32()) * u64::from(count);
        // Only then may it be one of the few that would make some numbers likelier.
        if product as u32 >= count || product as u32 >= count.wrapping_neg() % count {
            return (product >> 32) as u32;
        }
    }
}
