//! Owns what can be tuned: [`Learner`], a file for each kind of model, and the table [`LEARNERS`].

mod forest;
mod mlp;
mod nothing;
mod settings;

pub(super) use settings::Settings;

use super::metric::Score;
use super::setting::Configuration;
use super::stock::Stock;
use crate::data::shared::Blob;
use crate::jobs::JobError;
use crate::model::Measured;
use crate::types::Digest;

/// A kind of model as users name it.
pub struct LearnerRow {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// What can be set.
    pub parameters: &'static [ParameterRow],
    /// What it learns from.
    pub(super) takes: Takes,
    /// Makes one, if the settings are good.
    pub(super) make: fn(&Settings<'_>) -> Result<Box<dyn Learner>, JobError>,
}

/// A parameter of a kind of model.
pub struct ParameterRow {
    /// Its name.
    pub name: &'static str,
    /// Another name for it; or empty.
    pub alias: &'static str,
    /// What it is, and what it is if nobody says.
    pub about: &'static str,
}

/// What a kind of model learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing at all.
    Nothing,
    /// Rows with classes.
    Classes,
    /// Rows with classes or values.
    Rows,
}

/// All kinds of model. To add one, write its file and add its row.
pub static LEARNERS: &[LearnerRow] = &[mlp::ROW, forest::ROW, nothing::ROW];

/// The rows that a job works on, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    /// That are learnt from.
    pub(super) rows: u64,
    pub(super) columns: usize,
    /// 0: values are learnt.
    pub(super) classes: usize,
}

/// A model that is to be made, with all of its settings.
pub(super) trait Learner {
    /// Fails unless it can learn from such rows.
    fn check_for(&self, _size: &Size) -> Result<(), JobError> {
        Ok(())
    }

    /// Of how many steps it is made: rungs end at whole ones. 0: it has none.
    fn steps(&self) -> u32;

    /// Whether a model of a rung is where the next rung begins.
    fn goes_on(&self) -> bool {
        false
    }

    /// The work of all steps, in operations, roughly.
    fn cost(&self, size: &Size) -> f64;

    /// Bytes of its model, at most and roughly.
    fn bytes(&self, size: &Size) -> usize;

    /// Does the steps up to the end of the last rung that is asked for.
    /// `stock` is empty for those that take nothing.
    fn fit(&self, stock: Option<&Stock>, fit: &Fit<'_>) -> Result<Fitted, Trouble>;
}

/// What is to be done of a trial.
pub(super) struct Fit<'a> {
    /// The fold that is held out; `None`: the validation rows are.
    pub(super) fold: Option<u32>,
    pub(super) seed: u64,
    /// After how many steps each rung ends; the last is where this ends.
    pub(super) ends: &'a [u32],
    /// Of so many steps in all.
    pub(super) steps: u32,
    /// The first rung that is to be done; the model of the one before is `start`, unless it is 0.
    pub(super) first: usize,
    pub(super) start: Option<&'a Blob>,
    /// What is wanted beside the score.
    pub(super) wanted: Wanted<'a>,
    pub(super) keep_going: &'a dyn Fn() -> bool,
}

/// What is wanted beside the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wanted<'a> {
    /// Nothing.
    Score,
    /// What the next rung begins with.
    State,
    /// The model as a file, with the names of its classes.
    Model(&'a [String]),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) score: Score,
    /// On the rows learnt from, if that is known anyway.
    pub(super) training_error: Option<f64>,
    /// The state or the model, if one is wanted.
    pub(super) bytes: Vec<u8>,
    /// Of the model: what it is worth, and its digest.
    pub(super) model: Option<(Measured, Digest)>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not to go on.
    Stopped,
    /// It is the trial's own fault.
    Failed(String),
}

/// Finds a kind of model.
pub fn find(name: &str) -> Option<&'static LearnerRow> {
    LEARNERS.iter().find(|row| row.name == name)
}

impl LearnerRow {
    /// The name of a parameter, however it is written.
    ///
    /// # Errors
    /// There is no such parameter; it tells which there are.
    pub fn parameter(&self, written: &str) -> Result<&'static str, JobError> {
        let name = super::setting::name_of(written);
        let known = self.parameters.iter().find(|row| row.name == name || (row.alias == name && !name.is_empty()));
        known.map(|row| row.name).ok_or_else(|| JobError::Choice {
            what: "parameter",
            name: written.to_owned(),
            choices: self.parameters.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The model of a trial.
    pub(super) fn of(&self, configuration: &Configuration) -> Result<Box<dyn Learner>, JobError> {
        (self.make)(&Settings::of(configuration))
    }
}

/// After how many steps each rung ends: its share, but at least one step more than the one before.
pub(super) fn ends(shares: &[f64], steps: u32) -> Result<Vec<u32>, JobError> {
    let mut ends: Vec<u32> = Vec::with_capacity(shares.len());
    for &share in shares {
        let least = ends.last().map_or(1, |before| before + 1);
        ends.push(((f64::from(steps) * share).round() as u32).max(least));
    }
    if ends.last().is_some_and(|&last| last > steps && steps > 0) {
        let range = format!("at least {}: as many as there are rungs", shares.len());
        return Err(JobError::Range { field: "the number of epochs or trees", value: steps.to_string(), range });
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_end_at_whole_steps() {
        assert_eq!(ends(&[1.0], 10).expect("good"), [10]);
        assert_eq!(ends(&[1.0 / 9.0, 1.0 / 3.0, 1.0], 10).expect("good"), [1, 3, 10]);
        assert_eq!(ends(&[1.0 / 9.0, 1.0 / 3.0, 1.0], 3).expect("good"), [1, 2, 3]);
        assert!(ends(&[1.0 / 9.0, 1.0 / 3.0, 1.0], 2).expect_err("too few").to_string().contains("at least 3"));
        assert_eq!(ends(&[0.5, 1.0], 0).expect("it has none"), [1, 2]);
    }

    #[test]
    fn parameters_have_one_name() {
        let mlp = find("mlp").expect("it is there");
        assert_eq!(mlp.parameter("hidden").expect("known"), "h");
        assert_eq!(mlp.parameter("batch-size").expect("known"), "batch_size");
        let error = mlp.parameter("etta").expect_err("unknown").to_string();
        assert!(error.contains("'etta'") && error.contains("eta, epochs"), "{error}");
        for row in LEARNERS {
            let names: std::collections::BTreeSet<_> = row.parameters.iter().map(|row| row.name).collect();
            assert_eq!(names.len(), row.parameters.len());
        }
    }
}
