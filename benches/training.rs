//! Owns the timing of the model: training steps in samples per second on every path, and folding a round.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use roundtable::data::Dataset;
use roundtable::model::{GradientDescent, Mlp, Path, Real, Shape, WeightedMean, train_on};
use std::hint::black_box;

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

fn folding(c: &mut Criterion) {
    let before = Mlp::init(&shape(24), 1);
    let changes: Vec<_> = (0..11).map(|seed| Mlp::init(&shape(24), seed)).collect();
    c.bench_function("average/11 changes of 16-24-26", |b| {
        b.iter(|| {
            let mut mean = WeightedMean::new();
            for change in &changes {
                mean.add(black_box(change), ROWS as u64)?;
            }
            mean.finish(&before)
        });
    });
}

criterion_group!(benches, training, folding);
criterion_main!(benches);
