//! Owns the tests of the search for splits.

use super::*;
use proptest::prelude::*;

/// The best split by trying each, from the lowest.
fn tried(entries: &[Entry], bins: &[u8], classes: usize, least: usize) -> Option<(f64, u8, u8)> {
    let squares_by_weight = |side: &[&Entry]| {
        let mut weights = vec![0_u64; classes];
        side.iter().for_each(|entry| weights[usize::from(entry.class)] += u64::from(entry.weight));
        let squares: u64 = weights.iter().map(|weight| weight * weight).sum();
        squares as f64 / weights.iter().sum::<u64>() as f64
    };
    let mut best: Option<(f64, u8, u8)> = None;
    for left in 0..u8::MAX {
        let (one, other): (Vec<&Entry>, Vec<&Entry>) =
            entries.iter().partition(|entry| bins[entry.row as usize] <= left);
        if one.len().min(other.len()) < least || !one.iter().any(|entry| bins[entry.row as usize] == left) {
            continue;
        }
        let worth = squares_by_weight(&one) + squares_by_weight(&other);
        if best.is_none_or(|(before, ..)| worth > before) {
            best = Some((worth, left, other.iter().map(|entry| bins[entry.row as usize]).min().unwrap()));
        }
    }
    best
}

proptest! {
    #[test]
    fn every_way_finds_the_best_split(
        rows in proptest::collection::vec((0u8..6, 0u16..5, 1u16..4), 1..90),
        count in 2u8..7, wide in any::<bool>(), least in 1usize..5,
    ) {
        let bins: Vec<u8> = rows.iter().map(|row| row.0 % count * if wide { 50 } else { 1 }).collect();
        let entry = |(row, &(_, class, weight)): (u32, &(u8, u16, u16))| Entry { row, class, weight };
        let entries: Vec<Entry> = (0..).zip(&rows).map(entry).collect();
        let bound = usize::from(*bins.iter().max().unwrap()) + 1;
        let mut search = Search::new(5, least);
        search.enter(&entries);
        let right = tried(&entries, &bins, 5, least);
        let constant = bins.iter().all(|&bin| bin == bins[0]);
        let mut ways = vec![
            search.by_histogram(7, &bins, bound, &entries, 0.0),
            search.by_order(7, &bins, bound, &entries, 0.0),
            search.by_order(7, &bins, MAX_BINS, &entries, 0.0),
        ];
        if bound <= 2 {
            let bits = bins.chunks(64).map(|word| word.iter().rev().fold(0, |all, &bin| all << 1 | u64::from(bin)));
            ways.push(search.by_bits(7, &bits.collect::<Vec<_>>(), &entries, 0.0));
        }
        for found in ways {
            match (found, right) {
                (Found::Better(split), Some(right)) => {
                    prop_assert_eq!((split.worth, split.left, split.right), right);
                    let left = entries.iter().filter(|entry| bins[entry.row as usize] <= split.left);
                    let (rows, weight) = left.fold((0, 0), |sum, entry| (sum.0 + 1, sum.1 + u64::from(entry.weight)));
                    prop_assert_eq!((split.rows, split.weight), (rows, weight));
                    let rest = search.sums.weight - weight;
                    let [one, other] = split.squares.map(|squares| squares as f64);
                    prop_assert_eq!(one / weight as f64 + other / rest as f64, split.worth);
                }
                (Found::Constant, None) => prop_assert!(constant),
                (Found::Nothing, None) => prop_assert!(!constant),
                _ => prop_assert!(false),
            }
            // What is as good as the best so far is not better.
            if let Some((worth, ..)) = right {
                let again = search.by_order(7, &bins, bound, &entries, worth);
                prop_assert!(matches!(again, Found::Nothing));
            }
        }
        search.leave(&entries);
        prop_assert!(search.total.iter().chain(&search.passed).all(|&number| number == 0));
    }
}
