//! Owns how much a change counts that was learnt from an older version: the table [`STALENESS`] of the rules.

use crate::jobs::JobError;
use serde::{Deserialize, Serialize};

/// A rule as users name it.
pub struct StalenessRow {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// The weight, above 0 and at most 1, of a change that missed so many versions; 1 if it missed none.
    weight: fn(&Staleness, f64) -> f64,
    /// Whether nodes damp changes that will probably miss versions; see [`crate::model::undershoot`].
    damps: bool,
}

/// All rules; `constant`, `poly` and `hinge` by Xie et al. 2019 (FedAsync). To add one, add its row.
pub static STALENESS: &[StalenessRow] = &[
    StalenessRow {
        name: "damped",
        about: "whole, but where workers would overshoot together only a share: along the mean of a layer's inputs",
        weight: |_, _| 1.0,
        damps: true,
    },
    StalenessRow { name: "constant", about: "all changes count alike", weight: |_, _| 1.0, damps: false },
    StalenessRow {
        name: "poly",
        about: "(1 + s)^-a for a change that missed s versions",
        weight: |how, s| (1.0 + s).powf(-how.a),
        damps: false,
    },
    StalenessRow {
        name: "hinge",
        about: "1 for up to b missed versions, then 1 / (a (s - b) + 1)",
        weight: |how, s| if s <= how.b { 1.0 } else { 1.0 / (how.a * (s - how.b) + 1.0) },
        damps: false,
    },
];

/// A rule with its numbers, and from when on a change counts no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staleness {
    /// Its name in [`STALENESS`].
    pub rule: String,
    /// Of `poly` and `hinge`; from 0 to 1e6.
    #[serde(default = "half")]
    pub a: f64,
    /// Of `hinge`; from 0 to 1e6.
    #[serde(default = "four")]
    pub b: f64,
    /// A change that missed more versions is not applied: its rows are learnt from again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<u64>,
}

fn half() -> f64 {
    0.5
}

fn four() -> f64 {
    4.0
}

impl Default for Staleness {
    /// `damped`, without a bound.
    fn default() -> Self {
        Self { rule: "damped".to_owned(), a: half(), b: four(), bound: None }
    }
}

impl Staleness {
    fn row(&self) -> Option<&'static StalenessRow> {
        STALENESS.iter().find(|row| row.name == self.rule)
    }

    /// Fails if there is no such rule, or a number is out of range.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if self.row().is_none() {
            let names: Vec<&str> = STALENESS.iter().map(|row| row.name).collect();
            let range = format!("one of {}", names.join(", "));
            return Err(JobError::Range { field: "staleness", value: self.rule.clone(), range });
        }
        for (field, value) in [("staleness a", self.a), ("staleness b", self.b)] {
            if !(0.0..=1e6).contains(&value) {
                return Err(JobError::Range {
                    field,
                    value: value.to_string(),
                    range: "from 0 to 1e6".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Whether changes are damped that will probably miss versions.
    pub(super) fn damps(&self) -> bool {
        self.row().is_some_and(|row| row.damps)
    }

    /// The weight of a change that missed so many versions; `None` if it is too stale to count.
    pub(super) fn weight(&self, missed: u64) -> Option<f64> {
        if self.bound.is_some_and(|bound| missed > bound) {
            return None;
        }
        // Rules without a row were refused.
        Some(self.row().map_or(1.0, |row| (row.weight)(self, missed as f64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_begins_at_one_and_never_grows() {
        for row in STALENESS {
            let how = Staleness { rule: row.name.to_owned(), ..Staleness::default() };
            how.check().unwrap();
            assert_eq!(how.weight(0), Some(1.0), "{}", row.name);
            for missed in 0..100 {
                let (here, next) = (how.weight(missed).unwrap(), how.weight(missed + 1).unwrap());
                assert!(next > 0.0 && next <= here, "{} {missed}", row.name);
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_paper_and_the_bound_is_the_last_that_counts() {
        let poly = Staleness { rule: "poly".to_owned(), bound: Some(8), ..Staleness::default() };
        assert_eq!((poly.weight(3), poly.weight(8).is_some(), poly.weight(9)), (Some(0.5), true, None));
        let hinge = Staleness { rule: "hinge".to_owned(), a: 10.0, ..Staleness::default() };
        assert_eq!((hinge.weight(4), hinge.weight(5)), (Some(1.0), Some(1.0 / 11.0)));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let says = |how: Staleness| how.check().unwrap_err().to_string();
        let other = says(Staleness { rule: "linear".to_owned(), ..Staleness::default() });
        assert_eq!(other, "staleness is linear, but must be one of damped, constant, poly, hinge");
        assert!(says(Staleness { a: f64::NAN, ..Staleness::default() }).starts_with("staleness a is NaN"));
    }
}
