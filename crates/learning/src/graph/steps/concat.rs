//! Owns the step that puts values side by side.

use super::{Run, Step};

/// Copies a piece of each input in turn, for each row of the output.
pub(in super::super) struct Concat {
    pub rows: usize,
    /// From a row of the output to the next.
    pub step: usize,
    /// Of each input: from a row to the next, and how much of it is taken.
    pub pieces: Vec<(usize, usize)>,
}

impl Step for Concat {
    fn run(&self, run: Run<'_>) {
        let mut at = 0;
        for (&(step, length), from) in self.pieces.iter().zip(run.inputs) {
            for row in 0..self.rows {
                run.out[row * self.step + at..][..length].copy_from_slice(&from[row * step..][..length]);
            }
            at += length;
        }
    }
}
