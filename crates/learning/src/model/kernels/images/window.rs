//! Owns windows: where convolutions and pools look.

/// A window that goes over an image. All sizes are (down, across).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// The image's size.
    pub size: [usize; 2],
    /// The output's size: how many places it stands at.
    pub out_size: [usize; 2],
    /// Its taps.
    pub kernel: [usize; 2],
    /// From a place to the next.
    pub stride: [usize; 2],
    /// From a tap to the next.
    pub dilation: [usize; 2],
    /// How far the first place begins before the image.
    pub pad: [usize; 2],
    /// How far the padding goes on behind the image.
    pub pad_end: [usize; 2],
}

impl Window {
    /// One place that sees one pixel, everywhere in an image.
    pub(crate) fn point(size: [usize; 2]) -> Self {
        let ones = [1; 2];
        Self { size, out_size: size, kernel: ones, stride: ones, dilation: ones, pad: [0; 2], pad_end: [0; 2] }
    }

    /// How many taps it has.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// How many places it stands at.
    pub(crate) fn places(&self) -> usize {
        self.out_size[0] * self.out_size[1]
    }

    /// The row or column of a tap, if it is in the image.
    #[inline(always)]
    pub(crate) fn tap(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let place = (at * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pad[axis])?;
        (place < self.size[axis]).then_some(place)
    }

    /// The taps of a place that are in the image, and how many are in it or its padding.
    #[inline(always)]
    pub(super) fn inside(&self, axis: usize, at: usize) -> (std::ops::Range<usize>, usize) {
        let (first, stride) = (at * self.stride[axis], self.dilation[axis]);
        let before = self.pad[axis].saturating_sub(first).div_ceil(stride).min(self.kernel[axis]);
        let upto = |end: usize| end.saturating_sub(first).div_ceil(stride).min(self.kernel[axis]);
        let end = self.pad[axis] + self.size[axis];
        (before..upto(end).max(before), upto(end + self.pad_end[axis]))
    }
}
