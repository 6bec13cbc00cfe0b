//! Owns the suite over all folds: what the table promises, and each against its formula.

use super::*;
use crate::model::shape::Shape;
use ndarray::Array2;
use proptest::prelude::*;

/// More parameters than a block has, and not a multiple of it.
fn shape() -> Shape {
    Shape::new([9, 13, 5]).unwrap()
}

fn model(seed: u64) -> Mlp<f32> {
    Mlp::init(&shape(), seed)
}

fn scaled(model: &Mlp<f32>, by: f32) -> Mlp<f32> {
    Mlp::new(model.layers().iter().map(|layer| layer.mapv(|x| x * by)).collect()).unwrap()
}

/// The settings of a fold that make sense for so many replicas, if there are any.
fn settings(row: &FoldRow, replicas: usize) -> Option<FoldSettings> {
    let byzantine = replicas.saturating_sub(3) as u32 / 2;
    let trim = if replicas < 3 { 0.0 } else { 0.35 };
    let settings = FoldSettings { byzantine, trim, ..FoldSettings::named(row.name) };
    settings.check_for(replicas).is_ok().then_some(settings)
}

fn fold(settings: &FoldSettings, changes: &[(Mlp<f32>, u64)]) -> Mlp<f64> {
    let mut fold = settings.start().unwrap();
    for (change, rows) in changes {
        fold.add(change.clone(), *rows).unwrap();
    }
    fold.finish().unwrap()
}

