//! Owns what a model says about rows: the class of each and how probable it is, or the value.

use super::activation::Activation;
use super::error::ModelError;
use super::form::{Model, Output};
use super::forward::to_probabilities;
use super::kernels::{Aligned, BLOCK, Exponential, Network, Path, padded};
use super::mlp::Mlp;
use super::real::Real;
use super::train::fits;
use crate::data::{Dataset, Row, Scaling};
use ndarray::{Array2, ArrayView2};

/// The class with the highest output for each row of `features` (rows x features); of equals, the lowest.
///
/// # Errors
/// The rows have not as many features as the model takes.
pub fn predict(model: &Model, features: ArrayView2<'_, f32>) -> Result<Vec<u32>, ModelError> {
    let mut classes = Vec::with_capacity(features.nrows());
    each_row(model, features, |_, outputs| {
        classes.push(greatest(outputs));
        Ok(())
    })?;
    Ok(classes)
}

/// The probability of each class for each row of `features` (rows x features): rows x classes, each row adds up to 1.
/// The same on every machine.
///
/// # Errors
/// The rows have not as many features as the model takes, or the outputs for one leave the range of numbers.
pub fn probabilities(model: &Model, features: ArrayView2<'_, f32>) -> Result<Array2<f32>, ModelError> {
    let mut all = Array2::zeros((features.nrows(), model.weights.outputs()));
    let mut rows = all.rows_mut().into_iter();
    each_row(model, features, |row, outputs| {
        let Some(mut to) = rows.next() else { return Ok(()) };
        to_probabilities(outputs, to.as_slice_mut().unwrap_or_default()).ok_or(ModelError::Outputs { row })
    })?;
    Ok(all)
}

/// The value for each row of `features` (rows x features), in the values' own unit.
///
/// # Errors
/// The rows have not as many features as the model takes, the value of one leaves the range of numbers, or the model
/// tells classes.
pub fn values(model: &Model, features: ArrayView2<'_, f32>) -> Result<Vec<f32>, ModelError> {
    let Output::Value { mean, deviation } = model.form.output else {
        return Err(ModelError::TargetsDiffer { model: "classes", data: "values" });
    };
    let mut values = Vec::with_capacity(features.nrows());
    each_row(model, features, |row, outputs| {
        let value = (f64::from(outputs[0]) * deviation + mean) as f32;
        values.push(value);
        if value.is_finite() { Ok(()) } else { Err(ModelError::Outputs { row }) }
    })?;
    Ok(values)
}

/// The share of the rows whose predicted class is not their label, from 0 to 1, for weights without a form: raw
/// features, ReLU.
///
/// # Errors
/// The data has other features or classes than the model.
pub fn error_rate<T: Real>(weights: &Mlp<T>, data: &Dataset) -> Result<f64, ModelError> {
    fits(weights, data)?;
    let (labels, mut wrong) = (data.labels(), 0_usize);
    each_block(
        &mut Network::forward_only(weights, Activation::Relu),
        None,
        data.rows(),
        data.columns(),
        |row| data.row(row),
        |first, network| {
            let labels = &labels[first..labels.len().min(first + BLOCK)];
            wrong +=
                labels.iter().enumerate().filter(|(row, label)| greatest(network.logits(*row)) != **label).count();
            Ok(())
        },
    )?;
    Ok(wrong as f64 / data.rows() as f64)
}

/// The model's weights, ready to take rows forward.
pub(super) fn network(model: &Model) -> Network<f32> {
    Network::forward_only(&model.weights, model.form.activation)
}

/// Shows the outputs for each row of `features` to `see`.
fn each_row(
    model: &Model,
    features: ArrayView2<'_, f32>,
    mut see: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    model.check()?;
    let (rows, columns) = features.dim();
    if model.weights.inputs() != columns {
        return Err(ModelError::DataDiffers { what: "features", model: model.weights.inputs(), data: columns });
    }
    let features = features.as_standard_layout();
    let all = features.as_slice().unwrap_or_default();
    let row = |row: usize| Row::F32(&all[row * columns..(row + 1) * columns]);
    each_block(&mut network(model), model.form.inputs.as_ref(), rows, columns, row, |first, network| {
        (first..rows.min(first + BLOCK)).try_for_each(|row| see(row, network.logits(row - first)))
    })
}

