//! Owns the suite over all outer optimisers: what the table promises, and each against its recurrence.

use super::*;
use crate::model::shape::Shape;
use ndarray::Array2;
use proptest::prelude::*;

fn shape() -> Shape {
    Shape::new([3, 4, 2]).unwrap()
}

fn start(name: &str) -> Box<dyn Outer> {
    OuterSettings::named(name).start().unwrap()
}

/// A model of numbers that depend on their place and on `seed`.
fn values(seed: u64, scale: f64) -> Mlp<f64> {
    let model = Mlp::init(&shape(), seed).cast::<f64>().unwrap();
    let layers = model.layers().iter().enumerate();
    Mlp::new(layers.map(|(i, layer)| layer.mapv(|x| scale * (x + 0.01 * (seed + i as u64) as f64))).collect())
        .unwrap()
}

/// The one weight of a model of one input and one output; its bias stays 0.
fn scalar<T: crate::model::Real>(weight: f64) -> Mlp<T> {
    Mlp::new(vec![Array2::from_shape_fn((2, 1), |(row, _)| T::from_f64(row as f64 * weight))]).unwrap()
}

fn bits(model: &Mlp<f32>) -> Vec<u32> {
    model.layers().iter().flatten().map(|x| x.to_bits()).collect()
}

/// The weights after each of five rounds, from `first` on.
fn five_rounds(outer: &mut dyn Outer, first: &Mlp<f32>) -> Vec<Mlp<f32>> {
    let mut weights = vec![first.clone()];
    for round in 0..5 {
        let after = outer.step(&weights[round], &values(round as u64, 0.5)).unwrap();
        weights.push(after);
    }
    weights
}

/// The weights after the changes 0.1, -0.2 and 0.05 of a weight 0.5, worked out by hand; of the adaptive ones with beta1
/// 0.5, beta2 0.75, tau 0.1 and rate 0.1.
const BY_HAND: [(&str, Option<f64>, [f64; 3]); 6] = [
    ("average", None, [0.6, 0.4, 0.45]),
    // v: 0.1, -0.11, -0.049
    ("momentum", None, [0.6, 0.49, 0.441]),
    // change + 0.9 v: 0.19, -0.299, 0.0059
    ("nesterov", None, [0.633, 0.4237, 0.427_83]),
    // m: 0.05, -0.075, -0.0125; v: 0.01, 0.0175, 0.01375
    ("adam", Some(0.1), [0.525, 0.492_712_4, 0.486_959_0]),
    // The same m; v: 0.01 (the square is as large: no move), 0.02, 0.019375
    ("yogi", Some(0.1), [0.525, 0.493_934_0, 0.488_708_1]),
    // With delay 2 and activation 0.25, so that the share is 0.75: buffer 0.1, then -0.1 and v = -0.05; 0.05
    // 0.05; 0.675 * -0.05 - 0.1; 0.225 * -0.05 + 0.025
    ("delayed-nesterov", Some(1.0), [0.55, 0.416_25, 0.43]),
];

#[test]
fn small_numbers_are_as_worked_out_by_hand() {
    assert_eq!(OUTERS.len(), BY_HAND.len());
    for (name, rate, expected) in BY_HAND {
        let settings = OuterSettings {
            rate,
            beta1: 0.5,
            beta2: 0.75,
            tau: 0.1,
            delay: 2,
            activation: 0.25,
            ..OuterSettings::named(name)
        };
        let mut outer = settings.start().unwrap();
        let mut weights = scalar::<f32>(0.5);
        for (change, expected) in [0.1, -0.2, 0.05].into_iter().zip(expected) {
            weights = outer.step(&weights, &scalar(change)).unwrap();
            let got = f64::from(weights.layers()[0][[1, 0]]);
            assert!((got - expected).abs() < 2e-7, "{name}: {got} instead of {expected}");
        }
    }
}

/// Each recurrence once more, for one weight, as the papers write it: with gradients where they have them.
fn recurrence(settings: &OuterSettings, before: f32, changes: &[f64]) -> Vec<f32> {
    let rate = settings.rate.unwrap_or(settings.row().unwrap().rate);
    let (mu, tau) = (settings.momentum, settings.tau);
    let (mut m, mut v) = (0.0, tau * tau);
    let (n, c, mut sum) = (f64::from(settings.delay), settings.activation, 0.0);
    let mut weight = before;
    let mut weights = Vec::new();
    for (step, &change) in changes.iter().enumerate() {
        let gradient = -change;
        let down = match settings.name.as_str() {
            "average" => rate * gradient,
            "momentum" => {
                m = mu * m + gradient;
                rate * m
            }
            "nesterov" => {
                m = mu * m + gradient;
                rate * (gradient + mu * m)
            }
            "delayed-nesterov" => {
                sum += gradient;
                let last = (step + 1) % settings.delay as usize == 0;
                if last {
                    m = mu * m + std::mem::take(&mut sum) / n;
                }
                rate * (if last { 1.0 - c * n + c } else { c } * mu * m + gradient / n)
            }
            name => {
                m = settings.beta1 * m + (1.0 - settings.beta1) * gradient;
                let square = gradient * gradient;
                v = match name {
                    "adam" => settings.beta2 * v + (1.0 - settings.beta2) * square,
                    _ if v == square => v,
                    _ => v - (1.0 - settings.beta2) * square * (v - square).signum(),
                };
                rate * m / (v.sqrt() + tau)
            }
        };
        weight = (f64::from(weight) - down) as f32;
        weights.push(weight);
    }
    weights
}

