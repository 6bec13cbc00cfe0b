//! Owns a model as tasks carry it to nodes and back, many times a second: numbers as they lie in memory, nothing turned or
//! searched for. No format for files: another version may have another.
//!
//! A magic word, the length of a line of JSON, that line, then little-endian numbers: the doubles that the line tells of and
//! the floats of the layers, each (inputs + 1) x outputs with the bias in row 0.

use super::super::activation::Activation;
use super::super::error::ModelError;
use super::super::form::{Form, Model, Output};
use super::super::mlp::Mlp;
use super::super::shape::Shape;
use super::arrays::wrong;
use crate::data::Scaling;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"rt-flat1";
/// The longest line that is read.
const MAX_HEADER: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    sizes: Vec<usize>,
    activation: Activation,
    /// Mean and deviation of each feature come first.
    scaled: bool,
    /// The output is a value, whose mean and deviation come next; else there are classes.
    value: bool,
}

impl Form {
    /// A model of this form, without names of classes; the same model gives the same bytes.
    pub fn to_flat(&self, weights: &Mlp<f32>) -> Vec<u8> {
        let Form { activation, inputs, output } = self;
        let mut doubles: Vec<f64> = Vec::new();
        if let Some(scaling) = inputs {
            doubles.extend(scaling.mean());
            doubles.extend(scaling.deviation());
        }
        let value = match *output {
            Output::Value { mean, deviation } => {
                doubles.extend([mean, deviation]);
                true
            }
            Output::Classes(_) => false,
        };
        let shape = weights.shape();
        let header =
            Header { sizes: shape.sizes().to_vec(), activation: *activation, scaled: inputs.is_some(), value };
        // Numbers and names can be written.
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let length = MAGIC.len() + 4 + header.len() + 8 * doubles.len() + 4 * shape.parameters();
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&header);
        doubles.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        for layer in weights.layers() {
            match layer.as_slice().filter(|_| cfg!(target_endian = "little")) {
                Some(values) => bytes.extend_from_slice(bytemuck::cast_slice(values)),
                None => layer.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            }
        }
        bytes
    }
}

impl Model {
    /// Reads what [`Form::to_flat`] gave.
    ///
    /// # Errors
    /// Names what is wrong with the bytes: another form, sizes out of range, too few or too many numbers, one that is not
    /// finite or a deviation that is not above 0.
    pub fn from_flat(bytes: &[u8]) -> Result<Self, ModelError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("it does not begin as a flat model"))?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(|| wrong("it is cut off"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let line = if length <= MAX_HEADER { rest.split_at_checked(length) } else { None };
        let (header, rest) = line.ok_or_else(|| wrong(format!("its header claims {length} bytes")))?;
        let header: Header = serde_json::from_slice(header).map_err(|e| wrong(format!("its header: {e}")))?;
        let shape = Shape::new(header.sizes)?;
        let features = shape.sizes()[0];
        let doubles = if header.scaled { 2 * features } else { 0 } + if header.value { 2 } else { 0 };
        let expected = 8 * doubles + 4 * shape.parameters();
        if rest.len() != expected {
            return Err(wrong(format!("{} bytes follow its header, not {expected}", rest.len())));
        }
        let (first, mut rest) = rest.split_at(8 * doubles);
        let mut doubles = first.as_chunks::<8>().0.iter().map(|&eight| f64::from_le_bytes(eight));
        let inputs = if header.scaled {
            let (mean, deviation) =
                (doubles.by_ref().take(features).collect(), doubles.by_ref().take(features).collect());
            Some(Scaling::new(mean, deviation).ok_or_else(|| wrong("its scaling is out of range"))?)
        } else {
            None
        };
        let output = match doubles.next().zip(doubles.next()) {
            Some((mean, deviation)) => Output::Value { mean, deviation },
            None => Output::Classes(Vec::new()),
        };
        let mut layers = Vec::new();
        for (rows, columns) in shape.matrices() {
            let (of_layer, after) = rest.split_at(4 * rows * columns);
            let values = of_layer.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
            layers.push(Array2::from_shape_vec((rows, columns), values).map_err(|e| wrong(e.to_string()))?);
            rest = after;
        }
        let form = Form { activation: header.activation, inputs, output };
        let model = Self { weights: Mlp::new(layers)?, form, notes: BTreeMap::new() };
        model.check()?;
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn models() -> Vec<Model> {
        let model = |sizes: &[usize], form: Form| Model {
            weights: Mlp::init(&Shape::new(sizes).unwrap(), 7),
            form,
            notes: BTreeMap::new(),
        };
        let inputs = Scaling::new(vec![0.1 + 0.2, -1.0, 5e-324], vec![2.0, 0.1, 1e300]);
        let value = Output::Value { mean: 0.3, deviation: 0.1 };
        vec![
            model(&[3, 4, 2], Form::default()),
            model(&[3, 5, 1], Form { activation: Activation::Gelu, inputs: inputs.clone(), output: value }),
            model(&[3, 2, 2, 3], Form { inputs, ..Form::default() }),
        ]
    }

    fn flat(model: &Model) -> Vec<u8> {
        model.form.to_flat(&model.weights)
    }

    #[test]
    fn models_come_back_to_the_last_bit() {
        for model in models() {
            let back = Model::from_flat(&flat(&model)).unwrap();
            assert_eq!(back, model);
            assert_eq!(flat(&back), flat(&model));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(which in 0usize..3, at in 0usize..400, to: u8, cut in 0usize..400) {
            let mut bytes = flat(&models()[which]);
            let length = bytes.len();
            bytes[at % length] = to;
            for bytes in [&bytes[..], &bytes[..cut.min(length)]] {
                if let Ok(model) = Model::from_flat(bytes) {
                    model.check().unwrap();
                    prop_assert_eq!(&flat(&model).len(), &bytes.len());
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let says = |bytes: &[u8]| Model::from_flat(bytes).unwrap_err().to_string();
        let good = flat(&models()[0]);
        assert!(says(b"").contains("does not begin as a flat model"));
        assert!(says(&good[..9]).contains("cut off"));
        assert!(says(&good[..good.len() - 1]).contains("bytes follow its header, not"));
        let mut huge = good.clone();
        huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(says(&huge).contains("its header claims 4294967295 bytes"));
        let mut nan = good;
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(says(&nan).contains("is NaN"));
    }
}
