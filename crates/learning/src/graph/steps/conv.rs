//! Owns convolutions and dense layers as steps: products of pixels with packed weights, and depthwise windows.

use super::super::draft::ConvDraft;
use super::{Room, Run, Step};
use crate::model::images::{self, Aligned, Curve, Finish, GROUP, NOWHERE, Packed, Product, Window};

/// Floats of the input that a block of pixels sees: they stay near while all weights pass.
const NEAR: usize = 1 << 16;
/// Pixels of a block, at most and at least.
const MOST: usize = 192;
const LEAST: usize = 32;

/// A ready convolution.
pub(in super::super) fn conv(draft: ConvDraft) -> Box<dyn Step> {
    if is_depthwise(&draft) { Box::new(Depthwise::new(draft)) } else { Box::new(Conv::new(draft)) }
}

fn is_depthwise(draft: &ConvDraft) -> bool {
    draft.groups > 1 && draft.groups == draft.channels && draft.bias.len() == draft.channels && !draft.add
}

/// How many groups are done as one, whose weights between different ones are zero: as few as fill vectors.
fn together(groups: usize, outputs: usize) -> usize {
    let each = (outputs / groups).max(1);
    (1..=groups).find(|&some| groups.is_multiple_of(some) && (some * each).is_multiple_of(GROUP)).unwrap_or(groups)
}

/// Bytes of the packed weights of a convolution with so many groups, channels, outputs and taps.
pub(in super::super) fn packed_bytes(
    groups: usize,
    channels: usize,
    outputs: usize,
    taps: usize,
) -> Option<usize> {
    if groups > 1 && groups == channels && outputs == channels {
        return Packed::size(taps, channels);
    }
    let some = together(groups, outputs);
    let inner = (channels / groups).checked_mul(some)?.checked_mul(taps)?;
    Packed::size(inner, outputs / groups * some)?.checked_mul(groups / some)
}

/// A product for each set of groups.
struct Conv {
    window: Window,
    sets: Vec<Packed>,
    /// Channels of a set that come in.
    channels: usize,
    /// From a pixel that comes in to the next.
    step: usize,
    /// From a pixel that goes out to the next.
    out_step: usize,
    planes: bool,
    add: bool,
    low: f32,
    high: f32,
    curve: Option<Curve>,
}

impl Conv {
    fn new(draft: ConvDraft) -> Self {
        let (window, outputs) = (draft.window, draft.bias.len());
        let some = together(draft.groups, outputs);
        let (inputs_each, outputs_each) = (draft.channels / draft.groups, outputs / draft.groups);
        let (channels, columns, taps) = (inputs_each * some, outputs_each * some, window.taps());
        let sets = (0..draft.groups / some).map(|set| {
            let bias = &draft.bias[set * columns..][..columns];
            Packed::new(taps * channels, bias, |link, column| {
                let (tap, channel) = (link / channels, link % channels);
                if channel / inputs_each != column / outputs_each {
                    return 0.0;
                }
                let output = set * columns + column;
                draft.weights[(output * inputs_each + channel % inputs_each) * taps + tap]
            })
        });
        let sets = sets.collect();
        let (low, high) = draft.clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let step = if draft.planes { draft.channels } else { images::step(draft.channels) };
        let out_step = images::step(outputs);
        let (planes, add, curve) = (draft.planes, draft.add, draft.curve);
        Self { window, sets, channels, step, out_step, planes, add, low, high, curve }
    }

    /// Pixels that are done at once.
    fn block(&self) -> usize {
        let seen = self.channels * self.window.taps();
        (NEAR / seen.max(1)).clamp(LEAST, MOST).next_multiple_of(8).min(self.window.places())
    }

    /// Taps as the product sees them, and the links of each: of planes, whole rows of the window.
    fn taps(&self) -> (usize, usize) {
        let [down, across] = self.window.kernel;
        if self.planes { (down, across * self.channels) } else { (down * across, self.channels) }
    }

    /// The padded image's size, if the product sees such a one.
    fn padded(&self) -> [usize; 2] {
        let w = &self.window;
        [0, 1].map(|axis| {
            let reach = (w.out_size[axis] - 1) * w.stride[axis] + (w.kernel[axis] - 1) * w.dilation[axis] + 1;
            reach.max(w.pad[axis] + w.size[axis])
        })
    }