/// Takes `rows` rows forward, a block at a time; `then` is told the block's first row and finds its outputs in the
/// network, in rows from 0. A block has `BLOCK` rows, or those that are left.
pub(super) fn each_block<'r, T: Real>(
    network: &mut Network<T>,
    scaling: Option<&Scaling>,
    rows: usize,
    columns: usize,
    row: impl Fn(usize) -> Row<'r>,
    mut then: impl FnMut(usize, &Network<T>) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let path = Path::detect();
    let step = padded::<T>(columns);
    let mut block = Aligned::<T>::zeros(BLOCK * step);
    for first in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - first);
        for (index, to) in block.chunks_exact_mut(step).take(count).enumerate() {
            match row(first + index) {
                Row::U8(bytes) => gather(bytes, scaling, to),
                Row::F32(floats) => gather(floats, scaling, to),
            }
        }
        T::forward(path, network, &block, count);
        then(first, network)?;
    }
    Ok(())
}

/// Copies a row's features, standardised in double precision.
pub(super) fn gather<T: Real, X: Copy + Into<f32>>(from: &[X], scaling: Option<&Scaling>, to: &mut [T]) {
    match scaling {
        None => to.iter_mut().zip(from).for_each(|(to, &x)| *to = <T as From<f32>>::from(x.into())),
        Some(scaling) => {
            let moments = scaling.mean().iter().zip(scaling.deviation());
            for ((to, &x), (mean, deviation)) in to.iter_mut().zip(from).zip(moments) {
                *to = T::from_f64((f64::from(x.into()) - mean) / deviation);
            }
        }
    }
}

/// Writes `e^(x - greatest)` of each output to `to`; returns the greatest output and the sum of what was written: NaN
/// if an output is not finite.
pub(super) fn softmax(outputs: &[f32], to: &mut [f32]) -> (f32, f64) {
    let most = outputs.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most { x } else { most });
    to.iter_mut().zip(outputs).for_each(|(to, &x)| *to = exp(x - most));
    (most, to[..outputs.len()].iter().map(|&e| f64::from(e)).sum())
}

/// `e^x` for `x <= 0` within 1e-7 of it; not the system's, whose last bits differ from machine to machine.
fn exp(x: f32) -> f32 {
    // Not `f32::max`, which would take NaN for the floor.
    let x = if x < f32::FLOOR { f32::FLOOR } else { x };
    let t = x * <f32 as Exponential>::LOG2_E + f32::MAGIC;
    let n = t - f32::MAGIC;
    let r = n * f32::MINUS_LN2_HIGH + x + n * f32::MINUS_LN2_LOW;
    let p = f32::POLYNOMIAL.iter().fold(0.0, |p, coefficient| p * r + coefficient);
    // The lowest bits of `t` are the power of two that is still to be multiplied with.
    let scaled = f32::from_bits(p.to_bits().wrapping_add(t.to_bits() << 23));
    if x.is_nan() { x } else { scaled }
}

