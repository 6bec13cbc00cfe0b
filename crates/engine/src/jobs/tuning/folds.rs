//! Owns cross-validation: which rows a fold learns from and which it is measured on; a function of labels, K and seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The stream of random numbers that cuts folds.
const FOLDS: u64 = u64::MAX - 1;

/// The most folds.
pub const MOST_FOLDS: u32 = 1_000;

/// The fold that each row is held out in, for labels: each class is spread over the folds as evenly as can be, as
/// scikit-learn's `StratifiedKFold` allots them, and at random within its class.
pub(super) fn of_labels(labels: &[u32], classes: usize, folds: u32, seed: u64) -> Vec<u32> {
    let k = folds.max(1) as usize;
    let mut counts = vec![0_usize; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    // As if rows were sorted by class and dealt out one by one.
    let mut allotted = vec![Vec::new(); classes];
    let mut dealt = 0;
    for (class, &count) in counts.iter().enumerate() {
        let mut of_class: Vec<u32> = (dealt..dealt + count).map(|place| (place % k) as u32).collect();
        of_class.sort_unstable();
        dealt += count;
        allotted[class] = of_class;
    }
    let mut random = random(seed);
    allotted.iter_mut().for_each(|of_class| of_class.shuffle(&mut random));
    let mut next = vec![0_usize; classes];
    let of_row = |&label: &u32| {
        let place = &mut next[label as usize];
        *place += 1;
        allotted[label as usize][*place - 1]
    };
    labels.iter().map(of_row).collect()
}

/// The same for rows without classes.
pub(super) fn of_rows(rows: usize, folds: u32, seed: u64) -> Vec<u32> {
    let k = folds.max(1) as usize;
    let mut fold: Vec<u32> = (0..rows).map(|row| (row % k) as u32).collect();
    fold.shuffle(&mut random(seed));
    fold
}

fn random(seed: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(FOLDS);
    random
}

/// The rows that a fold learns from, and those that it is measured on; ascending.
pub(super) fn split(of_row: &[u32], fold: u32) -> (Vec<u32>, Vec<u32>) {
    (0..of_row.len() as u32).partition(|&row| of_row[row as usize] != fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_row_is_held_out_once_and_classes_are_spread(
            labels in prop::collection::vec(0u32..5, 10..200), folds in 2u32..8, seed: u64,
        ) {
            let of_row = of_labels(&labels, 5, folds, seed);
            prop_assert_eq!(&of_row, &of_labels(&labels, 5, folds, seed));
            let mut held = vec![0; labels.len()];
            for fold in 0..folds {
                let (learnt, measured) = split(&of_row, fold);
                prop_assert_eq!(learnt.len() + measured.len(), labels.len());
                measured.iter().for_each(|&row| held[row as usize] += 1);
            }
            prop_assert!(held.iter().all(|&times| times == 1));
            let count = |fold: u32, class: Option<u32>| {
                let is_in = |(&of, &label): (&u32, &u32)| of == fold && class.is_none_or(|class| class == label);
                of_row.iter().zip(&labels).filter(|&pair| is_in(pair)).count()
            };
            for class in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                let counts: Vec<usize> = (0..folds).map(|fold| count(fold, class)).collect();
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                prop_assert!(most - least <= 1, "{:?} of class {:?}", counts, class);
            }
        }

        #[test]
        fn rows_without_classes_are_cut_evenly(rows in 1usize..300, folds in 1u32..9, seed: u64) {
            let of_row = of_rows(rows, folds, seed);
            let counts = (0..folds).map(|fold| of_row.iter().filter(|&&of| of == fold).count());
            prop_assert!(counts.clone().max().unwrap() - counts.min().unwrap() <= 1);
        }
    }
}
