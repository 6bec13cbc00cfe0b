//! Owns what a unit of a job's cost usually takes. It is a measure for nodes, so it must not change with every answer: all
//! that is known of them is told by it.

/// The answers that the mean is of, at most.
const MOST: f64 = 256.0;
/// An answer counts as at most so many times the mean, and at least so much of it: one that hung says little.
const FAR: f64 = 8.0;
/// By this factor the mean must have changed to be taken for usual.
const OFF: f64 = 1.3;

/// What is known of one job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    answers: f64,
    mean: f64,
    /// The mean when it was taken last.
    pace: f64,
}

impl Usual {
    /// An answer has taken so many seconds for a unit of cost; whether that changes what is usual.
    pub(super) fn learn(&mut self, pace: f64) -> bool {
        if !(pace.is_finite() && pace > 0.0) {
            return false;
        }
        let pace = if self.answers == 0.0 { pace } else { pace.clamp(self.mean / FAR, self.mean * FAR) };
        self.answers = (self.answers + 1.0).min(MOST);
        self.mean += (pace - self.mean) / self.answers;
        let off = self.mean / self.pace;
        let has_changed = self.pace == 0.0 || !(1.0 / OFF..=OFF).contains(&off);
        if has_changed {
            self.pace = self.mean;
        }
        has_changed
    }

    /// Seconds for a unit of cost, once there was an answer.
    pub(super) fn pace(&self) -> Option<f64> {
        (self.answers > 0.0).then_some(self.pace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_is_the_mean_and_changes_seldom() {
        let mut usual = Usual::default();
        assert_eq!(usual.pace(), None);
        let changes = (0..1000).filter(|at| usual.learn(if at % 2 == 0 { 1.0 } else { 4.0 })).count();
        let pace = usual.pace().unwrap_or_default();
        assert!((2.5 / OFF..=2.5 * OFF).contains(&pace) && changes <= 4, "{pace}, {changes} changes");
        assert!(!usual.learn(1e9) && !usual.learn(f64::NAN) && !usual.learn(0.0));
        let changes = (0..1000).filter(|_| usual.learn(25.0)).count();
        assert!(usual.pace().is_some_and(|pace| pace > 19.0) && changes <= 10, "{usual:?}, {changes} changes");
    }
}
