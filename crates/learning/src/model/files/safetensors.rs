//! Owns the safetensors format: named tensors, and beside them one text under the key `roundtable`.
//!
//! The bytes are written here and not by the `safetensors` crate, because digests are taken of them: the same
//! weights must be the same bytes in every version. Reading is the crate's.

use super::super::error::ModelError;
use super::super::form::{Form, Model};
use super::arrays::{self, Array, Arrays, Element, wrong};
use super::{Format, description};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The row of [`super::FORMATS`].
pub(super) const FORMAT: Format = Format {
    extension: "safetensors",
    about: "opens in PyTorch and others: tensors as nn.Linear has them",
    write: |model| Ok(model.to_safetensors()),
    read: Model::from_safetensors,
};

/// The one key in the file's `__metadata__`; readers keep those in a hash map, so several would have no order.
const KEY: &str = "roundtable";

/// The longest header that is read: enough for the longest description, with every sign of it escaped.
const MAX_HEADER: usize = 10 << 20;

impl Model {
    /// The model as the bytes of a safetensors file; the same model gives the same bytes.
    ///
    /// Layer `i` is `layers.i.weight` (outputs x inputs) and `layers.i.bias` (outputs), `F32`; the scaling of the
    /// inputs is `inputs.mean` and `inputs.deviation` (one per feature), `F64`. The rest of the form is JSON.
    pub fn to_safetensors(&self) -> Vec<u8> {
        encode(&arrays::of_model(self), Some(&description::write(self, false)))
    }

    /// Reads a model; what the file does not tell of its form is as in [`Form::default`].
    ///
    /// # Errors
    /// Names what is wrong with the bytes: not safetensors, another element type, a tensor missing or too many,
    /// shapes that do not chain or are out of range, a weight that is not finite, parts that do not fit together.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        let (mut arrays, text) = decode(bytes)?;
        let (mut form, notes) = match text {
            Some(text) => description::read(&text)?,
            None => (Form::default(), BTreeMap::new()),
        };
        arrays::move_scaling(&mut arrays, &mut form)?;
        description::join(arrays::to_weights(&arrays)?, form, notes)
    }

    /// The notes of a file, without a look at its weights.
    ///
    /// # Errors
    /// The bytes are not safetensors, or what they tell of a model cannot be read.
    pub fn notes_of_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, String>, ModelError> {
        let (_, text) = decode(bytes)?;
        Ok(text.map(|text| description::read(&text)).transpose()?.map(|(_, notes)| notes).unwrap_or_default())
    }
}

