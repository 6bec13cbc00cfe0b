//! Owns which tasks of the stream are in the model: all below a number, and some beyond it.

use std::collections::BTreeSet;

/// Tasks, counted over the whole stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Units {
    floor: u64,
    beyond: BTreeSet<u64>,
}

impl Units {
    /// Adds one; false if it was there.
    pub(super) fn add(&mut self, unit: u64) -> bool {
        if unit < self.floor || !self.beyond.insert(unit) {
            return false;
        }
        while self.beyond.remove(&self.floor) {
            self.floor += 1;
        }
        true
    }

    pub(super) fn has(&self, unit: u64) -> bool {
        unit < self.floor || self.beyond.contains(&unit)
    }

    pub(super) fn count(&self) -> u64 {
        self.floor + self.beyond.len() as u64
    }

    /// The first that is not there.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// As ranges, each with its end after its last.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = (self.floor > 0).then_some((0, self.floor)).into_iter().collect();
        for &unit in &self.beyond {
            match ranges.last_mut().filter(|(_, end)| *end == unit) {
                Some((_, end)) => *end += 1,
                None => ranges.push((unit, unit + 1)),
            }
        }
        ranges
    }

    /// What [`Units::ranges`] gave; `None` if those are no ascending ranges, or stand for very many.
    pub(super) fn of_ranges(ranges: &[(u64, u64)]) -> Option<Self> {
        let mut units = Self::default();
        let mut last = 0;
        for &(start, end) in ranges {
            if start >= end || start < last {
                return None;
            }
            if start == 0 {
                units.floor = end;
            } else if end - start <= 1 << 24 {
                units.beyond.extend(start..end);
            } else {
                return None;
            }
            last = end + 1;
        }
        Some(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_counts_once_however_they_come(adds in prop::collection::vec(0u64..50, 0..120)) {
            let (mut units, mut plain) = (Units::default(), BTreeSet::new());
            for unit in adds {
                prop_assert_eq!(units.add(unit), plain.insert(unit));
                prop_assert_eq!(units.count(), plain.len() as u64);
                prop_assert_eq!(units.floor(), (0..).find(|unit| !plain.contains(unit)).unwrap());
                prop_assert_eq!(Units::of_ranges(&units.ranges()), Some(units.clone()));
            }
            prop_assert!((0..50).all(|unit| units.has(unit) == plain.contains(&unit)));
        }
    }

    #[test]
    fn what_is_no_list_of_ranges_is_refused() {
        for ranges in [&[(3, 3)][..], &[(5, 4)], &[(0, 4), (4, 5)], &[(7, 9), (2, 3)], &[(1, u64::MAX)]] {
            assert_eq!(Units::of_ranges(ranges), None, "{ranges:?}");
        }
    }
}
