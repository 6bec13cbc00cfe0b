//! Owns the product of pixels with packed weights: every convolution but the depthwise ones, and dense layers.
//!
//! A chain goes over the taps of a pixel, and over the channels of each. Every element of the output is one chain of
//! fused multiply-adds in that order: blocks only interrupt it, so neither they nor the tiles can change a bit.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::super::lanes::Lanes;
use super::GROUP;
use super::packed::{Packed, panels};

/// A tap outside of the image, where all channels are zero.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// The most links of a chain that are done at once: their weights for a panel stay near.
const BLOCK: usize = 512;

static ZEROS: [f32; BLOCK] = [0.0; BLOCK];

/// What is done to an element at the end of its chain.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// Added; laid out like the output.
    pub add: Option<&'a [f32]>,
    /// Then whatever is less becomes this.
    pub low: f32,
    /// And whatever is greater this.
    pub high: f32,
}

/// `out = finish(bias + taps * weights)` for some pixels.
pub(crate) struct Product<'a> {
    /// Where the taps are.
    pub input: &'a [f32],
    /// Where each tap begins in the input, or [`NOWHERE`]: all pixels of the first tap, then of the second.
    pub starts: &'a [u32],
    /// How many pixels.
    pub pixels: usize,
    /// Links of the chain for each tap.
    pub length: usize,
    /// The weights.
    pub weights: &'a Packed,
    /// What happens at the end.
    pub finish: Finish<'a>,
    /// A row for each pixel.
    pub out: &'a mut [f32],
    /// From a row to the next: not less than the weights' columns.
    pub out_step: usize,
}

/// Some links of all chains.
#[derive(Clone, Copy)]
struct Block {
    /// The taps.
    first: usize,
    end: usize,
    /// The links of each.
    from: usize,
    length: usize,
    /// Whether chains start and end here.
    starts: bool,
    ends: bool,
}

impl Product<'_> {
    fn taps(&self) -> usize {
        self.weights.inner / self.length
    }

    /// Panics unless every element that will be touched is inside its slice.
    pub(super) fn check(&self) {
        let width = self.weights.step();
        assert!(self.pixels > 0 && self.length > 0 && self.taps() * self.length == self.weights.inner);
        assert!(self.starts.len() == self.pixels * self.taps() && width <= self.out_step);
        assert!((self.pixels - 1) * self.out_step + width <= self.out.len());
        assert!(self.finish.add.is_none_or(|add| self.out.len() <= add.len()));
        let last = self.input.len().checked_sub(self.length);
        let inside = |&start: &u32| start == NOWHERE || last.is_some_and(|last| start as usize <= last);
        assert!(self.starts.iter().all(inside));
    }

    /// Cuts the chains: whole taps if they are short, parts of one if they are long.
    fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let (taps, length) = (self.taps(), self.length);
        let parts = length.div_ceil(BLOCK);
        let part = length.div_ceil(parts).next_multiple_of(GROUP).min(BLOCK);
        let together = taps.div_ceil(taps.div_ceil((BLOCK / length).max(1)));
        (0..taps).step_by(together).flat_map(move |first| {
            (0..length).step_by(part).map(move |from| {
                let (end, upto) = ((first + together).min(taps), (from + part).min(length));
                let (starts, ends) = (first == 0 && from == 0, end == taps && upto == length);
                Block { first, end, from, length: upto - from, starts, ends }
            })
        })
    }
}

/// Computes the product, which has been checked.
#[inline(always)]
pub(super) fn product<S: Lanes<f32>>(s: S, mut p: Product<'_>) {
    for block in p.blocks() {
        for (group, groups) in panels(p.weights.groups) {
            // SAFETY (of all three): `check` has passed, and the panel is one of the packed weights.
            match groups {
                1 => unsafe { panel::<S, 1>(s, &mut p, block, group) },
                2 => unsafe { panel::<S, 2>(s, &mut p, block, group) },
                _ => unsafe { panel::<S, 3>(s, &mut p, block, group) },
            }
        }
    }
}

