//! Owns how trials are chosen and when they stop: [`Search`], a file for each, and the table [`SEARCHES`].
//!
//! A search is a function of the order of results: the same results in the same order lead to the same decisions.

mod asha;
mod grid;
mod median;
mod random;

use crate::jobs::JobError;
use serde::{Deserialize, Serialize};

/// Decides what becomes of trials.
pub(super) trait Search: Send {
    /// Takes what a trial has come to at the end of a rung; less is better, `None`: it failed.
    fn report(&mut self, trial: u32, rung: usize, badness: Option<f64>) -> Verdict;
}

/// What follows from a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// What becomes of the trial, unless it has failed or is done.
    pub(super) fate: Fate,
    /// Trials that go on to their next rung, the best first; the one that reported may be among them.
    pub(super) promoted: Vec<u32>,
}

/// What becomes of a trial at the end of a rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing is left to be done.
    #[default]
    Done,
    /// It may go on later.
    Paused,
    /// It never goes on.
    Stopped,
}

/// A search as users name it.
pub struct SearchRow {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Whether configurations are drawn even where all values are listed and no number of trials is given.
    pub(super) draws: bool,
    /// The shares of a trial's whole at the ends of its rungs.
    pub(super) rungs: fn(&SearchSettings) -> Vec<f64>,
    pub(super) make: fn(&SearchSettings) -> Box<dyn Search>,
}

/// All searches. To add one, write its file and add its row.
pub static SEARCHES: &[SearchRow] = &[grid::ROW, random::ROW, asha::ROW, median::ROW];

/// A search and its numbers; each uses those it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSettings {
    /// Its name in [`SEARCHES`].
    pub name: String,
    /// How many trials there are at most; without it all combinations of a grid, or as many as the time allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<u32>,
    /// Of `asha`: one of so many trials goes on at the end of a rung; 2 to 100.
    #[serde(default = "three")]
    pub reduction: u32,
    /// Of `asha` and `median`: how often a trial is looked at, its end among them; 2 to 16.
    #[serde(default = "three")]
    pub rungs: u32,
}

fn three() -> u32 {
    3
}

impl SearchSettings {
    /// The search of this name with the customary numbers.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), trials: None, reduction: three(), rungs: three() }
    }

    /// Its row, once the numbers are found good.
    pub(super) fn check(&self) -> Result<&'static SearchRow, JobError> {
        let Some(row) = SEARCHES.iter().find(|row| row.name == self.name) else {
            let choices = SEARCHES.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
            return Err(JobError::Choice { what: "search", name: self.name.clone(), choices });
        };
        let within = |field, value: u32, least: u32, most: u32| match (least..=most).contains(&value) {
            true => Ok(()),
            false => {
                let range = format!("from {least} to {most}");
                Err(JobError::Range { field, value: value.to_string(), range })
            }
        };
        within("trials", self.trials.unwrap_or(1), 1, super::space::MOST_TRIALS)?;
        within("reduction", self.reduction, 2, 100)?;
        within("rungs", self.rungs, 2, 16)?;
        Ok(row)
    }
}
