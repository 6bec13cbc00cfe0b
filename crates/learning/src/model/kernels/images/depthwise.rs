//! Owns depthwise convolutions: a window of its own for each channel, vectors going over the channels.

#![allow(clippy::needless_range_loop, reason = "indices of registers read better than iterators over them")]

use super::super::lanes::Lanes;
use super::{GROUP, Window};
use std::ops::Range;

/// `out = clip(bias + the sum over taps)`; taps outside of the image are zero or left out.
pub(crate) struct Depthwise<'a> {
    /// The image: height x width x step.
    pub input: &'a [f32],
    /// Where it looks.
    pub window: Window,
    /// From a pixel to the next: whole groups.
    pub step: usize,
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
        let (step, window) = (self.step, &self.window);
        assert!(step > 0 && step.is_multiple_of(GROUP));
        assert!(window.size[0] * window.size[1] * step <= self.input.len());
        assert!(window.places() * step <= self.out.len());
        assert!(window.taps() * step <= self.weights.len());
        assert!(step <= self.bias.len() && step <= self.zeros.len());
    }

    /// Whether all taps of these pixels of a row are inside, from left to right.
    #[inline(always)]
    fn is_inside(&self, across: usize, pixels: usize) -> bool {
        let window = &self.window;
        window.tap(1, across, 0).is_some() && window.tap(1, across + pixels - 1, window.kernel[1] - 1).is_some()
    }

    /// The first channel of each tap in these rows of the window, of the pixels from `across` on: all pixels of the
    /// first tap, then of the second.
    #[inline(always)]
    fn point<const P: usize>(&self, down: usize, rows: Range<usize>, across: usize, taps: &mut [*const f32]) {
        let (window, mut taps) = (&self.window, taps.iter_mut());
        for ky in rows {
            let Some(y) = window.tap(0, down, ky) else { continue };
            for kx in 0..window.kernel[1] {
                for (pixel, to) in (0..P).zip(&mut taps) {
                    let x = window.tap(1, across + pixel, kx);
                    *to = x.map_or(self.zeros, |x| &self.input[(y * window.size[1] + x) * self.step..]).as_ptr();
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
    let w = p.window;
    let mut taps = vec![std::ptr::null(); w.taps() * PIXELS];
    for down in 0..w.out_size[0] {
        let is_inside = |&ky: &usize| w.tap(0, down, ky).is_some();
        let first = (0..w.kernel[0]).find(is_inside).unwrap_or(0);
        let rows = first..first + (first..w.kernel[0]).take_while(is_inside).count();
        let (mut across, mut inside) = (0, false);
        // SAFETY (of all): `check` has passed; the pixels are inside the row.
        unsafe {
            while across + PIXELS <= w.out_size[1] {
                let still = p.is_inside(across, PIXELS);
                if inside && still {
                    // All taps move on alike.
                    let step = PIXELS * w.stride[1] * p.step;
                    taps.iter_mut().for_each(|tap: &mut *const f32| *tap = tap.wrapping_add(step));
                } else {
                    p.point::<PIXELS>(down, rows.clone(), across, &mut taps);
                }
                inside = still;
                pixels::<S, PIXELS>(s, &mut p, down, rows.clone(), across, &taps);
                across += PIXELS;
            }
            if across + 2 <= w.out_size[1] {
                p.point::<2>(down, rows.clone(), across, &mut taps);
                pixels::<S, 2>(s, &mut p, down, rows.clone(), across, &taps);
                across += 2;
            }
            if across < w.out_size[1] {
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
    let out = (down * p.window.out_size[1] + across) * p.step;
    let first = rows.start * p.window.kernel[1];
    let taps = &taps[..rows.len() * p.window.kernel[1] * P];
    let mut channel = 0;
    // SAFETY (of both): as the caller vouches; the vectors are inside, since `step` is whole groups.
    unsafe {
        while channel + 2 * S::LANES <= p.step {
            vectors::<S, P, 2>(s, p, out + channel, channel, first, taps);
            channel += 2 * S::LANES;
        }
        if channel < p.step {
            vectors::<S, P, 1>(s, p, out + channel, channel, first, taps);
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
