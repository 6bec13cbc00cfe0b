//! Owns the median stopping rule of Vizier: Golovin et al. 2017, section 3.2.2.
//!
//! A trial stops at the end of a rung if its best value so far is worse than the median, over the other trials that came as
//! far, of the mean of their values up to there.

use super::{Fate, Search, SearchRow, Verdict};
use std::collections::BTreeMap;

/// With fewer other trials there is no median worth the name.
const LEAST: usize = 3;

pub(super) const ROW: SearchRow = SearchRow {
    name: "median",
    about: "stops a trial that is worse than the median of the others at the end of one of --rungs equal rungs",
    draws: true,
    rungs: |settings| {
        let all = f64::from(settings.rungs);
        (1..=settings.rungs).map(|rung| f64::from(rung) / all).collect()
    },
    make: |settings| {
        Box::new(Median { courses: BTreeMap::new(), means: vec![BTreeMap::new(); settings.rungs as usize] })
    },
};

struct Median {
    /// What each trial was at the ends of its rungs.
    courses: BTreeMap<u32, Vec<f64>>,
    /// For each rung the running means of the trials that came to its end.
    means: Vec<BTreeMap<u32, f64>>,
}

impl Search for Median {
    fn report(&mut self, trial: u32, rung: usize, badness: Option<f64>) -> Verdict {
        let Some(badness) = badness else { return Verdict { fate: Fate::Stopped, promoted: Vec::new() } };
        let last = rung + 1 >= self.means.len();
        let course = self.courses.entry(trial).or_default();
        course.push(badness);
        let (best, mean) = (
            course.iter().copied().fold(f64::INFINITY, f64::min),
            course.iter().sum::<f64>() / course.len() as f64,
        );
        let Some(means) = self.means.get_mut(rung) else { return Verdict::default() };
        let mut others: Vec<f64> = means.values().copied().collect();
        means.insert(trial, mean);
        if last {
            self.courses.remove(&trial);
            return Verdict::default();
        }
        others.sort_by(f64::total_cmp);
        let is_worse = others.len() >= LEAST && best > median(&others);
        match is_worse {
            true => {
                self.courses.remove(&trial);
                Verdict { fate: Fate::Stopped, promoted: Vec::new() }
            }
            false => Verdict { fate: Fate::Paused, promoted: vec![trial] },
        }
    }
}

/// Of numbers in order; there is one.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { 0.5 * (sorted[middle - 1] + sorted[middle]) } else { sorted[middle] }
}

#[cfg(test)]
mod tests {
    use super::super::SearchSettings;
    use super::*;

    #[test]
    fn one_that_is_worse_than_the_median_stops() {
        let mut search = (ROW.make)(&SearchSettings::named("median"));
        let mut report = |trial, rung, value| search.report(trial, rung, Some(value));
        let goes_on = |trial| Verdict { fate: Fate::Paused, promoted: vec![trial] };
        for (trial, value) in [(0, 0.9), (1, 0.2), (2, 0.4)] {
            assert_eq!(report(trial, 0, value), goes_on(trial), "there is no median yet");
        }
        assert_eq!(report(3, 0, 0.5).fate, Fate::Stopped, "the median is 0.4");
        assert_eq!(report(4, 0, 0.4), goes_on(4));
        assert_eq!(report(0, 1, 0.1), goes_on(0), "nobody else came so far");
        assert_eq!(report(0, 2, 0.1), Verdict::default());
        assert_eq!(median(&[1.0, 2.0, 3.0, 5.0]), 2.5);
    }
}