proptest! {
    #[test]
    fn every_weight_follows_its_recurrence(
        before in -2.0_f32..2.0,
        changes in prop::collection::vec(-1.0_f64..1.0, 5),
        rate in prop::option::of(0.001_f64..2.0),
        (momentum, beta1, beta2, tau) in (0.0_f64..1.0, 0.0_f64..1.0, 0.0_f64..1.0, 1e-6_f64..1.0),
        (delay, activation) in (1_u32..5, 0.0_f64..=1.0),
    ) {
        for row in OUTERS {
            let settings = OuterSettings { name: row.name.to_owned(), rate, momentum, beta1, beta2, tau, delay,
                activation: activation / f64::from(delay) };
            let expected = recurrence(&settings, before, &changes);
            let mut outer = settings.start().unwrap();
            let mut weights = scalar::<f32>(before.into());
            for (round, (change, expected)) in changes.iter().zip(expected).enumerate() {
                // Halfway it is stored and goes on elsewhere.
                if round == 3 {
                    let stored = outer.state().to_bytes();
                    outer = settings.start().unwrap();
                    outer.restore(&OuterState::from_bytes(&stored).unwrap()).unwrap();
                }
                weights = outer.step(&weights, &scalar(*change)).unwrap();
                // The same operations in the same order, but for signs: the same bits.
                prop_assert_eq!(weights.layers()[0][[1, 0]], expected, "{} in round {}", row.name, round);
                prop_assert_eq!(weights.layers()[0][[0, 0]], 0.0);
            }
        }
    }

    #[test]
    fn no_bytes_panic(at in 0_usize..900, to: u8, cut in 0_usize..900) {
        let mut outer = start("adam");
        outer.step(&Mlp::zeros(&shape()), &values(1, 1.0)).unwrap();
        let mut bytes = outer.state().to_bytes();
        let length = bytes.len();
        bytes[at % length] = to;
        for bytes in [&bytes[..], &bytes[..cut.min(length)]] {
            if let Ok(state) = OuterState::from_bytes(bytes) {
                let _ = outer.restore(&state);
                let _ = outer.step(&Mlp::zeros(&shape()), &values(2, 1.0));
            }
        }
    }
}

#[test]
fn the_same_rounds_give_the_same_bits_also_after_a_move() {
    let first = Mlp::init(&shape(), 1);
    for row in OUTERS {
        let weights = five_rounds(start(row.name).as_mut(), &first);
        assert_eq!(weights, five_rounds(start(row.name).as_mut(), &first), "{}", row.name);
        let mut outer = start(row.name);
        for round in 0..5 {
            let bytes = outer.state().to_bytes();
            outer = start(row.name);
            let state = OuterState::from_bytes(&bytes).unwrap();
            assert_eq!(state.to_bytes(), bytes);
            outer.restore(&state).unwrap();
            assert_eq!(outer.state(), state);
            let after = outer.step(&weights[round], &values(round as u64, 0.5)).unwrap();
            assert_eq!(bits(&after), bits(&weights[round + 1]), "{} in round {round}", row.name);
        }
        let names: Vec<_> = outer.state().moments.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, row.moments, "{}", row.name);
    }
}

#[test]
fn no_change_changes_nothing_at_first() {
    let before = Mlp::init(&shape(), 1);
    for row in OUTERS {
        let after = start(row.name).step(&before, &Mlp::zeros(&shape())).unwrap();
        assert_eq!(after, before, "{}", row.name);
    }
}

