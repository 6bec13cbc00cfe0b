//! Owns the timing of networks: a small one of the kinds of steps that pretrained ones are made of, made here.

#[path = "../crates/learning/src/graph/tests/onnx.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod onnx;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onnx::{Attribute, Model};
use roundtable::graph::{Limits, Network, Scratch};
use std::hint::black_box;
use std::time::Duration;

/// Numbers that look like trained ones.
fn numbers(count: usize, scale: f32) -> Vec<f32> {
    let mut seed = 1_u32;
    let mut draw = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((seed >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    };
    (0..count).map(|_| draw()).collect()
}

/// A convolution with ReLU.
fn conv(model: &mut Model, from: &str, to: &str, shape: [u64; 4], stride: i64, groups: i64) {
    let [outputs, channels, down, across] = shape;
    let count = shape.iter().product::<u64>() as usize;
    let weights = format!("{to}.w");
    model.floats(&weights, &shape, &numbers(count, (3.0 / (channels * down * across) as f32).sqrt()));
    let pad = (down as i64 - 1) / 2;
    let attributes = [
        ("pads", Attribute::Ints(&[pad; 4])),
        ("strides", Attribute::Ints(&[stride, stride])),
        ("group", Attribute::Int(groups)),
    ];
    let _ = (outputs, across);
    let sum = format!("{to}.sum");
    model.node("Conv", &[from, &weights], &sum, &attributes).node("Relu", &[&sum], to, &[]);
}

/// A stem, an inverted bottleneck with a residual, and a dense 3 x 3 convolution: 40 million multiply-adds an image.
fn network() -> Vec<u8> {
    let mut model = Model::new(&[0, 3, 112, 112]);
    conv(&mut model, "x", "stem", [32, 3, 3, 3], 2, 1);
    conv(&mut model, "stem", "wide", [96, 32, 1, 1], 1, 1);
    conv(&mut model, "wide", "deep", [96, 1, 3, 3], 1, 96);
    conv(&mut model, "deep", "narrow", [32, 96, 1, 1], 1, 1);
    model.node("Add", &["narrow", "stem"], "sum", &[]);
    conv(&mut model, "sum", "dense", [64, 32, 3, 3], 2, 1);
    model.node("GlobalAveragePool", &["dense"], "mean", &[]).node("Flatten", &["mean"], "row", &[]);
    model.floats("w", &[64, 100], &numbers(6_400, 0.2)).node("Gemm", &["row", "w"], "logits", &[]);
    model.node("Softmax", &["logits"], "y", &[]).file("y")
}

fn images(c: &mut Criterion) {
    let file = network();
    let mut group = c.benchmark_group("graph");
    group.sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    group.bench_function("read", |b| {
        b.iter(|| Network::read(black_box(&file), &Limits::default()).expect("the network is good"));
    });
    let network = Network::read(&file, &Limits::default()).expect("the network is good");
    for batch in [1, 8] {
        let input = numbers(batch * 3 * 112 * 112, 1.0);
        let mut scratch = Scratch::new();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("run/batch {batch}"), |b| {
            b.iter(|| network.run(batch, black_box(&input), &mut scratch).expect("the images are good"));
        });
    }
    group.finish();
}

criterion_group!(benches, images);
criterion_main!(benches);
