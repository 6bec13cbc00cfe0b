//! Owns a model as named arrays, the way files hold it: those of PyTorch's `nn.Linear`, and those of the scaling.

use super::super::error::ModelError;
use super::super::form::{Form, Model};
use super::super::mlp::Mlp;
use super::super::shape::{MAX_LAYERS, Shape};
use crate::data::Scaling;
use ndarray::{Array2, ArrayView2, s};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The mean of each feature: `F64`, one per feature.
const MEAN: &str = "inputs.mean";
/// The deviation of each feature: `F64`, one per feature.
const DEVIATION: &str = "inputs.deviation";

/// The kind of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Element {
    U8,
    U16,
    U32,
    F32,
    F64,
}

impl Element {
    /// How many bytes one takes.
    pub(in crate::model) fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// An array in C order, its elements as little-endian bytes. As many as the shape says: readers have checked it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::model) struct Array<'a> {
    pub(in crate::model) element: Element,
    pub(in crate::model) shape: Vec<usize>,
    pub(in crate::model) bytes: Cow<'a, [u8]>,
}

impl Array<'static> {
    fn f64(values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { element: Element::F64, shape: vec![values.len()], bytes: Cow::Owned(bytes) }
    }

    fn f32<'v>(shape: Vec<usize>, values: impl Iterator<Item = &'v f32>) -> Self {
        let mut bytes = Vec::with_capacity(4 * shape.iter().product::<usize>());
        values.for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        Self { element: Element::F32, shape, bytes: Cow::Owned(bytes) }
    }
}

/// The arrays of a file that is being read.
pub(in crate::model) type Arrays<'a> = BTreeMap<String, Array<'a>>;

/// `layers.i.bias` (outputs) and `layers.i.weight` (outputs x inputs) of each layer, in this order.
pub(in crate::model) fn of_weights(weights: &Mlp<f32>) -> Vec<(String, Array<'static>)> {
    let mut arrays = Vec::with_capacity(2 * weights.layers().len());
    for (layer, matrix) in weights.layers().iter().enumerate() {
        let (inputs, outputs) = (matrix.nrows() - 1, matrix.ncols());
        let bias = Array::f32(vec![outputs], matrix.row(0).into_iter());
        let weight = Array::f32(vec![outputs, inputs], matrix.slice(s![1.., ..]).t().into_iter());
        arrays.push((format!("layers.{layer}.bias"), bias));
        arrays.push((format!("layers.{layer}.weight"), weight));
    }
    arrays
}

/// All arrays of a model: first those of the scaling, so that the larger elements are aligned in any file.
pub(super) fn of_model(model: &Model) -> Vec<(String, Array<'static>)> {
    let mut arrays = Vec::new();
    if let Some(scaling) = &model.form.inputs {
        arrays.push((DEVIATION.to_owned(), Array::f64(scaling.deviation())));
        arrays.push((MEAN.to_owned(), Array::f64(scaling.mean())));
    }
    arrays.extend(of_weights(&model.weights));
    arrays
}

/// Moves the scaling out of the arrays and into the form, if there is one.
pub(super) fn move_scaling(arrays: &mut Arrays<'_>, form: &mut Form) -> Result<(), ModelError> {
    if !arrays.contains_key(MEAN) && !arrays.contains_key(DEVIATION) {
        return Ok(());
    }
    let (mean, deviation) = (take_f64(arrays, MEAN)?, take_f64(arrays, DEVIATION)?);
    let scaling = Scaling::new(mean, deviation).ok_or_else(|| {
        wrong(format!("`{MEAN}` and `{DEVIATION}` must be equally long and finite, deviations above 0"))
    })?;
    match form.inputs.replace(scaling) {
        None => Ok(()),
        Some(_) => Err(wrong(format!("its description and `{MEAN}` both tell how features are standardised"))),
    }
}

/// The model of these arrays, which must be those of its layers and nothing else.
pub(in crate::model) fn to_weights(arrays: &Arrays<'_>) -> Result<Mlp<f32>, ModelError> {
    let count = arrays.len();
    if count == 0 || !count.is_multiple_of(2) || count > 2 * MAX_LAYERS {
        return Err(wrong(format!("{count} tensors; a weight and a bias per layer, {MAX_LAYERS} layers at most")));
    }
    let layers = (0..count / 2).map(|layer| to_layer(arrays, layer)).collect::<Result<_, _>>()?;
    Mlp::new(layers)
}

/// A matrix (inputs + 1) x outputs from the arrays of a layer.
fn to_layer(arrays: &Arrays<'_>, layer: usize) -> Result<Array2<f32>, ModelError> {
    let (weight_shape, weight) = find_f32(arrays, &format!("layers.{layer}.weight"))?;
    let (bias_shape, bias) = find_f32(arrays, &format!("layers.{layer}.bias"))?;
    let (&[outputs, inputs], &[biases]) = (weight_shape, bias_shape) else {
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

/// Shape and elements of the array of this name.
fn find_f32<'a>(arrays: &'a Arrays<'_>, name: &str) -> Result<(&'a [usize], Vec<f32>), ModelError> {
    let array = arrays.get(name).ok_or_else(|| wrong(format!("there is no tensor `{name}`")))?;
    if array.element != Element::F32 {
        return Err(wrong(format!("`{name}` is of type {:?}; it must be F32", array.element)));
    }
    let values = array.bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
    Ok((&array.shape, values))
}

/// The elements of the array of this name, which has one dimension and goes.
fn take_f64(arrays: &mut Arrays<'_>, name: &str) -> Result<Vec<f64>, ModelError> {
    let array = arrays.remove(name).ok_or_else(|| wrong(format!("there is no tensor `{name}`")))?;
    if array.element != Element::F64 || array.shape.len() != 1 {
        let Array { element, shape, .. } = array;
        return Err(wrong(format!(
            "`{name}` is of type {element:?} and shape {shape:?}; it must be F64, [features]"
        )));
    }
    Ok(array.bytes.as_chunks::<8>().0.iter().map(|&eight| f64::from_le_bytes(eight)).collect())
}

/// An error that says what is wrong with a file's bytes.
pub(in crate::model) fn wrong(what: impl Into<String>) -> ModelError {
    ModelError::Encoding(what.into())
}
