//! Owns the timing of data on their way into memory: text of the size of MNIST's rows, other text, blobs, moments.
//!
//! Throughput counts the bytes of the text or of the blob, of which one thread does all.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roundtable::data::{self, Dataset, Features, Scaling, Targets};
use roundtable::ingest;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

/// A tenth of MNIST's.
const ROWS: usize = 6000;
const COLUMNS: usize = 784;

fn noise(i: usize) -> usize {
    (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) ^ (i >> 3)
}

/// Four fifths are zeros, in runs as the margins of pictures are.
fn pixel(row: usize, column: usize) -> u8 {
    match noise(row * COLUMNS + column / 7) % 5 {
        0 => (noise(row * COLUMNS + column) % 256) as u8,
        _ => 0,
    }
}

fn text(rows: usize, columns: usize, mut field: impl FnMut(&mut String, usize, usize)) -> String {
    let mut text = String::new();
    for row in 0..rows {
        (0..columns).for_each(|column| field(&mut text, row, column));
        writeln!(text, "{}", row % 10).expect("strings take all");
    }
    text
}

fn reading(c: &mut Criterion) {
    let pictures = text(ROWS, COLUMNS, |text, row, column| {
        write!(text, "{},", pixel(row, column)).expect("strings take all");
    });
    let letters = text(50_000, 16, |text, row, column| {
        write!(text, "{},", noise(row * 16 + column) % 16).expect("strings take all");
    });
    let floats = text(20_000, 30, |text, row, column| {
        let value = noise(row * 30 + column) % 2_000_000;
        write!(text, "{:.5},", value as f64 / 1e6 - 1.0).expect("strings take all");
    });
    let mut group = c.benchmark_group("text");
    group.sample_size(10);
    for (name, text) in [("pictures of 784", &pictures), ("letters of 16", &letters), ("floats of 30", &floats)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| data::parse_table("t", black_box(text.as_bytes()))));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("train.csv");
    std::fs::write(&path, &pictures).expect("a file");
    let names: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    group.throughput(Throughput::Bytes(pictures.len() as u64));
    group.bench_function("pictures of 784, from a file", |b| b.iter(|| ingest::load_labelled(&path, &names)));
    group.finish();
}

fn in_memory(c: &mut Criterion) {
    let bytes = (0..ROWS * COLUMNS).map(|i| pixel(i / COLUMNS, i % COLUMNS)).collect();
    let labels = (0..ROWS).map(|row| (row % 10) as u32).collect();
    let features = Features::of_bytes(bytes, COLUMNS).expect("whole rows");
    let data = Dataset::of(features, Targets::Classes { labels, classes: 10 }).expect("made to fit");
    let blob = Arc::new(data::encode(&data));
    let mut group = c.benchmark_group("bytes");
    group.throughput(Throughput::Bytes(blob.len() as u64));
    group.bench_function("encode", |b| b.iter(|| data::encode(&data)));
    group.bench_function("decode", |b| b.iter(|| data::decode(blob.clone(), 10)));
    group.bench_function("moments", |b| b.iter(|| Scaling::of([&data])));
    let floats: Vec<f32> = data.features().all().iter().map(|value| value + 0.5).collect();
    let floats = Dataset::of(Features::of_floats(floats, COLUMNS).expect("whole rows"), data.targets().clone());
    let floats = floats.expect("made to fit");
    group.bench_function("moments of floats", |b| b.iter(|| Scaling::of([&floats])));
    group.finish();
}

criterion_group!(benches, reading, in_memory);
criterion_main!(benches);