#[test]
fn all_go_where_the_change_points() {
    let before = Mlp::zeros(&shape());
    for row in OUTERS {
        let change = values(2, 1.0);
        let after = start(row.name).step(&before, &change).unwrap();
        for (after, change) in after.layers().iter().zip(change.layers()) {
            assert!(after.iter().zip(change).all(|(&x, &c)| f64::from(x) * c > 0.0 || c == 0.0), "{}", row.name);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (before, other) = (Mlp::<f32>::zeros(&shape()), Shape::new([3, 2]).unwrap());
    for row in OUTERS {
        let mut outer = start(row.name);
        for round in 0..2 {
            let state = outer.state();
            let error = outer.step(&before, &Mlp::zeros(&other)).unwrap_err().to_string();
            assert_eq!(error, "the shapes differ: 3-4-2 and 3-2");
            // Beyond the range of weights, and its squares beyond that of moments.
            let error = outer.step(&before, &values(1, 1e200));
            assert!(
                matches!(error, Err(ModelError::OuterDiverged { outer, .. }) if outer == row.name),
                "{error:?}"
            );
            assert_eq!(outer.state(), state, "{}", row.name);
            outer.step(&before, &values(round, 1.0)).unwrap();
        }
        if !row.moments.is_empty() {
            let error = outer.step(&Mlp::zeros(&other), &Mlp::zeros(&other)).unwrap_err().to_string();
            assert_eq!(error, "the shapes differ: 3-4-2 and 3-2");
        }
    }
    let huge = Mlp::new(vec![Array2::from_elem((2, 1), f64::from(f32::MAX))]).unwrap();
    let error = start("average").step(&huge.cast().unwrap(), &huge).unwrap_err().to_string();
    let place = "bias 0 of layer 0 would be inf after average";
    assert_eq!(error, format!("the step between rounds diverged: {place}; try a smaller rate"));
}

#[test]
fn states_are_checked() {
    let moment =
        |name: &str, value: f64| (name.to_owned(), Mlp::new(vec![Array2::from_elem((2, 1), value)]).unwrap());
    let state = |outer: &str, moments: Vec<_>| OuterState { outer: outer.to_owned(), steps: 0, moments };
    let mut adam = start("adam");
    adam.step(&scalar(0.5), &scalar(0.1)).unwrap();
    let good = adam.state();
    let wide = ("square".to_owned(), Mlp::zeros(&Shape::new([2, 1]).unwrap()));
    for (bad, expected) in [
        (state("yogi", good.moments.clone()), "it is of yogi, not adam"),
        (state("adam", vec![moment("mean", 0.0)]), r#"it has the moments ["mean"], not ["mean", "square"]"#),
        (state("adam", vec![moment("square", 0.0), moment("mean", 0.0)]), r#"["square", "mean"]"#),
        (
            state("adam", vec![moment("mean", 0.0), moment("square", -1.0)]),
            "no weight has the moments [0.0, -1.0]",
        ),
        (state("adam", vec![moment("mean", 0.0), wide]), "the shapes differ: 1-1 and 2-1"),
    ] {
        let error = adam.restore(&bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(adam.state(), good);
    }
    let read = |bytes: &[u8]| OuterState::from_bytes(bytes).unwrap_err().to_string();
    assert!(read(b"").contains("no line in its first 4096 bytes"));
    assert!(read(&[b' '; 9999]).contains("no line in its first 4096 bytes"));
    assert!(read(b"{}\n").contains("missing field"));
    let with_sizes = |sizes: &str| format!("{{\"outer\":\"adam\",\"sizes\":{sizes},\"moments\":[\"mean\"]}}\n");
    assert!(read(with_sizes("[1,1]").as_bytes()).contains("0 bytes follow its first line, not 16"));
    assert!(read(with_sizes("[65536,65536]").as_bytes()).contains("at most"));
    let nan = [with_sizes("[1,1]").as_bytes(), &f64::NAN.to_le_bytes(), &[0; 8]].concat();
    assert!(read(&nan).contains("bias 0 of layer 0 is NaN"));
}

#[test]
fn settings_are_checked() {
    for row in OUTERS {
        let given: OuterSettings = serde_json::from_str(&format!(r#"{{"name": "{}"}}"#, row.name)).unwrap();
        assert_eq!(given, OuterSettings::named(row.name));
        given.check().unwrap();
        let json = serde_json::to_string(&given).unwrap();
        assert_eq!(serde_json::from_str::<OuterSettings>(&json).unwrap(), given);
    }
    assert_eq!(OuterSettings::default().name, "average");
    assert!(serde_json::from_str::<OuterSettings>(r#"{"name": "adam", "epsilon": 1}"#).is_err());
    for (json, expected) in [
        (
            r#"{"name": "sgd"}"#,
            "no outer optimiser 'sgd'; choose from average, momentum, nesterov, adam, yogi, delayed-nesterov",
        ),
        (r#"{"name": "average", "rate": 0}"#, "rate is 0; it must be above 0 and at most 1e6"),
        (r#"{"name": "average", "rate": 1e7}"#, "rate is 10000000"),
        (r#"{"name": "momentum", "momentum": 1}"#, "momentum is 1; it must be from 0, below 1"),
        (r#"{"name": "adam", "beta1": -0.1}"#, "beta1 is -0.1"),
        (r#"{"name": "adam", "beta2": 1}"#, "beta2 is 1"),
        (r#"{"name": "delayed-nesterov", "delay": 0}"#, "delay is 0"),
        (
            r#"{"name": "delayed-nesterov", "activation": 0.3}"#,
            "activation is 0.3; it must be from 0 to 1 / delay",
        ),
        (r#"{"name": "yogi", "tau": 0}"#, "tau is 0; it must be above 0 and at most 1"),
    ] {
        let error = serde_json::from_str::<OuterSettings>(json).unwrap().start().err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let nan = OuterSettings { tau: f64::NAN, ..OuterSettings::default() };
    assert!(nan.check().is_err());
}
