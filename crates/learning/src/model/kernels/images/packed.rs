//! Owns packed weights: panels of up to three groups of columns, each in the order in which a tile reads it.

use super::super::network::Aligned;
use super::{GROUP, step};

/// Weights and biases of a product, packed.
pub(crate) struct Packed {
    /// Panel after panel; a panel has a row of `groups * GROUP` for each link of the chain.
    pub(super) panels: Aligned<f32>,
    /// Where the chains start; padded with zeros.
    pub(super) bias: Aligned<f32>,
    /// Links of a chain.
    pub(super) inner: usize,
    /// Groups of columns.
    pub(super) groups: usize,
}

/// The first group of each panel, and how many it has: threes, then one or two of two.
pub(super) fn panels(groups: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let count = match groups - at {
            0 => return None,
            left @ 1..=3 => left,
            4 => 2,
            _ => 3,
        };
        at += count;
        Some((at - count, count))
    })
}

impl Packed {
    /// Packs `weight(link, column)` for `inner` links and as many columns as there are biases.
    pub(crate) fn new(inner: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let columns = bias.len();
        let groups = columns.div_ceil(GROUP);
        let mut packed = Self {
            panels: Aligned::zeros(inner * groups * GROUP),
            bias: Aligned::zeros(step(columns)),
            inner,
            groups,
        };
        packed.bias[..columns].copy_from_slice(bias);
        for (first, count) in panels(groups) {
            let width = count * GROUP;
            let rows = packed.panels[first * GROUP * inner..][..width * inner].chunks_exact_mut(width);
            for (link, row) in rows.enumerate() {
                for (to, column) in row.iter_mut().zip(first * GROUP..columns) {
                    *to = weight(link, column);
                }
            }
        }
        packed
    }

    /// Bytes of packed weights and biases for this many links and columns; `None` if that is beyond all numbers.
    pub(crate) fn size(inner: usize, columns: usize) -> Option<usize> {
        inner.checked_add(1)?.checked_mul(columns.checked_next_multiple_of(GROUP)?)?.checked_mul(4)
    }

    /// The columns, padded.
    pub(crate) fn step(&self) -> usize {
        self.groups * GROUP
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.panels.len() + self.bias.len())
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} x {})", self.inner, self.step())
    }
}
