//! Owns the timing of random forests: binning, growing trees, pruning, and rows on their way through.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use roundtable::data::Dataset;
use roundtable::model::forest::{Binned, Forest, ForestSettings, Walk};
use std::hint::black_box;
use std::sync::Arc;

const TREES: u32 = 10;

/// So many rows and columns of so many values, of which something can be learnt.
fn data(rows: usize, columns: usize, values: usize, classes: usize) -> Arc<Dataset> {
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1_000_003;
    let value = |row: usize, column: usize| noise(row * columns + column) % values;
    let features = Array2::from_shape_fn((rows, columns), |(row, column)| value(row, column) as f32);
    let sum = |row: usize| (0..4).map(|column| value(row, column) * (column + 1)).sum::<usize>();
    let labels = (0..rows).map(|row| (sum(row) * 3 / values % classes) as u32).collect();
    Arc::new(Dataset::new(features, labels, classes).expect("made to fit"))
}

fn forests(c: &mut Criterion) {
    // The letters' shape, and one of more values than bins.
    for (name, rows, columns, values, classes) in [("letters", 16_500, 16, 16, 26), ("wide", 50_000, 54, 5000, 7)]
    {
        let set = data(rows, columns, values, classes);
        let mut group = c.benchmark_group(format!("forest/{name}"));
        group.sample_size(10);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function("bin", |b| b.iter(|| Binned::of(std::slice::from_ref(&set))));
        let binned = Binned::of(std::slice::from_ref(&set)).expect("made to fit");
        let rows: Vec<u32> = (0..rows as u32).collect();
        let settings = ForestSettings { n_estimators: TREES, ..ForestSettings::default() };
        let fit = |settings: &ForestSettings| Forest::fit(&binned, &rows, settings, 1, &|| true);
        group.bench_function(format!("grow {TREES} trees"), |b| b.iter(|| fit(&settings)));
        let pruned = ForestSettings { ccp_alpha: 1e-4, ..settings.clone() };
        group.bench_function(format!("grow and prune {TREES} trees"), |b| b.iter(|| fit(&pruned)));
        let forest = fit(&settings).expect("in range");
        let mut walk = Walk::new(&forest);
        group.bench_function(format!("through {TREES} trees"), |b| {
            b.iter(|| forest.each_row(set.features().all(), &mut walk, |_, row| _ = black_box(row)));
        });
        group.finish();
    }
}

criterion_group!(benches, forests);
criterion_main!(benches);