/// The bytes of a file with these tensors, in this order, and this text.
pub(in crate::model) fn encode(arrays: &[(String, Array<'_>)], text: Option<&str>) -> Vec<u8> {
    let tensors = arrays.iter().map(|(name, array)| (name.as_str(), array.element, array.shape.as_slice()));
    let mut bytes = head(tensors, text);
    bytes.reserve_exact(arrays.iter().map(|(_, array)| array.bytes.len()).sum());
    arrays.iter().for_each(|(_, array)| bytes.extend_from_slice(&array.bytes));
    bytes
}

/// What stands in a file before the numbers of these tensors, each a name, a type and a shape; the numbers follow in this
/// order.
pub(in crate::model) fn head<'t>(
    tensors: impl Iterator<Item = (&'t str, Element, &'t [usize])>,
    text: Option<&str>,
) -> Vec<u8> {
    let mut header = String::from("{");
    if let Some(text) = text {
        // Writing to a string cannot fail.
        let _ = write!(header, r#""__metadata__":{{"{KEY}":{}}},"#, serde_json::Value::from(text));
    }
    let mut end = 0;
    for (index, (name, element, shape)) in tensors.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let start = end;
        end += element.size() * shape.iter().product::<usize>();
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let _ = write!(
            header,
            r#"{comma}"{name}":{{"dtype":"{element:?}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#,
        );
    }
    header.push('}');
    // The format wants the data to start at a multiple of 8.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

/// The text of a file; none if it has none, or is no file of this format.
pub(in crate::model) fn text(bytes: &[u8]) -> Option<String> {
    check_header(bytes).ok()?;
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().as_ref()?.get(KEY).cloned()
}

/// The tensors of a file, and its text.
pub(in crate::model) fn decode<'a>(bytes: &'a [u8]) -> Result<(Arrays<'a>, Option<String>), ModelError> {
    check_header(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let text = header.metadata().as_ref().and_then(|all| all.get(KEY)).cloned();
    let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let array = |(name, tensor): (&str, safetensors::tensor::TensorView<'a>)| {
        let element = match tensor.dtype() {
            Dtype::U8 => Element::U8,
            Dtype::U16 => Element::U16,
            Dtype::U32 => Element::U32,
            Dtype::F32 => Element::F32,
            Dtype::F64 => Element::F64,
            other => return Err(wrong(format!("`{name}` is of type {other:?}; it must be F32"))),
        };
        // The crate has compared the shape with the number of bytes.
        let array = Array { element, shape: tensor.shape().to_vec(), bytes: Cow::Borrowed(tensor.data()) };
        Ok((name.to_owned(), array))
    };
    let arrays = tensors.iter().map(array).collect::<Result<_, _>>()?;
    Ok((arrays, text))
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

fn not_safetensors(error: safetensors::SafeTensorError) -> ModelError {
    ModelError::Encoding(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Activation;
    use crate::model::files::tests::{examples, small};
    use safetensors::tensor::TensorView;

    #[test]
    fn the_layout_is_that_of_linear_layers_and_the_scaling_lies_beside_it() {
        let model = small();
        let bytes = model.to_safetensors();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let shape =
            |name: &str| (tensors.tensor(name).unwrap().dtype(), tensors.tensor(name).unwrap().shape().to_vec());
        assert_eq!(shape("layers.0.weight"), (Dtype::F32, vec![4, 3]));
        assert_eq!(shape("layers.1.bias"), (Dtype::F32, vec![2]));
        assert_eq!(shape("inputs.mean"), (Dtype::F64, vec![3]));
        assert_eq!(shape("inputs.deviation"), (Dtype::F64, vec![3]));
        assert_eq!(tensors.len(), 6);
    }

    #[test]
    fn bare_weights_are_the_weights_of_the_original_form() {
        for model in examples() {
            let bare = Model::from_safetensors(&model.weights.to_safetensors(None)).unwrap();
            assert_eq!(bare, Model { weights: model.weights, form: Form::default(), notes: BTreeMap::new() });
        }
    }

    #[test]
    fn files_of_the_first_version_are_read() {
        let model = small();
        let text = r#"{"classes":["A\"","ß"],"notes":{"eta":"0.1"}}"#;
        let read = Model::from_safetensors(&model.weights.to_safetensors(Some(text))).unwrap();
        assert_eq!(read.form.output, super::super::super::Output::Classes(vec!["A\"".into(), "ß".into()]));
        assert_eq!((read.form.activation, read.form.inputs), (Activation::Relu, None));
        assert_eq!(read.notes["eta"], "0.1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let model = small();
        let says = |text: &str| {
            Model::from_safetensors(&model.weights.to_safetensors(Some(text))).unwrap_err().to_string()
        };
        for (text, part) in [
            ("", "its description (`roundtable`)"),
            (r#"{"classes":["A"]}"#, "names 1 classes for 2 outputs"),
            (r#"{"softness":1}"#, "unknown field `softness`"),
            (r#"{"softness":1}"#, "written by a newer version"),
            (r#"{"activation":"sine"}"#, "unknown variant `sine`"),
            (r#"{"value":{"mean":0,"deviation":1}}"#, "a value comes of 1 output, it has 2"),
            (r#"{"classes":["A","B"],"value":{"mean":0,"deviation":1}}"#, "classes and a value"),
            (r#"{"inputs":{"mean":[0],"deviation":[0]}}"#, "deviations above 0"),
            (r#"{"inputs":{"mean":[0],"deviation":[1]}}"#, "1 at a time, but it takes 3"),
        ] {
            assert!(says(text).contains(part), "{:?} does not say {part:?}", says(text));
        }
        let (arrays, text) = (arrays::of_model(&model), description::write(&model, true));
        let says = Model::from_safetensors(&encode(&arrays, Some(&text))).unwrap_err().to_string();
        assert!(says.contains("both tell how features are standardised"), "{says}");
        let refusal = |arrays: &[_]| Model::from_safetensors(&encode(arrays, None)).unwrap_err().to_string();
        assert!(refusal(&arrays[1..]).contains("no tensor `inputs.deviation`"));
        let mut other = arrays.clone();
        other[0].1.shape = vec![3, 1];
        assert!(refusal(&other).contains("`inputs.deviation` is of type F64 and shape [3, 1]"));
        let (data, shape) = (vec![0; 8], vec![4]);
        let view = TensorView::new(Dtype::F16, shape, &data).unwrap();
        let bytes = safetensors::serialize([("layers.0.bias", view)], None).unwrap();
        assert!(
            Model::from_safetensors(&bytes).unwrap_err().to_string().contains("`layers.0.bias` is of type F16")
        );
    }
}
