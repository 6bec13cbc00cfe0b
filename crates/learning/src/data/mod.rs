//! Owns data sets: features and labels in memory, how they are read from text and IDX, and their form as a blob.

mod blob;
mod classes;
mod error;
mod features;
mod idx;
mod labels;
mod lines;
mod number;
mod parse;
mod part;
mod quick;
mod quoted;
mod row;
mod scaling;
pub mod shared;

use ndarray::Array2;

pub use blob::{Encoded, decode, encode};
pub use classes::{Classes, MAX_CLASSES};
pub use error::{DataError, Place};
pub use features::Features;
pub use idx::{label_pictures, parse_picture_labels, parse_pictures, value_pictures};
pub use parse::{MAX_COLUMNS, Table, parse_rows, parse_table, parse_values};
pub use part::Part;
pub use row::Row;
pub use scaling::Scaling;

/// Rows with what is to be learnt of them, ready for training.
///
/// Features and values are finite; labels are below `classes`. All is checked once, here.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    features: Features,
    targets: Targets,
}

/// What is to be learnt of each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class number per row, and how many classes there are in the job; not all need occur here.
    Classes {
        /// One per row, below `classes`.
        labels: Vec<u32>,
        /// How many classes there are.
        classes: usize,
    },
    /// A number per row.
    Values(Vec<f32>),
}

impl Dataset {
    /// Rows and what is to be learnt of each.
    ///
    /// # Errors
    /// Names what does not fit: another number of labels or values than of rows, a label that is not below
    /// `classes`, a value that is not finite.
    pub fn of(features: Features, targets: Targets) -> Result<Self, DataError> {
        let count = match &targets {
            Targets::Classes { labels, classes } => {
                let mut all = labels.iter().enumerate();
                if let Some((row, &label)) = all.find(|&(_, &label)| label as usize >= *classes) {
                    return Err(DataError::LabelRange { row, label, classes: *classes });
                }
                labels.len()
            }
            Targets::Values(values) => {
                if let Some((row, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                    return Err(DataError::ValueNotFinite { row, value });
                }
                values.len()
            }
        };
        match features.rows() {
            rows if rows == count => Ok(Self { features, targets }),
            rows => Err(DataError::Labels { rows, labels: count }),
        }
    }

    /// `features` is rows x columns, `labels` one per row.
    ///
    /// # Errors
    /// Names what does not fit: no rows or columns, a feature that is not finite; as for [`of`](Self::of).
    pub fn new(features: Array2<f32>, labels: Vec<u32>, classes: usize) -> Result<Self, DataError> {
        Self::of(of_array(features)?, Targets::Classes { labels, classes })
    }

    /// `features` is rows x columns, `values` one per row.
    ///
    /// # Errors
    /// Names what does not fit: no rows or columns, a feature that is not finite; as for [`of`](Self::of).
    pub fn regression(features: Array2<f32>, values: Vec<f32>) -> Result<Self, DataError> {
        Self::of(of_array(features)?, Targets::Values(values))
    }

    /// All rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The features of a row; panics if there is no such row.
    pub fn row(&self, row: usize) -> Row<'_> {
        self.features.row(row)
    }

    /// A copy of the features as floats, rows x columns; for what is small.
    pub fn to_array(&self) -> Array2<f32> {
        self.features.to_array()
    }

    /// What is to be learnt.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// One class number per row; none if values are to be learnt.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes { labels, .. } => labels,
            Targets::Values(_) => &[],
        }
    }

    /// One value per row; none if classes are to be learnt.
    pub fn values(&self) -> &[f32] {
        match &self.targets {
            Targets::Classes { .. } => &[],
            Targets::Values(values) => values,
        }
    }

    /// How many classes there are in the job; not all need occur here. 0 if values are to be learnt.
    pub fn classes(&self) -> usize {
        match &self.targets {
            Targets::Classes { classes, .. } => *classes,
            Targets::Values(_) => 0,
        }
    }

    /// How many rows there are; at least one.
    pub fn rows(&self) -> usize {
        self.features.rows()
    }

    /// How many features a row has; at least one.
    pub fn columns(&self) -> usize {
        self.features.columns()
    }
}

/// The array's values, row by row however they lie.
fn of_array(array: Array2<f32>) -> Result<Features, DataError> {
    let (rows, columns) = array.dim();
    if rows == 0 || columns == 0 {
        return Err(DataError::Empty { rows, columns });
    }
    Features::of_floats(array.iter().copied().collect(), columns)
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
    fn values_are_finite_and_one_per_row() {
        let regression = |values| Dataset::regression(array![[1.0], [3.0]], values);
        assert_eq!(regression(vec![0.5, -1.0]).unwrap().values(), [0.5, -1.0]);
        assert_eq!(regression(vec![0.5]).unwrap_err().to_string(), "2 rows have 1 labels");
        let error = regression(vec![0.5, f32::NAN]).unwrap_err().to_string();
        assert_eq!(error, "row 1 has the value NaN; values must be finite numbers");
    }

    #[test]
    fn features_are_in_c_order_however_they_came() {
        let data = Dataset::new(array![[1.0, 2.0], [3.0, 4.0]].reversed_axes(), vec![0, 1], 2).unwrap();
        assert_eq!(data.features().all(), Row::U8(&[1, 3, 2, 4]));
    }
}
