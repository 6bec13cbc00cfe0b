//! Owns the model itself: a multi-layer perceptron with ReLU between its layers, as one matrix per layer.

use super::error::ModelError;
use super::real::Real;
use super::shape::Shape;
use ndarray::Array2;
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::Uniform;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The bound within which first weights are uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// For raw features and summed gradients: see [`Mlp::init`].
    Small,
    /// `sqrt(6 / inputs)`: He et al. 2015, for ReLU.
    He,
    /// `sqrt(6 / (inputs + outputs))`: Glorot and Bengio 2010, for tanh.
    Glorot,
}

/// A multi-layer perceptron, or a change of one: `O = [1 relu([1 X] W)] V`, for any number of layers.
///
/// Weights are finite, shapes chain; both are checked wherever one is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp<T> {
    layers: Vec<Array2<T>>,
}

impl<T: Real> Mlp<T> {
    /// A model of these matrices, each (inputs + 1) x outputs with the bias in row 0.
    ///
    /// # Errors
    /// Names what does not fit: sizes out of range, layers that do not chain, a weight that is not finite.
    pub fn new(layers: Vec<Array2<T>>) -> Result<Self, ModelError> {
        let mut sizes = Vec::new();
        for (layer, matrix) in layers.iter().enumerate() {
            let (rows, outputs) = matrix.dim();
            if rows < 2 {
                return Err(ModelError::Rows { layer, rows });
            }
            match sizes.last() {
                None => sizes.push(rows - 1),
                Some(&before) if before != rows - 1 => {
                    return Err(ModelError::Chain { layer, inputs: rows - 1, outputs: before });
                }
                Some(_) => {}
            }
            sizes.push(outputs);
        }
        Shape::new(sizes)?;
        let layers: Vec<_> = layers
            .into_iter()
            .map(
                |matrix| {
                    if matrix.is_standard_layout() { matrix } else { matrix.as_standard_layout().into_owned() }
                },
            )
            .collect();
        let model = Self { layers };
        model.check_finite()?;
        Ok(model)
    }

    /// A model with all weights 0: what changes are measured from.
    pub fn zeros(shape: &Shape) -> Self {
        Self { layers: shape.matrices().map(|size| Array2::from_elem(size, T::from_f64(0.0))).collect() }
    }

    /// The matrices, each (inputs + 1) x outputs in C order with the bias in row 0.
    pub fn layers(&self) -> &[Array2<T>] {
        &self.layers
    }

    /// For those in this module who keep the promise of finite weights.
    pub(super) fn layers_mut(&mut self) -> &mut [Array2<T>] {
        &mut self.layers
    }

    /// The sizes of the layers.
    pub fn shape(&self) -> Shape {
        let first = self.layers.first().map(|matrix| matrix.nrows() - 1);
        let sizes: Vec<usize> = first.into_iter().chain(self.layers.iter().map(|matrix| matrix.ncols())).collect();
        Shape::of_checked(sizes)
    }