fn flat<T: crate::model::Real>(model: &Mlp<T>) -> Vec<f64> {
    model.layers().iter().flatten().map(|&x| x.to_f64()).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// A model of one input and one output, with the bias 0.
fn scalar(weight: f32) -> Mlp<f32> {
    Mlp::new(vec![Array2::from_shape_fn((2, 1), |(row, _)| row as f32 * weight)]).unwrap()
}

/// Changes of one weight, and the rows of each.
const FIVE: [(f32, u64); 5] = [(4.0, 1), (1.0, 6), (100.0, 1), (2.0, 1), (3.0, 1)];

#[test]
fn small_numbers_are_as_worked_out_by_hand() {
    for (json, expected) in [
        (r#"{"name": "mean"}"#, (4.0 + 6.0 + 100.0 + 2.0 + 3.0) / 10.0),
        (r#"{"name": "trimmed-mean", "trim": 0.2}"#, 3.0),
        (r#"{"name": "trimmed-mean", "trim": 0}"#, 22.0),
        (r#"{"name": "median"}"#, 3.0),
        // Of the ten rows six are at 1.
        (r#"{"name": "geometric-median"}"#, 1.0),
        // Scores of 1 to 4 with two neighbours: 5, 2, 2, 5; of 100 far more.
        (r#"{"name": "multi-krum", "byzantine": 1}"#, 2.5),
        (r#"{"name": "multi-krum", "byzantine": 0}"#, 22.0),
    ] {
        let settings: FoldSettings = serde_json::from_str(json).unwrap();
        let got = flat(&fold(&settings, &FIVE.map(|(x, rows)| (scalar(x), rows))));
        assert!((got[1] - expected).abs() < 2e-5 && got[0] == 0.0, "{json}: {got:?} instead of {expected}");
    }
    let four = [1.0, 5.0, 2.0, 3.0].map(|x| (scalar(x), 1));
    assert_eq!(flat(&fold(&FoldSettings::named("median"), &four)), [0.0, 2.5]);
    // The point of a triangle with angles below 120 degrees from which all corners are seen under 120 degrees.
    let corner = |bias: f32, weight: f32| (Mlp::new(vec![ndarray::array![[bias], [weight]]]).unwrap(), 3);
    let corners = [corner(-1.0, 0.0), corner(1.0, 0.0), corner(0.0, 3.0)];
    let fermat = flat(&fold(&FoldSettings::named("geometric-median"), &corners));
    assert!(distance(&fermat, &[0.0, 1.0 / 3.0_f64.sqrt()]) < 1e-5, "{fermat:?}");
}

/// Each formula once more, one parameter or one pair of changes at a time.
fn plain(settings: &FoldSettings, changes: &[(Mlp<f32>, u64)]) -> Vec<f64> {
    let values: Vec<Vec<f64>> = changes.iter().map(|(change, _)| flat(change)).collect();
    let n = changes.len();
    let column = |at: usize| values.iter().map(|change| change[at]).collect::<Vec<f64>>();
    let sorted = |at: usize| {
        let mut column = column(at);
        column.sort_by(f64::total_cmp);
        column
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let parameters = 0..values[0].len();
    match settings.name.as_str() {
        "mean" => {
            let rows: Vec<f64> = changes.iter().map(|change| change.1 as f64).collect();
            let all: f64 = rows.iter().sum();
            parameters
                .map(|at| column(at).iter().zip(&rows).map(|(x, rows)| x * rows).sum::<f64>() / all)
                .collect()
        }
        "trimmed-mean" => {
            let cut = (settings.trim * n as f64 + 1e-9).floor() as usize;
            parameters.map(|at| mean(&sorted(at)[cut..n - cut])).collect()
        }
        "median" => parameters.map(|at| mean(&sorted(at)[(n - 1) / 2..=n / 2])).collect(),
        "multi-krum" => {
            let f = settings.byzantine as usize;
            let score = |i: usize| {
                let others = (0..n).filter(|&j| j != i);
                let mut squares: Vec<f64> = others.map(|j| distance(&values[i], &values[j]).powi(2)).collect();
                squares.sort_by(f64::total_cmp);
                squares[..n - f - 2].iter().sum::<f64>()
            };
            let mut places: Vec<usize> = (0..n).collect();
            places.sort_by(|&a, &b| score(a).total_cmp(&score(b)));
            parameters
                .map(|at| mean(&places[..n - f].iter().map(|&i| values[i][at]).collect::<Vec<_>>()))
                .collect()
        }
        other => panic!("{other} has no plain formula"),
    }
}

/// The sum that the geometric median makes least.
fn far(z: &[f64], changes: &[(Mlp<f32>, u64)]) -> f64 {
    changes.iter().map(|(change, rows)| *rows as f64 * distance(z, &flat(change))).sum()
}

/// Where changes come from: seed, scale and rows of each.
fn sources() -> impl Strategy<Value = Vec<(u64, f32, u64)>> {
    prop::collection::vec((0_u64..1000, 0.1_f32..3.0, 1_u64..5000), 1..14)
}

fn changes(sources: &[(u64, f32, u64)]) -> Vec<(Mlp<f32>, u64)> {
    sources.iter().map(|&(seed, scale, rows)| (scaled(&model(seed), scale), rows)).collect()
}

proptest! {
    #[test]
    fn folds_are_their_plain_formulas(sources in sources()) {
        let changes = changes(&sources);
        for settings in FOLDS.iter().filter_map(|row| settings(row, changes.len())) {
            // Two changes of nearly as many rows take the geometric median hundreds of steps.
            let settings = FoldSettings { iterations: 10_000, ..settings };
            let got = flat(&fold(&settings, &changes));
            if settings.name == "geometric-median" {
                // There is no formula; but no step may lead down, except as far as smoothing allows.
                let least = far(&got, &changes);
                let allowed = settings.smoothing * changes.iter().map(|change| change.1 as f64).sum::<f64>();
                for (toward, _) in &changes {
                    let step = |(z, x): (&f64, f64)| z + 1e-3 * (x - z);
                    let moved: Vec<f64> = got.iter().zip(flat(toward)).map(step).collect();
                    let there = far(&moved, &changes);
                    prop_assert!(there >= least - allowed, "{there} is less than {least}");
                }
                continue;
            }
            for (got, expected) in got.iter().zip(plain(&settings, &changes)) {
                prop_assert!((got - expected).abs() <= 1e-12, "{}: {got} instead of {expected}", settings.name);
            }
        }
    }

    #[test]
    fn another_order_does_what_the_row_says(
        (sources, shuffled) in sources().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let (changes, shuffled) = (changes(&sources), changes(&shuffled));
        for (row, settings) in FOLDS.iter().filter_map(|row| Some((row, settings(row, changes.len())?))) {
            let (one, other) = (fold(&settings, &changes), fold(&settings, &shuffled));
            if row.order == Order::Free {
                prop_assert!(one == other, "{}", row.name);
            }
            // Equal scores come only of equal changes here, or when there is one neighbour and all are taken.
            prop_assert!(distance(&flat(&one), &flat(&other)) <= 1e-9, "{}", row.name);
            prop_assert!(one == fold(&settings, &changes), "{} again", row.name);
        }
    }

    #[test]
    fn equal_changes_are_their_own_fold(seed: u64, rows in prop::collection::vec(1_u64..5000, 1..14)) {
        let changes: Vec<_> = rows.iter().map(|&rows| (model(seed), rows)).collect();
        for settings in FOLDS.iter().filter_map(|row| settings(row, changes.len())) {
            // To the last bit: whole multiples of `f32`s are exact in double precision.
            prop_assert_eq!(flat(&fold(&settings, &changes)), flat(&model(seed)), "{}", settings.name);
        }
    }

    #[test]
    fn those_who_send_garbage_do_not_matter(
        replicas in 3_usize..14,
        seed in 0_u64..1000,
        places in Just((0..14).collect::<Vec<usize>>()).prop_shuffle(),
        together: bool,
    ) {
        for (row, settings) in FOLDS.iter().filter_map(|row| Some((row, settings(row, replicas)?))) {
            let bad = (row.withstands)(&settings, replicas);
            let is_bad = |place: usize| places.iter().filter(|&&p| p < replicas).take(bad).any(|&p| p == place);
            let change = |place: usize| {
                // Small differences from one another, as the changes of a round have.
                let own = scaled(&model(seed + place as u64), 0.1);
                let layers = own.layers().iter().zip(model(seed).layers().to_vec());
                let honest = Mlp::new(layers.map(|(own, common)| own + &common).collect()).unwrap();
                let garbage = if together { model(7000) } else { honest.clone() };
                if is_bad(place) { scaled(&garbage, if together { 1e6 } else { -1e6 }) } else { honest }
            };
            let changes: Vec<_> = (0..replicas).map(|place| (change(place), 100)).collect();
            let honest: Vec<_> = (0..replicas).filter(|&i| !is_bad(i)).map(|i| changes[i].clone()).collect();
            let mean = flat(&fold(&FoldSettings::default(), &honest));
            let spread = honest.iter().map(|(change, _)| distance(&flat(change), &mean)).fold(0.0, f64::max);
            let good = honest.len() as f64;
            // Pillutla et al. bound the geometric median by 2 n / (n - 2 f) times the spread; the others are nearer.
            let factor = 2.0 * replicas as f64 / (good - bad as f64);
            let off = distance(&flat(&fold(&settings, &changes)), &mean);
            prop_assert!(off <= factor * spread + 1e-9, "{}: {off}, {bad} of {replicas}, {spread}", row.name);
        }
    }
}

#[test]
fn one_replica_is_its_own_fold() {
    for row in FOLDS {
        match settings(row, 1) {
            Some(settings) => {
                assert_eq!(flat(&fold(&settings, &[(model(3), 77)])), flat(&model(3)), "{}", row.name)
            }
            None => assert_eq!(row.name, "multi-krum"),
        }
    }
}

#[test]
fn robust_folds_are_robust_and_the_mean_is_not() {
    let withstood = |name: &str, n: usize| {
        let row = FOLDS.iter().find(|row| row.name == name).unwrap();
        (row.withstands)(&FoldSettings { byzantine: 2, ..FoldSettings::named(name) }, n)
    };
    let all = FOLDS.iter().map(|row| (row.name, withstood(row.name, 11))).collect::<Vec<_>>();
    let expected = [("mean", 0), ("trimmed-mean", 2), ("median", 5), ("geometric-median", 5), ("multi-krum", 2)];
    assert_eq!(all, expected);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let other = Mlp::<f32>::zeros(&Shape::new([9, 5]).unwrap());
    for row in FOLDS {
        let settings = settings(row, 5).unwrap();
        assert_eq!(settings.start().unwrap().finish(), Err(ModelError::NothingToAverage), "{}", row.name);
        let changes: Vec<_> = (0..5).map(|seed| (model(seed), seed + 1)).collect();
        let mut fold_ = settings.start().unwrap();
        assert_eq!(fold_.add(model(9), 0), Err(ModelError::NoRows));
        for (change, rows) in &changes {
            fold_.add(change.clone(), *rows).unwrap();
            assert_eq!(fold_.add(other.clone(), 1).unwrap_err().to_string(), "the shapes differ: 9-13-5 and 9-5");
            assert_eq!(fold_.add(model(9), 0), Err(ModelError::NoRows));
        }
        assert_eq!(fold_.finish().unwrap(), fold(&settings, &changes), "{}", row.name);
    }
}

#[test]
fn settings_are_checked() {
    for row in FOLDS {
        let given: FoldSettings = serde_json::from_str(&format!(r#"{{"name": "{}"}}"#, row.name)).unwrap();
        assert_eq!(given, FoldSettings::named(row.name));
        given.check_for(5).unwrap();
        let json = serde_json::to_string(&given).unwrap();
        assert_eq!(serde_json::from_str::<FoldSettings>(&json).unwrap(), given);
    }
    assert_eq!(FoldSettings::default().name, "mean");
    assert!(serde_json::from_str::<FoldSettings>(r#"{"name": "mean", "weights": 1}"#).is_err());
    for (json, expected) in [
        (
            r#"{"name": "krum"}"#,
            "there is no fold 'krum'; choose from mean, trimmed-mean, median, geometric-median, multi-krum",
        ),
        (r#"{"name": "mean", "trim": 0.5}"#, "trim is 0.5; it must be from 0, below 0.5"),
        (r#"{"name": "mean", "byzantine": 1000001}"#, "byzantine is 1000001; it must be from 0 to 1000000"),
        (r#"{"name": "mean", "smoothing": 0}"#, "smoothing is 0; it must be above 0 and at most 1"),
        (r#"{"name": "mean", "iterations": 0}"#, "iterations is 0; it must be from 1 to 10000"),
    ] {
        let error = serde_json::from_str::<FoldSettings>(json).unwrap().start().err().unwrap().to_string();
        assert_eq!(error, expected);
    }
}

#[test]
fn too_few_replicas_are_told() {
    for (json, enough, expected) in [
        (r#"{"name": "mean"}"#, 1, "mean needs at least 1 replicas, not 0"),
        (r#"{"name": "trimmed-mean"}"#, 5, "trimmed-mean with trim 0.2 needs at least 5 replicas, not 4"),
        (
            r#"{"name": "trimmed-mean", "trim": 0.45}"#,
            3,
            "trimmed-mean with trim 0.45 needs at least 3 replicas, not 2",
        ),
        (r#"{"name": "multi-krum"}"#, 5, "multi-krum with byzantine 1 needs at least 5 replicas, not 4"),
        (
            r#"{"name": "multi-krum", "byzantine": 3}"#,
            9,
            "multi-krum with byzantine 3 needs at least 9 replicas, not 8",
        ),
    ] {
        let settings: FoldSettings = serde_json::from_str(json).unwrap();
        settings.check_for(enough).unwrap();
        assert_eq!(settings.check_for(enough - 1).unwrap_err().to_string(), expected);
        let mut fold = settings.start().unwrap();
        (1..enough).for_each(|i| fold.add(scalar(i as f32), 1).unwrap());
        let too_late = fold.finish().unwrap_err();
        assert!(too_late.to_string() == expected || too_late == ModelError::NothingToAverage);
    }
}
