//! Owns pools: the greatest or the mean of the pixels in a window, channel by channel.

/// What is made of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pooling {
    /// The greatest.
    Max,
    /// The sum over the pixels in the image, by their number.
    Mean,
    /// The sum over the pixels in the image, by the number of those in the image and its padding.
    MeanWithPadding,
}

/// A pool over windows. All sizes are (down, across); windows without a pixel give 0.
pub(crate) struct Pool<'a> {
    /// What is made of a window.
    pub pooling: Pooling,
    /// The image: height x width x step.
    pub input: &'a [f32],
    /// Its size.
    pub size: [usize; 2],
    /// From a pixel to the next.
    pub step: usize,
    /// The output's size.
    pub out_size: [usize; 2],
    /// Taps of the window.
    pub kernel: [usize; 2],
    /// From a window to the next.
    pub stride: [usize; 2],
    /// From a tap to the next.
    pub dilation: [usize; 2],
    /// How far the first window begins before the image.
    pub pad: [usize; 2],
    /// How far the padding goes on behind the image.
    pub pad_end: [usize; 2],
    /// The output: like the image.
    pub out: &'a mut [f32],
}

impl Pool<'_> {
    /// The taps of a window that are in the image, and how many are in it or its padding.
    #[inline(always)]
    fn taps(&self, axis: usize, at: usize) -> (std::ops::Range<usize>, usize) {
        let (first, stride) = (at * self.stride[axis], self.dilation[axis]);
        let before = self.pad[axis].saturating_sub(first).div_ceil(stride).min(self.kernel[axis]);
        let upto = |end: usize| end.saturating_sub(first).div_ceil(stride).min(self.kernel[axis]);
        let end = self.pad[axis] + self.size[axis];
        (before..upto(end).max(before), upto(end + self.pad_end[axis]))
    }
}

/// Computes the pool.
#[inline(always)]
pub(super) fn pool(p: Pool<'_>) {
    let rows = p.out_size[0] * p.out_size[1];
    assert!(p.step > 0 && p.size[0] * p.size[1] * p.step <= p.input.len() && rows * p.step <= p.out.len());
    let across: Vec<_> = (0..p.out_size[1]).map(|at| p.taps(1, at)).collect();
    for down in 0..p.out_size[0] {
        let (ys, padded_down) = p.taps(0, down);
        for (x, (xs, padded_across)) in across.iter().enumerate() {
            let out = &mut p.out[(down * p.out_size[1] + x) * p.step..][..p.step];
            let count = ys.len() * xs.len();
            out.fill(if p.pooling == Pooling::Max && count > 0 { f32::NEG_INFINITY } else { 0.0 });
            for ky in ys.clone() {
                for kx in xs.clone() {
                    let place = |axis: usize, at: usize, tap: usize| {
                        at * p.stride[axis] + tap * p.dilation[axis] - p.pad[axis]
                    };
                    let pixel = place(0, down, ky) * p.size[1] + place(1, x, kx);
                    let from = &p.input[pixel * p.step..][..p.step];
                    if p.pooling == Pooling::Max {
                        out.iter_mut().zip(from).for_each(|(to, &x)| *to = if *to > x { *to } else { x });
                    } else {
                        out.iter_mut().zip(from).for_each(|(to, &x)| *to += x);
                    }
                }
            }
            let count = match p.pooling {
                Pooling::Max => continue,
                Pooling::Mean => count,
                Pooling::MeanWithPadding => padded_down * padded_across,
            };
            let count = count.max(1) as f32;
            out.iter_mut().for_each(|to| *to /= count);
        }
    }
}
