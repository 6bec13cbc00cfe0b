//! Owns the way of rows through the trees: a block of rows goes through one tree after the other.

use super::Forest;
use super::tree::{LEAF_BIT, Tree};

/// The most rows of a block.
const MOST: usize = 256;
/// So many numbers of a block's rows and answers stay in the fastest memory.
const NUMBERS: usize = 32_768;

/// Memory for a block of rows on their way; each thread has its own.
#[derive(Clone, Debug)]
pub struct Walk {
    columns: usize,
    classes: usize,
    /// The block's features, row by row.
    block: Vec<f32>,
    /// The leaf of each row, or where it was last.
    places: Vec<u32>,
    /// The rows that are not at a leaf, and where they are.
    going: Vec<(u32, u32)>,
    /// The shares of the classes in the leaves, added up.
    sums: Vec<f64>,
    probabilities: Vec<f32>,
}

/// How many rows make a block.
fn rows(forest: &Forest) -> usize {
    (NUMBERS / (forest.columns() + 2 * forest.classes())).clamp(1, MOST)
}

impl Walk {
    /// Memory for rows on their way through this forest.
    pub fn new(forest: &Forest) -> Self {
        let (columns, classes) = (forest.columns(), forest.classes());
        let rows = rows(forest);
        Self {
            columns,
            classes,
            block: vec![0.0; rows * columns],
            places: vec![0; rows],
            going: vec![(0, 0); rows],
            sums: vec![0.0; rows * classes],
            probabilities: vec![0.0; classes],
        }
    }

    /// How many rows go together.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// How much memory one for this forest takes, in bytes.
    pub fn bytes(forest: &Forest) -> usize {
        let (columns, classes) = (forest.columns(), forest.classes());
        rows(forest) * (4 * columns + 12 + 8 * classes) + 4 * classes
    }

    /// Where the features of the block's rows go.
    pub(super) fn block(&mut self) -> &mut [f32] {
        &mut self.block
    }

    /// Takes the first `rows` rows of the block through all trees.
    pub(super) fn through(&mut self, forest: &Forest, rows: usize) {
        self.sums[..rows * self.classes].fill(0.0);
        forest.trees.iter().for_each(|tree| self.through_tree(tree, rows));
    }

    fn through_tree(&mut self, tree: &Tree, rows: usize) {
        let Self { columns, classes, block, places, going, sums, .. } = self;
        let nodes = &tree.nodes[..];
        let places = &mut places[..rows];
        places.fill(tree.root);
        (0..).zip(&mut *going).for_each(|(row, to)| *to = (row, tree.root));
        let mut count = if tree.root & LEAF_BIT == 0 { rows } else { 0 };
        while count > 0 {
            // One step of each: none waits for another's memory, and there is nothing to guess.
            let mut left = 0;
            for step in 0..count {
                let (row, at) = going[step];
                let node = &nodes[at as usize];
                let value = block[row as usize * *columns + usize::from(node.feature)];
                let child = node.children[usize::from(value > node.threshold)];
                places[row as usize] = child;
                going[left] = (row, child);
                left += usize::from(child & LEAF_BIT == 0);
            }
            count = left;
        }
        for (place, sums) in places.iter().zip(sums.chunks_exact_mut(*classes)) {
            let leaf = (place & !LEAF_BIT) as usize;
            match sums.get_mut(leaf) {
                Some(sum) => *sum += 1.0,
                None => {
                    let leaf = leaf - *classes;
                    tree.mixed(leaf).for_each(|(class, share)| sums[usize::from(class)] += f64::from(share));
                }
            }
        }
    }

    /// The probabilities of a row's classes: the means over the trees of their shares in its leaves.
    pub(super) fn probabilities(&mut self, row: usize, trees: usize) -> &[f32] {
        let sums = &self.sums[row * self.classes..(row + 1) * self.classes];
        let trees = trees as f64;
        self.probabilities.iter_mut().zip(sums).for_each(|(to, sum)| *to = (sum / trees) as f32);
        &self.probabilities
    }
}
