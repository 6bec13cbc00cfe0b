//! Owns pools: the greatest or the mean of the pixels in a window, channel by channel.

use super::Window;

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

/// A pool over windows; windows without a pixel give 0.
pub(crate) struct Pool<'a> {
    /// What is made of a window.
    pub pooling: Pooling,
    /// The image: height x width x step.
    pub input: &'a [f32],
    /// Where it looks.
    pub window: Window,
    /// From a pixel to the next.
    pub step: usize,
    /// The output: like the image.
    pub out: &'a mut [f32],
}

/// Computes the pool.
#[inline(always)]
pub(super) fn pool(p: Pool<'_>) {
    let w = p.window;
    let rows = w.places();
    assert!(p.step > 0 && w.size[0] * w.size[1] * p.step <= p.input.len() && rows * p.step <= p.out.len());
    let across: Vec<_> = (0..w.out_size[1]).map(|at| w.inside(1, at)).collect();
    for down in 0..w.out_size[0] {
        let (ys, padded_down) = w.inside(0, down);
        for (x, (xs, padded_across)) in across.iter().enumerate() {
            let out = &mut p.out[(down * w.out_size[1] + x) * p.step..][..p.step];
            let count = ys.len() * xs.len();
            out.fill(if p.pooling == Pooling::Max && count > 0 { f32::NEG_INFINITY } else { 0.0 });
            for ky in ys.clone() {
                for kx in xs.clone() {
                    let place = |axis: usize, at: usize, tap: usize| {
                        at * w.stride[axis] + tap * w.dilation[axis] - w.pad[axis]
                    };
                    let pixel = place(0, down, ky) * w.size[1] + place(1, x, kx);
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
