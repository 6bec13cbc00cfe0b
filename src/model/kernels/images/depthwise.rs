//! Owns depthwise convolutions: a window of its own for each channel, vectors going over the channels.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::super::lanes::Lanes;
use super::GROUP;
use std::ops::Range;

/// `out = clip(bias + the sum over taps)`; taps outside of the image are zero or left out. All sizes are (down, across).
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

    /// Whether all taps of these pixels of a row are inside, from left to right.
    #[inline(always)]
    fn is_inside(&self, across: usize, pixels: usize) -> bool {
        self.tap(1, across, 0).is_some() && self.tap(1, across + pixels - 1, self.kernel[1] - 1).is_some()
    }

    /// The first channel of each tap in these rows of the window, of the pixels from `across` on: all pixels of the
    /// first tap, then of the second.
    #[inline(always)]
    fn point<const P: usize>(&self, down: usize, rows: Range<usize>, across: usize, taps: &mut [*const f32]) {
        let mut taps = taps.iter_mut();
        for ky in rows {
            let Some(y) = self.tap(0, down, ky) else { continue };
            for kx in 0..self.kernel[1] {
                for (pixel, to) in (0..P).zip(&mut taps) {
                    let x = self.tap(1, across + pixel, kx);
                    *to = x.map_or(self.zeros, |x| &self.input[(y * self.size[1] + x) * self.step..]).as_ptr();
                }
            }
        }
    }
}

/// Pixels of a row that are done at once.
const PIXELS: usize = 4;

/// Computes the convolution, which has been checked.
#[inline(always)]
pub(super) fn depthwise<S: Lanes<f32>>(s: S, mut p: Depthwise<'_>) {
    let mut taps = vec![std::ptr::null(); p.kernel[0] * p.kernel[1] * PIXELS];
    for down in 0..p.out_size[0] {
        let is_inside = |&ky: &usize| p.tap(0, down, ky).is_some();
        let first = (0..p.kernel[0]).find(is_inside).unwrap_or(0);
        let rows = first..first + (first..p.kernel[0]).take_while(is_inside).count();
        let (mut across, mut inside) = (0, false);
        // SAFETY (of all): `check` has passed; the pixels are inside the row.
        unsafe {
            while across + PIXELS <= p.out_size[1] {
                let still = p.is_inside(across, PIXELS);
                if inside && still {
                    // All taps move on alike.
                    let step = PIXELS * p.stride[1] * p.step;
                    taps.iter_mut().for_each(|tap: &mut *const f32| *tap = tap.wrapping_add(step));
                } else {
                    p.point::<PIXELS>(down, rows.clone(), across, &mut taps);
                }
                inside = still;
                pixels::<S, PIXELS>(s, &mut p, down, rows.clone(), across, &taps);
                across += PIXELS;
            }
            if across + 2 <= p.out_size[1] {
                p.point::<2>(down, rows.clone(), across, &mut taps);
                pixels::<S, 2>(s, &mut p, down, rows.clone(), across, &taps);
                across += 2;
            }
            if across < p.out_size[1] {
                p.point::<1>(down, rows.clone(), across, &mut taps);
                pixels::<S, 1>(s, &mut p, down, rows, across, &taps);
            }
        }
    }
}

/// Computes all channels of `P` pixels in a row.
///
/// # Safety
/// `check` has passed, the pixels are in the output, and the taps are theirs in these rows of the window.
#[inline(always)]
unsafe fn pixels<S: Lanes<f32>, const P: usize>(
    s: S,
    p: &mut Depthwise<'_>,
    down: usize,
    rows: Range<usize>,
    across: usize,
    taps: &[*const f32],
) {
    let first = rows.start * p.kernel[1];
    let taps = &taps[..rows.len() * p.kernel[1] * P];
    let mut channel = 0;
    // SAFETY (of both): as the caller vouches; the vectors are inside, since `step` is whole groups.
    unsafe {
        while channel + 2 * S::LANES <= p.step {
            vectors::<S, P, 2>(s, p, (down * p.out_size[1] + across) * p.step + channel, channel, first, taps);
            channel += 2 * S::LANES;
        }
        if channel < p.step {
            vectors::<S, P, 1>(s, p, (down * p.out_size[1] + across) * p.step + channel, channel, first, taps);
        }
    }
}

/// Computes `V` vectors of `P` pixels, the first of which goes to `out`.
///
/// # Safety
/// As for [`pixels`], and `channel + V * LANES <= step`.
#[inline(always)]
unsafe fn vectors<S: Lanes<f32>, const P: usize, const V: usize>(
    s: S,
    p: &mut Depthwise<'_>,
    out: usize,
    channel: usize,
    first: usize,
    taps: &[*const f32],
) {
    // SAFETY (all of the body): `step` elements follow each tap, each row of weights, the bias and each pixel of the
    // output, and channel + V * LANES <= step.
    unsafe {
        let (low, high) = (s.splat(p.low), s.splat(p.high));
        let mut sums = [[s.splat(0.0); V]; P];
        for v in 0..V {
            let bias = s.load(p.bias.as_ptr().add(channel + v * S::LANES));
            for pixel in 0..P {
                sums[pixel][v] = bias;
            }
        }
        let mut weight = p.weights.as_ptr().add(first * p.step + channel);
        for tap in taps.chunks_exact(P) {
            for v in 0..V {
                let w = s.load(weight.add(v * S::LANES));
                for pixel in 0..P {
                    let x = s.load(tap[pixel].add(channel + v * S::LANES));
                    sums[pixel][v] = s.fma(x, w, sums[pixel][v]);
                }
            }
            weight = weight.wrapping_add(p.step);
        }
        let out = p.out.as_mut_ptr().add(out);
        for pixel in 0..P {
            for v in 0..V {
                let value = s.min(high, s.max(low, sums[pixel][v]));
                s.store(out.add(pixel * p.step + v * S::LANES), value);
            }
        }
    }
}
