//! Owns a model's card, `model.toml`: how pictures become a network's input, and what its outputs are called.
//!
//! ```toml
//! # EfficientNet-Lite0
//! size = [224, 224]          # height, width; needed only if the network leaves them open
//! layout = "nchw"            # or "nhwc"
//! colour = "rgb"             # or "bgr", "gray"
//! range = "0-255"            # or "0-1": what a byte is before mean and deviation
//! mean = [127.0]             # one number, or one for each channel
//! std = [128.0]
//! resize = "centre-crop"     # or "shorter-side", "stretch", "fit"
//! crop = 0.875
//! filter = "bicubic"         # or "bilinear", "box"
//! labels-file = "labels.txt" # a label a line; or labels = ["cat", "dog"]
//! output = "logits"          # or "probabilities"
//! ```
//!
//! Each line may be missing. What is missing is what networks of torchvision were trained with: `rgb`, range `0-1`, its
//! usual mean and deviation, the shorter side resized to 256 for each 224 of the network's, `bilinear`, the centre cut
//! out; classes are numbers; outputs are logits unless the network's last node is a softmax.

use super::error::CardError;
use crate::data::MAX_CLASSES;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A network's input has at most so many pixels a side.
pub const MAX_SIDE: usize = 1024;
/// The longest shorter side that pictures are resized to.
const MAX_SHORTER: usize = 4096;
/// All labels together have at most so many bytes.
pub const MAX_LABELS: usize = 4 << 20;

/// What a model's file does not say of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Card {
    /// The name of the network's input; its only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Height and width of its pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// In which order the input's numbers lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The channels and their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// What a byte is before mean and deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Is taken from each number; one, or one for each channel in the input's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// Divides what is left; above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
    /// How a picture gets the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Pixels of the shorter side before the centre is cut out; only with `resize = "shorter-side"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shorter_side: Option<usize>,
    /// The share of the picture's shorter side that is kept; only with `resize = "centre-crop"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<f64>,
    /// How new pixels are made of old ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// The names of the classes in the order of the outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The name of a file beside the card with a label a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_file: Option<String>,
    /// What the outputs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Outputs>,
}

/// In which order an input's numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Picture, channel, row, column.
    Nchw,
    /// Picture, row, column, channel.
    Nhwc,
}

/// The channels of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: luminance.
    Gray,
}

impl Colour {
    /// How many channels it has.
    pub fn channels(self) -> usize {
        if self == Colour::Gray { 1 } else { 3 }
    }
}

/// What a byte is before mean and deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// The byte itself.
    #[serde(rename = "0-255")]
    Bytes,
    /// A 255th of it.
    #[serde(rename = "0-1")]
    Unit,
}

/// How a picture gets the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Its shorter side is resized to `shorter-side`, then the centre is cut out, as torchvision does.
    ShorterSide,
    /// The centre, `crop` of the shorter side, is cut out and then resized, as EfficientNet does.
    CentreCrop,
    /// It is resized to the size, whatever its proportions.
    Stretch,
    /// It is resized to fit into the size, in the middle, with black bars.
    Fit,
}

/// How new pixels are made of old ones; all that a new one covers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The mean.
    Box,
    /// Linear weights.
    Bilinear,
    /// Cubic weights.
    Bicubic,
}

/// What a network's outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outputs {
    /// A softmax makes probabilities of them.
    Logits,
    /// Probabilities already.
    Probabilities,
}

