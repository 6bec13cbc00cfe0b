//! Owns the clock of one process: it runs at its own rate, fast or slow, and never backwards.

use crate::types::Time;
use std::time::Duration;

/// A clock that runs at so many thousandths of the true rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The moment of the last change of rate, in true time and as the clock shows it.
    since: (Time, Time),
    rate: u64,
}

/// The true rate.
pub(super) const TRUE_RATE: u64 = 1000;

impl Default for Clock {
    fn default() -> Self {
        Self { since: Default::default(), rate: TRUE_RATE }
    }
}

impl Clock {
    /// What it shows.
    pub(super) fn read(&self, now: Time) -> Time {
        self.since.1 + scaled(now.since(self.since.0), self.rate, TRUE_RATE)
    }

    /// The first true moment at which it shows that time, or a later one.
    pub(super) fn when(&self, shown: Time) -> Time {
        self.since.0 + scaled_up(shown.since(self.since.1), TRUE_RATE, self.rate)
    }

    /// How long something truly takes that takes so long by this clock.
    pub(super) fn truly(&self, shown: Duration) -> Duration {
        scaled_up(shown, TRUE_RATE, self.rate)
    }

    /// Runs at another rate from now on.
    pub(super) fn set_rate(&mut self, now: Time, rate: u64) {
        *self = Self { since: (now, self.read(now)), rate: rate.max(1) };
    }
}

/// `time * by / of`, rounded down.
fn scaled(time: Duration, by: u64, of: u64) -> Duration {
    if by == of { time } else { nanos(time.as_nanos() * u128::from(by) / u128::from(of)) }
}

/// The same, rounded up: a clock shows what was waited for.
fn scaled_up(time: Duration, by: u64, of: u64) -> Duration {
    if by == of { time } else { nanos((time.as_nanos() * u128::from(by)).div_ceil(u128::from(of))) }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_a_time_finds_that_it_has_come() {
        for rate in [500, 777, 1000, 1313, 2000] {
            let mut clock = Clock::default();
            clock.set_rate(Time(Duration::from_nanos(12_345)), rate);
            for nanos in (20_000..40_000).step_by(7) {
                let wanted = Time(Duration::from_nanos(nanos));
                let at = clock.when(wanted);
                assert!(clock.read(at) >= wanted, "{rate} {nanos}");
                let early = Time(at.0 - Duration::from_nanos(3));
                assert!(clock.read(early) < wanted, "{rate} {nanos}: too late");
            }
        }
    }

    #[test]
    fn a_change_of_rate_is_no_jump() {
        let mut clock = Clock::default();
        let second = |s| Time(Duration::from_secs(s));
        clock.set_rate(second(10), 2000);
        assert_eq!(clock.read(second(11)), second(12));
        clock.set_rate(second(11), 500);
        assert_eq!(clock.read(second(13)), second(13));
        assert_eq!(clock.truly(Duration::from_secs(1)), Duration::from_secs(2));
    }
}
