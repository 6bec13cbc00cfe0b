//! Networks from ONNX, as a program of its own sees them: what onnxruntime says of the same graphs, and our own models.

use ndarray::Array2;
use roundtable::data::Scaling;
use roundtable::graph::{Limits, Network, Scratch};
use roundtable::model::{self, Activation, Form, Init, Mlp, Model, Output, Shape};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const GRAPHS: &[&str] =
    &["alexnet", "densenet", "elements", "features", "inception_v3", "keras", "mobilenet_v3", "shufflenet_v2"];

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn graphs_say_what_onnxruntime_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx");
    let mut scratch = Scratch::new();
    for name in GRAPHS {
        let file = fs::read(directory.join(name).with_extension("onnx")).unwrap();
        let network = Network::read(&file, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let golden = floats(&fs::read(directory.join(name).with_extension("f32")).unwrap());
        let features: usize = network.input().dims.iter().flatten().product();
        let (images, expected) = golden.split_at(2 * features);
        let found = network.run(2, images, &mut scratch).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (found - expected).abs();
            assert!(off <= 1e-4 * expected.abs() + 1e-5, "{name}: {found} at {at} instead of {expected}");
        }
    }
}

#[test]
fn our_own_models_run() {
    let mut scratch = Scratch::new();
    let features = Array2::from_shape_fn((7, 5), |(row, column)| ((row * 5 + column) as f32).sin() * 3.0 + 900.0);
    for (_, activation) in Activation::ALL {
        for classes in [1, 4] {
            let shape = Shape::new([5, 12, 9, classes]).unwrap();
            let output = match classes {
                1 => Output::Value { mean: 3.0, deviation: 2.0 },
                _ => Output::Classes(Vec::new()),
            };
            let inputs = Scaling::new(vec![900.1; 5], vec![2.5; 5]);
            let weights = Mlp::init_by(&shape, 3, Init::He);
            let ours = Model { weights, form: Form { activation, inputs, output }, notes: BTreeMap::new() };
            let expected = match classes {
                1 => model::values(&ours, features.view()).unwrap(),
                _ => model::probabilities(&ours, features.view()).unwrap().into_iter().collect(),
            };
            let file = model::files::write(&ours, "onnx").unwrap();
            let network = Network::read(&file, &Limits::default()).unwrap();
            assert_eq!(network.output().dims, [None, Some(classes)]);
            let found = network.run(7, features.as_slice().unwrap(), &mut scratch).unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 2e-5, "{found} instead of {expected}: {activation:?}");
            }
        }
    }
}
