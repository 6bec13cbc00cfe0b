//! Owns the tests that every format must pass, and the models they are made with.

use super::*;
use crate::data::Scaling;
use crate::model::{Activation, Form, Init, Mlp, Output, Shape};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A model 3-4-2 with everything: scaling, names that need care, notes.
pub(super) fn small() -> Model {
    model(&[3, 4, 2], Activation::Relu, true, Some(vec!["A\"\\".into(), "ß\n\u{0}🦀".into()]), 7)
}

/// Models of all kinds.
pub(super) fn examples() -> Vec<Model> {
    let mut all = vec![small()];
    for (_, activation) in Activation::ALL {
        for scaled in [false, true] {
            all.push(model(&[2, 5], activation, scaled, None, 1));
            all.push(model(&[2, 3, 1], activation, scaled, None, 2));
            all.push(model(&[1, 3, 2, 4, 2], activation, scaled, Some(vec!["".into(), " ".into()]), 3));
        }
    }
    all
}

/// A model with as many layers as there may be, and the longest graph.
pub(super) fn deepest() -> Model {
    model(&[1; crate::model::MAX_LAYERS + 1], Activation::Gelu, true, None, 1)
}

/// With one output and no names it tells a value.
fn model(shape: &[usize], activation: Activation, scaled: bool, names: Option<Vec<String>>, seed: u64) -> Model {
    let weights = Mlp::init_by(&Shape::new(shape).unwrap(), seed, Init::Glorot);
    // Numbers that neither a 32-bit float nor six digits can hold.
    let odd = |place: usize| (0.1 + place as f64).sqrt() * 1e3 / 7.0;
    let features = shape[0];
    let scaling = Scaling::new((0..features).map(|i| -odd(i)).collect(), (9..9 + features).map(odd).collect());
    let output = match (names, shape.last()) {
        (None, Some(1)) => Output::Value { mean: -odd(3), deviation: odd(4) },
        (names, _) => Output::Classes(names.unwrap_or_default()),
    };
    let form = Form { activation, inputs: scaling.filter(|_| scaled), output };
    Model { weights, form, notes: BTreeMap::from([("eta".into(), "0.1".into()), ("\"".into(), "ü".into())]) }
}

#[test]
fn formats_are_found_by_their_extension() {
    for format in FORMATS {
        for name in [format.extension.to_owned(), format!(".{}", format.extension.to_uppercase())] {
            assert_eq!(find(&name).unwrap().extension, format.extension);
        }
        assert!(!format.about.is_empty());
    }
    let says = |extension| read(b"", extension).unwrap_err().to_string();
    assert_eq!(
        says("pt"),
        format!("a model file's name must end in {}; this one ends in .pt", known_extensions())
    );
    assert!(says("").ends_with("this one has no ending"));
}

#[test]
fn all_models_come_back_from_all_formats_and_the_bytes_are_the_same_every_time() {
    for Format { extension, .. } in FORMATS {
        for model in examples() {
            let bytes = write(&model, extension).unwrap();
            let back = read(&bytes, extension).unwrap_or_else(|e| panic!("{extension} {model:?}: {e}"));
            assert_eq!(back, model, "{extension}");
            assert_eq!(write(&back, extension).unwrap(), bytes, "{extension}");
        }
    }
}

#[test]
fn models_that_do_not_fit_together_are_not_written() {
    for Format { extension, .. } in FORMATS {
        let mut model = small();
        model.form.output = Output::Value { mean: 0.0, deviation: 1.0 };
        assert!(write(&model, extension).unwrap_err().to_string().contains("a value comes of 1 output"));
        let mut model = small();
        model.notes.insert("long".to_owned(), "x".repeat(description::MAX_TEXT));
        assert!(write(&model, extension).unwrap_err().to_string().contains("at most 4194304"));
    }
}

#[test]
fn the_longest_description_is_read_back() {
    let mut model = small();
    let rest = description::write(&model, true).len() + r#","long":"""#.len();
    // Every sign of it is escaped twice in safetensors.
    model.notes.insert("long".to_owned(), "\"".repeat((description::MAX_TEXT - rest) / 2));
    for Format { extension, .. } in FORMATS {
        let bytes = write(&model, extension).unwrap();
        assert!(read(&bytes, extension).unwrap() == model, "{extension}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_model_comes_back(
        sizes in prop::collection::vec(1_usize..9, 2..6),
        activation in prop::sample::select(Activation::ALL.to_vec()),
        moments in prop::collection::vec((-1e30_f64..1e30, 1e-30_f64..1e30), 8),
        scaled: bool,
        named: bool,
        names in prop::collection::vec(any::<String>(), 8),
        notes in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        seed: u64,
    ) {
        let (features, outputs) = (sizes[0], sizes[sizes.len() - 1]);
        let (mean, deviation): (Vec<_>, Vec<_>) = moments[..features].iter().copied().unzip();
        let output = match (named, outputs) {
            (true, _) => Output::Classes(names[..outputs].to_vec()),
            (false, 1) => Output::Value { mean: moments[7].0, deviation: moments[7].1 },
            (false, _) => Output::Classes(Vec::new()),
        };
        let inputs = Scaling::new(mean, deviation).filter(|_| scaled);
        let weights = Mlp::init_by(&Shape::new(sizes).unwrap(), seed, Init::He);
        let model = Model { weights, form: Form { activation: activation.1, inputs, output }, notes };
        for Format { extension, .. } in FORMATS {
            let bytes = write(&model, extension).unwrap();
            prop_assert_eq!(read(&bytes, extension).unwrap(), model.clone());
        }
    }

    #[test]
    fn no_change_of_bytes_panics(which: prop::sample::Index, at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        let models = examples();
        for Format { extension, .. } in FORMATS {
            let mut bytes = write(&models[which.index(models.len())], extension).unwrap();
            let _ = read(&bytes[..cut.index(bytes.len())], extension);
            let place = at.index(bytes.len());
            bytes[place] = to;
            let _ = read(&bytes, extension);
            bytes.remove(place);
            let _ = read(&bytes, extension);
            let _ = read(&vec![to; bytes.len()], extension);
        }
    }
}
