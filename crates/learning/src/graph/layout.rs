//! Owns how values lie in memory, and how much of it they take.

use super::constant::volume;
use crate::model::images;

/// How a value lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layout {
    /// Row by row, as ONNX says.
    Plain,
    /// Pixels of padded channels: of 1 x C x H x W, or a row of the last axis for each place in the others.
    Pixels,
}

/// The pixels and channels of these sizes.
pub(super) fn pixels(dims: &[usize]) -> (usize, usize) {
    match *dims {
        [1, channels, height, width] => (height * width, channels),
        [ref rows @ .., channels] => (rows.iter().product(), channels),
        [] => (1, 1),
    }
}

/// The floats that a value takes.
pub(super) fn length(dims: &[usize], layout: Layout) -> Option<usize> {
    let all = volume(dims)?;
    match layout {
        Layout::Plain => all.checked_next_multiple_of(images::GROUP),
        Layout::Pixels => {
            let (pixels, channels) = pixels(dims);
            channels.checked_next_multiple_of(images::GROUP)?.checked_mul(pixels)
        }
    }
}

/// Where each element, in ONNX's order, lies among padded pixels.
pub(super) fn places(dims: &[usize]) -> impl Iterator<Item = u32> {
    let (pixels, channels) = pixels(dims);
    let step = images::step(channels);
    let planes = dims.len() == 4 && dims[0] == 1;
    (0..pixels * channels).map(move |at| {
        let (pixel, channel) = if planes { (at % pixels, at / pixels) } else { (at / channels, at % channels) };
        (pixel * step + channel) as u32
    })
}
