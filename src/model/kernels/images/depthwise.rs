//! Owns depthwise convolutions: a window of its own for each channel, vectors going over the channels.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::super::lanes::Lanes;
use super::GROUP;

/// `out = clip(bias + the sum over taps)`; taps outside of the image are zero. All sizes are (down, across).
pub(crate) struct Depthwise<'a> {
    /// The image: height x width x step.
    pub input: &'a [f32],
    /// Its size.
    pub size: [usize; 2],
    /// From a pixel to the next: whole groups.
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
    /// A row of `step` for each tap.
    pub weights: &'a [f32],
    /// A row.
    pub bias: &'a [f32],
    /// A row of zeros.
    pub zeros: &'a [f32],
    /// Whatever is less becomes this.
    pub low: f32,
    /// Whatever is greater becomes this.
    pub high: f32,
    /// The output: like the image.
    pub out: &'a mut [f32],
}

impl Depthwise<'_> {
    /// Panics unless every element that will be touched is inside its slice.
    pub(super) fn check(&self) {
        let step = self.step;
        assert!(step > 0 && step.is_multiple_of(GROUP));
        assert!(self.size[0] * self.size[1] * step <= self.input.len());
        assert!(self.out_size[0] * self.out_size[1] * step <= self.out.len());
        assert!(self.kernel[0] * self.kernel[1] * step <= self.weights.len());
        assert!(step <= self.bias.len() && step <= self.zeros.len());
    }

    /// The row or column of a tap, if it is in the image.
    #[inline(always)]
    fn tap(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let place = (at * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pad[axis])?;
        (place < self.size[axis]).then_some(place)
    }

    /// The first channel of each tap of the pixels from `across` on: all pixels of the first tap, then of the second.
    #[inline(always)]
    fn point<const P: usize>(&self, down: usize, across: usize, taps: &mut [*const f32]) {
        for ky in 0..self.kernel[0] {
            let row = self.tap(0, down, ky);
            for kx in 0..self.kernel[1] {
                for pixel in 0..P {
                    let place = row.zip(self.tap(1, across + pixel, kx));
                    let from =
                        place.map_or(self.zeros, |(y, x)| &self.input[(y * self.size[1] + x) * self.step..]);
                    taps[(ky * self.kernel[1] + kx) * P + pixel] = from.as_ptr();
                }
            }
        }
    }
}

/// Computes the convolution, which has been checked.
#[inline(always)]
pub(super) fn depthwise<S: Lanes<f32>>(s: S, mut p: Depthwise<'_>) {
    p.check();
    let mut taps = vec![std::ptr::null(); p.kernel[0] * p.kernel[1] * 4];
    for down in 0..p.out_size[0] {
        let mut across = 0;
        // SAFETY (of all): `check` has passed; the pixels are inside the row.
        unsafe {
            while across + 4 <= p.out_size[1] {
                pixels::<S, 4>(s, &mut p, down, across, &mut taps);
                across += 4;
            }
            if across + 2 <= p.out_size[1] {
                pixels::<S, 2>(s, &mut p, down, across, &mut taps);
                across += 2;
            }
            if across < p.out_size[1] {
                pixels::<S, 1>(s, &mut p, down, across, &mut taps);
            }
        }
    }
}

/// Computes all channels of `P` pixels in a row.
///
/// # Safety
/// `check` has passed, and the pixels are in the output.
#[inline(always)]
unsafe fn pixels<S: Lanes<f32>, const P: usize>(
    s: S,
    p: &mut Depthwise<'_>,
    down: usize,
    across: usize,
    taps: &mut [*const f32],
) {
    let count = p.kernel[0] * p.kernel[1];
    let taps = &mut taps[..count * P];
    p.point::<P>(down, across, taps);
    // SAFETY (all of the body): channel + LANES <= step, and `step` elements follow each tap, each row of weights, the
    // bias and each pixel of the output.
    unsafe {
        let out = p.out.as_mut_ptr().add((down * p.out_size[1] + across) * p.step);
        let (low, high) = (s.splat(p.low), s.splat(p.high));
        let mut channel = 0;
        while channel < p.step {
            let mut sums = [s.load(p.bias.as_ptr().add(channel)); P];
            let mut weight = p.weights.as_ptr().add(channel);
            for tap in 0..count {
                let w = s.load(weight);
                for pixel in 0..P {
                    let x = s.load((*taps.get_unchecked(tap * P + pixel)).add(channel));
                    sums[pixel] = s.fma(x, w, sums[pixel]);
                }
                weight = weight.wrapping_add(p.step);
            }
            for pixel in 0..P {
                s.store(out.add(pixel * p.step + channel), s.min(high, s.max(low, sums[pixel])));
            }
            channel += S::LANES;
        }
    }
}
