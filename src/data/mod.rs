//! Owns data sets: features and labels in memory, how they are read from text, and their form as a blob.

mod blob;
mod classes;
mod error;
mod lines;
mod number;
mod parse;
mod quoted;
pub mod shared;

use ndarray::Array2;

pub use blob::{decode, encode};
pub use classes::{Classes, MAX_CLASSES};
pub use error::{DataError, Place};
pub use parse::{MAX_COLUMNS, Table, parse_rows, parse_table};

/// Labelled rows, ready for training.
///
/// Features are finite; labels are below `classes`. Both are checked once, here.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    features: Array2<f32>,
    labels: Vec<u32>,
    classes: usize,
}

impl Dataset {
    /// `features` is rows x columns in C order, `labels` one per row.
    ///
    /// # Errors
    /// Names what does not fit: no rows or columns, another number of labels, a label that is not below
    /// `classes`, a feature that is not finite.
    pub fn new(features: Array2<f32>, labels: Vec<u32>, classes: usize) -> Result<Self, DataError> {
        let (rows, columns) = features.dim();
        if rows == 0 || columns == 0 {
            return Err(DataError::Empty { rows, columns });
        }
        if labels.len() != rows {
            return Err(DataError::Labels { rows, labels: labels.len() });
        }
        if let Some((row, &label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
            return Err(DataError::LabelRange { row, label, classes });
        }
        if !features.iter().all(|value| value.is_finite())
            && let Some(((row, column), &value)) = features.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(DataError::NotFinite { row, column, value });
        }
        // The common case keeps its memory.
        let features = match features.is_standard_layout() {
            true => features,
            false => features.as_standard_layout().into_owned(),
        };
        Ok(Self { features, labels, classes })
    }

    /// Rows x columns, in C order.
    pub fn features(&self) -> &Array2<f32> {
        &self.features
    }

    /// One class number per row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// How many classes there are in the job; not all need occur here.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many rows there are; at least one.
    pub fn rows(&self) -> usize {
        self.features.nrows()
    }

    /// How many features a row has; at least one.
    pub fn columns(&self) -> usize {
        self.features.ncols()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn what_does_not_fit_is_named() {
        let rows = || array![[1.0, 2.0], [3.0, 4.0]];
        for (features, labels, message) in [
            (
                Array2::zeros((0, 2)),
                vec![],
                "a data set needs rows and features, this one has 0 rows of 2 features",
            ),
            (
                Array2::zeros((2, 0)),
                vec![0, 1],
                "a data set needs rows and features, this one has 2 rows of 0 features",
            ),
            (rows(), vec![0], "2 rows have 1 labels"),
            (rows(), vec![0, 2], "row 1 has label 2, but there are 2 classes"),
            (array![[1.0, f32::NAN]], vec![0], "row 0, feature 1 is NaN; features must be finite numbers"),
        ] {
            assert_eq!(Dataset::new(features, labels, 2).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn features_are_in_c_order_however_they_came() {
        let data = Dataset::new(array![[1.0, 2.0], [3.0, 4.0]].reversed_axes(), vec![0, 1], 2).unwrap();
        assert_eq!(data.features().as_slice(), Some(&[1.0, 3.0, 2.0, 4.0][..]));
    }
}
