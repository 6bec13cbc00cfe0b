//! Owns how many queries a job has answered, and how fast.

use crate::types::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Answers are counted by parts of this length.
const PART: Duration = Duration::from_millis(100);
/// So many parts are remembered.
const PARTS: u64 = 100;

/// How a job counted in queries stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueryCount {
    /// Queries answered since the job came, or was taken over by this coordinator.
    pub done: u64,
    /// A second, since then.
    pub total_rate: f64,
    /// A second, in the last 10 s, or since then if that is shorter.
    pub rate_10s: f64,
    /// How many nodes are at its tasks now.
    pub nodes_now: usize,
}

/// The answers of one job.
#[derive(Default)]
pub(super) struct Rates {
    done: u64,
    /// Which part, and the answers in it.
    parts: VecDeque<(u64, u64)>,
}

impl Rates {
    pub(super) fn add(&mut self, now: Time, queries: u32) {
        self.done += u64::from(queries);
        let part = part_of(now);
        match self.parts.back_mut() {
            Some((last, count)) if *last == part => *count += u64::from(queries),
            _ => self.parts.push_back((part, u64::from(queries))),
        }
        while self.parts.front().is_some_and(|&(first, _)| first + PARTS < part) {
            self.parts.pop_front();
        }
    }

    /// How it stands, at work since `from`.
    pub(super) fn count(&self, now: Time, from: Time, nodes_now: usize) -> QueryCount {
        let since = now.since(from).as_secs_f64();
        // The part at work counts, so the first that does is a whole one.
        let first = part_of(now).saturating_sub(PARTS - 1);
        let lately: u64 = self.parts.iter().filter(|(part, _)| *part >= first).map(|(_, count)| count).sum();
        let window = now.since(Time(PART * u32::try_from(first).unwrap_or(u32::MAX))).as_secs_f64().min(since);
        let rate = |count: u64, over: f64| if over > 0.0 { count as f64 / over } else { 0.0 };
        QueryCount {
            done: self.done,
            total_rate: rate(self.done, since),
            rate_10s: rate(lately, window),
            nodes_now,
        }
    }
}

fn part_of(now: Time) -> u64 {
    (now.0.as_millis() / PART.as_millis()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let ms = |ms| Time(Duration::from_millis(ms));
        let mut rates = Rates::default();
        assert_eq!(rates.count(ms(5), ms(5), 0), QueryCount::default());
        for at in 0..300 {
            // Ten a second for ten seconds, then a hundred a second.
            rates.add(ms(at * 100), if at < 100 { 1 } else { 10 });
        }
        let count = rates.count(ms(29_999), ms(0), 3);
        assert_eq!((count.done, count.nodes_now), (2100, 3));
        assert!((count.rate_10s - 100.0).abs() < 0.1, "{count:?}");
        assert!((count.total_rate - 70.0).abs() < 0.1, "{count:?}");
        let young = rates.count(ms(29_999), ms(28_000), 1);
        assert!(young.rate_10s > 400.0, "it began two seconds ago: {young:?}");
        assert_eq!(rates.count(ms(45_000), ms(0), 0).rate_10s, 0.0);
        assert!(rates.parts.len() <= 101);
    }
}
