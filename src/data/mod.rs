//! Owns data sets: features and labels in memory, how they are read from text, and their form as a blob.

use ndarray::Array2;

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
        if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(DataError::LabelRange { row, label: labels[row], classes });
        }
        if let Some(((row, column), &value)) = features.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(DataError::NotFinite { row, column, value });
        }
        let features = features.as_standard_layout().into_owned();
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

/// Why rows do not make a data set. Rows and columns count from 0 here; files are named by the caller.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// Nothing to learn from.
    #[error("a data set needs rows and features, this one has {rows} rows of {columns} features")]
    Empty {
        /// Rows given.
        rows: usize,
        /// Features per row given.
        columns: usize,
    },
    /// Rows and labels differ in number.
    #[error("{rows} rows have {labels} labels")]
    Labels {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label is no class.
    #[error("row {row} has label {label}, but there are {classes} classes")]
    LabelRange {
        /// The row, from 0.
        row: usize,
        /// Its label.
        label: u32,
        /// The number of classes.
        classes: usize,
    },
    /// NaN or infinity.
    #[error("row {row}, feature {column} is {value}; features must be finite numbers")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The feature, from 0.
        column: usize,
        /// What stands there.
        value: f32,
    },
}
