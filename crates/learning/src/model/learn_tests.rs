//! Owns the tests of learning: against plain matrix algebra, between paths, and by finite differences.

use super::reference::{bits, case, furthest, with_ones};
use super::{
    Activation, Form, Learned, Learning, Method, Mlp, ModelError, OPTIMIZERS, OptimizerSettings, Output, Path,
    Place, Real, Schedule, learn, learn_on, learn_with_means,
};
use crate::data::{Dataset, Part, Scaling};
use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::Arc;

const PLACE: Place = Place { from: 0.25, to: 0.75, seed: 7, stream: 3 };

fn how(optimizer: &str, eta: f64) -> Learning {
    let method = Method {
        batch_size: Some(41),
        shuffle: false,
        schedule: Schedule::named("cosine"),
        optimizer: OptimizerSettings::named(optimizer),
        weight_decay: 0.0,
        clip_norm: None,
        dropout: 0.0,
        label_smoothing: 0.0,
        proximal: 0.0,
    };
    Learning { epochs: 2, eta, method }
}

/// The same settings with another method.
fn but(how: Learning, change: impl FnOnce(&mut Method)) -> Learning {
    let mut how = how;
    change(&mut how.method);
    how
}

/// A unit's output and its derivative.
fn bend(activation: Activation, x: f64) -> (f64, f64) {
    match activation {
        Activation::Relu => (x.max(0.0), if x >= 0.0 { 1.0 } else { 0.0 }),
        Activation::Tanh => (x.tanh(), 1.0 - x.tanh().powi(2)),
        Activation::Gelu => {
            let c = (2.0 / std::f64::consts::PI).sqrt();
            let t = (c * (x + 0.044_715 * x.powi(3))).tanh();
            let inner = c * (1.0 + 3.0 * 0.044_715 * x * x);
            (x / 2.0 * (1.0 + t), (1.0 + t) / 2.0 + x / 2.0 * (1.0 - t * t) * inner)
        }
    }
}

/// Standardised rows with their classes or values.
struct Batch {
    features: Array2<f64>,
    labels: Vec<usize>,
    values: Vec<f64>,
}

/// The gradients of the mean loss over a batch, the sum of the losses, and of the wrong ones or squared errors.
fn gradients(layers: &[Array2<f64>], form: &Form, batch: &Batch, smoothing: f64) -> (Vec<Array2<f64>>, f64, f64) {
    let mut inputs = vec![with_ones(&batch.features)];
    let mut sums = Vec::new();
    for matrix in layers {
        let out = inputs[sums.len()].dot(matrix);
        inputs.push(with_ones(&out.mapv(|x| bend(form.activation, x).0)));
        sums.push(out);
    }
    let out = &sums[layers.len() - 1];
    let (rows, outputs) = out.dim();
    let (mut loss, mut error) = (0.0, 0.0);
    let mut signal = Array2::zeros((rows, outputs));
    for i in 0..rows {
        let row = out.row(i);
        if let Output::Value { .. } = form.output {
            let missing = batch.values[i] - row[0];
            signal[[i, 0]] = -missing;
            loss += missing * missing / 2.0;
            error += missing * missing;
        } else {
            let most = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let sum: f64 = row.iter().map(|o| (o - most).exp()).sum();
            loss += sum.ln() + most - row[batch.labels[i]];
            error += f64::from(u8::from(row[batch.labels[i]] < most));
            for j in 0..outputs {
                let target =
                    f64::from(u8::from(j == batch.labels[i])) * (1.0 - smoothing) + smoothing / outputs as f64;
                signal[[i, j]] = (row[j] - most).exp() / sum - target;
            }
        }
    }
    let mut all = Vec::new();
    for layer in (0..layers.len()).rev() {
        all.insert(0, inputs[layer].t().dot(&signal) / rows as f64);
        if layer > 0 {
            let slope = sums[layer - 1].mapv(|x| bend(form.activation, x).1);
            signal = signal.dot(&layers[layer].slice(s![1.., ..]).t()) * slope;
        }
    }
    (all, loss, error)
}

