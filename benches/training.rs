//! Owns the timing of the model: training steps in samples per second on every path, and folding a round.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use roundtable::data::{Dataset, Part, Scaling};
use roundtable::model::{
    FOLDS, FoldSettings, Form, GradientDescent, Init, Learning, Method, Mlp, OPTIMIZERS, OUTERS,
    OptimizerSettings, OuterSettings, Path, Place, Real, Schedule, Shape, learn, train_on,
};
use std::hint::black_box;
use std::sync::Arc;

/// Rows of a letters shard.
const ROWS: usize = 1500;
/// Steps of a call, so that what is done once per call weighs little, as in real jobs.
const EPOCHS: u32 = 50;

/// Rows like those of the letters: 16 features from 0 to 15, 26 classes.
fn data() -> Dataset {
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1009;
    let features = Array2::from_shape_fn((ROWS, 16), |(i, j)| (noise(i * 16 + j) % 16) as f32);
    let labels = (0..ROWS).map(|i| (noise(i * 31) % 26) as u32).collect();
    Dataset::new(features, labels, 26).expect("made to fit")
}

fn shape(hidden: usize) -> Shape {
    Shape::new([16, hidden, 26]).expect("within the limits")
}

fn steps<T: Real>(c: &mut Criterion, kind: &str) {
    let data = data();
    let how = GradientDescent::new(1e-6, EPOCHS, 0.0).expect("within the limits");
    let mut group = c.benchmark_group(format!("train/{kind}"));
    group.throughput(Throughput::Elements(ROWS as u64 * u64::from(EPOCHS)));
    group.sample_size(10);
    // On x86-64 the portable path is for processors of before 2013, and a hundred times slower.
    let paths = Path::available()
        .into_iter()
        .filter(|path| path.name() != "portable" || cfg!(not(target_arch = "x86_64")));
    for path in paths {
        for hidden in [24, 256] {
            let model = Mlp::init(&shape(hidden), 1).cast::<T>().expect("small numbers");
            group.bench_function(BenchmarkId::new(format!("16-{hidden}-26"), path.name()), |b| {
                b.iter(|| {
                    let mut model = model.clone();
                    train_on(path, &mut model, &data, &how, &|| true).map(|trained| (trained, model))
                });
            });
        }
    }
    group.finish();
}

fn training(c: &mut Criterion) {
    steps::<f32>(c, "f32");
    steps::<f64>(c, "f64");
}

fn batches(c: &mut Criterion) {
    let data = Arc::new(data());
    let (part, form) = (Part::whole(data.clone()), Form { inputs: Scaling::of([&*data]), ..Form::default() });
    let model = Mlp::init_by(&shape(256), 1, Init::He);
    let place = Place { from: 0.0, to: 1.0, seed: 1, stream: 0 };
    let mut group = c.benchmark_group("learn/16-256-26 in batches of 64");
    group.throughput(Throughput::Elements(ROWS as u64 * 5));
    group.sample_size(10);
    for optimizer in OPTIMIZERS {
        let method = Method {
            batch_size: Some(64),
            shuffle: true,
            schedule: Schedule::named("constant"),
            optimizer: OptimizerSettings::named(optimizer.name),
            weight_decay: 0.0,
            clip_norm: None,
            dropout: 0.0,
            label_smoothing: 0.0,
            proximal: 0.0,
        };
        let how = Learning { epochs: 5, eta: 1e-3, method };
        group.bench_function(optimizer.name, |b| {
            b.iter(|| {
                let mut model = model.clone();
                learn(&mut model, &form, &part, &how, &place, &|| true).map(|learned| (learned, model))
            });
        });
    }
    group.finish();
}

fn folding(c: &mut Criterion) {
    let before = Mlp::init(&shape(24), 1);
    let changes: Vec<_> = (0..11).map(|seed| Mlp::init(&shape(24), seed)).collect();
    c.bench_function("average/11 changes of 16-24-26", |b| {
        b.iter(|| {
            let mut mean = FoldSettings::default().start()?;
            for change in &changes {
                mean.add(black_box(change).clone(), ROWS as u64)?;
            }
            OuterSettings::default().start()?.step(&before, &mean.finish()?)
        });
    });
}

/// Every fold of what 32 replicas say of 100,186 parameters, and every outer step after it.
fn between_rounds(c: &mut Criterion) {
    let shape = Shape::new([300, 256, 90]).expect("within the limits");
    let changes: Vec<_> = (0..32).map(|seed| Mlp::init(&shape, seed)).collect();
    let mut group = c.benchmark_group("32 changes of 300-256-90");
    group.sample_size(10);
    for row in FOLDS {
        let settings = FoldSettings::named(row.name);
        let finish = |changes: Vec<Mlp<f32>>| {
            let mut fold = settings.start()?;
            changes.into_iter().try_for_each(|change| fold.add(change, ROWS as u64))?;
            fold.finish()
        };
        group.bench_function(row.name, |b| b.iter_batched(|| changes.clone(), finish, BatchSize::LargeInput));
    }
    let change = changes[1].cast::<f64>().expect("small numbers");
    for row in OUTERS {
        let mut outer = OuterSettings::named(row.name).start().expect("customary numbers");
        group.bench_function(format!("then {}", row.name), |b| b.iter(|| outer.step(&changes[0], &change)));
    }
    group.finish();
}

criterion_group!(benches, training, batches, folding, between_rounds);
criterion_main!(benches);
