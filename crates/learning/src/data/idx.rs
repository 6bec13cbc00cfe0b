//! Owns IDX, the form in which MNIST and its like come: an array of bytes behind a header that gives its shape.
//!
//! Two zero bytes, the type of a value (8: a byte), the number of dimensions; each dimension as 4 bytes, the
//! greatest first; then the values. Pictures and their labels are two files.

use std::io::Read;

use super::labels::Labels;
use super::{DataError, Dataset, Features, MAX_COLUMNS, Table, Targets};

/// A value is a byte.
const BYTE: u8 = 8;

/// Reads pictures, a row each, of two to four dimensions in all; `name` is what errors call the file.
///
/// Memory grows with what comes, not with what the header says.
///
/// # Errors
/// Every error names the file and what was expected: another type of values, another number of dimensions, more than
/// 65,536 values a picture, no pictures, too few or too many bytes, a reader that fails.
pub fn parse_pictures(name: &str, input: impl Read) -> Result<Features, DataError> {
    let (shape, bytes) = read(name, input, 2..=4)?;
    let columns: usize = shape.iter().skip(1).product();
    if columns > MAX_COLUMNS {
        return Err(refuse(name, format!("found {columns} values a picture; expected at most {MAX_COLUMNS}")));
    }
    Features::of_bytes(bytes, columns)
        .map_err(|_| refuse(name, format!("found the shape {shape:?}; expected pictures")))
}

/// Reads the labels of pictures, a byte each; `name` is what errors call the file.
///
/// # Errors
/// As for [`parse_pictures`], with one dimension.
pub fn parse_picture_labels(name: &str, input: impl Read) -> Result<Vec<u8>, DataError> {
    Ok(read(name, input, 1..=1)?.1)
}

/// Pictures with their labels as texts, as if they had been read from text; `name` is the file of the labels, whose
/// places count as lines.
///
/// # Errors
/// There are not as many labels as pictures.
pub fn label_pictures(name: &str, pictures: Features, labels: &[u8]) -> Result<Table, DataError> {
    same_number(name, &pictures, labels)?;
    let mut texts = Labels::default();
    for (label, line) in labels.iter().zip(1..) {
        texts.push(label.to_string().as_bytes(), line).map_err(|expected| refuse(name, expected.to_owned()))?;
    }
    Ok(Table::new(name, pictures, texts))
}

/// Pictures with their labels as values to be learnt; `name` is the file of the labels.
///
/// # Errors
/// There are not as many labels as pictures.
pub fn value_pictures(name: &str, pictures: Features, labels: &[u8]) -> Result<Dataset, DataError> {
    same_number(name, &pictures, labels)?;
    Dataset::of(pictures, Targets::Values(labels.iter().map(|&label| f32::from(label)).collect()))
}

fn same_number(name: &str, pictures: &Features, labels: &[u8]) -> Result<(), DataError> {
    if pictures.rows() == labels.len() {
        return Ok(());
    }
    let (found, expected) = (labels.len(), pictures.rows());
    Err(refuse(name, format!("found {found} labels; expected {expected}, as many as there are pictures")))
}

/// The shape and the values.
fn read(
    name: &str,
    mut input: impl Read,
    dimensions: std::ops::RangeInclusive<u8>,
) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let unreadable = |error: std::io::Error| refuse(name, format!("cannot read: {error}"));
    let mut begin = [0; 4];
    let short = |error: std::io::Error, reason: &str| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => refuse(name, reason.to_owned()),
        _ => unreadable(error),
    };
    input.read_exact(&mut begin).map_err(|e| short(e, "found no header; expected an IDX file"))?;
    let [0, 0, kind, count] = begin else {
        return Err(refuse(
            name,
            format!("it begins with {begin:?}; expected an IDX file, which begins with 0, 0"),
        ));
    };
    if kind != BYTE {
        return Err(refuse(name, format!("found values of the IDX type {kind}; expected {BYTE}, unsigned bytes")));
    }
    if !dimensions.contains(&count) {
        let (least, most) = (dimensions.start(), dimensions.end());
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        return Err(refuse(name, format!("found {count} dimensions; expected {expected}")));
    }
    let mut shape = Vec::new();
    for _ in 0..count {
        let mut size = [0; 4];
        input.read_exact(&mut size).map_err(|e| short(e, "it ends within its dimensions"))?;
        shape.push(u32::from_be_bytes(size) as usize);
    }
    let total = shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size as u64));
    let total = total.ok_or_else(|| refuse(name, format!("its shape {shape:?} is greater than any file")))?;
    let mut bytes = Vec::new();
    // Nothing is reserved on the word of the header, and one byte too many is enough to know.
    input.take(total.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 != total {
        let found = if bytes.len() as u64 > total { "more".to_owned() } else { bytes.len().to_string() };
        return Err(refuse(name, format!("found {found} values; expected {total}, for the shape {shape:?}")));
    }
    bytes.shrink_to_fit();
    Ok((shape, bytes))
}