/// One number's step; `t` counts from 1.
fn optimize(how: &Learning, rate: f64, t: i32, w: f64, g: f64, kept: &mut [f64; 2]) -> f64 {
    let settings = &how.method.optimizer;
    let decayed = g + how.method.weight_decay * w;
    match settings.name.as_str() {
        "sgd" => w - rate * decayed,
        "momentum" | "nesterov" => {
            kept[0] = settings.momentum * kept[0] + decayed;
            let ahead = if settings.name == "nesterov" { decayed + settings.momentum * kept[0] } else { kept[0] };
            w - rate * ahead
        }
        name => {
            let (w, g) = if name == "adamw" { (w - rate * how.method.weight_decay * w, g) } else { (w, decayed) };
            kept[0] = settings.beta1 * kept[0] + (1.0 - settings.beta1) * g;
            kept[1] = settings.beta2 * kept[1] + (1.0 - settings.beta2) * g * g;
            let first = kept[0] / (1.0 - settings.beta1.powi(t));
            let second = kept[1] / (1.0 - settings.beta2.powi(t));
            w - rate * first / (second.sqrt() + settings.epsilon)
        }
    }
}

fn batches(form: &Form, data: &Dataset, size: usize) -> Vec<Batch> {
    let mut features = data.features().to_array().mapv(f64::from);
    if let Some(scaling) = &form.inputs {
        for ((_, column), x) in features.indexed_iter_mut() {
            *x = (*x - scaling.mean()[column]) / scaling.deviation()[column];
        }
    }
    let values: Vec<f64> = match form.output {
        Output::Value { mean, deviation } => {
            data.values().iter().map(|&y| (f64::from(y) - mean) / deviation).collect()
        }
        Output::Classes(_) => Vec::new(),
    };
    let labels: Vec<usize> = data.labels().iter().map(|&label| label as usize).collect();
    let of = |from: usize| {
        let rows = from..data.rows().min(from + size);
        Batch {
            features: features.slice(s![rows.clone(), ..]).to_owned(),
            labels: labels.get(rows.clone()).unwrap_or_default().to_vec(),
            values: values.get(rows).unwrap_or_default().to_vec(),
        }
    };
    (0..data.rows()).step_by(size).map(of).collect()
}

/// Learns as [`learn`] does, without shuffling and dropout.
fn learn_plainly(model: &Mlp<f64>, form: &Form, data: &Dataset, how: &Learning) -> (Mlp<f64>, Learned) {
    let mut layers = model.layers().to_vec();
    let start = layers.clone();
    let mut kept: Vec<_> = layers.iter().map(|m| Array2::from_elem(m.dim(), [0.0; 2])).collect();
    let batches = batches(form, data, how.method.batch_size.map_or(data.rows(), |size| size as usize));
    let factor = how.method.schedule.factor().unwrap();
    let total = batches.len() as f64 * f64::from(how.epochs);
    let (mut loss, mut error, mut steps) = (0.0, 0.0, 0);
    for _ in 0..how.epochs {
        (loss, error) = (0.0, 0.0);
        for batch in &batches {
            let (mut all, more, wrong) = gradients(&layers, form, batch, how.method.label_smoothing);
            (loss, error) = (loss + more, error + wrong);
            for (gradient, (now, start)) in all.iter_mut().zip(layers.iter().zip(&start)) {
                *gradient += &((now - start) * how.method.proximal);
            }
            let norm = all.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
            let scale = how.method.clip_norm.filter(|&clip| norm > clip).map_or(1.0, |clip| clip / norm);
            let rate = how.eta * factor(PLACE.from + (PLACE.to - PLACE.from) * f64::from(steps) / total);
            steps += 1;
            for (matrix, (gradient, kept)) in layers.iter_mut().zip(all.iter().zip(&mut kept)) {
                let numbers = matrix.iter_mut().zip(gradient).zip(kept.iter_mut());
                numbers.for_each(|((w, &g), kept)| *w = optimize(how, rate, steps, *w, g * scale, kept));
            }
        }
    }
    let rows = data.rows() as f64;
    let error = match form.output {
        Output::Value { deviation, .. } => (error / rows).sqrt() * deviation,
        Output::Classes(_) => error / rows,
    };
    (Mlp::new(layers).unwrap(), Learned { loss: loss / rows, error, steps: steps as u64 })
}

