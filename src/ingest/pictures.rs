//! Owns pairs of IDX files, as MNIST's package has them: pictures in one, their labels in another beside it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{IngestError, names, open};
use crate::data::{self, Features};

/// The pictures of a file.
pub(super) fn read(path: &Path) -> Result<Features, IngestError> {
    Ok(data::parse_pictures(&path.display().to_string(), unpack(path)?)?)
}

/// The pictures of a file that has these bytes.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Features, IngestError> {
    let packed = Path::new(name).extension().is_some_and(|extension| extension == "gz");
    let plain: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    Ok(data::parse_pictures(name, plain)?)
}

/// The pictures of a file, and the name and the values of their labels.
pub(super) fn read_labelled(path: &Path) -> Result<(Features, String, Vec<u8>), IngestError> {
    // Their absence is told before a long file is read.
    let beside = labels_of(path)?;
    let pictures = read(path)?;
    let name = beside.display().to_string();
    let labels = data::parse_picture_labels(&name, unpack(&beside)?)?;
    Ok((pictures, name, labels))
}

fn labels_of(path: &Path) -> Result<PathBuf, IngestError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = names::labels_of(&name);
    let found = names.iter().map(|name| path.with_file_name(name)).find(|path| fs::metadata(path).is_ok());
    found.ok_or_else(|| IngestError::NoLabels { path: path.to_owned(), names })
}

fn unpack(path: &Path) -> Result<Box<dyn Read>, IngestError> {
    let file = open(path)?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}