    /// How many features a row must have.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |matrix| matrix.nrows() - 1)
    }

    /// How many classes it tells apart.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |matrix| matrix.ncols())
    }

    /// What turned `before` into this model, weight by weight.
    ///
    /// # Errors
    /// The shapes differ, or a difference is beyond the range of `T`.
    pub fn minus(&self, before: &Self) -> Result<Self, ModelError> {
        self.same_shape(before)?;
        let pairs = self.layers.iter().zip(&before.layers);
        let change = Self {
            layers: pairs
                .map(|(after, before)| ndarray::Zip::from(after).and(before).map_collect(|&a, &b| a - b))
                .collect(),
        };
        change.check_finite()?;
        Ok(change)
    }

    /// Adds so many times a change, in double precision, and rounds each sum once.
    ///
    /// # Errors
    /// The shapes differ, or a sum leaves the range of numbers; the model is of no use then.
    pub fn add_times(&mut self, factor: f64, change: &Mlp<f32>) -> Result<(), ModelError> {
        self.same_shape(change)?;
        for (sum, matrix) in self.layers.iter_mut().zip(&change.layers) {
            let add = |sum: &mut T, &x: &f32| *sum = T::from_f64(sum.to_f64() + factor * f64::from(x));
            ndarray::Zip::from(sum).and(matrix).for_each(add);
        }
        self.check_finite()
    }

    /// The same model in the other kind of number, each weight rounded to the nearest.
    ///
    /// # Errors
    /// A weight is beyond the range of `U`.
    pub fn cast<U: Real>(&self) -> Result<Mlp<U>, ModelError> {
        let cast = Mlp { layers: self.layers.iter().map(|m| m.mapv(|x| U::from_f64(x.to_f64()))).collect() };
        cast.check_finite()?;
        Ok(cast)
    }

    /// Fails unless `other` has the same shape.
    pub(super) fn same_shape<U: Real>(&self, other: &Mlp<U>) -> Result<(), ModelError> {
        let (left, right) = (self.shape(), other.shape());
        if left == right { Ok(()) } else { Err(ModelError::ShapesDiffer { left, right }) }
    }

    /// Fails if a weight is NaN or infinite, and says which.
    pub(super) fn check_finite(&self) -> Result<(), ModelError> {
        // Without a way out in the middle this is many at a time; where the wrong one stands is looked for only then.
        let all_finite =
            |matrix: &Array2<T>| matrix.iter().fold(true, |all, value| all & value.to_f64().is_finite());
        if self.layers.iter().all(all_finite) {
            return Ok(());
        }
        for (layer, matrix) in self.layers.iter().enumerate() {
            for ((row, column), value) in matrix.indexed_iter() {
                let value = value.to_f64();
                if !value.is_finite() {
                    let place = match row {
                        0 => format!("bias {column} of layer {layer}"),
                        _ => format!("weight {row},{column} of layer {layer}", row = row - 1),
                    };
                    return Err(ModelError::NotFinite { place, value });
                }
            }
        }
        Ok(())
    }
}

impl Mlp<f64> {
    /// Divides all by this.
    ///
    /// # Errors
    /// A quotient leaves the range of numbers.
    pub fn divide(&mut self, by: f64) -> Result<(), ModelError> {
        self.layers.iter_mut().for_each(|matrix| *matrix /= by);
        self.check_finite()
    }
}

impl Mlp<f32> {
    /// So many times this change.
    ///
    /// # Errors
    /// A product leaves the range of numbers.
    pub fn times(&self, factor: f64) -> Result<Mlp<f64>, ModelError> {
        let product = Mlp { layers: self.layers.iter().map(|m| m.mapv(|x| factor * f64::from(x))).collect() };
        if !(-1.0..=1.0).contains(&factor) {
            product.check_finite()?;
        }
        Ok(product)
    }

    /// A model whose layers are lists of numbers: for each the weights (outputs x inputs, row by row) and then the biases,
    /// as model files have them.
    ///
    /// # Errors
    /// Says which list is of another length than the shape wants, or which number is not finite.
    pub fn from_lists(shape: &Shape, lists: &[Vec<f32>]) -> Result<Self, ModelError> {
        let expected = 2 * (shape.sizes().len() - 1);
        if lists.len() != expected {
            let what =
                format!("{} lists of numbers; it has {expected}: weights and biases of each layer", lists.len());
            return Err(ModelError::Encoding(what));
        }
        let mut layers = Vec::new();
        for (layer, (size, pair)) in shape.matrices().zip(lists.chunks_exact(2)).enumerate() {
            let (inputs, outputs) = (size.0 - 1, size.1);
            for (what, list, wanted) in [("weights", &pair[0], inputs * outputs), ("biases", &pair[1], outputs)] {
                if list.len() != wanted {
                    let got = list.len();
                    let what =
                        format!("layer {layer} has {got} {what}; it must have {wanted} ({outputs} x {inputs})");
                    return Err(ModelError::Encoding(what));
                }
            }
            let value = |(row, column): (usize, usize)| match row {
                0 => pair[1][column],
                _ => pair[0][column * inputs + row - 1],
            };
            layers.push(Array2::from_shape_fn(size, value));
        }
        Self::new(layers)
    }