/// Computes `G` groups of every pixel: with half vectors in two turns.
///
/// # Safety
/// `p.check` has passed, and `group` is the first of a panel of `G` groups.
#[inline(always)]
unsafe fn panel<S: Lanes<f32>, const G: usize>(s: S, p: &mut Product<'_>, block: Block, group: usize) {
    let turns = S::PER_GROUP;
    for turn in 0..turns {
        let mut pixel = 0;
        // SAFETY (of all): the caller vouches for the panel; pixel + R <= pixels. `G` vectors are a turn's share of the
        // panel's columns.
        unsafe {
            if S::MANY_REGISTERS || G == 1 {
                while pixel + 8 <= p.pixels {
                    tile::<S, 8, G>(s, p, block, group, turn, pixel);
                    pixel += 8;
                }
            }
            while pixel + 4 <= p.pixels {
                tile::<S, 4, G>(s, p, block, group, turn, pixel);
                pixel += 4;
            }
            match p.pixels - pixel {
                3 => tile::<S, 3, G>(s, p, block, group, turn, pixel),
                2 => tile::<S, 2, G>(s, p, block, group, turn, pixel),
                1 => tile::<S, 1, G>(s, p, block, group, turn, pixel),
                _ => {}
            }
        }
    }
}

/// Computes `R` pixels of `G` vectors: the `turn`th share of a panel.
///
/// # Safety
/// As for [`panel`], and `pixel + R <= p.pixels`, `turn < S::PER_GROUP`.
#[inline(always)]
unsafe fn tile<S: Lanes<f32>, const R: usize, const G: usize>(
    s: S,
    p: &mut Product<'_>,
    block: Block,
    group: usize,
    turn: usize,
    pixel: usize,
) {
    let width = G * GROUP;
    let share = turn * G * S::LANES;
    let column = group * GROUP + share;
    // SAFETY (all of the body): rows of the output and of what is added are inside, since pixel + R <= pixels and the
    // panel's columns are within the step; rows of the panel are, since its links are all those of the weights; taps
    // are, since `check` has seen that `length` elements follow every start, or there are as many zeros as a block has.
    unsafe {
        let out = p.out.as_mut_ptr().add(pixel * p.out_step + column);
        let mut sums = [[s.splat(0.0); G]; R];
        for c in 0..G {
            let bias = s.load(p.weights.bias.as_ptr().add(column + c * S::LANES));
            for r in 0..R {
                sums[r][c] = if block.starts { bias } else { s.load(out.add(r * p.out_step + c * S::LANES)) };
            }
        }
        let panel = p.weights.panels.as_ptr().add(group * GROUP * p.weights.inner + share);
        let mut b = panel.add((block.first * p.length + block.from) * width);
        for tap in block.first..block.end {
            let starts = p.starts.as_ptr().add(tap * p.pixels + pixel);
            let mut a = [ZEROS.as_ptr(); R];
            for r in 0..R {
                let start = *starts.add(r);
                if start != NOWHERE {
                    a[r] = p.input.as_ptr().add(start as usize + block.from);
                }
            }
            for link in 0..block.length {
                let mut across = [s.splat(0.0); G];
                for c in 0..G {
                    across[c] = s.load(b.add(c * S::LANES));
                }
                for r in 0..R {
                    let down = s.splat(*a[r].add(link));
                    for c in 0..G {
                        sums[r][c] = s.fma(down, across[c], sums[r][c]);
                    }
                }
                b = b.wrapping_add(width);
            }
        }
        if block.ends {
            finish(s, p, pixel * p.out_step + column, &mut sums);
        }
        for r in 0..R {
            for c in 0..G {
                s.store(out.add(r * p.out_step + c * S::LANES), sums[r][c]);
            }
        }
    }
}

/// Finishes the elements whose first stands at `at` in the output.
///
/// # Safety
/// They are inside.
#[inline(always)]
unsafe fn finish<S: Lanes<f32>, const R: usize, const G: usize>(
    s: S,
    p: &Product<'_>,
    at: usize,
    sums: &mut [[S::V; G]; R],
) {
    let (low, high) = (s.splat(p.finish.low), s.splat(p.finish.high));
    if let Some(add) = p.finish.add {
        for r in 0..R {
            for c in 0..G {
                // SAFETY: what is added is as long as the output.
                let more = unsafe { s.load(add.as_ptr().add(at + r * p.out_step + c * S::LANES)) };
                sums[r][c] = s.add(sums[r][c], more);
            }
        }
    }
    for r in 0..R {
        for c in 0..G {
            sums[r][c] = s.min(high, s.max(low, sums[r][c]));
        }
    }
}
