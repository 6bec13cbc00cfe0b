//! Owns answers of our random forests: rows in, classes out.

use super::card::Card;
use super::idle::Idle;
use super::of_rows;
use super::{Answers, BadInput, Gives, KeepGoing, Kind, Limits, Loaded, Predictor, PredictorError, Prepared};
use crate::data::Row;
use crate::model::forest::{Forest, Walk};

/// Blocks of rows between two looks at whether to go on.
const BLOCKS: usize = 4;
/// A leaf is about so many times as deep as in a balanced tree.
const DEEPER: f64 = 1.5;

/// Reads a forest.
pub(super) fn load(bytes: &[u8], card: Option<&Card>, limits: &Limits) -> Loaded {
    // Its arrays are copied before trees are made of them.
    let size = bytes.len().saturating_mul(2);
    if size > limits.model {
        return Err(PredictorError::TooBig { what: "the model", bytes: size, limit: limits.model });
    }
    let (forest, _) = Forest::from_safetensors(bytes)?;
    let labels = of_rows::labels(forest.names(), forest.classes(), card)?;
    let idle = Idle::new(Walk::new(&forest));
    Ok(Box::new(Grown { forest, labels, idle }))
}

/// A forest, and what it works with.
struct Grown {
    forest: Forest,
    labels: Vec<String>,
    idle: Idle<Walk>,
}

impl Predictor for Grown {
    fn takes(&self) -> Kind {
        Kind::Rows { columns: self.forest.columns() }
    }

    fn gives(&self) -> Gives {
        Gives::Classes(self.forest.classes())
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn bytes(&self) -> usize {
        self.forest.bytes() + self.labels.iter().map(|label| label.len() + 24).sum::<usize>()
    }

    fn cost(&self) -> f64 {
        let (trees, leaves) = (self.forest.trees() as f64, self.forest.leaves() as f64);
        trees * (1.0 + DEEPER * (leaves / trees).log2())
    }

    fn prepare(&self, _: &[u8]) -> Result<Prepared, BadInput> {
        Err(BadInput(format!("the model takes {}, not pictures", self.takes())))
    }

    fn pictures(&self, _: &[Prepared], _: usize, _: KeepGoing<'_>) -> Result<Answers, PredictorError> {
        Err(PredictorError::Takes { takes: self.takes(), given: "pictures" })
    }

    fn rows(&self, rows: Row<'_>, top: usize, keep_going: KeepGoing<'_>) -> Result<Answers, PredictorError> {
        let (features, columns) = (rows.len(), self.forest.columns());
        if !features.is_multiple_of(columns) {
            return Err(PredictorError::Rows { features, columns });
        }
        if let Row::F32(floats) = rows
            && let Some(place) = floats.iter().position(|value| !value.is_finite())
        {
            return Err(PredictorError::Feature { query: place / columns, value: floats[place] });
        }
        let mut answers = Answers::new(self.gives().top(top));
        answers.reserve(features / columns);
        let mut walk = self.idle.take().unwrap_or_else(|| Walk::new(&self.forest));
        let step = BLOCKS * walk.rows() * columns;
        for first in (0..features).step_by(step) {
            if !keep_going() {
                self.idle.give(walk);
                return Err(PredictorError::Stopped);
            }
            let part = rows.part(first..features.min(first + step));
            self.forest.each_row(part, &mut walk, |_, row| answers.push_best(row));
        }
        self.idle.give(walk);
        Ok(answers)
    }
}
