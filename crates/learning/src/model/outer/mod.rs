//! Owns the step between two rounds: [`Outer`], one file for each, and the table [`OUTERS`].
//!
//! The change of a round, with its sign turned, is taken as a gradient (Reddi et al. 2020), and an optimiser makes the
//! next weights of it. All arithmetic is in double precision and weight by weight: the same changes give the same bits.

mod adam;
mod adaptive;
mod average;
mod delayed_nesterov;
mod elementwise;
mod momentum;
mod nesterov;
mod state;
#[cfg(test)]
mod tests;
mod yogi;

use super::error::ModelError;
use super::mlp::Mlp;
use serde::{Deserialize, Serialize};
pub use state::OuterState;

/// Makes the next weights of the change of a round, and keeps its moments from round to round.
pub trait Outer: Send {
    /// The weights after the round: `before` moved along `change`, a round's fold.
    ///
    /// # Errors
    /// The shapes differ, from each other or from those of the rounds before; or a weight or a moment leaves the range
    /// of numbers. The moments are then as they were.
    fn step(&mut self, before: &Mlp<f32>, change: &Mlp<f64>) -> Result<Mlp<f32>, ModelError>;

    /// The factor, if all that it does is to add the change so many times: then everybody who knows the change can tell
    /// what comes of it.
    fn adds(&self) -> Option<f64> {
        None
    }

    /// All that it keeps between rounds.
    fn state(&self) -> OuterState;

    /// Goes on from a state that an outer optimiser of the same name was in; the steps are then those that it would
    /// have made, to the last bit, if the settings are the same.
    ///
    /// # Errors
    /// The state is of another optimiser, or one that it cannot be in; its own is then as it was.
    fn restore(&mut self, state: &OuterState) -> Result<(), ModelError>;
}

/// An outer optimiser as users name it.
#[derive(Clone, Copy)]
pub struct OuterRow {
    /// Its name on the command line, on the wire and in reports.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// The rate for those who give none.
    pub rate: f64,
    /// The names of its moments: what it keeps for each weight, 8 bytes each.
    pub moments: &'static [&'static str],
    /// Makes one from settings that have been checked, and a rate.
    make: fn(&OuterSettings, f64) -> Box<dyn Outer>,
}

impl OuterRow {
    /// The bytes that it holds at most for so many parameters, the weights that it makes included.
    pub fn bytes(&self, parameters: usize) -> usize {
        parameters.saturating_mul(self.moments.len() * size_of::<f64>() + size_of::<f32>())
    }
}

/// All outer optimisers. To add one, write its file and add its row.
pub static OUTERS: &[OuterRow] =
    &[average::ROW, momentum::ROW, nesterov::ROW, adam::ROW, yogi::ROW, delayed_nesterov::ROW];

/// An outer optimiser and its numbers; each uses those it knows. What is left out of its JSON, except the name, is as
/// [`OuterSettings::named`] has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterSettings {
    /// Its name in [`OUTERS`].
    pub name: String,
    /// The rate of its steps, above 0, at most 1e6; `None` is that of its row.
    #[serde(default)]
    pub rate: Option<f64>,
    /// For `momentum`, `nesterov` and `delayed-nesterov`; from 0, below 1.
    #[serde(default = "customary::momentum")]
    pub momentum: f64,
    /// For `adam` and `yogi`: of the mean of the changes; from 0, below 1.
    #[serde(default = "customary::beta1")]
    pub beta1: f64,
    /// For `adam` and `yogi`: of the mean of their squares; from 0, below 1.
    #[serde(default = "customary::beta2")]
    pub beta2: f64,
    /// For `adam` and `yogi`: how little they adapt; above 0, at most 1.
    #[serde(default = "customary::tau")]
    pub tau: f64,
    /// For `delayed-nesterov`: the momentum moves once in so many steps; from 1 to 65536.
    #[serde(default = "customary::delay")]
    pub delay: u32,
    /// For `delayed-nesterov`: the share of the momentum's step that is taken at each step between; from 0 to 1 / delay.
    #[serde(default)]
    pub activation: f64,
}

/// Numbers for those who give none.
mod customary {
    /// Douillard et al. 2023, and in the middle of what Hsu et al. 2019 try.
    pub fn momentum() -> f64 {
        0.9
    }
    /// Reddi et al. 2020.
    pub fn beta1() -> f64 {
        0.9
    }
    /// Reddi et al. 2020.
    pub fn beta2() -> f64 {
        0.99
    }
    /// Reddi et al. 2020.
    pub fn tau() -> f64 {
        1e-3
    }
    /// Liu et al. 2024 have the number of workers; they have four of them.
    pub fn delay() -> u32 {
        4
    }
}

impl Default for OuterSettings {
    /// The change is added as it is.
    fn default() -> Self {
        Self::named(average::ROW.name)
    }
}

impl OuterSettings {
    /// The outer optimiser of this name with the customary numbers: its own rate, momentum 0.9, beta1 0.9, beta2 0.99,
    /// tau 1e-3, delay 4, activation 0.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rate: None,
            momentum: customary::momentum(),
            beta1: customary::beta1(),
            beta2: customary::beta2(),
            tau: customary::tau(),
            delay: customary::delay(),
            activation: 0.0,
        }
    }

    /// Its row in [`OUTERS`].
    ///
    /// # Errors
    /// There is none of this name; the error says what there is to choose from.
    pub fn row(&self) -> Result<&'static OuterRow, ModelError> {
        OUTERS.iter().find(|row| row.name == self.name).ok_or_else(|| ModelError::UnknownName {
            what: "outer optimiser",
            name: self.name.clone(),
            choices: OUTERS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// Checks every setting, also those that this optimiser does not use.
    ///
    /// # Errors
    /// Names the setting that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), ModelError> {
        let row = self.row()?;
        let setting = |field, value: f64, range, good: bool| {
            if good { Ok(()) } else { Err(ModelError::Setting { field, value, range }) }
        };
        let share = |value: f64| (0.0..1.0).contains(&value);
        let rate = self.rate.unwrap_or(row.rate);
        setting("rate", rate, "above 0 and at most 1e6", rate > 0.0 && rate <= 1e6)?;
        setting("momentum", self.momentum, "from 0, below 1", share(self.momentum))?;
        setting("beta1", self.beta1, "from 0, below 1", share(self.beta1))?;
        setting("beta2", self.beta2, "from 0, below 1", share(self.beta2))?;
        setting("tau", self.tau, "above 0 and at most 1", self.tau > 0.0 && self.tau <= 1.0)?;
        setting("delay", self.delay.into(), "from 1 to 65536", (1..=65_536).contains(&self.delay))?;
        let activation = (0.0..=1.0 / f64::from(self.delay)).contains(&self.activation);
        setting("activation", self.activation, "from 0 to 1 / delay", activation)
    }

    /// One that has seen no round yet.
    ///
    /// # Errors
    /// As [`OuterSettings::check`].
    pub fn start(&self) -> Result<Box<dyn Outer>, ModelError> {
        self.check()?;
        let row = self.row()?;
        Ok((row.make)(self, self.rate.unwrap_or(row.rate)))
    }
}
