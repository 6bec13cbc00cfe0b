//! Owns how many bytes go by per second, averaged over the last ten.

use crate::types::Time;

const SECONDS: usize = 10;

/// Bytes by the second in which they went by.
#[derive(Default)]
pub(super) struct Rate {
    /// Each with its second since the start.
    slots: [(u64, u64); SECONDS],
}

impl Rate {
    /// Bytes went by.
    pub(super) fn add(&mut self, now: Time, bytes: usize) {
        let second = now.0.as_secs();
        let (of, count) = &mut self.slots[(second % SECONDS as u64) as usize];
        if *of != second {
            (*of, *count) = (second, 0);
        }
        *count += bytes as u64;
    }

    /// Bytes per second; in the first ten seconds, of the time since the start.
    pub(super) fn per_second(&self, now: Time) -> f64 {
        let second = now.0.as_secs();
        let recent = |(of, _): &&(u64, u64)| second < of + SECONDS as u64;
        let bytes: u64 = self.slots.iter().filter(recent).map(|(_, count)| count).sum();
        // Nine whole seconds and the part of the tenth that has passed.
        let time = now.0.as_secs_f64().min((SECONDS - 1) as f64 + now.0.as_secs_f64().fract());
        bytes as f64 / time.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_last_ten_seconds_count() {
        let at = |ms| Time(Duration::from_millis(ms));
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0)), 0.0);
        rate.add(at(100), 50);
        assert_eq!(rate.per_second(at(200)), 50.0);
        assert_eq!(rate.per_second(at(2_000)), 25.0);
        for tenth in 0..400 {
            rate.add(at(10_000 + tenth * 100), 20);
        }
        let told = rate.per_second(at(49_950));
        assert!((told - 200.0).abs() < 5.0, "{told}");
        assert_eq!(rate.per_second(at(70_000)), 0.0);
    }
}
