//! Owns a model's form as bytes: safetensors, with the names and layout of PyTorch's `nn.Linear`.
//!
//! Layer `i` is the tensors `layers.i.weight` (outputs x inputs) and `layers.i.bias` (outputs), all `F32`.
//! The bytes are written here and not by the `safetensors` crate, because digests are taken of them: the same
//! weights must be the same bytes in every version. Reading is the crate's.

use super::error::ModelError;
use super::mlp::Mlp;
use super::shape::{MAX_LAYERS, Shape};
use crate::types::Digest;
use ndarray::{Array2, ArrayView2, s};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The one key in the file's `__metadata__`; readers keep those in a hash map, so several would have no order.
const KEY: &str = "roundtable";

/// The longest header that is read: enough for the names of 65,536 classes.
const MAX_HEADER: usize = 8 << 20;

/// What a file says about its model besides the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// Anything else worth telling: how it was trained, say.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

impl Mlp<f32> {
    /// The model as the bytes of a safetensors file; the same model and metadata give the same bytes.
    pub fn to_safetensors(&self, metadata: Option<&Metadata>) -> Vec<u8> {
        let mut header = String::from("{");
        if let Some(metadata) = metadata {
            let classes = serde_json::Value::from(metadata.classes.clone());
            let notes = serde_json::Value::from_iter(metadata.notes.clone());
            let text = serde_json::Value::from(format!(r#"{{"classes":{classes},"notes":{notes}}}"#));
            // Writing to a string cannot fail.
            let _ = write!(header, r#""__metadata__":{{"{KEY}":{text}}},"#);
        }
        let mut data = Vec::with_capacity(self.shape().parameters() * 4);
        for (layer, matrix) in self.layers().iter().enumerate() {
            let (inputs, outputs) = (matrix.nrows() - 1, matrix.ncols());
            let comma = if layer == 0 { "" } else { "," };
            let (start, middle) = (data.len(), data.len() + outputs * 4);
            let end = middle + inputs * outputs * 4;
            let _ = write!(
                header,
                r#"{comma}"layers.{layer}.bias":{{"dtype":"F32","shape":[{outputs}],"data_offsets":[{start},{middle}]}},"#
            );
            let _ = write!(
                header,
                r#""layers.{layer}.weight":{{"dtype":"F32","shape":[{outputs},{inputs}],"data_offsets":[{middle},{end}]}}"#
            );
            let weights = matrix.slice(s![1.., ..]);
            let values = matrix.row(0).into_iter().chain(weights.t());
            values.for_each(|value| data.extend_from_slice(&value.to_le_bytes()));
        }
        header.push('}');
        // The format wants the data to start at a multiple of 8.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.append(&mut data);
        bytes
    }

    /// Reads a model and what its file says about it; the metadata is `None` if the file has none of ours.
    ///
    /// # Errors
    /// Names what is wrong with the bytes: not safetensors, another element type, a tensor missing or too many,
    /// shapes that do not chain or are out of range, a weight that is not finite.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, Option<Metadata>), ModelError> {
        check_header(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let metadata = match header.metadata().as_ref().and_then(|all| all.get(KEY)) {
            Some(text) => Some(serde_json::from_str(text).map_err(|e| wrong(format!("metadata `{KEY}`: {e}")))?),
            None => None,
        };
        let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let count = tensors.len();
        if count == 0 || !count.is_multiple_of(2) || count > 2 * MAX_LAYERS {
            return Err(wrong(format!(
                "{count} tensors; a weight and a bias per layer, {MAX_LAYERS} layers at most"
            )));
        }
        let layers = (0..count / 2).map(|layer| read_layer(&tensors, layer)).collect::<Result<_, _>>()?;
        Ok((Self::new(layers)?, metadata))
    }

    /// The SHA-256 of the encoding without metadata: the identity of the weights.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_safetensors(None))
    }
}

/// A matrix (inputs + 1) x outputs from the tensors of a layer.
fn read_layer(tensors: &SafeTensors<'_>, layer: usize) -> Result<Array2<f32>, ModelError> {
    let (weight_shape, weight) = read_tensor(tensors, &format!("layers.{layer}.weight"))?;
    let (bias_shape, bias) = read_tensor(tensors, &format!("layers.{layer}.bias"))?;
    let (&[outputs, inputs], &[biases]) = (&weight_shape[..], &bias_shape[..]) else {
        return Err(wrong(format!(
            "layer {layer} has a weight of shape {weight_shape:?} and a bias of shape {bias_shape:?}; \
             they must be [outputs, inputs] and [outputs]"
        )));
    };
    if biases != outputs {
        return Err(wrong(format!("layer {layer} has {biases} biases for {outputs} outputs")));
    }
    Shape::new([inputs, outputs])?;
    let mut matrix = Array2::zeros((inputs + 1, outputs));
    matrix.row_mut(0).iter_mut().zip(&bias).for_each(|(to, from)| *to = *from);
    let weight = ArrayView2::from_shape((outputs, inputs), &weight)
        .map_err(|e| wrong(format!("layers.{layer}.weight: {e}")))?;
    matrix.slice_mut(s![1.., ..]).assign(&weight.t());
    Ok(matrix)
}

/// Shape and elements of the tensor of this name.
fn read_tensor(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
    let tensor = tensors.tensor(name).map_err(|_| wrong(format!("there is no tensor `{name}`")))?;
    if tensor.dtype() != Dtype::F32 {
        return Err(wrong(format!("`{name}` is of type {:?}; it must be F32", tensor.dtype())));
    }
    // Chunks of four always fit; the crate has compared the shape with the number of bytes.
    let values = tensor.data().as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
    Ok((tensor.shape().to_vec(), values))
}

/// Refuses headers that the crate would take long over, or add up beyond the range of `usize`.
fn check_header(bytes: &[u8]) -> Result<(), ModelError> {
    /// All of a tensor's entry that is looked at here.
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        data_offsets: (u64, u64),
    }
    let length = bytes.first_chunk::<8>().map(|eight| u64::from_le_bytes(*eight));
    let length = length.ok_or_else(|| wrong(format!("{} bytes are too few", bytes.len())))?;
    if length > MAX_HEADER as u64 {
        return Err(wrong(format!("a header of {length} bytes; at most {MAX_HEADER} are read")));
    }
    let header = bytes.get(8..8 + length as usize);
    let header = header.ok_or_else(|| wrong(format!("the header ends after byte {}, the end", bytes.len())))?;
    let entries: BTreeMap<String, Entry> =
        serde_json::from_slice(header).map_err(|e| wrong(format!("the header: {e}")))?;
    for (name, entry) in entries {
        if entry.data_offsets.1 > bytes.len() as u64 {
            return Err(wrong(format!("`{name}` ends at byte {}, beyond the end", entry.data_offsets.1)));
        }
    }
    Ok(())
}

fn wrong(what: String) -> ModelError {
    ModelError::Encoding(what)
}

fn not_safetensors(error: safetensors::SafeTensorError) -> ModelError {
    ModelError::Encoding(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::{TensorView, serialize};

    fn model() -> Mlp<f32> {
        Mlp::init(&Shape::new([3, 4, 2]).unwrap(), 7)
    }

    fn file(tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
        let zeros = vec![0; 4096];
        let views = tensors.iter().map(|&(name, dtype, shape)| {
            let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
            (name.to_owned(), TensorView::new(dtype, shape.to_vec(), &zeros[..length]).unwrap())
        });
        serialize(views, None).unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        Mlp::from_safetensors(bytes).unwrap_err().to_string()
    }

    #[test]
    fn bytes_read_back_and_are_the_same_every_time() {
        let metadata = Metadata {
            classes: vec!["A\"".into(), "ß".into()],
            notes: BTreeMap::from([("rounds".into(), "3".into()), ("eta".into(), "0.1".into())]),
        };
        let bytes = model().to_safetensors(Some(&metadata));
        assert_eq!(bytes, model().to_safetensors(Some(&metadata)));
        assert_eq!(Mlp::from_safetensors(&bytes).unwrap(), (model(), Some(metadata)));
        assert_eq!(Mlp::from_safetensors(&model().to_safetensors(None)).unwrap(), (model(), None));
    }

    #[test]
    fn the_layout_is_that_of_linear_layers() {
        let bytes = model().to_safetensors(Some(&Metadata::default()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let weight = tensors.tensor("layers.1.weight").unwrap();
        assert_eq!(weight.shape(), [2, 4]);
        let third = f32::from_le_bytes(weight.data()[8..12].try_into().unwrap());
        assert_eq!(third, model().layers()[1][[3, 0]], "output 0, input 2");
        assert_eq!(tensors.tensor("layers.0.bias").unwrap().shape(), [4]);
    }

    #[test]
    fn the_digest_is_of_the_weights_alone() {
        assert_eq!(model().digest(), Digest::of(&model().to_safetensors(None)));
        let zero = Mlp::<f32>::zeros(&Shape::new([1, 1]).unwrap());
        // Recorded from this implementation: it must never change, as stored models are named by it.
        assert_eq!(zero.digest().short(), "00927eb3");
    }

    #[test]
    fn wrong_tensors_are_named() {
        use Dtype::{F16, F32, F64};
        let w = ("layers.0.weight", F32, &[4, 3][..]);
        let b = ("layers.0.bias", F32, &[4][..]);
        assert!(Mlp::from_safetensors(&file(&[w, b])).is_ok());
        let cases: [(&[_], &str); 9] = [
            (&[w], "1 tensors"),
            (&[w, ("layers.0.biases", F32, &[4])], "no tensor `layers.0.bias`"),
            (&[("layers.0.weight", F16, &[4, 3]), b], "`layers.0.weight` is of type F16"),
            (&[w, ("layers.0.bias", F64, &[4])], "`layers.0.bias` is of type F64"),
            (&[w, ("layers.0.bias", F32, &[5])], "5 biases for 4 outputs"),
            (&[("layers.0.weight", F32, &[12]), b], "weight of shape [12]"),
            (&[("layers.0.weight", F32, &[4, 0]), b], "layer size 0 is 0"),
            (&[w, b, ("layers.1.weight", F32, &[2, 5]), ("layers.1.bias", F32, &[2])], "layer 1 takes 5 inputs"),
            (&[], "0 tensors"),
        ];
        for (tensors, part) in cases {
            let says = refusal(&file(tensors));
            assert!(says.contains(part), "{says:?} does not say {part:?}");
        }
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut nan = model().to_safetensors(None);
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(refusal(&nan).contains("weight 3,1 of layer 1 is NaN"));
        assert!(refusal(b"").contains("0 bytes are too few"));
        assert!(refusal(&u64::MAX.to_le_bytes()).contains("a header of 18446744073709551615 bytes"));
        let vast = |offset: u64| {
            let header =
                format!(r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{offset}]}}}}"#, offset / 4);
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
        };
        assert!(refusal(&vast(1 << 60)).contains("beyond the end"));
        assert!(refusal(&vast(u64::MAX)).contains("beyond the end"));
        let mut short = model().to_safetensors(None);
        short.pop();
        assert!(refusal(&short).contains("not a model"));
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(at in 0_usize..600, to: u8, cut in 0_usize..600) {
            let mut bytes = model().to_safetensors(Some(&Metadata::default()));
            let length = bytes.len();
            bytes[at % length] = to;
            let _ = Mlp::from_safetensors(&bytes);
            let _ = Mlp::from_safetensors(&bytes[..cut.min(length)]);
        }
    }
}
