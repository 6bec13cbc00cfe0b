//! Owns the tests of whole forests: against scikit-learn's trees, as files, and at their limits.

use super::tree::LEAF_BIT;
use super::*;
use crate::data::{Dataset, Row};
use proptest::prelude::*;
use serde::Deserialize;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

const ON: &dyn Fn() -> bool = &|| true;

/// Rows of which something can be learnt, with `values` different values in each column.
fn set(rows: usize, columns: usize, classes: usize, values: usize) -> Arc<Dataset> {
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 9) % 10_007;
    let features = Array2::from_shape_fn((rows, columns), |(row, column)| {
        (noise(row * columns + column) % values) as f32 - 0.25 * column as f32
    });
    let label = |row: usize| {
        let sum = features[[row, 0]] as usize * 2 + features[[row, columns - 1]].max(0.0) as usize;
        ((sum * classes / (values * 3) + usize::from(noise(row) % 9 == 0)) % classes) as u32
    };
    let labels = (0..rows).map(label).collect();
    Arc::new(Dataset::new(features, labels, classes).unwrap())
}

fn all(data: &Binned) -> Vec<u32> {
    (0..data.rows() as u32).collect()
}

fn grown(data: &Binned, settings: &ForestSettings, seed: u64) -> Forest {
    Forest::fit(data, &all(data), settings, seed, ON).unwrap()
}

fn few(n_estimators: u32) -> ForestSettings {
    ForestSettings { n_estimators, ..ForestSettings::default() }
}

/// One tree of all rows and features.
fn single(settings: ForestSettings) -> ForestSettings {
    ForestSettings { n_estimators: 1, bootstrap: false, max_features: MaxFeatures::All, ..settings }
}

#[derive(Deserialize)]
struct Golden {
    features: Vec<Vec<f32>>,
    labels: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    settings: ForestSettings,
    nodes: Vec<Vec<f64>>,
    leaves: usize,
    training_error: f64,
    importances: Vec<f64>,
    pruned: Vec<Pruned>,
}

#[derive(Deserialize)]
struct Pruned {
    ccp_alpha: f64,
    nodes: Option<Vec<Vec<f64>>>,
    leaves: usize,
    training_error: f64,
    importances: Vec<f64>,
}

/// Each node before its left branch and this before the right one: feature and threshold, or shares of four classes.
fn nodes(tree: &Tree, place: u32, to: &mut Vec<Vec<f64>>) {
    if place & LEAF_BIT == 0 {
        let node = &tree.nodes[place as usize];
        to.push(vec![f64::from(node.feature), f64::from(node.threshold)]);
        node.children.iter().for_each(|&child| nodes(tree, child, to));
        return;
    }
    let (leaf, mut shares) = ((place & !LEAF_BIT) as usize, vec![0.0; 4]);
    match shares.get_mut(leaf) {
        Some(share) => *share = 1.0,
        None => tree.mixed(leaf - 4).for_each(|(class, share)| shares[usize::from(class)] = f64::from(share)),
    }
    to.push(shares);
}

fn near(left: &[f64], right: &[f64], most: f64) {
    assert_eq!(left.len(), right.len());
    assert!(left.iter().zip(right).all(|(left, right)| (left - right).abs() <= most), "{left:?} {right:?}");
}

fn same_nodes(forest: &Forest, expected: &[Vec<f64>]) {
    let mut found = Vec::new();
    nodes(&forest.trees[0], forest.trees[0].root, &mut found);
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).for_each(|(found, expected)| near(found, expected, 1e-7));
}