impl Card {
    /// Reads the text of a `model.toml`.
    ///
    /// # Errors
    /// With the line: what is no TOML, an unknown key (and which are known), a setting that cannot be.
    pub fn from_toml(text: &str) -> Result<Self, CardError> {
        let line_of = |byte: usize| 1 + text.bytes().take(byte).filter(|&byte| byte == b'\n').count();
        let card: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            CardError::Text { line, reason: e.message().split_whitespace().collect::<Vec<_>>().join(" ") }
        })?;
        card.check().map_err(|e| match e {
            CardError::Setting { key, reason, .. } => {
                let line = text.lines().position(|line| line.trim_start().starts_with(key));
                CardError::Setting { line: line.map(|line| line + 1), key, reason }
            }
            other => other,
        })?;
        Ok(card)
    }

    /// Fails unless each setting is possible, and says which is not.
    ///
    /// # Errors
    /// Sizes, numbers or labels out of range; settings that contradict each other.
    pub fn check(&self) -> Result<(), CardError> {
        if let Some(size) = self.size.filter(|size| size.iter().any(|side| !(1..=MAX_SIDE).contains(side))) {
            return wrong("size", format!("is {size:?}; height and width must be from 1 to {MAX_SIDE}"));
        }
        self.check_numbers()?;
        let resize = self.resize.unwrap_or(Resize::ShorterSide);
        if let Some(side) = self.shorter_side {
            if resize != Resize::ShorterSide {
                return wrong("shorter-side", "goes with resize = \"shorter-side\" only".to_owned());
            }
            let least = self.size.map_or(1, |[height, width]| height.max(width));
            if !(least..=MAX_SHORTER).contains(&side) {
                return wrong("shorter-side", format!("is {side}; it must be from {least} to {MAX_SHORTER}"));
            }
        }
        if let Some(crop) = self.crop {
            if resize != Resize::CentreCrop {
                return wrong("crop", "goes with resize = \"centre-crop\" only".to_owned());
            }
            if !(0.01..=1.0).contains(&crop) {
                return wrong("crop", format!("is {crop}; it must be from 0.01 to 1"));
            }
        }
        self.check_labels()
    }

    fn check_numbers(&self) -> Result<(), CardError> {
        let channels = self.colour.map_or(3, Colour::channels);
        for (key, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            let Some(numbers) = numbers else { continue };
            if numbers.len() != 1 && numbers.len() != channels {
                let found = numbers.len();
                return wrong(key, format!("has {found} numbers; it must have 1, or {channels}: one a channel"));
            }
            let good = |&x: &f64| (x as f32).is_finite() && (key == "mean" || x >= f64::from(f32::MIN_POSITIVE));
            if let Some(bad) = numbers.iter().find(|x| !good(x)) {
                let range = if key == "mean" { "finite" } else { "finite and above 0" };
                return wrong(key, format!("has {bad:?}; its numbers must be {range}"));
            }
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<(), CardError> {
        if self.labels.is_some() && self.labels_file.is_some() {
            return wrong("labels-file", "and labels contradict each other; leave one out".to_owned());
        }
        if let Some(name) = &self.labels_file
            && (name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.'))
        {
            return wrong("labels-file", format!("is {name:?}; it must be the name of a file beside the card"));
        }
        let Some(labels) = &self.labels else { return Ok(()) };
        let bytes: usize = labels.iter().map(String::len).sum();
        if labels.is_empty() || labels.len() > MAX_CLASSES || bytes > MAX_LABELS {
            let found = labels.len();
            let allowed = format!("from 1 to {MAX_CLASSES} of at most {MAX_LABELS} bytes together are allowed");
            return wrong("labels", format!("are {found} of {bytes} bytes; {allowed}"));
        }
        Ok(())
    }

    /// Where the card of a model in this file may stand: `<model>.toml` comes before `model.toml` beside it.
    pub fn places(model: &Path) -> [PathBuf; 2] {
        [model.with_extension("toml"), model.with_file_name("model.toml")]
    }

    /// The name of the file with the labels, beside the card, if they are yet to be read.
    pub fn labels_file(&self) -> Option<&str> {
        self.labels_file.as_deref()
    }

    /// Takes the text of the file with the labels: one a line; empty lines at the end are left out. The card then needs
    /// the file no more.
    ///
    /// # Errors
    /// There are no labels, or too many.
    pub fn set_labels(&mut self, text: &str) -> Result<(), CardError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
        let labels =
            if text.is_empty() { Vec::new() } else { text.lines().map(|l| l.trim().to_owned()).collect() };
        let named = Self { labels: Some(labels), labels_file: None, ..Self::default() };
        named.check()?;
        (self.labels, self.labels_file) = (named.labels, None);
        Ok(())
    }

    /// The first setting that speaks of pictures, for models that take none.
    pub(super) fn about_pictures(&self) -> Option<&'static str> {
        let said = [
            ("size", self.size.is_some()),
            ("layout", self.layout.is_some()),
            ("colour", self.colour.is_some()),
            ("range", self.range.is_some()),
            ("mean", self.mean.is_some()),
            ("std", self.std.is_some()),
            ("resize", self.resize.is_some()),
            ("shorter-side", self.shorter_side.is_some()),
            ("crop", self.crop.is_some()),
            ("filter", self.filter.is_some()),
        ];
        said.into_iter().find(|&(_, said)| said).map(|(key, _)| key)
    }
}

/// A setting that cannot be.
pub(super) fn wrong<T>(key: &'static str, reason: String) -> Result<T, CardError> {
    Err(CardError::Setting { line: None, key, reason })
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
