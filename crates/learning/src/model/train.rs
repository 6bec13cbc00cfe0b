//! Owns learning on one shard: full-batch gradient descent, as the original does it.

use super::activation::Activation;
use super::error::ModelError;
use super::kernels::{Aligned, BLOCK, Network, Path, padded};
use super::loss::LogProduct;
use super::mlp::Mlp;
use super::real::Real;
use crate::data::Dataset;

/// How long the kernels may run, in multiplications and additions, before `keep_going` is asked: under 0.1 ms.
const WORK_BETWEEN_QUESTIONS: usize = 1 << 20;

/// Settings of full-batch gradient descent, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientDescent {
    eta: f64,
    epochs: u32,
    early_stop: f64,
}

impl GradientDescent {
    /// The original's bound for the early stop.
    pub const EARLY_STOP: f64 = 0.2;

    /// `eta` is the step width for gradients that are sums over the rows; `epochs` the most passes over the data;
    /// training ends early when the loss, a sum over the rows too, changes by `early_stop` or less between two
    /// epochs (0: only when it does not change at all).
    ///
    /// # Errors
    /// Names the setting that is out of range, its value and the range.
    pub fn new(eta: f64, epochs: u32, early_stop: f64) -> Result<Self, ModelError> {
        if !(eta.is_finite() && eta > 0.0 && eta <= 1e6) {
            return Err(ModelError::Setting { field: "eta", value: eta, range: "above 0 and at most 1e6" });
        }
        if !(1..=1_000_000).contains(&epochs) {
            return Err(ModelError::Setting { field: "epochs", value: epochs.into(), range: "from 1 to 1000000" });
        }
        if !(early_stop.is_finite() && early_stop >= 0.0) {
            return Err(ModelError::Setting { field: "early_stop", value: early_stop, range: "0 or more" });
        }
        Ok(Self { eta, epochs, early_stop })
    }

    /// The step width.
    pub fn eta(&self) -> f64 {
        self.eta
    }

    /// The most epochs.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// The change of the loss at which training ends.
    pub fn early_stop(&self) -> f64 {
        self.early_stop
    }
}

/// How training went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Minus the sum over the rows of the log-probability of the right class, when it was looked at last: before
    /// the last step, or after it if training stopped early.
    pub loss: f64,
    /// How many steps were taken, at least 1.
    pub epochs: u32,
}

