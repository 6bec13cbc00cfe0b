//! Owns how the rows of a job are cut into the tasks of a round: by shard, or into equal parts of all rows.

use crate::jobs::Corpus;
use std::ops::Range;

/// A task's share of the rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    /// The shards that it touches, by their places.
    pub(super) shards: Range<usize>,
    /// Its first row, counted from the first of those shards.
    pub(super) first_row: u64,
    /// Its rows, at least 1.
    pub(super) rows: u64,
}

/// The parts of a round: a shard each, or as many parts as asked for, whose rows differ by one at most.
///
/// There are at least as many rows as parts, and no shard is empty.
pub(super) fn cut(corpus: &Corpus, parts: Option<u32>) -> Vec<Part> {
    let mut begins = Vec::with_capacity(corpus.shards.len());
    let mut all = 0;
    for shard in &corpus.shards {
        begins.push(all);
        all += shard.rows;
    }
    let Some(parts) = parts.map(u64::from) else {
        let whole = |(place, shard): (usize, &crate::jobs::Shard)| Part {
            shards: place..place + 1,
            first_row: 0,
            rows: shard.rows,
        };
        return corpus.shards.iter().enumerate().map(whole).collect();
    };
    // Rows and parts are counted in 64 bits: the product has room in 128.
    let bound = |part: u64| (u128::from(all) * u128::from(part) / u128::from(parts.max(1))) as u64;
    let part = |part: u64| {
        let (start, end) = (bound(part), bound(part + 1));
        let first = begins.partition_point(|&begin| begin <= start) - 1;
        let last = begins.partition_point(|&begin| begin < end);
        Part { shards: first..last, first_row: start - begins[first], rows: end - start }
    };
    (0..parts).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shared::Blob;
    use crate::jobs::Shard;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn corpus(rows: &[u64]) -> Corpus {
        let blob = Arc::new(Blob::new(Vec::new()));
        let shard = |&rows: &u64| Shard { name: "s".to_owned(), blob: blob.clone(), rows };
        let shards: Vec<Shard> = rows.iter().map(shard).collect();
        Corpus { name: String::new(), validation: shards[0].clone(), shards, columns: 1, classes: Vec::new() }
    }

    #[test]
    fn without_a_number_each_shard_is_a_part() {
        let parts = cut(&corpus(&[3, 5]), None);
        assert_eq!(parts[1], Part { shards: 1..2, first_row: 0, rows: 5 });
        assert_eq!(parts.len(), 2);
    }

    proptest! {
        #[test]
        fn parts_are_even_and_together_all_rows(
            rows in prop::collection::vec(1_u64..50, 1..12),
            parts in 1_u32..40,
        ) {
            let all: u64 = rows.iter().sum();
            prop_assume!(u64::from(parts) <= all);
            let mut next = 0;
            for part in cut(&corpus(&rows), Some(parts)) {
                let begin: u64 = rows[..part.shards.start].iter().sum();
                let end: u64 = rows[..part.shards.end].iter().sum();
                prop_assert_eq!(begin + part.first_row, next);
                prop_assert!(part.first_row < rows[part.shards.start]);
                next += part.rows;
                prop_assert!(next <= end && next > end - rows[part.shards.end - 1]);
                prop_assert!((all / u64::from(parts)..=all.div_ceil(u64::from(parts))).contains(&part.rows));
            }
            prop_assert_eq!(next, all);
        }
    }
}