/// The same rows with values instead of classes.
fn with_values(model: &Mlp<f32>, data: &Dataset) -> (Mlp<f32>, Dataset) {
    let mut layers = model.layers().to_vec();
    let last = layers.len() - 1;
    layers[last] = layers[last].slice(s![.., ..1]).to_owned();
    let values = data.features().to_array().sum_axis(Axis(1)).iter().map(|sum| sum * 0.5 + 3.0).collect();
    (Mlp::new(layers).unwrap(), Dataset::regression(data.features().to_array(), values).unwrap())
}

/// Settings of all kinds.
fn settings() -> impl Strategy<Value = Learning> {
    let share = prop_oneof![Just(0.0), Just(0.3)];
    let batch = prop_oneof![Just(None), (1_u32..70).prop_map(Some)];
    let clip = prop_oneof![Just(None), Just(Some(0.1))];
    (0..OPTIMIZERS.len(), batch, share.clone(), clip, share.clone(), share).prop_map(
        |(optimizer, batch_size, weight_decay, clip_norm, label_smoothing, proximal)| {
            let how = how(OPTIMIZERS[optimizer].name, 2e-3);
            let method = Method { batch_size, weight_decay, clip_norm, label_smoothing, proximal, ..how.method };
            Learning { method, ..how }
        },
    )
}

/// Sizes of a model, rows, a seed, an activation, whether values are learnt and features standardised.
fn cases() -> impl Strategy<Value = (Vec<usize>, usize, u64, usize, bool, bool)> {
    let sizes = prop::collection::vec(1_usize..40, 2..5);
    (sizes, 1_usize..100, any::<u64>(), 0..Activation::ALL.len(), any::<bool>(), any::<bool>())
}

fn form_and_data(
    (sizes, rows, seed, activation, values, standard): &(Vec<usize>, usize, u64, usize, bool, bool),
) -> (Mlp<f32>, Form, Dataset) {
    let (mut model, mut data) = case(sizes, *rows, *seed);
    let mut form = Form { activation: Activation::ALL[*activation].1, ..Form::default() };
    if *values {
        (model, data) = with_values(&model, &data);
        form.output = Output::Value { mean: 2.0, deviation: 3.0 };
    }
    form.inputs = standard.then(|| Scaling::of([&data])).flatten();
    (model, form, data)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn learning_does_what_the_algebra_says(case in cases(), mut how in settings()) {
        let (model, form, data) = form_and_data(&case);
        if case.4 {
            how.method.label_smoothing = 0.0;
        }
        // Where a gradient is nothing but rounding, Adam would make a step of it unless epsilon is more.
        how.method.optimizer.epsilon = 1e-4;
        let start = model.cast::<f64>().unwrap();
        let (plain, expected) = learn_plainly(&start, &form, &data, &how);
        let part = Part::whole(Arc::new(data));
        for path in Path::available() {
            let mut double = start.clone();
            let learned = learn_on(path, &mut double, &form, &part, &how, &PLACE, &|| true).unwrap();
            prop_assert_eq!(learned.steps, expected.steps);
            prop_assert!((learned.loss - expected.loss).abs() <= 1e-9 * (1.0 + expected.loss), "{}", path.name());
            prop_assert!((learned.error - expected.error).abs() <= 1e-9, "{}", path.name());
            let far = furthest(&double, &plain);
            prop_assert!(far <= 1e-9, "{}: {far}", path.name());
        }
    }

    #[test]
    fn learning_gives_the_same_bits_on_all_paths(case in cases(), mut how in settings(), dropout in 0.0..0.9) {
        let (model, form, data) = form_and_data(&case);
        if case.4 {
            how.method.label_smoothing = 0.0;
        }
        (how.method.shuffle, how.method.dropout) = (true, dropout);
        let part = Part::whole(Arc::new(data));
        let run = |path| -> Result<_, ModelError> {
            let (mut single, mut double) = (model.clone(), model.cast::<f64>()?);
            let first = learn_on(path, &mut single, &form, &part, &how, &PLACE, &|| true)?;
            let second = learn_on(path, &mut double, &form, &part, &how, &PLACE, &|| true)?;
            let numbers = [first.loss, first.error, second.loss, second.error].map(f64::to_bits);
            Ok((bits(&single), bits(&double), numbers))
        };
        let expected = run(Path::available()[0]).unwrap();
        for path in Path::available() {
            prop_assert!(run(path).unwrap() == expected, "{} differs", path.name());
        }
    }
}

