//! Owns sorting the values that each parameter has in the changes of a round, many parameters at a time.
//!
//! Rows of changes are sorted against each other by a network of comparisons, whose order does not depend on the values:
//! each comparison is done for a block of parameters at once, without a branch and without turning the rows into columns.

use super::changes::{BLOCK, Changes};

/// Values of a block of parameters, as [`key`]s.
pub(super) type Keys = [i32; BLOCK];

/// A whole number for each `f32`, in the order of [`f32::total_cmp`]; [`value`] is its inverse.
fn key(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

/// The number that has this key.
pub(super) fn value(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31).cast_unsigned() >> 1).cast_signed()).cast_unsigned())
}

/// Goes through `fold` in blocks: calls `visit` with a block and with as many rows of keys as there are changes, each
/// parameter's in rising order from row to row.
pub(super) fn for_each_sorted(changes: &Changes, fold: &mut [f64], mut visit: impl FnMut(&mut [f64], &[Keys])) {
    let mut keys = vec![[0; BLOCK]; changes.replicas()];
    changes.for_each_block(fold, |fold, changes| {
        for (keys, change) in keys.iter_mut().zip(changes) {
            keys.iter_mut().zip(*change).for_each(|(key_, &x)| *key_ = key(x));
        }
        sort(&mut keys);
        visit(fold, &keys);
    });
}

/// Sorts each column: merge exchange (Batcher 1968; Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M).
fn sort(rows: &mut [Keys]) {
    let n = rows.len();
    let top = n.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for i in (0..n.saturating_sub(d)).filter(|i| i & p == r) {
                exchange(rows, i, i + d);
            }
            if q == p {
                break;
            }
            (d, r, q) = (q - p, p, q / 2);
        }
        p /= 2;
    }
}

/// Puts the smaller keys of two rows into the first, the larger ones into the second.
fn exchange(rows: &mut [Keys], low: usize, high: usize) {
    let (before, from_high) = rows.split_at_mut(high);
    for (low, high) in before[low].iter_mut().zip(&mut from_high[0]) {
        (*low, *high) = ((*low).min(*high), (*low).max(*high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A network that sorts all columns of zeros and ones sorts everything (Knuth 5.3.4, theorem Z).
    #[test]
    fn all_columns_of_zeros_and_ones_are_sorted() {
        for n in 0..=14_usize {
            let columns: Vec<u32> = (0..1 << n).collect();
            for columns in columns.chunks(BLOCK) {
                let mut rows = vec![[0; BLOCK]; n];
                for (row, keys) in rows.iter_mut().enumerate() {
                    keys.iter_mut().zip(columns).for_each(|(key, column)| *key = (column >> row & 1) as i32);
                }
                sort(&mut rows);
                assert!(rows.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(a, b)| a <= b)), "{n}");
            }
        }
    }

    proptest! {
        #[test]
        fn columns_are_in_the_order_of_total_cmp(
            mut values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..70),
        ) {
            let mut rows: Vec<Keys> = values.iter().map(|&x| [key(x); BLOCK]).collect();
            sort(&mut rows);
            values.sort_by(f32::total_cmp);
            let bits: Vec<u32> = rows.iter().map(|row| value(row[BLOCK - 1]).to_bits()).collect();
            prop_assert_eq!(bits, values.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
    }
}
