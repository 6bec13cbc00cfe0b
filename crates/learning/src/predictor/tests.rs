//! Owns the tests of loading models and of answers for rows.

use super::*;
use crate::model::{self, Form, Init, Mlp, Model, Output, Shape};
use ndarray::Array2;
use std::collections::BTreeMap;

const ON: KeepGoing<'static> = &|| true;

fn classifier(names: &[&str]) -> Model {
    let output = Output::Classes(names.iter().map(|&name| name.to_owned()).collect());
    let scaling = crate::data::Scaling::new(vec![3.0; 5], vec![2.0, 1.0, 4.0, 0.5, 3.0]);
    let form = Form { inputs: scaling, output, ..Form::default() };
    Model { weights: Mlp::init_by(&Shape::new([5, 7, 4]).unwrap(), 3, Init::He), form, notes: BTreeMap::new() }
}

fn loaded(model: &Model, card: Option<&Card>) -> Result<Box<dyn Predictor>, PredictorError> {
    let bytes = files::write(model, "onnx").unwrap();
    load("m.ONNX", &bytes, card, &Limits::default())
}

#[test]
fn rows_are_answered_as_probabilities_has_it() {
    // More rows than a call looks at between two questions whether to go on.
    let features = Array2::from_shape_fn((5000, 5), |(row, column)| ((row * 31 + column * 17) % 256) as f32);
    let (all, bytes) = (features.as_slice().unwrap(), features.iter().map(|&x| x as u8).collect::<Vec<_>>());
    for ending in ["onnx", "safetensors", "npz"] {
        let model = classifier(&["a", "b", "c", "d"]);
        let file = files::write(&model, ending).unwrap();
        let predictor = load(&format!("x.{ending}"), &file, None, &Limits::default()).unwrap();
        assert_eq!(predictor.takes(), Kind::Rows { columns: 5 });
        assert_eq!((predictor.gives(), predictor.labels().len()), (Gives::Classes(4), 4));
        let answers = predictor.rows(Row::F32(all), 9, ON).unwrap();
        assert_eq!(predictor.rows(Row::U8(&bytes), 4, ON).unwrap(), answers);
        assert_eq!((answers.len(), answers.top()), (5000, 4));
        let right = model::probabilities(&model, features.view()).unwrap();
        for (row, probabilities) in right.rows().into_iter().enumerate() {
            let Some(Answer::Classes(best)) = answers.get(row) else { panic!("no classes") };
            assert!(best.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
            assert!(best.iter().all(|&(class, p)| probabilities[class as usize].to_bits() == p.to_bits()));
        }
        let one = predictor.rows(Row::F32(&all[5 * 4321..5 * 4322]), 4, ON).unwrap();
        assert_eq!(one.get(0), answers.get(4321), "alone or among others");
    }
}

#[test]
fn values_are_told() {
    let output = Output::Value { mean: 10.0, deviation: 2.0 };
    let weights = Mlp::init_by(&Shape::new([5, 3, 1]).unwrap(), 1, Init::He);
    let model = Model { weights, form: Form { output, ..Form::default() }, notes: BTreeMap::new() };
    let predictor = loaded(&model, None).unwrap();
    assert_eq!((predictor.gives(), predictor.labels().len()), (Gives::Value, 0));
    let features = Array2::from_shape_fn((70, 5), |(row, column)| (row + column) as f32);
    let answers = predictor.rows(Row::F32(features.as_slice().unwrap()), 3, ON).unwrap();
    assert_eq!(answers.numbers(), model::values(&model, features.view()).unwrap());
    assert_eq!(answers.top(), 0);
}

#[test]
fn names_of_classes_come_from_the_model_or_the_card() {
    assert_eq!(loaded(&classifier(&[]), None).unwrap().labels(), ["0", "1", "2", "3"]);
    let card = Card::from_toml("labels = [\"w\", \"x\", \"y\", \"z\"]").unwrap();
    assert_eq!(loaded(&classifier(&["a", "b", "c", "d"]), Some(&card)).unwrap().labels(), ["w", "x", "y", "z"]);
    let refused = |text: &str| {
        let card = Card::from_toml(text).unwrap();
        loaded(&classifier(&[]), Some(&card)).err().unwrap().to_string()
    };
    assert_eq!(refused("labels = [\"a\"]"), "the model's card: `labels` are 1, but the model has 4 classes");
    assert_eq!(refused("size = [9, 9]"), "the model's card: `size` is about pictures, but the model takes rows");
    assert_eq!(refused("labels-file = \"x\""), "the model's card: `labels-file` has not been read yet");
}

#[test]
fn what_cannot_be_answered_is_told() {
    let predictor = loaded(&classifier(&[]), None).unwrap();
    let says = predictor.rows(Row::U8(&[0; 7]), 1, ON).unwrap_err().to_string();
    assert_eq!(says, "7 features do not make rows of 5");
    let says = predictor.rows(Row::F32(&[0.0, 0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]), 1, ON);
    assert_eq!(says, Err(PredictorError::Outputs { query: 1 }));
    assert_eq!(predictor.rows(Row::U8(&[0; 5]), 1, &|| false), Err(PredictorError::Stopped));
    assert!(predictor.rows(Row::U8(&[]), 1, ON).unwrap().is_empty());
    assert_eq!(
        predictor.prepare(&[]).unwrap_err().to_string(),
        "the model takes rows of 5 features, not pictures"
    );
    assert!(predictor.pictures(&[], 1, ON).is_err());
    let error = |name, limits: &Limits| {
        load(name, &files::write(&classifier(&[]), "npz").unwrap(), None, limits).err().unwrap().to_string()
    };
    let limits = Limits::default();
    let endings = ".safetensors, .onnx or .npz";
    assert_eq!(error("m.pt", &limits), format!("m.pt: a model file's name must end in {endings}"));
    assert!(error("m.safetensors", &limits).starts_with("not a model: "));
    let small = Limits { model: 100, ..limits };
    assert_eq!(error("m.npz", &small), "the model takes 592 bytes; the limit is 100");
}

#[test]
fn damaged_models_panic_nowhere() {
    let limits = Limits::default();
    for ending in ["onnx", "safetensors", "npz"] {
        let file = files::write(&classifier(&["a", "b", "c", "d"]), ending).unwrap();
        let name = format!("m.{ending}");
        for length in (0..file.len()).step_by(7) {
            assert!(load(&name, &file[..length], None, &limits).is_err(), "{ending} {length}");
        }
        for place in (0..file.len()).step_by(3) {
            let mut damaged = file.clone();
            damaged[place] ^= 1 << (place % 8);
            let _ = load(&name, &damaged, None, &limits);
        }
    }
}
