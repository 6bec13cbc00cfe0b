//! Owns the reference: the same training step in plain matrix algebra, obviously right, to test the kernels against.

use super::{GradientDescent, Init, Mlp, ModelError, Path, Real, Shape, Trained, train, train_on};
use crate::data::Dataset;
use ndarray::{Array1, Array2, s};
use proptest::prelude::*;

/// `[1 A]`
pub(super) fn with_ones(a: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::ones((a.nrows(), a.ncols() + 1));
    out.slice_mut(s![.., 1..]).assign(a);
    out
}

/// One step in place; returns the loss before it.
fn step(layers: &mut [Array2<f64>], data: &Dataset, eta: f64) -> f64 {
    let mut inputs = vec![with_ones(&data.to_array().mapv(f64::from))];
    let mut before_relu: Vec<Array2<f64>> = Vec::new();
    for (layer, matrix) in layers.iter().enumerate() {
        let out = inputs[layer].dot(matrix);
        inputs.push(with_ones(&out.mapv(|x| x.max(0.0))));
        before_relu.push(out);
    }
    let logits = &before_relu[layers.len() - 1];
    let y = Array2::from_shape_fn(logits.dim(), |(i, j)| {
        1.0 / (logits.row(i).iter().map(|o| (o - logits[[i, j]]).exp()).sum::<f64>() + 1e-6)
    });
    let labels = data.labels().iter().map(|&label| label as usize);
    let loss = -labels.clone().enumerate().map(|(i, label)| (y[[i, label]] + 1e-6).ln()).sum::<f64>();
    let mut signal = -y;
    labels.enumerate().for_each(|(i, label)| signal[[i, label]] += 1.0);
    for layer in (0..layers.len()).rev() {
        let gradient = inputs[layer].t().dot(&signal);
        if layer > 0 {
            let open = before_relu[layer - 1].mapv(|x| if x >= 0.0 { 1.0 } else { 0.0 });
            signal = signal.dot(&layers[layer].slice(s![1.., ..]).t()) * open;
        }
        layers[layer].scaled_add(eta, &gradient);
    }
    loss
}

/// Trains as [`train`] does.
pub(super) fn train_plainly(model: &Mlp<f64>, data: &Dataset, how: &GradientDescent) -> (Mlp<f64>, Trained) {
    let mut layers = model.layers().to_vec();
    let mut previous = f64::INFINITY;
    let mut epochs = 0;
    loop {
        let before = layers.clone();
        let loss = step(&mut layers, data, how.eta());
        if (previous - loss).abs() <= how.early_stop() {
            return (Mlp::new(before).unwrap(), Trained { loss, epochs });
        }
        epochs += 1;
        if epochs == how.epochs() {
            return (Mlp::new(layers).unwrap(), Trained { loss, epochs });
        }
        previous = loss;
    }
}

pub(super) fn furthest<A: Real>(a: &Mlp<A>, b: &Mlp<f64>) -> f64 {
    let pairs = a.layers().iter().zip(b.layers()).flat_map(|(a, b)| a.iter().zip(b));
    pairs.map(|(a, b)| (a.to_f64() - b).abs()).fold(0.0, f64::max)
}

pub(super) fn bits<A: Real>(model: &Mlp<A>) -> Vec<u64> {
    model.layers().iter().flatten().map(|x| x.to_f64().to_bits()).collect()
}

/// The least of the hidden units' distances from 0, where a ReLU opens.
fn nearest_to_the_edge(layers: &[Array2<f64>], data: &Dataset) -> f64 {
    let mut inputs = with_ones(&data.features().to_array().mapv(f64::from));
    let mut nearest = f64::INFINITY;
    for matrix in &layers[..layers.len() - 1] {
        let out = inputs.dot(matrix);
        nearest = out.iter().fold(nearest, |nearest, x| nearest.min(x.abs()));
        inputs = with_ones(&out.mapv(|x| x.max(0.0)));
    }
    nearest
}

/// Sizes of a model, rows, a seed.
fn cases() -> impl Strategy<Value = (Vec<usize>, usize, u64)> {
    (prop::collection::vec(1_usize..40, 2..5), 1_usize..100, any::<u64>())
}

