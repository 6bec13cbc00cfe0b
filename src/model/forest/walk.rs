//! Owns the way of rows through the trees: a block of rows goes through one tree after the other.

use super::Forest;
use super::tree::{Kind, Tree};

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
    /// Where each row is.
    places: Vec<u32>,
    /// The rows that are not at a leaf.
    going: Vec<u16>,
    /// The shares of the classes in the leaves, added up.
    sums: Vec<f64>,
    probabilities: Vec<f32>,
}

impl Walk {
    /// Memory for rows on their way through this forest.
    pub fn new(forest: &Forest) -> Self {
        let (columns, classes) = (forest.columns(), forest.classes());
        let rows = (NUMBERS / (columns + 2 * classes)).clamp(1, MOST);
        Self {
            columns,
            classes,
            block: vec![0.0; rows * columns],
            places: vec![0; rows],
            going: vec![0; rows],
            sums: vec![0.0; rows * classes],
            probabilities: vec![0.0; classes],
        }
    }

    /// How many rows go together.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        4 * self.block.len() + 6 * self.places.len() + 8 * self.sums.len() + 4 * self.classes
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
        let nodes = &tree.nodes[..];
        let places = &mut self.places[..rows];
        places.fill(0);
        (0..).zip(&mut self.going).for_each(|(row, to)| *to = row);
        let mut count = if nodes[0].kind == Kind::Inner { rows } else { 0 };
        while count > 0 {
            // One step of each: none waits for another's memory.
            let mut left = 0;
            for place in 0..count {
                let row = self.going[place];
                let at = &mut places[usize::from(row)];
                let node = nodes[*at as usize];
                let value = self.block[usize::from(row) * self.columns + usize::from(node.feature)];
                *at = node.next + u32::from(value > node.threshold);
                self.going[left] = row;
                left += usize::from(nodes[*at as usize].kind == Kind::Inner);
            }
            count = left;
        }
        for (&place, sums) in places.iter().zip(self.sums.chunks_exact_mut(self.classes)) {
            let leaf = nodes[place as usize];
            if leaf.kind == Kind::Pure {
                sums[leaf.next as usize] += 1.0;
            } else {
                tree.mixed(leaf.next).for_each(|(class, share)| sums[usize::from(class)] += f64::from(share));
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
