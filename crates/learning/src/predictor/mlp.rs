//! Owns answers of our own models: rows in, classes or values out.

use super::card::{Card, wrong};
use super::idle::Idle;
use super::of_rows;
use super::{Answers, BadInput, Gives, KeepGoing, Kind, Limits, Loaded, Predictor, PredictorError, Prepared};
use crate::data::Row;
use crate::model::{Forward, Model, Output, files};

/// Blocks of rows between two looks at whether to go on.
const BLOCKS: usize = 16;

/// Reads a model of ours in the format of this ending.
pub(super) fn load(bytes: &[u8], ending: &str, card: Option<&Card>, limits: &Limits) -> Loaded {
    let model = files::read(bytes, ending)?;
    let parameters = model.weights.layers().iter().map(|layer| layer.len()).sum::<usize>();
    let size = parameters.saturating_mul(2 * size_of::<f32>());
    if size > limits.model {
        return Err(PredictorError::TooBig { what: "the model", bytes: size, limit: limits.model });
    }
    let labels = labels(&model, card)?;
    let forward = Forward::new(&model)?;
    let columns = forward.columns();
    Ok(Box::new(Own { model, labels, columns, parameters, idle: Idle::new(forward) }))
}

/// The names of the classes: the model's own, the card's, or numbers.
fn labels(model: &Model, card: Option<&Card>) -> Result<Vec<String>, PredictorError> {
    match &model.form.output {
        Output::Classes(names) => of_rows::labels(names, model.weights.outputs(), card),
        Output::Value { .. } => {
            of_rows::check(card)?;
            match card.and_then(|card| card.labels.as_ref()) {
                None => Ok(Vec::new()),
                Some(_) => Ok(wrong("labels", "are given, but the model tells values".to_owned())?),
            }
        }
    }
}

/// A model of ours, and what it works with.
struct Own {
    model: Model,
    labels: Vec<String>,
    columns: usize,
    parameters: usize,
    idle: Idle<Forward>,
}

impl Predictor for Own {
    fn takes(&self) -> Kind {
        Kind::Rows { columns: self.columns }
    }

    fn gives(&self) -> Gives {
        match self.model.classes() {
            0 => Gives::Value,
            classes => Gives::Classes(classes),
        }
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn bytes(&self) -> usize {
        2 * self.parameters * size_of::<f32>() + self.labels.iter().map(|label| label.len() + 24).sum::<usize>()
    }

    fn cost(&self) -> f64 {
        2.0 * self.parameters as f64
    }

    fn prepare(&self, _: &[u8]) -> Result<Prepared, BadInput> {
        Err(BadInput(format!("the model takes {}, not pictures", self.takes())))
    }

    fn pictures(&self, _: &[Prepared], _: usize, _: KeepGoing<'_>) -> Result<Answers, PredictorError> {
        Err(PredictorError::Takes { takes: self.takes(), given: "pictures" })
    }

    fn rows(&self, rows: Row<'_>, top: usize, keep_going: KeepGoing<'_>) -> Result<Answers, PredictorError> {
        let (features, columns) = (rows.len(), self.columns);
        if !features.is_multiple_of(columns) {
            return Err(PredictorError::Rows { features, columns });
        }
        let mut answers = Answers::new(self.gives().top(top));
        answers.reserve(features / columns);
        let mut forward = self.idle.take().map_or_else(|| Forward::new(&self.model), Ok)?;
        let step = BLOCKS * forward.block() * columns;
        let mut done = Ok(());
        for first in (0..features).step_by(step) {
            if !keep_going() {
                return Err(PredictorError::Stopped);
            }
            let part = rows.part(first..features.min(first + step));
            let before = answers.len();
            let said = match self.gives() {
                Gives::Value => forward.values(part, |value| answers.push_value(value)),
                Gives::Classes(_) => forward.probabilities(part, |row| answers.push_best(row)),
            };
            done = said.map_err(|e| match e {
                crate::model::ModelError::Outputs { row } => PredictorError::Outputs { query: before + row },
                other => other.into(),
            });
            if done.is_err() {
                break;
            }
        }
        self.idle.give(forward);
        done.map(|()| answers)
    }
}
