//! Owns steps: what a run does, one after the other. Each has read-only inputs and one output.

mod concat;
mod conv;
mod elements;
mod pools;
mod rows;

pub(super) use concat::Concat;
pub(super) use conv::{conv, packed_bytes};
pub(super) use elements::{Bend, Combine, CombineRows, Constant, Pick, Scale};
pub(super) use pools::{GlobalPool, Pool};
pub(super) use rows::{Normalise, RowMean, Softmax};

use crate::model::Path;
use crate::model::images::Aligned;

/// What a step works on.
pub(super) struct Run<'r> {
    pub path: Path,
    pub inputs: &'r [&'r [f32]],
    pub out: &'r mut [f32],
    pub room: &'r mut Room,
}

/// Memory that steps use and nobody reads afterwards.
pub(super) struct Room {
    pub floats: Aligned<f32>,
    pub starts: Vec<u32>,
}

/// A step, ready to run. It sees inputs of the sizes that it was made for.
pub(super) trait Step: Send + Sync {
    fn run(&self, run: Run<'_>);

    /// Whether the first input may lie where the output goes; it then is no longer among the inputs.
    fn in_place(&self) -> bool {
        false
    }

    /// Bytes that it keeps.
    fn bytes(&self) -> usize {
        0
    }

    /// Floats of the room that it uses.
    fn room(&self) -> usize {
        0
    }
}
