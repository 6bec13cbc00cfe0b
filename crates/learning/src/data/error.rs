//! Owns why rows, text or a blob do not make a data set.

use std::fmt;

/// A place in a text, displayed as `name:line:field`, or `name:line` where no single field is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The text's name as its reader knows it: the path of a file.
    pub name: String,
    /// The line, from 1; header and blank lines count. In an IDX file, the value.
    pub line: u64,
    /// The field in the line, from 1.
    pub field: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.line)?;
        match self.field {
            Some(field) => write!(f, ":{field}: field {field}"),
            None => Ok(()),
        }
    }
}

/// Why something is not a data set.
///
/// In the errors of [`Dataset::new`](super::Dataset::new) and of blobs, rows and features count from 0; the errors
/// of text carry a [`Place`], which counts from 1 as editors do.
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
    /// Values that do not make whole rows.
    #[error("{values} values do not make rows of {columns} features")]
    Ragged {
        /// Values given.
        values: usize,
        /// Features per row.
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
    /// A value to be learnt is NaN or infinity.
    #[error("row {row} has the value {value}; values must be finite numbers")]
    ValueNotFinite {
        /// The row, from 0.
        row: usize,
        /// What stands there.
        value: f32,
    },
    /// The text could not be read on.
    #[error("{place}: cannot read: {reason}")]
    Read {
        /// The line that was being read.
        place: Place,
        /// What the reader said.
        reason: String,
    },
    /// The text has no rows.
    #[error("{name}: no rows{}", if *header { " below the header line" } else { "; the file is empty" })]
    NoRows {
        /// The text's name.
        name: String,
        /// Whether it has a header.
        header: bool,
    },
    /// A line has the wrong form.
    #[error("{place}: found {found}; expected {expected}")]
    Line {
        /// The line.
        place: Place,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A field is not what belongs there.
    #[error("{place} is {found:?}; expected {expected}")]
    Field {
        /// The field.
        place: Place,
        /// What stands there, shortened.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A label is none of the job's classes.
    #[error("{place}: the label {label:?} is unknown; {known}")]
    UnknownLabel {
        /// The first line that has it.
        place: Place,
        /// The label.
        label: String,
        /// Which labels there are.
        known: String,
    },
    /// Too few or too many different labels.
    #[error("{found} different labels; there must be from 2 to 65536")]
    Classes {
        /// How many there are.
        found: usize,
    },
    /// Two classes of one name.
    #[error("the label {label:?} stands for two classes")]
    RepeatedClass {
        /// The second of them.
        label: String,
    },
    /// A file is no IDX file, or not the right one.
    #[error("{name}: {reason}")]
    Idx {
        /// The file's name.
        name: String,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// The bytes are not a data set's blob.
    #[error("not a data set's blob: {reason}")]
    Blob {
        /// What is wrong with it.
        reason: String,
    },
}

impl DataError {
    /// The place in a text that it is about, for readers of a part who know where the part stands.
    pub fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Read { place, .. }
            | Self::Line { place, .. }
            | Self::Field { place, .. }
            | Self::UnknownLabel { place, .. } => Some(place),
            _ => None,
        }
    }
}