fn refuse(name: &str, reason: String) -> DataError {
    DataError::Idx { name: name.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Classes;
    use proptest::prelude::*;

    fn idx(kind: u8, shape: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, shape.len() as u8];
        shape.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        [bytes.as_slice(), values].concat()
    }

    #[test]
    fn pictures_are_rows_and_labels_their_classes() {
        let pictures = || parse_pictures("i", idx(8, &[2, 1, 3], &[1, 2, 3, 4, 5, 255]).as_slice()).unwrap();
        assert_eq!((pictures().rows(), pictures().columns()), (2, 3));
        let labels = parse_picture_labels("l", idx(8, &[2], &[9, 1]).as_slice()).unwrap();
        let data = value_pictures("l", pictures(), &labels).unwrap();
        assert_eq!(data.values(), [9.0, 1.0]);
        let table = label_pictures("l", pictures(), &labels).unwrap();
        let data = table.clone().into_dataset(&Classes::of([&table]).unwrap()).unwrap();
        assert_eq!(data.labels(), [1, 0]);
        assert_eq!(data.row(1).iter().collect::<Vec<_>>(), [4.0, 5.0, 255.0]);
        let unknown = table.into_dataset(&Classes::integers(9).unwrap()).unwrap_err().to_string();
        assert_eq!(unknown, "l:1: the label \"9\" is unknown; labels are the integers from 0 to 8");
        let few = label_pictures("l", pictures(), &labels[..1]).unwrap_err().to_string();
        assert_eq!(few, "l: found 1 labels; expected 2, as many as there are pictures");
    }

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        let most = u32::MAX;
        for (bytes, reason) in [
            (vec![], "found no header; expected an IDX file"),
            (
                b"1,2,3,A\n".to_vec(),
                "it begins with [49, 44, 50, 44]; expected an IDX file, which begins with 0, 0",
            ),
            (idx(13, &[1, 1, 1], &[0; 4]), "found values of the IDX type 13; expected 8, unsigned bytes"),
            (idx(8, &[1], &[0]), "found 1 dimensions; expected 2 to 4"),
            (idx(8, &[0; 255], &[]), "found 255 dimensions; expected 2 to 4"),
            (idx(8, &[1, 1, 1], &[])[..9].to_vec(), "it ends within its dimensions"),
            (idx(8, &[most, most, most], &[1]), "its shape [4294967295, 4294967295, 4294967295] is greater than"),
            (idx(8, &[most, 28, 28], &[1, 2]), "found 2 values; expected 3367254359280, for the shape"),
            (idx(8, &[1, 2, 2], &[1; 5]), "found more values; expected 4, for the shape [1, 2, 2]"),
            (idx(8, &[1, 257, 256], &[0; 65_792]), "found 65792 values a picture; expected at most 65536"),
            (idx(8, &[0, 28, 28], &[]), "found the shape [0, 28, 28]; expected pictures"),
            (idx(8, &[5, 0, 28], &[]), "found the shape [5, 0, 28]; expected pictures"),
        ] {
            let found = parse_pictures("DIR/i", bytes.as_slice()).unwrap_err().to_string();
            assert!(found.starts_with(&format!("DIR/i: {reason}")), "{found:?} lacks {reason:?}");
        }
        let pictures = parse_picture_labels("l", idx(8, &[1, 1, 1], &[1]).as_slice()).unwrap_err().to_string();
        assert_eq!(pictures, "l: found 3 dimensions; expected 1");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(head in proptest::collection::vec(0u8..9, 0..20), tail in any::<[u8; 12]>()) {
            let bytes = [&[0, 0, 8, 3], head.as_slice(), &tail].concat();
            for bytes in [bytes.as_slice(), &bytes[4..]] {
                let _ = parse_pictures("i", bytes);
                let _ = parse_picture_labels("l", bytes);
            }
        }
    }
}