/// Two well separated classes, more rows than are converted once.
fn separable(rows: usize) -> Part {
    let features = Array2::from_shape_fn((rows, 2), |(i, j)| {
        let side = if i % 2 == 0 { 5.0 } else { -5.0 };
        side + ((i * 7 + j * 3) % 11) as f32 / 11.0
    });
    let labels = (0..rows).map(|i| (i % 2) as u32).collect();
    Part::whole(Arc::new(Dataset::new(features, labels, 2).unwrap()))
}

fn small_model() -> Mlp<f32> {
    case(&[2, 6, 2], 3, 11).0
}

#[test]
fn every_optimizer_learns() {
    for entry in OPTIMIZERS {
        let how = but(how(entry.name, 0.01), |method| (method.batch_size, method.shuffle) = (Some(8), true));
        let how = Learning { epochs: 60, ..how };
        let mut model = small_model();
        let part = separable(64);
        let learned = learn(&mut model, &Form::default(), &part, &how, &PLACE, &|| true).unwrap();
        assert_eq!(learned.error, 0.0, "{}", entry.name);
        assert!(learned.loss < 0.3, "{}: {}", entry.name, learned.loss);
        assert_eq!(learned.steps, 480);
        assert!(!entry.about.is_empty() && format!("{entry:?}") == entry.name);
    }
}

#[test]
fn many_rows_are_learnt_as_few_are() {
    // 20,000 rows of a padded row of 64 bytes are more than are converted once; the steps must be the same.
    let how = but(how("momentum", 1e-3), |method| method.batch_size = Some(50));
    let part = separable(20_000);
    let data = (0..part.rows()).flat_map(|row| part.row(row).iter().collect::<Vec<_>>()).collect();
    let labels = (0..part.rows()).map(|row| part.label(row)).collect();
    let data = Dataset::new(Array2::from_shape_vec((part.rows(), 2), data).unwrap(), labels, 2).unwrap();
    let start = small_model().cast::<f64>().unwrap();
    let (plain, expected) = learn_plainly(&start, &Form::default(), &data, &how);
    let mut model = start.clone();
    let learned = learn(&mut model, &Form::default(), &part, &how, &PLACE, &|| true).unwrap();
    assert!((learned.loss - expected.loss).abs() < 1e-9);
    assert!(furthest(&model, &plain) < 1e-9);
}

