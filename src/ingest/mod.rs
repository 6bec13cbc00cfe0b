//! Owns reading data sets from disk: a job's directory, one shard, rows to predict.

mod each;
mod names;
mod pictures;
mod resolve;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::data::{self, Classes, DataError, Dataset, Features, Table};

pub use resolve::resolve;

/// Bytes read at a time.
const BUFFER: usize = 256 * 1024;

/// A directory of training files and a validation file, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// The directory's own name.
    pub name: String,
    /// The labels, in class order; `None` if values are to be learnt.
    pub classes: Option<Classes>,
    /// One shard per training file, in natural order of their names; at least one, all equally wide.
    pub shards: Vec<LoadedShard>,
    /// The rows that are for measuring, as wide as the shards.
    pub validation: LoadedShard,
}

impl Corpus {
    /// The labels, in class order; none if values are to be learnt.
    pub fn labels(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], Classes::labels)
    }
}

/// What stands in the last column of a job's files.
#[derive(Clone, Debug, PartialEq)]
pub enum LastColumn {
    /// A label. Which there are is given, or else are those that occur in the training files.
    Label(Option<Classes>),
    /// A finite number that is to be learnt.
    Value,
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
    /// Nothing to validate with, beside IDX files.
    #[error("{} has no validation file; beside IDX files it is named t10k-images-idx3-ubyte", path.display())]
    NoTestPictures {
        /// The directory.
        path: PathBuf,
    },
    /// Pictures without labels.
    #[error("{} has no labels: there is none of {} beside it", path.display(), names.join(", "))]
    NoLabels {
        /// The pictures' file.
        path: PathBuf,
        /// The names that the file of the labels may have.
        names: Vec<String>,
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
    /// Pictures of another size than the model takes.
    #[error("{} has {found} features, but the model takes {expected}", path.display())]
    Width {
        /// The file.
        path: PathBuf,
        /// Its features per row.
        found: usize,
        /// Those of the model.
        expected: usize,
    },
    /// What a file says is no data.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Reads a job's directory; the classes are the labels that occur in the training files.
///
/// Training files are `train*.txt` and `train*.csv`; the validation file is `validate*` or `valid*` with the same
/// endings. MNIST's IDX files are known by their names: `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte` with
/// `-labels-idx1-ubyte` beside them, with a dot for the second dash or without, packed (`.gz`) or not. Other files are
/// left alone. Several files are read at once.
///
/// # Errors
/// The directory cannot be read, has no training files or not exactly one validation file; a file is malformed or
/// differs from the first in width; a validation label does not occur in the training files; fewer than two
/// classes.
pub fn load_dir(dir: &Path) -> Result<Corpus, IngestError> {
    load_dir_for(dir, LastColumn::Label(None))
}

/// Like [`load_dir`]; if `classes` are given, labels other than those are errors.
///
/// # Errors
/// As for [`load_dir`].
pub fn load_dir_with(dir: &Path, classes: Option<Classes>) -> Result<Corpus, IngestError> {
    load_dir_for(dir, LastColumn::Label(classes))
}

/// Like [`load_dir`], whatever the last column is.
///
/// # Errors
/// As for [`load_dir`]; a last column that is not what it should be.
pub fn load_dir_for(dir: &Path, last: LastColumn) -> Result<Corpus, IngestError> {
    let listing = list(dir)?;
    if listing.training.is_empty() {
        return Err(IngestError::NoTraining { path: dir.to_owned() });
    }
    let validation = match listing.validation.as_slice() {
        [] if listing.training.iter().all(|name| names::is_pictures(name)) => {
            return Err(IngestError::NoTestPictures { path: dir.to_owned() });
        }
        [] => return Err(IngestError::NoValidation { path: dir.to_owned() }),
        [one] => one,
        many => return Err(IngestError::ManyValidations { path: dir.to_owned(), names: many.to_vec() }),
    };
    let names: Vec<&String> = listing.training.iter().chain([validation]).collect();
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    let (sets, classes) = match last {
        LastColumn::Value => {
            let sets = each::read_each(&paths, load_values)?;
            same_width(&paths, sets.iter().map(Dataset::columns))?;
            (sets, None)
        }
        LastColumn::Label(classes) => {
            let tables = each::read_each(&paths, read_table)?;
            same_width(&paths, tables.iter().map(Table::columns))?;
            let classes = classes.map_or_else(|| classes_of(dir, &tables[..tables.len() - 1]), Ok)?;
            let sets = tables.into_iter().map(|table| table.into_dataset(&classes)).collect::<Result<_, _>>()?;
            (sets, Some(classes))
        }
    };
    let mut shards: Vec<LoadedShard> =
        names.into_iter().zip(sets).map(|(name, data)| LoadedShard { name: name.clone(), data }).collect();
    let validation = shards.pop().ok_or_else(|| IngestError::NoValidation { path: dir.to_owned() })?;
    Ok(Corpus { name: own_name(dir), classes, shards, validation })
}

/// The labels of the training files.
fn classes_of(dir: &Path, tables: &[Table]) -> Result<Classes, IngestError> {
    Classes::of(tables).map_err(|e| match e {
        DataError::Classes { found } => IngestError::Classes { path: dir.to_owned(), found },
        other => other.into(),
    })
}

/// Reads one file of labelled rows.
///
/// # Errors
/// The file cannot be read or is malformed, or has a label that is none of `classes`.
pub fn load_shard(path: &Path, classes: &Classes) -> Result<Dataset, IngestError> {
    Ok(read_table(path)?.into_dataset(classes)?)
}

/// Reads one file of labelled rows for a model that has these class names, the first of which is class 0.
///
/// # Errors
/// The names make no classes (see [`Classes::in_order`]); as for [`load_shard`].
pub fn load_labelled(path: &Path, classes: &[String]) -> Result<Dataset, IngestError> {
    load_shard(path, &Classes::in_order(classes)?)
}

/// Reads one file of rows whose last column is a number that is to be learnt.
///
/// # Errors
/// The file cannot be read or is malformed, or has something else in the last column.
pub fn load_values(path: &Path) -> Result<Dataset, IngestError> {
    if is_pictures(path) {
        let (pictures, name, labels) = pictures::read_labelled(path)?;
        return Ok(data::value_pictures(&name, pictures, &labels)?);
    }
    Ok(data::parse_values(&path.display().to_string(), open(path)?)?)
}

/// Reads one file of rows without labels, `columns` features each.
///
/// # Errors
/// The file cannot be read, is malformed, or has another number of features.
pub fn load_rows(path: &Path, columns: usize) -> Result<Array2<f32>, IngestError> {
    if is_pictures(path) {
        let pictures = pictures::read(path)?;
        return match pictures.columns() {
            found if found == columns => Ok(pictures.to_array()),
            found => Err(IngestError::Width { path: path.to_owned(), found, expected: columns }),
        };
    }
    Ok(data::parse_rows(&path.display().to_string(), open(path)?, columns)?.to_array())
}

/// Reads the bytes of a file of rows that a model of `columns` features is asked about: pictures in IDX, packed or not, by
/// the name; or else text, with a label in the last column or without, which is not looked at.
///
/// # Errors
/// The bytes are malformed, or the rows have another number of features.
pub fn queries(name: &str, bytes: &[u8], columns: usize) -> Result<Features, IngestError> {
    let features = if is_pictures(Path::new(name)) {
        pictures::parse(name, bytes)?
    } else {
        match data::parse_rows(name, bytes, columns) {
            Ok(features) => features,
            Err(unlabelled) => match data::parse_table(name, bytes) {
                Ok(table) if table.columns() == columns => table.into_features(),
                _ => return Err(unlabelled.into()),
            },
        }
    };
    match features.columns() {
        found if found == columns => Ok(features),
        found => Err(IngestError::Width { path: PathBuf::from(name), found, expected: columns }),
    }
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
    for names in [&mut listing.training, &mut listing.validation] {
        names.sort_by_cached_key(|name| names::natural(name));
        // Pictures that stand there packed and unpacked count once.
        names.dedup_by_key(|name| names::same(name));
    }
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

fn is_pictures(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(names::is_pictures)
}

fn read_table(path: &Path) -> Result<Table, IngestError> {
    if is_pictures(path) {
        let (pictures, name, labels) = pictures::read_labelled(path)?;
        return Ok(data::label_pictures(&name, pictures, &labels)?);
    }
    Ok(data::parse_table(&path.display().to_string(), open(path)?)?)
}

fn same_width(paths: &[PathBuf], columns: impl Iterator<Item = usize>) -> Result<(), IngestError> {
    let mut files = paths.iter().zip(columns);
    let Some((first, first_columns)) = files.next() else { return Ok(()) };
    match files.find(|&(_, columns)| columns != first_columns) {
        None => Ok(()),
        Some((other, other_columns)) => Err(IngestError::Columns {
            first: first.display().to_string(),
            first_columns,
            other: other.display().to_string(),
            other_columns,
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
