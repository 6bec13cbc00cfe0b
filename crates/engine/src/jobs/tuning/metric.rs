//! Owns the metrics: what makes one trial better than another.

use crate::types::exact;
use serde::{Deserialize, Serialize};

/// What a model is worth on rows that it has not learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The share of wrong answers; of values the root mean squared error.
    #[serde(with = "exact")]
    pub error: f64,
    /// The mean loss: minus the logarithm of the right class' probability, or half the squared standardised error.
    #[serde(with = "exact")]
    pub loss: f64,
}

/// A metric as users name it.
pub struct MetricRow {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
    /// Whether it makes sense only where classes are learnt.
    pub of_classes: bool,
    of: fn(&Score) -> f64,
}

/// All metrics. To add one, add its row.
pub static METRICS: &[MetricRow] = &[
    MetricRow {
        name: "error",
        about: "the share of wrong answers; of values the root mean squared error",
        more_is_better: false,
        of_classes: false,
        of: |score| score.error,
    },
    MetricRow {
        name: "accuracy",
        about: "the share of right answers",
        more_is_better: true,
        of_classes: true,
        of: |score| 1.0 - score.error,
    },
    MetricRow {
        name: "loss",
        about: "the mean loss",
        more_is_better: false,
        of_classes: false,
        of: |score| score.loss,
    },
];

/// Finds a metric.
pub fn find(name: &str) -> Option<&'static MetricRow> {
    METRICS.iter().find(|row| row.name == name)
}

impl MetricRow {
    /// What a score is by this metric.
    pub fn of(&self, score: &Score) -> f64 {
        (self.of)(score)
    }

    /// The same, so that less is better.
    pub fn badness(&self, value: f64) -> f64 {
        if self.more_is_better { -value } else { value }
    }
}

/// The mean of some numbers, and their deviation as scikit-learn tells it (of the population); 0 and 0 of none.
pub(super) fn mean_and_std(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_badness_is_better_by_any_metric() {
        let (good, bad) = (Score { error: 0.1, loss: 0.2 }, Score { error: 0.2, loss: 0.3 });
        for row in METRICS {
            assert!(row.badness(row.of(&good)) < row.badness(row.of(&bad)), "{}", row.name);
        }
        assert_eq!(mean_and_std(&[1.0, 3.0]), (2.0, 1.0));
        assert!(find("beauty").is_none());
    }
}