/// A model with biases too, and data for it.
pub(super) fn case(sizes: &[usize], rows: usize, seed: u64) -> (Mlp<f32>, Dataset) {
    let shape = Shape::new(sizes).unwrap();
    let model = Mlp::init_with(&shape, seed, |layer, inputs, _| {
        (if layer == 0 { 0.3 } else { 1.0 }) * (6.0 / inputs).sqrt()
    });
    let mut layers = model.layers().to_vec();
    for matrix in &mut layers {
        let bias = Array1::from_shape_fn(matrix.ncols(), |j| ((j as f32 + 1.0) * 1.7).sin() * 0.3);
        matrix.row_mut(0).assign(&bias);
    }
    let noise = Mlp::init_by(&Shape::new([rows, sizes[0]]).unwrap(), seed ^ 1, Init::He);
    let features = noise.layers()[0].slice(s![1.., ..]).mapv(|x| (x * (rows as f32).sqrt() * 2.0).round());
    let classes = sizes[sizes.len() - 1];
    let labels = (0..rows).map(|i| ((i as u64 * 7 + seed % 5) % classes as u64) as u32).collect();
    (Mlp::new(layers).unwrap(), Dataset::new(features, labels, classes).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn kernels_do_what_the_algebra_says((sizes, rows, seed) in cases()) {
        let (model, data) = case(&sizes, rows, seed);
        let how = GradientDescent::new(2e-3, 4, 0.0).unwrap();
        let start = model.cast::<f64>().unwrap();
        let (plain, expected) = train_plainly(&start, &data, &how);
        for path in Path::available() {
            let mut double = start.clone();
            let trained = train_on(path, &mut double, &data, &how, &|| true).unwrap();
            prop_assert_eq!(trained.epochs, expected.epochs);
            prop_assert!((trained.loss - expected.loss).abs() <= 1e-9 * (1.0 + expected.loss), "{}", path.name());
            let far = furthest(&double, &plain);
            prop_assert!(far <= 1e-10, "{}: {far}", path.name());
        }
        // In single precision a unit on the edge may open in one and not in the other, even in the first step.
        prop_assume!(nearest_to_the_edge(start.layers(), &data) > 1e-5);
        let how = GradientDescent::new(2e-3, 1, 0.0).unwrap();
        let (plain, expected) = train_plainly(&start, &data, &how);
        let mut single = model.clone();
        let trained = train(&mut single, &data, &how, &|| true).unwrap();
        prop_assert!((trained.loss - expected.loss).abs() <= 1e-4 * (1.0 + expected.loss));
        let far = furthest(&single, &plain);
        prop_assert!(far <= 1e-3, "{far}");
    }

    #[test]
    fn all_paths_give_the_same_bits((sizes, rows, seed) in cases()) {
        let (model, data) = case(&sizes, rows, seed);
        let how = GradientDescent::new(2e-3, 3, 0.0).unwrap();
        let run = |path| -> Result<_, ModelError> {
            let (mut single, mut double) = (model.clone(), model.cast::<f64>()?);
            let first = train_on(path, &mut single, &data, &how, &|| true)?;
            let second = train_on(path, &mut double, &data, &how, &|| true)?;
            Ok((bits(&single), bits(&double), first.loss.to_bits(), second.loss.to_bits()))
        };
        let expected = run(Path::available()[0]).unwrap();
        for path in Path::available() {
            prop_assert!(run(path).unwrap() == expected, "{} differs", path.name());
        }
    }
}

#[test]
fn a_wide_model_and_many_blocks_are_right_too() {
    let (model, data) = case(&[16, 130, 26], 333, 5);
    let how = GradientDescent::new(1e-4, 3, 0.0).unwrap();
    let start = model.cast::<f64>().unwrap();
    let (plain, _) = train_plainly(&start, &data, &how);
    for path in Path::available() {
        let mut double = start.clone();
        train_on(path, &mut double, &data, &how, &|| true).unwrap();
        assert!(furthest(&double, &plain) <= 1e-10, "{}", path.name());
    }
}

#[test]
fn extreme_logits_are_no_trouble() {
    for scale in [0.0, 1.0, 50.0, 400.0] {
        let layer = Array2::from_shape_fn((3, 5), |(i, j)| scale * ((i * 5 + j) as f64).sin());
        let start = Mlp::new(vec![layer]).unwrap();
        let features = Array2::from_shape_fn((9, 2), |(i, j)| (i + j) as f32);
        let data = Dataset::new(features, vec![0, 1, 2, 3, 4, 0, 1, 2, 3], 5).unwrap();
        let how = GradientDescent::new(1e-3, 1, 0.0).unwrap();
        let (plain, expected) = train_plainly(&start, &data, &how);
        for path in Path::available() {
            let mut model = start.clone();
            let trained = train_on(path, &mut model, &data, &how, &|| true).unwrap();
            assert!((trained.loss - expected.loss).abs() <= 1e-8, "{scale} {}", path.name());
            assert!(furthest(&model, &plain) <= 1e-12, "{scale} {}", path.name());
        }
    }
}
