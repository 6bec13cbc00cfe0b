//! Owns which queries are still to be handed out: ranges that shrink from the front, or where an answer is known.

use std::collections::BTreeMap;

/// Disjoint ranges of queries, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// All queries below `total`.
    pub(super) fn below(total: u64) -> Self {
        Self((total > 0).then_some((0, total)).into_iter().collect())
    }

    /// The first of them, if there is any: where it begins and ends.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.0.first_key_value().map(|(&start, &end)| (start, end))
    }

    /// How many queries are in them.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Takes out `start..end`; whether all of it was there.
    pub(super) fn take(&mut self, start: u64, end: u64) -> bool {
        let Some((&from, &to)) = self.0.range(..=start).next_back().filter(|(_, to)| **to >= end) else {
            return false;
        };
        if start >= end {
            return false;
        }
        self.0.remove(&from);
        self.0.extend((from < start).then_some((from, start)));
        self.0.extend((end < to).then_some((end, to)));
        true
    }

    /// Puts back what was taken.
    pub(super) fn put_back(&mut self, mut start: u64, mut end: u64) {
        if let Some((&from, _)) = self.0.range(..start).next_back().filter(|(_, to)| **to == start) {
            self.0.remove(&from);
            start = from;
        }
        end = self.0.remove(&end).unwrap_or(end);
        self.0.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_taken_is_gone_and_the_rest_stays(takes in prop::collection::vec((0u64..40, 1u64..12), 0..30)) {
            let (mut ranges, mut plain) = (Ranges::below(40), vec![true; 40]);
            for (start, length) in takes {
                let end = start + length;
                let there = end <= 40 && plain[start as usize..end as usize].iter().all(|left| *left);
                prop_assert_eq!(ranges.take(start, end), there);
                if there {
                    plain[start as usize..end as usize].fill(false);
                    let mut back = ranges.clone();
                    back.put_back(start, end);
                    prop_assert!(back.take(start, end));
                    prop_assert_eq!(&back, &ranges);
                }
                let left: Vec<u64> = ranges.0.iter().flat_map(|(&start, &end)| start..end).collect();
                let right: Vec<u64> = (0..40).filter(|&query| plain[query as usize]).collect();
                prop_assert_eq!(left, right);
            }
        }
    }

    #[test]
    fn nothing_is_below_nothing() {
        assert_eq!(Ranges::below(0).first(), None);
        assert!(!Ranges::below(4).take(2, 2));
    }
}