    /// A model to start from, a function of shape and seed alone: biases 0, weights uniform.
    ///
    /// The bounds are chosen for raw features from 0 to 15 and gradients summed over the shard, as the original
    /// has them: small, because with larger ones the first steps overshoot and turn units off for good.
    pub fn init(shape: &Shape, seed: u64) -> Self {
        Self::init_by(shape, seed, Init::Small)
    }

    /// As [`Mlp::init`], with weights drawn by another rule.
    pub fn init_by(shape: &Shape, seed: u64, rule: Init) -> Self {
        Self::init_with(shape, seed, |layer, inputs, outputs| match rule {
            Init::Small if layer == 0 => FIRST_BOUND * (6.0 / inputs).sqrt(),
            Init::Small => LATER_BOUND * (6.0 / inputs).sqrt(),
            Init::He => (6.0 / inputs).sqrt(),
            Init::Glorot => (6.0 / (inputs + outputs)).sqrt(),
        })
    }

    /// As [`Mlp::init`]; `bound` says from a layer's place, inputs and outputs within what its weights are drawn.
    pub(super) fn init_with(shape: &Shape, seed: u64, bound: impl Fn(usize, f64, f64) -> f64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut layers = Vec::new();
        for (layer, (rows, columns)) in shape.matrices().enumerate() {
            let bound = bound(layer, (rows - 1) as f64, columns as f64) as f32;
            let mut matrix = Array2::zeros((rows, columns));
            if let Ok(uniform) = Uniform::new_inclusive(-bound, bound) {
                let weights = Array2::random_using((rows - 1, columns), uniform, &mut random);
                matrix.slice_mut(ndarray::s![1.., ..]).assign(&weights);
            }
            layers.push(matrix);
        }
        Self { layers }
    }
}

/// Weights of the first layer are uniform within this times `sqrt(6 / inputs)`.
///
/// Chosen with [`LATER_BOUND`] on the letters' shards 1 to 9, by the error on shards 10 and 11 over 11 seeds: 3
/// rounds of 75 epochs give 0.336 in the median and 0.348 at worst, 15 rounds of 50 give 0.234 and 0.252. From 0.005
/// to 0.06 and with later bounds from 0.1 to 0.3 it hardly matters; with a later bound of 0.6 most runs fail.
pub(super) const FIRST_BOUND: f64 = 0.02;
/// Weights of later layers are uniform within this times `sqrt(6 / inputs)`.
pub(super) const LATER_BOUND: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_start_is_a_function_of_shape_and_seed() {
        let shape = Shape::new([16, 24, 26]).unwrap();
        assert_eq!(Mlp::init(&shape, 5), Mlp::init(&shape, 5));
        assert_ne!(Mlp::init(&shape, 5), Mlp::init(&shape, 6));
        assert_eq!(Mlp::init(&shape, 5).shape(), shape);
        assert!(Mlp::init(&shape, 5).layers()[1].row(0).iter().all(|&bias| bias == 0.0));
    }

    #[test]
    fn matrices_must_chain_and_be_finite() {
        let says = |layers: Vec<Array2<f32>>| Mlp::new(layers).unwrap_err().to_string();
        assert!(says(vec![]).starts_with("a model has from 2"));
        assert!(says(vec![array![[1.0]]]).contains("layer 0 has 1 rows"));
        assert!(says(vec![Array2::zeros((3, 2)), Array2::zeros((4, 2))]).contains("layer 1 takes 3 inputs"));
        assert!(says(vec![array![[0.0], [f32::INFINITY]]]).starts_with("weight 0,0 of layer 0 is inf"));
    }

    #[test]
    fn a_change_is_the_difference() {
        let (a, b) =
            (Mlp::new(vec![array![[3.0_f32], [5.0]]]).unwrap(), Mlp::new(vec![array![[1.0], [7.0]]]).unwrap());
        assert_eq!(a.minus(&b).unwrap().layers(), [array![[2.0], [-2.0]]]);
        let other = Mlp::zeros(&Shape::new([2, 1]).unwrap());
        assert!(a.minus(&other).unwrap_err().to_string().contains("1-1 and 2-1"));
        let huge = Mlp::new(vec![array![[1e300], [0.0]]]).unwrap();
        assert!(huge.cast::<f32>().unwrap_err().to_string().starts_with("bias 0 of layer 0 is inf"));
    }
}