    /// Lays planes out as pixels inside of a frame of zeros.
    fn frame(&self, planes: &[f32], to: &mut [f32]) {
        let ([height, width], [_, across], channels) = (self.window.size, self.padded(), self.step);
        to.fill(0.0);
        let planes: Vec<&[f32]> = planes.chunks_exact(height * width).take(channels).collect();
        for y in 0..height {
            let row = &mut to[((y + self.window.pad[0]) * across + self.window.pad[1]) * channels..];
            for (x, pixel) in row.chunks_exact_mut(channels).take(width).enumerate() {
                for (to, plane) in pixel.iter_mut().zip(&planes) {
                    *to = plane[y * width + x];
                }
            }
        }
    }

    /// Says where each tap of the pixels from `first` on begins.
    fn start(&self, first: usize, pixels: usize, starts: &mut Vec<u32>) {
        let w = &self.window;
        let (taps, _) = self.taps();
        starts.clear();
        let across = self.padded()[1];
        for tap in 0..taps {
            let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
            let (mut y, mut x) = (first / w.out_size[1], first % w.out_size[1]);
            for _ in 0..pixels {
                let place = if self.planes {
                    Some((y * w.stride[0] + tap * w.dilation[0]) * across + x * w.stride[1])
                } else {
                    w.tap(0, y, ky).zip(w.tap(1, x, kx)).map(|(y, x)| y * w.size[1] + x)
                };
                starts.push(place.map_or(NOWHERE, |place| (place * self.step) as u32));
                x += 1;
                if x == w.out_size[1] {
                    (y, x) = (y + 1, 0);
                }
            }
        }
    }
}

impl Step for Conv {
    fn run(&self, run: Run<'_>) {
        let Run { path, inputs, out, room } = run;
        let Room { floats, starts } = room;
        let mut input = inputs[0];
        if self.planes {
            let length = self.room();
            self.frame(input, &mut floats[..length]);
            input = &floats[..length];
        }
        let (places, block, (_, length)) = (self.window.places(), self.block(), self.taps());
        for first in (0..places).step_by(block) {
            let pixels = block.min(places - first);
            self.start(first, pixels, starts);
            let rows = first * self.out_step..(first + pixels) * self.out_step;
            let out = &mut out[rows.clone()];
            let add = if self.add { inputs.get(1).map(|add| &add[rows]) } else { None };
            let mut column = 0;
            for (set, weights) in self.sets.iter().enumerate() {
                if set > 0 {
                    let outside = |start: &&mut u32| **start != NOWHERE;
                    starts.iter_mut().filter(outside).for_each(|start| *start += self.channels as u32);
                }
                let finish = Finish { add: add.map(|add| &add[column..]), low: self.low, high: self.high };
                let out = &mut out[column..];
                let out_step = self.out_step;
                images::product(path, Product { input, starts, pixels, length, weights, finish, out, out_step });
                column += weights.step();
            }
            if let Some(curve) = self.curve {
                images::bend(path, curve, out);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.sets.iter().map(Packed::bytes).sum()
    }

    fn room(&self) -> usize {
        if self.planes { self.padded()[0] * self.padded()[1] * self.step } else { 0 }
    }
}

/// A window of its own for each channel.
struct Depthwise {
    window: Window,
    step: usize,
    /// A row for each tap.
    weights: Aligned<f32>,
    bias: Aligned<f32>,
    zeros: Aligned<f32>,
    low: f32,
    high: f32,
    curve: Option<Curve>,
}

impl Depthwise {
    fn new(draft: ConvDraft) -> Self {
        let (window, channels, taps) = (draft.window, draft.channels, draft.window.taps());
        let step = images::step(channels);
        let (mut weights, mut bias) = (Aligned::zeros(taps * step), Aligned::zeros(step));
        bias[..channels].copy_from_slice(&draft.bias);
        for (channel, taps) in draft.weights.chunks_exact(taps).enumerate() {
            taps.iter().enumerate().for_each(|(tap, &weight)| weights[tap * step + channel] = weight);
        }
        let (low, high) = draft.clip.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        Self { window, step, weights, bias, zeros: Aligned::zeros(step), low, high, curve: draft.curve }
    }
}

impl Step for Depthwise {
    fn run(&self, run: Run<'_>) {
        let work = images::Depthwise {
            input: run.inputs[0],
            window: self.window,
            step: self.step,
            weights: &self.weights,
            bias: &self.bias,
            zeros: &self.zeros,
            low: self.low,
            high: self.high,
            out: run.out,
        };
        images::depthwise(run.path, work);
        if let Some(curve) = self.curve {
            images::bend(run.path, curve, run.out);
        }
    }

    fn bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len() + self.zeros.len())
    }
}
