//! Owns steps while they are made: what others may still be drawn into, and how they become ready.

use super::steps::{self, Step};
use crate::model::images::{Curve, Window};

/// A step that is not ready yet.
pub(super) struct Draft {
    pub kind: Kind,
    pub inputs: Vec<usize>,
    pub output: usize,
}

pub(super) enum Kind {
    Conv(Box<ConvDraft>),
    Scale(ScaleDraft),
    Curve(Curve),
    Pick(PickDraft),
    Constant(Vec<f32>),
    Ready(Box<dyn Step>),
    /// Drawn into another.
    Gone,
}

/// A convolution or dense layer.
pub(super) struct ConvDraft {
    pub window: Window,
    pub groups: usize,
    /// Channels that come in.
    pub channels: usize,
    /// Outputs x (channels / groups) x taps.
    pub weights: Vec<f32>,
    /// One for each output.
    pub bias: Vec<f32>,
    /// Whether the image lies as ONNX lays it.
    pub planes: bool,
    /// Whether a second input is added.
    pub add: bool,
    pub clip: Option<(f32, f32)>,
    pub curve: Option<Curve>,
}

/// A factor and a term for each channel.
pub(super) struct ScaleDraft {
    pub factors: Vec<f32>,
    pub terms: Vec<f32>,
    pub curve: Option<Curve>,
}

/// Each element from somewhere.
pub(super) struct PickDraft {
    /// Places in the input, or [`FILL`].
    pub map: Vec<u32>,
    /// What stands for no place.
    pub fill: Option<f32>,
}

impl Draft {
    /// What stands in its place when it has gone elsewhere.
    pub(super) fn gone(&self) -> Draft {
        Draft { kind: Kind::Gone, inputs: Vec::new(), output: self.output }
    }
}

/// No place.
pub(super) const FILL: u32 = u32::MAX;

impl PickDraft {
    /// Whether one with this fill can follow as part of it.
    pub(super) fn joins(&self, fill: Option<f32>) -> bool {
        match (self.fill, fill) {
            (Some(a), Some(b)) => a.to_bits() == b.to_bits(),
            _ => true,
        }
    }

    /// Makes places in the output of this places in its input.
    pub(super) fn then(&self, map: &mut [u32]) {
        for place in map.iter_mut().filter(|place| **place != FILL) {
            *place = self.map[*place as usize];
        }
    }
}

impl ConvDraft {
    /// Whether nothing happens after the sums yet.
    pub(super) fn is_bare(&self) -> bool {
        !self.add && self.clip.is_none() && self.curve.is_none()
    }

    /// Multiplies each output, then adds to it.
    pub(super) fn scale(&mut self, factors: &[f32], terms: &[f32]) {
        let each = (self.weights.len() / self.bias.len()).max(1);
        for ((weights, bias), (&factor, &term)) in
            self.weights.chunks_exact_mut(each).zip(&mut self.bias).zip(factors.iter().zip(terms))
        {
            weights.iter_mut().for_each(|weight| *weight *= factor);
            *bias = bias.mul_add(factor, term);
        }
    }

    /// Draws a curve in, if it can be.
    pub(super) fn bend(&mut self, curve: Curve) -> bool {
        match (curve, self.clip, self.curve) {
            (Curve::Clip(low, high), None, None) => self.clip = Some((low, high)),
            (curve, _, None) => self.curve = Some(curve),
            _ => return false,
        }
        true
    }
}

impl Kind {
    /// The step; none if it was drawn into another.
    pub(super) fn ready(self) -> Option<Box<dyn Step>> {
        Some(match self {
            Kind::Conv(draft) => steps::conv(*draft),
            Kind::Scale(draft) => Box::new(steps::Scale::new(draft)),
            Kind::Curve(curve) => Box::new(steps::Bend(curve)),
            Kind::Pick(draft) => Box::new(steps::Pick { map: draft.map, fill: draft.fill.unwrap_or(0.0) }),
            Kind::Constant(floats) => Box::new(steps::Constant(floats)),
            Kind::Ready(step) => step,
            Kind::Gone => return None,
        })
    }
}
