//! Owns what a model says about rows: the class of each, and how often that is wrong.

use super::error::ModelError;
use super::kernels::{Aligned, BLOCK, Network, Path, padded};
use super::mlp::Mlp;
use super::real::Real;
use super::train::fits;
use crate::data::Dataset;
use ndarray::ArrayView2;

/// The class with the highest output for each row of `features`; of equals, the lowest.
///
/// # Errors
/// The rows have not as many features as the model takes.
pub fn predict<T: Real>(model: &Mlp<T>, features: ArrayView2<'_, f32>) -> Result<Vec<u32>, ModelError> {
    if model.inputs() != features.ncols() {
        return Err(ModelError::DataDiffers { what: "features", model: model.inputs(), data: features.ncols() });
    }
    let path = Path::detect();
    let mut network = Network::new(model);
    let step = padded::<T>(model.inputs());
    let mut block = Aligned::<T>::zeros(BLOCK * step);
    let mut classes = Vec::with_capacity(features.nrows());
    for rows in features.axis_chunks_iter(ndarray::Axis(0), BLOCK) {
        for (to, from) in block.chunks_exact_mut(step).zip(rows.rows()) {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = T::from(from));
        }
        T::forward(path, &mut network, &block, rows.nrows());
        classes.extend((0..rows.nrows()).map(|row| greatest(network.logits(row))));
    }
    Ok(classes)
}

/// The share of the rows whose predicted class is not their label, from 0 to 1.
///
/// # Errors
/// The data has other features or classes than the model.
pub fn error_rate<T: Real>(model: &Mlp<T>, data: &Dataset) -> Result<f64, ModelError> {
    fits(model, data)?;
    let classes = predict(model, data.features().view())?;
    let wrong = classes.iter().zip(data.labels()).filter(|(class, label)| class != label).count();
    Ok(wrong as f64 / data.rows() as f64)
}

/// Where the greatest value stands first.
fn greatest<T: PartialOrd>(values: &[T]) -> u32 {
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
    use ndarray::{Array2, array};

    #[test]
    fn of_equals_the_lowest_class_is_taken() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(greatest(&[0.0_f32; 4]), 0);
    }

    #[test]
    fn a_single_layer_is_a_linear_classifier() {
        let model = Mlp::new(vec![array![[0.5_f32, 0.0], [0.0, 1.0]]]).unwrap();
        let features = Array2::from_shape_fn((70, 1), |(row, _)| row as f32 / 70.0);
        let classes = predict(&model, features.view()).unwrap();
        assert_eq!(classes.iter().position(|&class| class == 1), Some(36), "0.5 is not more than 0.5");
        let data = Dataset::new(features, vec![0; 70], 2).unwrap();
        assert_eq!(error_rate(&model, &data).unwrap(), 34.0 / 70.0);
    }

    #[test]
    fn other_features_or_classes_are_refused() {
        let model = Mlp::new(vec![array![[0.5_f32, 0.0], [0.0, 1.0]]]).unwrap();
        let says = predict(&model, Array2::zeros((3, 2)).view()).unwrap_err().to_string();
        assert_eq!(says, "the model takes 1 features, the data has 2");
        let data = Dataset::new(Array2::zeros((3, 1)), vec![0; 3], 3).unwrap();
        assert_eq!(
            error_rate(&model, &data).unwrap_err().to_string(),
            "the model takes 2 classes, the data has 3"
        );
    }
}
