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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::model::forest::{Binned, ForestSettings};
    use crate::predictor::{Answer, load};
    use ndarray::Array2;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const ON: KeepGoing<'static> = &|| true;

    fn forest() -> Forest {
        let features = Array2::from_shape_fn((300, 3), |(row, column)| ((row * 37 + column * 101) % 83) as f32);
        let labels = (0..300).map(|row| (row * 37 % 83 / 21) as u32).collect();
        let data = Binned::of(&[Arc::new(Dataset::new(features, labels, 4).unwrap())]).unwrap();
        let settings = ForestSettings { n_estimators: 5, max_depth: Some(3), ..ForestSettings::default() };
        Forest::fit(&data, &(0..300).collect::<Vec<u32>>(), &settings, 1, ON).unwrap()
    }

    fn loaded(card: Option<&Card>, limits: &Limits) -> Loaded {
        load("f.safetensors", &forest().to_safetensors(&BTreeMap::new()).unwrap(), card, limits)
    }

    #[test]
    fn rows_are_answered_as_probabilities_has_it() {
        let predictor = loaded(None, &Limits::default()).unwrap();
        assert_eq!((predictor.takes(), predictor.gives()), (Kind::Rows { columns: 3 }, Gives::Classes(4)));
        assert_eq!(predictor.labels(), ["0", "1", "2", "3"]);
        let features = Array2::from_shape_fn((3000, 3), |(row, column)| ((row * 7 + column * 5) % 90) as f32);
        let answers = predictor.rows(Row::F32(features.as_slice().unwrap()), 9, ON).unwrap();
        let bytes: Vec<u8> = features.iter().map(|&value| value as u8).collect();
        assert_eq!(predictor.rows(Row::U8(&bytes), 4, ON).unwrap(), answers);
        let right = forest().probabilities(features.view()).unwrap();
        for (row, probabilities) in right.rows().into_iter().enumerate() {
            let Some(Answer::Classes(best)) = answers.get(row) else { panic!("no classes") };
            assert!(best.iter().all(|&(class, p)| probabilities[class as usize].to_bits() == p.to_bits()));
        }
        let one = predictor.rows(Row::U8(&bytes[3 * 2100..3 * 2101]), 4, ON).unwrap();
        assert_eq!(one.get(0), answers.get(2100), "alone or among others");
    }

    #[test]
    fn what_cannot_be_answered_is_told() {
        let predictor = loaded(None, &Limits::default()).unwrap();
        let says = predictor.rows(Row::U8(&[0; 7]), 1, ON).unwrap_err().to_string();
        assert_eq!(says, "7 features do not make rows of 3");
        let says = predictor.rows(Row::F32(&[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]), 1, ON).unwrap_err().to_string();
        assert_eq!(says, "query 1: a feature is NaN; features must be finite numbers");
        assert_eq!(predictor.rows(Row::U8(&[0; 3]), 1, &|| false), Err(PredictorError::Stopped));
        assert!(predictor.rows(Row::U8(&[]), 1, ON).unwrap().is_empty());
        assert!(predictor.prepare(&[]).is_err() && predictor.pictures(&[], 1, ON).is_err());
        let card = Card::from_toml("labels = [\"w\", \"x\", \"y\", \"z\"]").unwrap();
        assert_eq!(loaded(Some(&card), &Limits::default()).unwrap().labels(), ["w", "x", "y", "z"]);
        let card = Card::from_toml("labels = [\"w\"]").unwrap();
        assert!(loaded(Some(&card), &Limits::default()).is_err());
        let small = Limits { model: 100, ..Limits::default() };
        assert!(loaded(None, &small).err().unwrap().to_string().ends_with("; the limit is 100"));
    }
}
