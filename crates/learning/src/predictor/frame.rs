//! Owns the way from a picture to a network's input: cut out, resized, then each byte turned into a number.

use super::card::{Card, Colour, Filter, Layout, Range, Resize, wrong};
use super::error::{BadInput, CardError};
use super::picture::{self, Picture};
use super::resize::{self, BICUBIC, BILINEAR, BOX, Side};

/// The usual mean and deviation of red, green and blue in photographs, from 0 to 1: those of ImageNet.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

/// A picture, ready for a model: bytes of the model's size, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared(Vec<u8>);

/// How pictures become input.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub height: usize,
    pub width: usize,
    pub layout: Layout,
    pub colour: Colour,
    resize: Resize,
    shorter: usize,
    crop: f64,
    filter: resize::Filter,
    /// For each channel of the input, the number that each byte becomes.
    numbers: Vec<[f32; 256]>,
}

impl Frame {
    /// For a network that takes pictures of this height and width, as the card has it.
    pub fn new(
        card: &Card,
        height: usize,
        width: usize,
        layout: Layout,
        colour: Colour,
    ) -> Result<Self, CardError> {
        let longest = height.max(width);
        // As 256 is to 224.
        let shorter = card.shorter_side.unwrap_or_else(|| (longest * 8 + 3) / 7);
        if shorter < longest {
            return wrong(
                "shorter-side",
                format!("is {shorter}, but the network takes {height} x {width} pixels"),
            );
        }
        let filter = match card.filter.unwrap_or(Filter::Bilinear) {
            Filter::Box => BOX,
            Filter::Bilinear => BILINEAR,
            Filter::Bicubic => BICUBIC,
        };
        Ok(Self {
            height,
            width,
            layout,
            colour,
            resize: card.resize.unwrap_or(Resize::ShorterSide),
            shorter,
            crop: card.crop.unwrap_or(0.875),
            filter,
            numbers: numbers(card, colour)?,
        })
    }

    /// How many numbers a picture becomes.
    pub fn len(&self) -> usize {
        self.height * self.width * self.colour.channels()
    }

    /// Decodes a file and gives it the size; `limit` is the bytes that a decoded picture may have.
    pub fn prepare(&self, file: &[u8], limit: usize) -> Result<Prepared, BadInput> {
        Ok(self.cut(&picture::decode(file, self.colour == Colour::Gray, limit)?))
    }

    fn cut(&self, picture: &Picture) -> Prepared {
        let channels = self.colour.channels();
        let mut to = vec![0; self.len()];
        let (across, down, left, top) = self.sides(picture.width, picture.height);
        let (old, step) = (picture.width * channels, self.width * channels);
        let begin = to.get_mut(top * step + left * channels..).unwrap_or_default();
        match channels {
            1 => resize::resize::<1>((&picture.bytes, old), across, down, self.filter, (begin, step)),
            _ => resize::resize::<3>((&picture.bytes, old), across, down, self.filter, (begin, step)),
        }
        Prepared(to)
    }

    /// What becomes of columns and rows, and where the first new one stands.
    fn sides(&self, width: usize, height: usize) -> (Side, Side, usize, usize) {
        match self.resize {
            Resize::Stretch => (Side::all(width, self.width), Side::all(height, self.height), 0, 0),
            Resize::ShorterSide => {
                let longer = |this: usize, shortest: usize| this * self.shorter / shortest;
                let least = width.min(height);
                let side = |length: usize, count: usize| {
                    let whole = longer(length, least);
                    Side { first: middle(whole - count), count, ..Side::all(length, whole) }
                };
                (side(width, self.width), side(height, self.height), 0, 0)
            }
            Resize::CentreCrop => {
                // The largest part of the network's proportions.
                let scale = (width as f64 / self.width as f64).min(height as f64 / self.height as f64) * self.crop;
                let side = |length: usize, whole: usize| {
                    let kept = ((whole as f64 * scale) as usize).clamp(1, length);
                    Side { skip: (length - kept) / 2, ..Side::all(kept, whole) }
                };
                (side(width, self.width), side(height, self.height), 0, 0)
            }
            Resize::Fit => {
                let scale = (self.width as f64 / width as f64).min(self.height as f64 / height as f64);
                let whole = |length: usize, most: usize| ((length as f64 * scale).round() as usize).clamp(1, most);
                let (columns, rows) = (whole(width, self.width), whole(height, self.height));
                let (left, top) = ((self.width - columns) / 2, (self.height - rows) / 2);
                (Side::all(width, columns), Side::all(height, rows), left, top)
            }
        }
    }

    /// Writes a prepared picture's numbers to `to`; false if it was prepared for something else.
    pub fn fill(&self, picture: &Prepared, to: &mut [f32]) -> bool {
        let Prepared(bytes) = picture;
        if bytes.len() != self.len() || to.len() != self.len() {
            return false;
        }
        let pixels = self.height * self.width;
        for (channel, numbers) in self.numbers.iter().enumerate() {
            let from = if self.colour == Colour::Bgr { 2 - channel } else { channel };
            let bytes = bytes.iter().skip(from).step_by(self.numbers.len());
            let number = |&byte: &u8| numbers[usize::from(byte)];
            match self.layout {
                Layout::Nchw => {
                    let to = &mut to[channel * pixels..(channel + 1) * pixels];
                    to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = number(byte));
                }
                Layout::Nhwc => {
                    let to = to.iter_mut().skip(channel).step_by(self.numbers.len());
                    to.zip(bytes).for_each(|(to, byte)| *to = number(byte));
                }
            }
        }
        true
    }
}

/// The half, rounded to the even number if it lies between two, as Python rounds.
fn middle(rest: usize) -> usize {
    let half = rest / 2;
    half + (rest % 2) * (half % 2)
}

/// The number that each byte of each channel becomes.
fn numbers(card: &Card, colour: Colour) -> Result<Vec<[f32; 256]>, CardError> {
    let range = card.range.unwrap_or(Range::Unit);
    let whole = if range == Range::Bytes { 255.0 } else { 1.0 };
    let usual = |of_rgb: [f64; 3]| -> Vec<f64> {
        let scaled = of_rgb.map(|x| x * whole);
        match colour {
            Colour::Rgb => scaled.to_vec(),
            Colour::Bgr => scaled.into_iter().rev().collect(),
            Colour::Gray => vec![scaled.iter().sum::<f64>() / 3.0],
        }
    };
    let mean = card.mean.clone().unwrap_or_else(|| usual(MEAN));
    let std = card.std.clone().unwrap_or_else(|| usual(STD));
    let channels = colour.channels();
    for (key, list) in [("mean", &mean), ("std", &std)] {
        if list.len() != 1 && list.len() != channels {
            return wrong(key, format!("has {} numbers, but the network has {channels} channels", list.len()));
        }
    }
    let of = |list: &[f64], channel: usize| list.get(channel).or(list.first()).copied().unwrap_or(0.0);
    let table = |channel: usize| {
        let (mean, std) = (of(&mean, channel), of(&std, channel));
        std::array::from_fn(|byte| ((byte as f64 / 255.0 * whole - mean) / std) as f32)
    };
    let tables: Vec<[f32; 256]> = (0..channels).map(table).collect();
    match tables.iter().flatten().all(|x| x.is_finite()) {
        true => Ok(tables),
        false => wrong("std", format!("is {std:?}, which makes numbers that are not finite")),
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