#[test]
fn means_are_those_of_the_last_block() {
    // A block has 64 rows; 20,000 are more than are converted once.
    for (rows, last, shuffle) in [(20, 20, false), (20, 20, true), (70, 6, false), (20_000, 32, false)] {
        let (part, start) = (separable(rows), case(&[2, 6, 3, 2], 3, 11).0.cast::<f64>().unwrap());
        let still = but(how("sgd", 1e-300), |method| (method.batch_size, method.shuffle) = (None, shuffle));
        let still = Learning { epochs: 1, ..still };
        let mut model = start.clone();
        let (learned, means) =
            learn_with_means(&mut model, &Form::default(), &part, &still, &PLACE, &|| true).unwrap();
        assert_eq!(learned, learn(&mut model, &Form::default(), &part, &still, &PLACE, &|| true).unwrap());
        let data = (rows - last..rows).flat_map(|row| part.row(row).iter().map(f64::from).collect::<Vec<_>>());
        let mut inputs = Array2::from_shape_vec((last, 2), data.collect()).unwrap();
        assert_eq!(means.len(), 3);
        for (layer, means) in start.layers().iter().zip(&means) {
            let expected = inputs.mean_axis(Axis(0)).unwrap();
            assert_eq!(means.len(), expected.len());
            let near = means.iter().zip(&expected).all(|(mean, expected)| (mean - expected).abs() < 1e-9);
            assert!(near, "{rows} rows: {means:?}, not {expected}");
            inputs = with_ones(&inputs).dot(layer).mapv(|x| x.max(0.0));
        }
    }
}

#[test]
fn gradients_are_the_slope_of_the_loss() {
    for (_, activation) in Activation::ALL {
        let (model, data) = case(&[3, 5, 4, 3], 20, 5);
        let (part, form) = (Part::whole(Arc::new(data)), Form { activation, ..Form::default() });
        let start = model.cast::<f64>().unwrap();
        let how = but(how("sgd", 1e-300), |method| method.batch_size = None);
        let how = but(how, |method| method.schedule = Schedule::named("constant"));
        let how = Learning { epochs: 1, ..how };
        let loss =
            |model: &Mlp<f64>| learn(&mut model.clone(), &form, &part, &how, &PLACE, &|| true).unwrap().loss;
        let mut moved = start.clone();
        let small = Learning { eta: 1e-3, ..how.clone() };
        learn(&mut moved, &form, &part, &small, &PLACE, &|| true).unwrap();
        for layer in 0..3 {
            for at in [[0, 1], [1, 0], [2, 2]] {
                let beside = |by: f64| {
                    let mut layers = start.layers().to_vec();
                    layers[layer][at] += by;
                    loss(&Mlp::new(layers).unwrap())
                };
                let slope = (beside(1e-6) - beside(-1e-6)) / 2e-6;
                let gradient = (start.layers()[layer][at] - moved.layers()[layer][at]) / 1e-3;
                assert!((slope - gradient).abs() < 1e-6, "{activation:?} {layer} {at:?}: {slope} {gradient}");
            }
        }
    }
}

#[test]
fn the_order_and_the_masks_come_of_the_seed_and_the_stream() {
    let (model, data) = case(&[3, 9, 4], 77, 5);
    let (part, form) = (Part::whole(Arc::new(data)), Form::default());
    let run = |shuffle, dropout, seed, stream| {
        let how = but(how("adam", 1e-2), |method| {
            (method.batch_size, method.shuffle, method.dropout) = (Some(10), shuffle, dropout);
        });
        let mut model = model.clone();
        learn(&mut model, &form, &part, &how, &Place { seed, stream, ..PLACE }, &|| true).unwrap();
        model
    };
    for (shuffle, dropout) in [(true, 0.0), (false, 0.4)] {
        assert_eq!(run(shuffle, dropout, 1, 1), run(shuffle, dropout, 1, 1));
        assert_ne!(run(shuffle, dropout, 1, 1), run(shuffle, dropout, 2, 1));
        assert_ne!(run(shuffle, dropout, 1, 1), run(shuffle, dropout, 1, 2));
    }
    assert_eq!(run(false, 0.0, 1, 1), run(false, 0.0, 2, 2));
}

