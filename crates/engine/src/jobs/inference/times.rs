//! Owns how long queries took: a sketch from which percentiles are read, and which can be made again of batches.

use crate::jobs::Figures;
use hdrhistogram::Histogram;

/// The longest time that is told apart, in microseconds: a day.
const LONGEST: u64 = 86_400_000_000;
/// Times are told apart to a thousandth.
const DIGITS: u8 = 3;
/// The percentiles that are told.
const PERCENTILES: [f64; 5] = [0.25, 0.5, 0.75, 0.95, 0.99];

/// Times of queries.
pub(super) struct Times {
    /// In microseconds. `None` cannot be: its bounds are good.
    sketch: Option<Histogram<u64>>,
    /// Seconds that a query of the last batches took by itself, on average.
    query_s: Option<f64>,
}

/// The weight of the newest batch in the mean.
const NEWEST: f64 = 0.25;

impl Times {
    pub(super) fn new() -> Self {
        Self { sketch: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok(), query_s: None }
    }

    /// A batch of so many queries took so many seconds.
    pub(super) fn add(&mut self, queries: u32, seconds: f64) {
        let micros = (seconds * 1e6).clamp(1.0, LONGEST as f64) as u64;
        if let Some(sketch) = &mut self.sketch {
            sketch.saturating_record_n(micros, u64::from(queries));
        }
        let each = seconds / f64::from(queries.max(1));
        self.query_s = Some(self.query_s.map_or(each, |known| known + NEWEST * (each - known)));
    }

    /// Seconds that a query takes lately, if any was answered.
    pub(super) fn query_s(&self) -> Option<f64> {
        self.query_s
    }

    /// Writes the times into the figures.
    pub(super) fn tell(&self, figures: &mut Figures) {
        let Some(sketch) = self.sketch.as_ref().filter(|sketch| !sketch.is_empty()) else { return };
        figures.mean_s = sketch.mean() / 1e6;
        figures.std_s = sketch.stdev() / 1e6;
        figures.percentiles_s = PERCENTILES.map(|share| sketch.value_at_quantile(share) as f64 / 1e6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against sorting all of them.
        #[test]
        fn percentiles_are_within_a_thousandth(batches in prop::collection::vec((1u32..9, 1e-5f64..100.0), 1..60)) {
            let mut times = Times::new();
            let mut all = Vec::new();
            for (queries, seconds) in batches {
                times.add(queries, seconds);
                all.extend(std::iter::repeat_n(seconds, queries as usize));
            }
            all.sort_by(f64::total_cmp);
            let mut figures = Figures::default();
            times.tell(&mut figures);
            for (told, share) in figures.percentiles_s.iter().zip(PERCENTILES) {
                let right = all[((share * all.len() as f64).ceil() as usize).max(1) - 1];
                prop_assert!((told - right).abs() <= 0.0011 * right + 1e-6, "{told} for {right}");
            }
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            prop_assert!((figures.mean_s - mean).abs() <= 0.0011 * mean + 1e-6);
        }
    }

    #[test]
    fn without_queries_there_are_no_times() {
        let mut figures = Figures::default();
        Times::new().tell(&mut figures);
        assert_eq!(figures, Figures::default());
    }
}
