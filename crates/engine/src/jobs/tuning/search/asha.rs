//! Owns asynchronous successive halving: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".
//!
//! At the end of each rung the best of `reduction` trials goes on, by what is known when a result comes: nobody waits for a
//! rung to be full. Whoever is among the best goes on at once, so that decisions depend on the order of results alone.

use super::{Fate, Search, SearchRow, Verdict};
use std::collections::BTreeSet;

pub(super) const ROW: SearchRow = SearchRow {
    name: "asha",
    about: "asynchronous successive halving: one of --reduction trials goes on at the end of each of --rungs rungs",
    draws: true,
    rungs: |settings| {
        let reduction = f64::from(settings.reduction);
        (0..settings.rungs).rev().map(|left| reduction.powi(-(left as i32))).collect()
    },
    make: |settings| {
        let rungs = (0..settings.rungs).map(|_| Rung::default()).collect();
        Box::new(Asha { reduction: settings.reduction as usize, rungs })
    },
};

struct Asha {
    reduction: usize,
    rungs: Vec<Rung>,
}

/// The trials that have come to the end of a rung.
#[derive(Default)]
struct Rung {
    /// The best of them, as many as may go on: their places are promised by now.
    best: BTreeSet<Placed>,
    others: BTreeSet<Placed>,
    promoted: BTreeSet<u32>,
    /// All of them, with those that failed.
    reported: usize,
}

/// A trial in the order of its rung: the better first, of equal ones the one with the lower number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Placed(f64, u32);

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl Search for Asha {
    fn report(&mut self, trial: u32, rung: usize, badness: Option<f64>) -> Verdict {
        let last = rung + 1 >= self.rungs.len();
        let Some(rung) = self.rungs.get_mut(rung).filter(|_| !last) else { return Verdict::default() };
        rung.reported += 1;
        rung.others.extend(badness.map(|badness| Placed(badness, trial)));
        let promised = rung.reported / self.reduction;
        // All that were among the best before have gone on.
        let mut entered = Vec::new();
        while let Some(&next) = rung.others.first()
            && (rung.best.len() < promised || rung.best.last().is_some_and(|worst| next < *worst))
        {
            rung.others.pop_first();
            rung.best.insert(next);
            entered.push(next);
            if rung.best.len() > promised {
                rung.others.extend(rung.best.pop_last());
            }
        }
        entered.retain(|placed| rung.best.contains(placed) && rung.promoted.insert(placed.1));
        entered.sort_unstable();
        let promoted = entered.into_iter().map(|placed| placed.1).collect();
        Verdict { fate: Fate::Paused, promoted }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SearchSettings;
    use super::*;
    use proptest::prelude::*;

    fn asha(reduction: u32, rungs: u32) -> Box<dyn Search> {
        (ROW.make)(&SearchSettings { reduction, rungs, ..SearchSettings::named("asha") })
    }

    #[test]
    fn the_best_third_goes_on_as_soon_as_it_is_known() {
        let mut asha = asha(3, 3);
        assert_eq!((ROW.rungs)(&SearchSettings::named("asha")), [1.0 / 9.0, 1.0 / 3.0, 1.0]);
        let mut report = |trial, rung, value| asha.report(trial, rung, value).promoted;
        assert_eq!(report(0, 0, Some(0.5)), [0; 0]);
        assert_eq!(report(1, 0, None), [0; 0], "one that failed counts as one of three");
        assert_eq!(report(2, 0, Some(0.6)), [0]);
        assert_eq!(report(3, 0, Some(0.4)), [3], "it would have been promoted, so it is");
        assert_eq!(report(4, 0, Some(0.7)), [0; 0]);
        assert_eq!(report(5, 0, Some(0.1)), [5]);
        assert_eq!(report(0, 1, Some(0.3)), [0; 0]);
        assert_eq!(report(3, 1, Some(0.3)), [0; 0]);
        assert_eq!(report(5, 1, Some(0.3)), [0], "of equal ones the one with the lower number");
        assert_eq!(report(0, 2, Some(0.0)), [0; 0]);
    }

    proptest! {
        #[test]
        fn who_goes_on_was_among_the_best_of_its_rung(
            values in prop::collection::vec(prop::option::weighted(0.9, 0u8..20), 1..60), reduction in 2u32..5,
        ) {
            let mut asha = asha(reduction, 2);
            let mut promoted = BTreeSet::new();
            for (trial, value) in values.iter().enumerate() {
                let verdict = asha.report(trial as u32, 0, value.map(f64::from));
                let known = &values[..=trial];
                let promised = known.len() / reduction as usize;
                for winner in verdict.promoted {
                    let own = values[winner as usize].expect("it has not failed");
                    let better = known.iter().enumerate().filter(|&(other, value)| {
                        value.is_some_and(|value| (value, other) < (own, winner as usize))
                    });
                    prop_assert!(better.count() < promised);
                    prop_assert!(promoted.insert(winner), "once");
                }
                let good = known.iter().flatten().count();
                prop_assert!(promoted.len() >= promised.min(good));
            }
        }
    }
}