/// Trains `model` on all rows of `data` at once, up to `how.epochs()` times.
///
/// `Z = relu([1 X] W)`, `O = [1 Z] V`, `Y_ij = 1 / (sum_m exp(O_im - O_ij) + 1e-6)`, `R` one-hot;
/// `V += eta [1 Z]' (R - Y)`, `W += eta [1 X]' (((R - Y) V[1:]') * ([1 X] W >= 0))`, both from the weights before
/// the step; the loss is `-sum log(Y_label + 1e-6)`. With more or fewer hidden layers the same by back-propagation.
///
/// `keep_going` is asked at least every millisecond or so (a block of rows at least); the model is changed only if
/// training comes to its end.
///
/// # Errors
/// The data has other features or classes than the model; [`ModelError::Interrupted`]; [`ModelError::Diverged`].
pub fn train<T: Real>(
    model: &mut Mlp<T>,
    data: &Dataset,
    how: &GradientDescent,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ModelError> {
    train_on(Path::detect(), model, data, how, keep_going)
}

/// As [`train`], with chosen instructions. The result is the same, bit for bit.
///
/// # Errors
/// As [`train`].
pub fn train_on<T: Real>(
    path: Path,
    model: &mut Mlp<T>,
    data: &Dataset,
    how: &GradientDescent,
    keep_going: &dyn Fn() -> bool,
) -> Result<Trained, ModelError> {
    fits(model, data)?;
    let mut network = Network::for_learning(path, model, Activation::Relu, 0.0);
    let features = padded_features::<T>(data);
    let feature_step = padded::<T>(data.columns());
    let blocks_between = (WORK_BETWEEN_QUESTIONS / (network.work_per_row() * BLOCK)).max(1);
    let eta = T::from_f64(how.eta);
    let mut previous = f64::INFINITY;
    let mut trained = Trained { loss: f64::INFINITY, epochs: 0 };
    for epoch in 1..=how.epochs {
        let mut likelihood = LogProduct::ONE;
        for (index, labels) in data.labels().chunks(BLOCK).enumerate() {
            if index.is_multiple_of(blocks_between) && !keep_going() {
                return Err(ModelError::Interrupted { epoch });
            }
            let start = index * BLOCK * feature_step;
            let rows = labels.len().next_multiple_of(4);
            T::step(path, &mut network, &features[start..start + rows * feature_step], labels, &mut likelihood);
        }
        trained.loss = -likelihood.ln();
        if !trained.loss.is_finite() {
            return Err(ModelError::Diverged { epoch });
        }
        // As in the original, the step of the epoch that ends it is not taken.
        if (previous - trained.loss).abs() <= how.early_stop {
            break;
        }
        if !T::update(path, &mut network, eta) {
            return Err(ModelError::Diverged { epoch });
        }
        trained.epochs = epoch;
        previous = trained.loss;
    }
    network.write_to(model);
    Ok(trained)
}

/// Fails unless the data has the model's features and classes.
pub(super) fn fits<T: Real>(model: &Mlp<T>, data: &Dataset) -> Result<(), ModelError> {
    if model.inputs() != data.columns() {
        return Err(ModelError::DataDiffers { what: "features", model: model.inputs(), data: data.columns() });
    }
    if model.outputs() != data.classes() {
        return Err(ModelError::DataDiffers { what: "classes", model: model.outputs(), data: data.classes() });
    }
    Ok(())
}

/// The features as `T`, in padded rows, and rows of zeros up to a multiple of 4.
fn padded_features<T: Real>(data: &Dataset) -> Aligned<T> {
    let step = padded::<T>(data.columns());
    let mut features = Aligned::zeros(data.rows().next_multiple_of(4) * step);
    for (to, row) in features.chunks_exact_mut(step).zip(0..data.rows()) {
        data.row(row).copy_to(to);
    }
    features
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;
    use ndarray::Array2;
    use std::cell::Cell;

    fn case() -> (Mlp<f32>, Dataset) {
        let features = Array2::from_shape_fn((70, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f32);
        let labels = (0..70).map(|i| i % 4).collect();
        let data = Dataset::new(features, labels, 4).unwrap();
        (Mlp::init(&Shape::new([3, 5, 4]).unwrap(), 1), data)
    }

    fn how(eta: f64, epochs: u32, early_stop: f64) -> GradientDescent {
        GradientDescent::new(eta, epochs, early_stop).unwrap()
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let says = |eta, epochs, early| GradientDescent::new(eta, epochs, early).unwrap_err().to_string();
        assert_eq!(says(-0.5, 1, 0.2), "eta is -0.5; it must be above 0 and at most 1e6");
        assert!(says(f64::NAN, 1, 0.2).starts_with("eta is NaN"));
        assert_eq!(says(0.5, 0, 0.2), "epochs is 0; it must be from 1 to 1000000");
        assert_eq!(says(0.5, 1, f64::INFINITY), "early_stop is inf; it must be 0 or more");
    }

    #[test]
    fn other_data_is_refused() {
        let (_, data) = case();
        let refusal = |sizes: [usize; 3]| {
            let mut model = Mlp::<f32>::zeros(&Shape::new(sizes).unwrap());
            train(&mut model, &data, &how(0.1, 1, 0.0), &|| true).unwrap_err().to_string()
        };
        assert_eq!(refusal([4, 5, 4]), "the model takes 4 features, the data has 3");
        assert_eq!(refusal([3, 5, 6]), "the model takes 6 classes, the data has 4");
    }

    #[test]
    fn an_interrupted_model_is_as_it_was() {
        let (mut model, data) = case();
        let (before, left) = (model.clone(), Cell::new(3));
        let keep_going = || left.replace(left.get() - 1) > 0;
        let result = train(&mut model, &data, &how(1e-3, 10, 0.0), &keep_going);
        assert_eq!(result, Err(ModelError::Interrupted { epoch: 4 }));
        assert_eq!(model, before);
    }

    #[test]
    fn a_diverging_model_is_as_it_was() {
        let (mut model, data) = case();
        let before = model.clone();
        let result = train(&mut model, &data, &how(1e6, 1000, 0.0), &|| true);
        // Whether it diverges or all units are off for good, no weight may be infinite.
        assert!(matches!(result, Ok(_) | Err(ModelError::Diverged { .. })));
        assert!(model.check_finite().is_ok());
        let mut huge = Mlp::new(model.layers().iter().map(|m| m.mapv(|_| 3e38_f32)).collect()).unwrap();
        let result = train(&mut huge, &data, &how(1e-3, 2, 0.0), &|| true);
        assert!(matches!(result, Err(ModelError::Diverged { .. })), "{result:?}");
        assert_ne!(huge, before);
    }

    #[test]
    fn the_early_stop_counts_the_steps_taken() {
        let (mut model, data) = case();
        let trained = train(&mut model, &data, &how(1e-4, 1000, 1e9), &|| true).unwrap();
        assert_eq!(trained.epochs, 1);
        let (mut one, _) = case();
        train(&mut one, &data, &how(1e-4, 1, 0.0), &|| true).unwrap();
        assert_eq!(model, one);
    }
}
