//! Owns the model that does nothing: what tuning itself costs is measured with it, and searches are tried out.

use super::super::metric::Score;
use super::super::stock::Stock;
use super::{Fit, Fitted, Learner, LearnerRow, ParameterRow, Settings, Size, Takes, Trouble};
use crate::jobs::JobError;

pub(super) const ROW: LearnerRow = LearnerRow {
    name: "nothing",
    about: "learns nothing; its error is x + y, at once",
    parameters: &[
        ParameterRow { name: "x", alias: "", about: "a number from 0 to 1e6 [default: 0]" },
        ParameterRow { name: "y", alias: "", about: "the same" },
    ],
    takes: Takes::Nothing,
    make,
};

struct Nothing {
    error: f64,
}

fn make(settings: &Settings<'_>) -> Result<Box<dyn Learner>, JobError> {
    let mut error = 0.0;
    for name in ["x", "y"] {
        let within = |number: &f64| (0.0..=1e6).contains(number);
        error += settings.any(name, "from 0 to 1e6", |setting| setting.number().filter(within))?.unwrap_or(0.0);
    }
    Ok(Box::new(Nothing { error }))
}

impl Learner for Nothing {
    fn steps(&self) -> u32 {
        0
    }

    fn cost(&self, _: &Size) -> f64 {
        1.0
    }

    fn bytes(&self, _: &Size) -> usize {
        0
    }

    fn fit(&self, _: Option<&Stock>, _: &Fit<'_>) -> Result<Fitted, Trouble> {
        let score = Score { error: self.error, loss: self.error };
        Ok(Fitted { score, training_error: None, bytes: Vec::new(), model: None })
    }
}
