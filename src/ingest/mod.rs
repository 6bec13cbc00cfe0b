//! Owns reading data sets from disk: a job's directory, one shard, rows to predict.

mod names;
mod resolve;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::data::{self, Classes, DataError, Dataset, Table};

pub use resolve::resolve;

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// A directory of training files and a validation file, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// The directory's own name.
    pub name: String,
    /// The labels, in class order.
    pub classes: Classes,
    /// One shard per training file, in natural order of their names; at least one, all equally wide.
    pub shards: Vec<LoadedShard>,
    /// The rows that are for measuring, as wide as the shards.
    pub validation: LoadedShard,
}

/// The rows of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedShard {
    /// The file's own name.
    pub name: String,
    /// Its rows.
    pub data: Dataset,
}

/// Why data could not be read from disk. Paths are shown as the caller gave them.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A path from a request that is not ours to read. Says the same whatever is there, or is not.
    #[error("there is no {requested:?} in the data directory")]
    Outside {
        /// The path, shortened.
        requested: String,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file where a directory should be.
    #[error("{} is not a directory; expected one with training files and a validation file", path.display())]
    NotADirectory {
        /// Its path.
        path: PathBuf,
    },
    /// A directory, a pipe or a device where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// Nothing to train on.
    #[error("{} has no training files; they are named train*.txt or train*.csv", path.display())]
    NoTraining {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing to validate with.
    #[error("{} has no validation file; it is named validate*.txt, valid*.txt, or the same with .csv", path.display())]
    NoValidation {
        /// The directory.
        path: PathBuf,
    },
    /// It is not clear which file is to validate with.
    #[error("{} has {} validation files, where one is expected: {}", path.display(), names.len(), names.join(", "))]
    ManyValidations {
        /// The directory.
        path: PathBuf,
        /// The files' names.
        names: Vec<String>,
    },
    /// Rows that are all of one class, or of too many.
    #[error("the training files of {} have {found} different label{}; there must be from 2 to {}",
        path.display(), if *found == 1 { "" } else { "s" }, data::MAX_CLASSES)]
    Classes {
        /// The directory.
        path: PathBuf,
        /// How many different labels there are.
        found: usize,
    },
    /// Files of one job differ in width.
    #[error("{other} has {other_columns} features, but {first} has {first_columns}")]
    Columns {
        /// The first training file.
        first: String,
        /// Its features per row.
        first_columns: usize,
        /// The file that differs.
        other: String,
        /// Its features per row.
        other_columns: usize,
    },
    /// What a file says is no data.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Reads a job's directory; the classes are the labels that occur in the training files.
///
/// Training files are `train*.txt` and `train*.csv`; the validation file is `validate*` or `valid*` with the same
/// endings. Other files are left alone.
///
/// # Errors
/// The directory cannot be read, has no training files or not exactly one validation file; a file is malformed or
/// differs from the first in width; a validation label does not occur in the training files; fewer than two
/// classes.
pub fn load_dir(dir: &Path) -> Result<Corpus, IngestError> {
    load_dir_with(dir, None)
}

/// Like [`load_dir`]; if `classes` are given, labels other than those are errors.
///
/// # Errors
/// As for [`load_dir`].
pub fn load_dir_with(dir: &Path, classes: Option<Classes>) -> Result<Corpus, IngestError> {
    let listing = list(dir)?;
    if listing.training.is_empty() {
        return Err(IngestError::NoTraining { path: dir.to_owned() });
    }
    let validation = match listing.validation.as_slice() {
        [] => return Err(IngestError::NoValidation { path: dir.to_owned() }),
        [one] => one,
        many => return Err(IngestError::ManyValidations { path: dir.to_owned(), names: many.to_vec() }),
    };
    let tables = listing.training.iter().map(|name| read_table(&dir.join(name))).collect::<Result<Vec<_>, _>>()?;
    let held_out = read_table(&dir.join(validation))?;
    same_width(tables.iter().chain([&held_out]))?;
    let classes = match classes {
        Some(classes) => classes,
        None => Classes::of(&tables).map_err(|e| match e {
            DataError::Classes { found } => IngestError::Classes { path: dir.to_owned(), found },
            other => other.into(),
        })?,
    };
    let shards = listing
        .training
        .iter()
        .zip(tables)
        .map(|(name, table)| Ok(LoadedShard { name: name.clone(), data: table.into_dataset(&classes)? }))
        .collect::<Result<_, DataError>>()?;
    let validation = LoadedShard { name: validation.clone(), data: held_out.into_dataset(&classes)? };
    Ok(Corpus { name: own_name(dir), classes, shards, validation })
}

/// Reads one file of labelled rows.
///
/// # Errors
/// The file cannot be read or is malformed, or has a label that is none of `classes`.
pub fn load_shard(path: &Path, classes: &Classes) -> Result<Dataset, IngestError> {
    Ok(read_table(path)?.into_dataset(classes)?)
}

/// Reads one file of rows without labels, `columns` features each.
///
/// # Errors
/// The file cannot be read, is malformed, or has another number of features.
pub fn load_rows(path: &Path, columns: usize) -> Result<Array2<f32>, IngestError> {
    Ok(data::parse_rows(&path.display().to_string(), open(path)?, columns)?)
}

struct Listing {
    /// In natural order.
    training: Vec<String>,
    validation: Vec<String>,
}

fn list(dir: &Path) -> Result<Listing, IngestError> {
    let failed = |source| IngestError::Read { path: dir.to_owned(), source };
    if !fs::metadata(dir).map_err(failed)?.is_dir() {
        return Err(IngestError::NotADirectory { path: dir.to_owned() });
    }
    let mut listing = Listing { training: Vec::new(), validation: Vec::new() };
    for entry in fs::read_dir(dir).map_err(failed)? {
        // A name that is not UTF-8 cannot be told to the user, nor sent to a node.
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        match names::role(&name) {
            Some(names::Role::Training) => listing.training.push(name),
            Some(names::Role::Validation) => listing.validation.push(name),
            None => {}
        }
    }
    listing.training.sort_by_cached_key(|name| names::natural(name));
    listing.validation.sort_by_cached_key(|name| names::natural(name));
    Ok(listing)
}

fn open(path: &Path) -> Result<BufReader<File>, IngestError> {
    let failed = |source| IngestError::Read { path: path.to_owned(), source };
    // Before opening, which would wait for a pipe's writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(IngestError::NotAFile { path: path.to_owned() });
    }
    Ok(BufReader::with_capacity(BUFFER, File::open(path).map_err(failed)?))
}

fn read_table(path: &Path) -> Result<Table, IngestError> {
    Ok(data::parse_table(&path.display().to_string(), open(path)?)?)
}

fn same_width<'t>(mut tables: impl Iterator<Item = &'t Table>) -> Result<(), IngestError> {
    let Some(first) = tables.next() else { return Ok(()) };
    match tables.find(|other| other.columns() != first.columns()) {
        None => Ok(()),
        Some(other) => Err(IngestError::Columns {
            first: first.name().to_owned(),
            first_columns: first.columns(),
            other: other.name().to_owned(),
            other_columns: other.columns(),
        }),
    }
}

/// The last name in the path; for `.` and `..` that of the directory they mean.
fn own_name(dir: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(dir).or_else(|| name(&fs::canonicalize(dir).ok()?)).unwrap_or_else(|| dir.display().to_string())
}

#[cfg(test)]
mod tests;