/// Where the greatest value stands first.
pub(super) fn greatest<T: PartialOrd>(values: &[T]) -> u32 {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Form, Shape};
    use ndarray::array;
    use std::collections::BTreeMap;

    fn linear() -> Model {
        let weights = Mlp::new(vec![array![[0.5_f32, 0.0], [0.0, 1.0]]]).unwrap();
        Model { weights, form: Form::default(), notes: BTreeMap::new() }
    }

    #[test]
    fn of_equals_the_lowest_class_is_taken() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(greatest(&[0.0_f32; 4]), 0);
    }

    #[test]
    fn the_exponential_is_near() {
        for i in 0..=87_000 {
            let x = -(i as f32) / 1000.0;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) - right).abs() <= 1.5e-7 * right, "{x}: {} {right}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn a_single_layer_is_a_linear_classifier() {
        let features = Array2::from_shape_fn((70, 1), |(row, _)| row as f32 / 70.0);
        let classes = predict(&linear(), features.view()).unwrap();
        assert_eq!(classes.iter().position(|&class| class == 1), Some(36), "0.5 is not more than 0.5");
        let data = Dataset::new(features, vec![0; 70], 2).unwrap();
        assert_eq!(error_rate(&linear().weights, &data).unwrap(), 34.0 / 70.0);
    }

    #[test]
    fn probabilities_are_the_softmax() {
        let weights = Mlp::init_by(&Shape::new([5, 7, 9]).unwrap(), 3, crate::model::Init::He);
        // Columns of a wider array: rows that do not lie together.
        let wide = Array2::from_shape_fn((67, 8), |(row, column)| ((row * 31 + column * 17) % 23) as f32 - 9.0);
        let features = wide.slice(ndarray::s![.., 2..7]);
        let gelu = |x: f64| x / 2.0 * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh());
        let [first, last] = [0, 1].map(|layer| weights.layers()[layer].mapv(f64::from));
        let add = |x: Array2<f64>, layer: &Array2<f64>| x.dot(&layer.slice(ndarray::s![1.., ..])) + layer.row(0);
        for (_, activation) in Activation::ALL {
            let form = Form { activation, ..Form::default() };
            let model = Model { weights: weights.clone(), form, ..linear() };
            let all = probabilities(&model, features).unwrap();
            let hidden = add(features.mapv(f64::from), &first).mapv(|x| match activation {
                Activation::Relu => x.max(0.0),
                Activation::Tanh => x.tanh(),
                Activation::Gelu => gelu(x),
            });
            for (row, ours) in add(hidden, &last).rows().into_iter().zip(all.rows()) {
                let most = row.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = row.iter().map(|x| (x - most).exp()).sum();
                for (x, y) in row.iter().zip(ours) {
                    assert!(((x - most).exp() / sum - f64::from(*y)).abs() < 3e-6, "{activation:?}");
                }
                assert!((ours.sum() - 1.0).abs() < 1e-6);
            }
            let classes = predict(&model, features).unwrap();
            assert!(classes.iter().zip(all.rows()).all(|(&class, row)| greatest(&row.to_vec()) == class));
        }
    }

    #[test]
    fn features_are_standardised_and_values_are_not() {
        let scaling = Scaling::new(vec![1e6], vec![0.5]).unwrap();
        let output = Output::Value { mean: 10.0, deviation: 2.0 };
        let form = Form { inputs: Some(scaling), output, ..Form::default() };
        let model =
            Model { weights: Mlp::new(vec![array![[1.0_f32], [3.0]]]).unwrap(), form, notes: BTreeMap::new() };
        assert_eq!(values(&model, array![[1e6], [1_000_000.5]].view()).unwrap(), [12.0, 18.0]);
        let says = values(&linear(), array![[1.0]].view()).unwrap_err().to_string();
        assert_eq!(says, "the model gives classes, the data has values");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let says = predict(&linear(), Array2::zeros((3, 2)).view()).unwrap_err().to_string();
        assert_eq!(says, "the model takes 1 features, the data has 2");
        let data = Dataset::new(Array2::zeros((3, 1)), vec![0; 3], 3).unwrap();
        assert_eq!(
            error_rate(&linear().weights, &data).unwrap_err().to_string(),
            "the model takes 2 classes, the data has 3"
        );
        let huge = Model { weights: Mlp::new(vec![array![[0.0_f32, 0.0], [3e38, 1.0]]]).unwrap(), ..linear() };
        let features = array![[0.0], [3e38]];
        assert_eq!(probabilities(&huge, features.view()), Err(ModelError::Outputs { row: 1 }));
        assert_eq!(predict(&huge, features.view()), Ok(vec![0, 0]));
    }
}
