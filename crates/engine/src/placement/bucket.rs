//! Owns a rate limit: bytes that may be ordered now, filled up as time passes.

use crate::types::Time;
use std::time::Duration;

/// A token bucket of bytes. What is taken may bring it below zero, so that a blob larger than a second's worth can be
/// ordered at all; the next one waits the longer.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Bytes in a second.
    rate: u64,
    level: f64,
    at: Time,
}

impl Bucket {
    /// Full, with one second's worth, at `now`.
    pub fn new(rate: u64, now: Time) -> Self {
        Self { rate: rate.max(1), level: rate.max(1) as f64, at: now }
    }

    /// Bytes that may be taken at `now`; none if it is not above zero.
    pub fn level(&mut self, now: Time) -> i64 {
        let rate = self.rate as f64;
        self.level = (self.level + rate * now.since(self.at).as_secs_f64()).min(rate);
        self.at = self.at.max(now);
        self.level as i64
    }

    /// Takes bytes out.
    pub fn take(&mut self, bytes: u64) {
        self.level -= bytes as f64;
    }

    /// How long until something may be taken again.
    pub fn wait(&self) -> Duration {
        let missing = (1.0 - self.level).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate as f64).unwrap_or(Duration::MAX)
    }
}