/// See tests/golden/README.md.
#[test]
fn trees_and_their_pruning_are_scikit_learns() {
    let golden: Golden = serde_json::from_str(include_str!("../../../../../tests/golden/forest.json")).unwrap();
    let (rows, columns) = (golden.features.len(), golden.features[0].len());
    let features = Array2::from_shape_fn((rows, columns), |(row, column)| golden.features[row][column]);
    let data = Dataset::new(features, golden.labels, 4).unwrap();
    let binned = Binned::of(&[Arc::new(data.clone())]).unwrap();
    assert_eq!(golden.cases.len(), 4);
    for case in golden.cases {
        let settings = single(case.settings);
        let forest = grown(&binned, &settings, 3);
        same_nodes(&forest, &case.nodes);
        assert_eq!(forest.leaves(), case.leaves);
        assert_eq!(forest.measure(&data).unwrap().error, case.training_error);
        near(forest.importances(), &case.importances, 1e-12);
        for pruned in case.pruned {
            let forest = grown(&binned, &ForestSettings { ccp_alpha: pruned.ccp_alpha, ..settings.clone() }, 3);
            assert_eq!(forest.leaves(), pruned.leaves, "{}", pruned.ccp_alpha);
            assert_eq!(forest.measure(&data).unwrap().error, pruned.training_error);
            near(forest.importances(), &pruned.importances, 1e-12);
            if let Some(expected) = pruned.nodes {
                same_nodes(&forest, &expected);
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bits_and_trees_do_not_depend_on_others() {
    let data = Binned::of(&[set(700, 5, 4, 40)]).unwrap();
    let forest = grown(&data, &few(6), 9);
    assert_eq!(grown(&data, &few(6), 9).digest(), forest.digest());
    assert_ne!(grown(&data, &few(6), 10).digest(), forest.digest());
    assert_eq!(grown(&data, &few(3), 9).trees, forest.trees[..3]);
    assert_eq!(forest.digest().to_string(), DIGEST, "the same on every machine");
}

/// Of the forest above, as it was when this was written.
const DIGEST: &str = "0a4a7fa57e98f8a42c84c1717e0204207c49d23b334a03b6cf0e16e11368d91a";

#[test]
fn a_row_that_is_named_twice_counts_twice_and_others_not_at_all() {
    let both = set(300, 4, 3, 30);
    let data = Binned::of(&[both.clone(), set(200, 4, 3, 30)]).unwrap();
    let once: Vec<u32> = (0..300).collect();
    let settings = single(ForestSettings { min_samples_leaf: 4, ..ForestSettings::default() });
    let forest = Forest::fit(&data, &once, &settings, 1, ON).unwrap();
    assert_eq!(forest.trees, grown(&Binned::of(std::slice::from_ref(&both)).unwrap(), &settings, 1).trees);
    let doubled = Binned::of(&[both.clone(), both]).unwrap();
    let twice = Forest::fit(&data, &[&once[..], &once].concat(), &settings, 1, ON).unwrap();
    assert_eq!(twice.trees, grown(&doubled, &settings, 1).trees);
    assert_ne!(twice.trees, forest.trees);
}

#[test]
fn settings_are_kept_to() {
    let data = Binned::of(&[set(900, 6, 5, 300)]).unwrap();
    let depth = |tree: &Tree| {
        let mut depths = vec![1; tree.nodes.len()];
        for (place, node) in tree.nodes.iter().enumerate() {
            let inner = node.children.iter().filter(|&&child| child & LEAF_BIT == 0);
            inner.for_each(|&child| depths[child as usize] = depths[place] + 1);
        }
        depths.into_iter().max().unwrap_or(0)
    };
    for most in [1, 3] {
        let forest = grown(&data, &ForestSettings { max_depth: Some(most), ..few(5) }, 2);
        assert!(forest.trees.iter().all(|tree| depth(tree) == most));
    }
    // Without drawing, shares tell the least number of rows in a leaf.
    for bootstrap in [false, true] {
        let settings = ForestSettings { min_samples_leaf: 40, bootstrap, ..few(5) };
        assert!(grown(&data, &settings, 2).leaves() <= 5 * 900 / 40);
    }
    let forest = grown(&data, &ForestSettings { ccp_alpha: 1.0, ..few(5) }, 2);
    assert_eq!((forest.leaves(), forest.importances()), (5, &[0.0; 6][..]));
    let leaves = [0.0, 1e-3, 1e-2, 0.1].map(|alpha| {
        let settings = ForestSettings { ccp_alpha: alpha, ..few(5) };
        grown(&data, &settings, 2).leaves()
    });
    assert!(leaves.is_sorted_by(|a, b| a > b), "{leaves:?}");
    let sum: f64 = grown(&data, &few(5), 2).importances().iter().sum();
    assert!((sum - 1.0).abs() < 1e-12);
}

#[test]
fn what_cannot_be_grown_is_refused() {
    let data = Binned::of(&[set(30, 3, 3, 9)]).unwrap();
    let says = |rows: &[u32], trees| Forest::fit(&data, rows, &few(trees), 1, ON).unwrap_err().to_string();
    assert_eq!(says(&[], 1), "rows is 0; it must be 1 or more");
    assert_eq!(says(&[3, 30], 1), "rows is 30; it must be below the number of rows of the data");
    assert_eq!(says(&[0], 0), "n_estimators is 0; it must be from 1 to 100000");
    let asked = Cell::new(0);
    let until = |last| {
        asked.set(0);
        let keep_going = || {
            asked.set(asked.get() + 1);
            asked.get() < last
        };
        Forest::fit(&data, &[0, 1, 2], &few(9), 1, &keep_going).unwrap_err().to_string()
    };
    assert_eq!(until(1), "training was interrupted in tree 1");
    assert_eq!(until(4), "training was interrupted in tree 4");
    // Inside a tree, too.
    let data = Binned::of(&[set(40_000, 8, 3, 9)]).unwrap();
    let keep_going = || {
        asked.set(asked.get() + 1);
        asked.get() < 2
    };
    asked.set(0);
    let error = Forest::fit(&data, &all(&data), &few(2), 1, &keep_going).unwrap_err();
    assert_eq!(error, ModelError::InterruptedInTree { tree: 1 });
    let forest = grown(&data, &few(1), 1);
    let narrow = set(9, 7, 3, 5);
    assert_eq!(forest.measure(&narrow).unwrap_err().to_string(), "the model takes 8 features, the data has 7");
    assert!(forest.error_on_binned(&Binned::of(&[narrow]).unwrap(), &[0]).is_err());
    assert!(forest.measure(&set(9, 8, 4, 5)).unwrap_err().to_string().ends_with("3 classes, the data has 4"));
    let values = Dataset::regression(Array2::zeros((2, 8)), vec![1.0, 2.0]).unwrap();
    assert!(forest.measure(&values).unwrap_err().to_string().contains("the data has values"));
    assert!(forest.probabilities(Array2::zeros((2, 7)).view()).is_err());
    assert!(forest.predict(Array2::zeros((2, 9)).view()).is_err());
    assert!(forest.with_names(vec!["a".to_owned()]).is_err());
}

#[test]
fn folds_are_measured_as_data_sets_are() {
    // With more values than there are bins.
    let (learnt, held) = (set(3000, 3, 4, 2000), set(700, 3, 4, 1900));
    let data = Binned::of(&[learnt, held.clone()]).unwrap();
    let (rows, others): (Vec<u32>, Vec<u32>) = (0..3700).partition(|&row| row < 3000);
    let forest = Forest::fit(&data, &rows, &few(20), 4, ON).unwrap();
    let measured = forest.measure(&held).unwrap();
    assert_eq!(measured.rows, 700);
    assert!(measured.error > 0.0 && measured.error < 0.4 && measured.loss > 0.0 && measured.loss < 3.0);
    assert_eq!(forest.error_on_binned(&data, &others).unwrap(), (measured.error, measured.loss));
    let said = forest.predict(held.to_array().view()).unwrap();
    let wrong = said.iter().zip(held.labels()).filter(|(said, right)| said != right).count();
    assert_eq!(measured.error, wrong as f64 / 700.0);
    let probabilities = forest.probabilities(held.to_array().view()).unwrap();
    let rows = probabilities.rows().into_iter().zip(held.labels());
    let loss: f64 = rows.map(|(row, &label)| -f64::from(row[label as usize]).max(f64::EPSILON).ln()).sum();
    assert!((measured.loss - loss / 700.0).abs() < 1e-9);
}

#[test]
fn files_are_read_as_they_were_written() {
    let data = Binned::of(&[set(400, 4, 3, 60)]).unwrap();
    let notes = BTreeMap::from([("seed".to_owned(), "\"7\"".to_owned())]);
    let settings = ForestSettings { max_depth: Some(4), ccp_alpha: 1e-3, ..few(4) };
    let forest = grown(&data, &settings, 7);
    let named = forest.clone().with_names(["a", "b", "ö\n"].map(str::to_owned).to_vec()).unwrap();
    for forest in [forest, named] {
        let bytes = forest.to_safetensors(&notes).unwrap();
        assert!(Forest::is_file(&bytes));
        assert_eq!(Forest::from_safetensors(&bytes).unwrap(), (forest.clone(), notes.clone()));
        assert_eq!(forest.to_safetensors(&notes).unwrap(), bytes);
        let error = crate::model::Model::from_safetensors(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("not a model: "), "{error}");
    }
    // A class has no rows, all rows are of one, or there is but one value: trees without a split.
    for classes in [1, 3] {
        let data = Dataset::new(Array2::ones((5, 2)), vec![0; 5], classes).unwrap();
        let forest = grown(&Binned::of(&[Arc::new(data)]).unwrap(), &few(2), 1);
        let bytes = forest.to_safetensors(&notes).unwrap();
        assert_eq!(Forest::from_safetensors(&bytes).unwrap().0, forest);
        assert_eq!(forest.probabilities(Array2::zeros((1, 2)).view()).unwrap()[[0, 0]], 1.0);
    }
    let long = BTreeMap::from([("x".to_owned(), "y".repeat(5 << 20))]);
    assert!(grown(&data, &few(1), 1).to_safetensors(&long).is_err());
    assert!(!Forest::is_file(b"{}"));
}

/// Whether a file is read; if so rows come out of it, whatever it says.
fn survives(bytes: &[u8]) -> bool {
    let Ok((forest, _)) = Forest::from_safetensors(bytes) else { return false };
    let rows: Vec<f32> = (0..7 * forest.columns()).map(|i| (i * 31 % 64) as f32 - 3.0).collect();
    forest.each_row(Row::F32(&rows), &mut Walk::new(&forest), |_, row| {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 0.01);
    });
    true
}

#[test]
fn damaged_files_panic_nowhere() {
    let data = Binned::of(&[set(60, 3, 3, 60)]).unwrap();
    let file = grown(&data, &few(3), 7).to_safetensors(&BTreeMap::new()).unwrap();
    assert!(survives(&file));
    assert!((0..file.len()).step_by(5).all(|length| !survives(&file[..length])));
    let mut refused = 0;
    for place in 0..file.len() {
        let mut damaged = file.clone();
        damaged[place] ^= 1 << (place % 8);
        refused += usize::from(!survives(&damaged));
    }
    assert!(refused > file.len() / 4, "{refused} of {}", file.len());
}

#[test]
fn nodes_that_lead_back_or_nowhere_are_refused() {
    let data = Binned::of(&[set(60, 3, 3, 60)]).unwrap();
    let forest = grown(&data, &few(3), 7);
    let refused = |change: fn(&mut Tree)| {
        let mut forest = forest.clone();
        change(&mut forest.trees[1]);
        let bytes = forest.to_safetensors(&BTreeMap::new()).unwrap();
        let error = Forest::from_safetensors(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("not a model: tree 1, "), "{error}");
    };
    refused(|tree| tree.root = tree.nodes.len() as u32);
    refused(|tree| tree.root = LEAF_BIT | (3 + tree.begins.len() as u32 - 1));
    refused(|tree| tree.nodes[1].children[0] = 1);
    refused(|tree| tree.nodes[1].children[1] = 0);
    refused(|tree| tree.nodes[0].children[1] = tree.nodes.len() as u32);
    refused(|tree| tree.nodes[0].children[1] = u32::MAX);
    refused(|tree| tree.nodes[0].feature = 3);
    refused(|tree| tree.nodes[0].threshold = f32::NAN);
    refused(|tree| {
        tree.begins.push(tree.classes.len() as u32 + 1);
        tree.classes.push(3);
        tree.shares.push(1.0);
    });
    refused(|tree| {
        tree.begins.push(tree.classes.len() as u32 + 1);
        tree.classes.push(2);
        tree.shares.push(0.5);
    });
}

/// Of rows that are alike but for their labels, those of the most frequent label can be right.
fn least_error(data: &Dataset) -> f64 {
    let mut labels: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
    for (row, &label) in data.features().to_array().rows().into_iter().zip(data.labels()) {
        let row = row.iter().map(|value| value.to_bits()).collect();
        labels.entry(row).or_insert_with(|| vec![0; data.classes()])[label as usize] += 1;
    }
    let right: usize = labels.values().filter_map(|counts| counts.iter().max()).sum();
    (data.rows() - right) as f64 / data.rows() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn probabilities_add_up_to_1_however_rows_are_kept_and_grouped(
        rows in 1usize..400, columns in 1usize..6, classes in 1usize..6, values in 1usize..300, seed in 0u64..9,
        bootstrap in any::<bool>(), least in 1u32..9,
    ) {
        let data = set(rows, columns, classes, values);
        let settings = ForestSettings { bootstrap, min_samples_leaf: least, ..few(3) };
        let forest = grown(&Binned::of(std::slice::from_ref(&data)).unwrap(), &settings, seed);
        let features = Array2::from_shape_fn((600, columns), |(row, column)| ((row * 7 + column * 3) % 256) as f32);
        let together = forest.probabilities(features.view()).unwrap();
        let bytes: Vec<u8> = features.iter().map(|&value| value as u8).collect();
        let walk = &mut Walk::new(&forest);
        for (row, expected) in together.rows().into_iter().enumerate() {
            prop_assert!((expected.sum() - 1.0).abs() < 1e-5);
            prop_assert!(expected.iter().all(|share| (0.0..=1.0).contains(share)));
            let range = row * columns..(row + 1) * columns;
            let mut alone = Vec::new();
            forest.each_row(Row::U8(&bytes[range]), walk, |_, row| alone.extend_from_slice(row));
            prop_assert_eq!(alone, expected.to_vec());
        }
        // Each value has a bin of its own: trees part all rows that differ.
        if !bootstrap && least == 1 && values <= 200 {
            prop_assert_eq!(forest.measure(&data).unwrap().error, least_error(&data));
        }
    }
}