#[test]
fn an_interrupted_or_diverging_model_is_as_it_was() {
    let (part, form, before) = (separable(64), Form::default(), small_model());
    let mut model = before.clone();
    let left = Cell::new(2);
    let keep_going = || left.replace(left.get() - 1) > 0;
    let how = Learning { epochs: 1_000_000, ..how("adam", 1e-3) };
    let result = learn(&mut model, &form, &part, &how, &PLACE, &keep_going);
    assert!(matches!(result, Err(ModelError::Interrupted { .. })), "{result:?}");
    let wild = but(how, |method| method.schedule = Schedule::named("constant"));
    let wild = but(wild, |method| {
        (method.optimizer, method.weight_decay) = (OptimizerSettings::named("momentum"), 1e3);
    });
    let wild = Learning { eta: 1e6, epochs: 500, ..wild };
    let result = learn(&mut model, &form, &part, &wild, &PLACE, &|| true);
    assert!(matches!(result, Err(ModelError::Diverged { .. })), "{result:?}");
    assert_eq!(model, before);
}

#[test]
fn what_does_not_fit_is_refused() {
    let part = separable(9);
    let says = |change: &dyn Fn(&mut Form, &mut Learning, &mut Place)| {
        let (mut form, mut how, mut place) = (Form::default(), how("sgd", 0.1), PLACE);
        change(&mut form, &mut how, &mut place);
        learn(&mut small_model(), &form, &part, &how, &place, &|| true).unwrap_err().to_string()
    };
    assert_eq!(
        says(&|_, how, _| how.method.optimizer.name = "adma".to_owned()),
        "there is no optimizer \"adma\"; known are sgd, momentum, nesterov, adam, adamw"
    );
    assert!(says(&|_, how, _| how.method.schedule.name.clear()).starts_with("there is no schedule \"\""));
    assert_eq!(says(&|_, _, place| place.to = 0.1), "from is 0.25; it must be at most what to is");
    assert_eq!(says(&|_, how, _| how.method.dropout = 1.0), "dropout is 1; it must be from 0, below 1");
    let value = Output::Value { mean: 0.0, deviation: 1.0 };
    let differ = "the model gives values, the data has classes";
    assert_eq!(says(&|form, _, _| form.output = value.clone()), differ);
    assert_eq!(
        says(&|form, _, _| form.inputs = Scaling::new(vec![0.0], vec![1.0])),
        "the model takes 1 features, the data has 2"
    );
    let mut other = case(&[2, 6, 3], 3, 1).0;
    let refused = learn(&mut other, &Form::default(), &part, &how("sgd", 0.1), &PLACE, &|| true).unwrap_err();
    assert_eq!(refused.to_string(), "the model takes 3 classes, the data has 2");
}

#[test]
fn half_of_the_units_left_out_are_made_up_for() {
    // A linear layer of ones after many units that give 1: whatever is left out, the mean output stays.
    let layers = vec![
        Array2::from_shape_fn((2, 400), |(row, _)| if row == 0 { 1.0 } else { 0.0 }),
        Array2::from_shape_fn((401, 1), |(row, _)| if row == 0 { 0.0 } else { 1.0 / 400.0 }),
    ];
    let mut model = Mlp::<f64>::new(layers).unwrap();
    let data = Dataset::regression(Array2::zeros((2000, 1)), vec![0.0; 2000]).unwrap();
    let form = Form { output: Output::Value { mean: 0.0, deviation: 1.0 }, ..Form::default() };
    let how = but(how("sgd", 1e-300), |method| (method.batch_size, method.dropout) = (None, 0.5));
    let how = Learning { epochs: 1, ..how };
    let learned = learn(&mut model, &form, &Part::whole(Arc::new(data)), &how, &PLACE, &|| true).unwrap();
    // The mean square of the output is 1 and its variance, 1 / 400.
    assert!((learned.error.powi(2) - 1.0025).abs() < 0.01, "{}", learned.error);
}

#[test]
fn types_agree() {
    fn run<T: Real>() -> f64 {
        let mut model = small_model().cast::<T>().unwrap();
        let how = but(how("sgd", 1e-2), |method| (method.dropout, method.shuffle) = (0.5, true));
        learn(&mut model, &Form::default(), &separable(100), &how, &PLACE, &|| true).unwrap().loss
    }
    assert!((run::<f32>() - run::<f64>()).abs() < 1e-5, "both leave out the same units");
}
