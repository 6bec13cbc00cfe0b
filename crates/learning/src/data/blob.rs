//! Owns a data set's form as a blob: safetensors bytes that depend on nothing but the data set.
//!
//! | tensor | shape | type |
//! |---|---|---|
//! | `features` | rows x columns | `U8` if every value is an integer from 0 to 255, else `F32` |
//! | `labels` | rows | `U8` for up to 256 classes, `U16` for up to 65,536, else `U32` |
//! | `values` instead of `labels` | rows | `F32`, where values are to be learnt and not classes |
//!
//! No metadata. So equal data sets have equal digests, and pictures and letters take a quarter of the bytes.

use std::borrow::Cow;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorInfo};

use super::{DataError, Dataset, Features, Row, Targets};
use crate::types::Digest;

const FEATURES: &str = "features";
const LABELS: &str = "labels";
const VALUES: &str = "values";

/// A header of two tensors has some 150 bytes; this bounds what a hostile one can make the JSON reader allocate.
const MAX_HEADER: u64 = 4096;

/// The bytes of a data set's blob, most of them where the data set has them.
pub struct Encoded<'d> {
    /// One after the other.
    parts: [Cow<'d, [u8]>; 3],
}

impl<'d> Encoded<'d> {
    /// Takes little more memory than the targets do.
    pub fn of(data: &'d Dataset) -> Self {
        let features = match data.features().all() {
            Row::U8(bytes) => (FEATURES, Dtype::U8, Cow::Borrowed(bytes)),
            Row::F32(floats) => (FEATURES, Dtype::F32, little_endian(floats)),
        };
        let targets = match data.targets() {
            Targets::Values(values) => (VALUES, Dtype::F32, little_endian(values)),
            Targets::Classes { labels, classes } => {
                let dtype = label_type(*classes);
                let width = dtype.bitsize() / 8;
                let bytes = labels.iter().flat_map(|label| label.to_le_bytes().into_iter().take(width));
                (LABELS, dtype, Cow::Owned(bytes.collect()))
            }
        };
        // The wider type first, as safetensors wants it for alignment.
        let (first, second) = if targets.1 > features.1 { (targets, features) } else { (features, targets) };
        let (middle, end) = (first.2.len(), first.2.len() + second.2.len());
        let entry = |name: &str, dtype: Dtype, start: usize, end: usize| {
            let shape = match name {
                FEATURES => format!("{},{}", data.rows(), data.columns()),
                _ => data.rows().to_string(),
            };
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#)
        };
        let first_entry = entry(first.0, first.1, 0, middle);
        let mut json = format!("{{{first_entry},{}}}", entry(second.0, second.1, middle, end)).into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        let header = [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat();
        Self { parts: [Cow::Owned(header), first.2, second.2] }
    }

    /// How many bytes there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always a header")]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(self.parts.iter().map(AsRef::as_ref))
    }

    /// A copy of the bytes from `start` on, at most `most` of them.
    pub fn copy(&self, start: usize, most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(self.len().saturating_sub(start)));
        let mut skip = start;
        for part in &self.parts {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            bytes.extend_from_slice(&rest[..rest.len().min(most - bytes.len())]);
        }
        bytes
    }
}

/// The data set's bytes.
pub fn encode(data: &Dataset) -> Vec<u8> {
    let encoded = Encoded::of(data);
    encoded.copy(0, encoded.len())
}

fn little_endian(floats: &[f32]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => Cow::Borrowed(bytemuck::cast_slice(floats)),
        false => Cow::Owned(floats.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

/// Reads a data set of `classes` classes from its bytes; 0 classes mean that it has values.
///
/// The data set shares the bytes: features are copied only if they are floats that cannot be read where they are, or
/// bytes in the form of floats. Allocates at most a few times as much as `blob` has.
///
/// # Errors
/// The bytes are not safetensors; tensors are missing or are more than two; a type or shape is not the one
/// described above; whatever [`Dataset::of`] refuses: no rows, labels that are no class, features or values that are
/// not finite.
pub fn decode(blob: impl Into<Arc<Vec<u8>>>, classes: usize) -> Result<Dataset, DataError> {
    let blob = blob.into();
    let header = blob.first_chunk().map(|length| u64::from_le_bytes(*length));
    if header.is_some_and(|length| length > MAX_HEADER) {
        return Err(refuse(format!("its header claims more than {MAX_HEADER} bytes")));
    }
    let (header, tensors) = SafeTensors::read_metadata(&blob).map_err(|error| refuse(error.to_string()))?;
    let last = if classes == 0 { VALUES } else { LABELS };
    let count = tensors.offset_keys().len();
    if count != 2 {
        return Err(refuse(format!("it has {count} tensors, not `{FEATURES}` and `{last}`")));
    }
    let tensor = |name| tensors.info(name).ok_or_else(|| refuse(format!("it has no tensor `{name}`")));
    let (features, targets) = (tensor(FEATURES)?, tensor(last)?);
    let &[rows, columns] = features.shape.as_slice() else {
        return Err(refuse(format!("`{FEATURES}` has shape {:?}, not rows x columns", features.shape)));
    };
    if targets.shape != [rows] {
        return Err(refuse(format!("`{last}` has shape {:?}, not [{rows}]", targets.shape)));
    }
    if rows == 0 || columns == 0 {
        return Err(DataError::Empty { rows, columns });
    }
    let range = |tensor: &TensorInfo| {
        let start = 8 + header;
        start + tensor.data_offsets.0..start + tensor.data_offsets.1
    };
    let targets = read_targets(targets.dtype, blob.get(range(targets)).unwrap_or_default(), classes)?;
    let features = match features.dtype {
        Dtype::U8 => Features::in_bytes(&blob, range(features), columns)?,
        Dtype::F32 => Features::in_floats(&blob, range(features), columns)?,
        other => return Err(refuse(format!("`{FEATURES}` has type {other}, neither U8 nor F32"))),
    };
    Dataset::of(features, targets)
}

fn refuse(reason: String) -> DataError {
    DataError::Blob { reason }
}

fn label_type(classes: usize) -> Dtype {
    match classes {
        0..=256 => Dtype::U8,
        257..=65_536 => Dtype::U16,
        _ => Dtype::U32,
    }
}

fn read_targets(found: Dtype, bytes: &[u8], classes: usize) -> Result<Targets, DataError> {
    if classes == 0 {
        return match found {
            Dtype::F32 => {
                Ok(Targets::Values(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()))
            }
            other => Err(refuse(format!("`{VALUES}` has type {other}, not F32"))),
        };
    }
    let expected = label_type(classes);
    if found != expected {
        return Err(refuse(format!("`{LABELS}` has type {found}, not {expected} as for {classes} classes")));
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
    let labels = bytes.chunks(expected.bitsize() / 8).map(number).collect();
    Ok(Targets::Classes { labels, classes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn blob(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|&(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn refusal(bytes: &[u8], classes: usize) -> String {
        decode(bytes.to_vec(), classes).unwrap_err().to_string()
    }

    #[test]
    fn small_integers_take_a_byte_and_the_bytes_are_fixed() {
        let data = Dataset::new(array![[0.0, 255.0], [1.0, 2.0]], vec![1, 0], 2).unwrap();
        let bytes = encode(&data);
        assert!(bytes.ends_with(&[0, 255, 1, 2, 1, 0]));
        assert_eq!(Digest::of(&bytes).short(), "5cae98e1");
        assert_eq!(decode(bytes.clone(), 2).unwrap(), data);
    }

    #[test]
    fn other_numbers_keep_their_bits() {
        for value in [-0.0, 256.0, -1.0, 0.5, f32::MIN_POSITIVE / 2.0, f32::MAX] {
            let data = Dataset::new(array![[value, 1.0]], vec![300], 301).unwrap();
            let bytes = encode(&data);
            assert!(bytes.ends_with(&[0, 0, 128, 63, 44, 1]));
            let back = decode(bytes.clone(), 301).unwrap();
            assert_eq!(back.to_array()[[0, 0]].to_bits(), value.to_bits());
            assert_eq!(back.labels(), [300]);
        }
    }

    #[test]
    fn labels_take_the_fewest_bytes_that_hold_every_class() {
        for (classes, width) in [(256, 1), (257, 2), (65_536, 2), (65_537, 4)] {
            let data = Dataset::new(array![[1.0]], vec![classes as u32 - 1], classes).unwrap();
            let bytes = encode(&data);
            let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
            assert_eq!(bytes.len() - 8 - header, 1 + width, "{classes}");
            assert_eq!(decode(bytes.clone(), classes).unwrap(), data);
        }
    }

    #[test]
    fn foreign_blobs_are_refused_with_the_reason() {
        use Dtype::{F32, I32, U8, U16};
        let row: (_, _, &[usize], &[u8]) = (FEATURES, U8, &[1, 2], &[1, 2]);
        let label: (_, _, &[usize], &[u8]) = (LABELS, U8, &[1], &[1]);
        assert!(decode(blob(&[row, label]), 2).is_ok());
        for (bytes, classes, reason) in [
            (blob(&[row]), 2, "it has 1 tensors, not `features` and `labels`"),
            (blob(&[row, ("label", U8, &[1], &[1])]), 2, "it has no tensor `labels`"),
            (blob(&[row, label, ("more", U8, &[0], &[])]), 2, "it has 3 tensors"),
            (blob(&[(FEATURES, I32, &[1, 1], &[0; 4]), label]), 2, "`features` has type I32, neither"),
            (blob(&[(FEATURES, U8, &[2], &[0; 2]), label]), 2, "`features` has shape [2], not rows x columns"),
            (blob(&[row, (LABELS, U8, &[2], &[0; 2])]), 2, "`labels` has shape [2], not [1]"),
            (blob(&[row, (LABELS, U16, &[1], &[0; 2])]), 2, "`labels` has type U16, not U8 as for 2 classes"),
            (blob(&[row, label]), 257, "`labels` has type U8, not U16 as for 257 classes"),
            (blob(&[row, label]), 1, "row 0 has label 1, but there are 1 classes"),
            (blob(&[(FEATURES, U8, &[0, 9], &[]), (LABELS, U8, &[0], &[])]), 2, "0 rows of 9 features"),
            (blob(&[(FEATURES, F32, &[1, 1], &f32::NAN.to_le_bytes()), label]), 2, "feature 0 is NaN"),
            (u64::MAX.to_le_bytes().to_vec(), 2, "its header claims more than 4096 bytes"),
            (vec![], 2, "header too small"),
            (b"1,2,3,A\n".to_vec(), 2, "its header claims"),
        ] {
            let found = refusal(&bytes, classes);
            assert!(found.contains(reason), "{found:?} lacks {reason:?}");
        }
    }

    #[test]
    fn values_stand_where_there_are_no_classes() {
        use Dtype::{F32, U8};
        let data = Dataset::regression(array![[0.0, 255.0]], vec![-2.5]).unwrap();
        let bytes = encode(&data);
        assert!(bytes.ends_with(&[0, 0, 32, 192, 0, 255]), "the wider type comes first");
        assert_eq!(decode(bytes.clone(), 0).unwrap(), data);
        assert!(refusal(&bytes, 2).contains("it has no tensor `labels`"));
        let row: (_, _, &[usize], &[u8]) = (FEATURES, U8, &[1, 2], &[1, 2]);
        for (targets, reason) in [
            ((LABELS, U8, &[1][..], &[1][..]), "it has no tensor `values`"),
            ((VALUES, U8, &[1], &[1]), "`values` has type U8, not F32"),
            ((VALUES, F32, &[0], &[]), "`values` has shape [0], not [1]"),
            ((VALUES, F32, &[1], &f32::NAN.to_le_bytes()), "row 0 has the value NaN"),
        ] {
            let found = refusal(&blob(&[row, targets]), 0);
            assert!(found.contains(reason), "{found:?} lacks {reason:?}");
        }
    }

    #[test]
    fn a_data_set_shares_the_bytes_of_its_blob() {
        for value in [7.0, 0.5] {
            for classes in [2, 300, 70_000] {
                let data = Dataset::new(array![[1.0, 2.0], [3.0, value]], vec![0, 1], classes).unwrap();
                let bytes = Arc::new(encode(&data));
                let back = decode(bytes.clone(), classes).unwrap();
                let start = match back.row(1) {
                    Row::U8(bytes) => bytes.as_ptr(),
                    Row::F32(floats) => floats.as_ptr().cast(),
                };
                let width = if value == 0.5 { 4 } else { 1 };
                let row: Vec<u8> = match width {
                    1 => vec![3, 7],
                    _ => [3.0, value].iter().flat_map(|value: &f32| value.to_le_bytes()).collect(),
                };
                let place = bytes.windows(row.len()).position(|window| window == row).unwrap();
                assert_eq!(start, bytes[place..].as_ptr(), "{value} {classes}");
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn bytes_in_the_form_of_floats_are_kept_as_bytes() {
        let floats: Vec<u8> = [1.0_f32, 255.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let foreign = blob(&[(FEATURES, Dtype::F32, &[1, 2], &floats), (LABELS, Dtype::U8, &[1], &[1])]);
        assert_eq!(decode(foreign, 2).unwrap().row(0), Row::U8(&[1, 255]));
    }

    #[test]
    fn shapes_that_claim_the_world_are_refused() {
        let header = br#"{"features":{"dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0]},"labels":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        assert!(refusal(&bytes, 2).contains("0 rows of 18446744073709551615 features"));
    }

    fn datasets() -> impl Strategy<Value = Dataset> {
        let value = prop_oneof![
            (0u8..=255).prop_map(f32::from),
            any::<f32>().prop_filter("features are finite", |value| value.is_finite())
        ];
        let classes = prop_oneof![Just(0), 2usize..5, 250usize..300, Just(70_000)];
        (1usize..6, 1usize..6, classes, any::<bool>())
            .prop_flat_map(move |(rows, columns, classes, bytes)| {
                let value = if bytes { (0u8..=255).prop_map(f32::from).boxed() } else { value.clone().boxed() };
                let features = proptest::collection::vec(value, rows * columns);
                let targets = proptest::collection::vec(0..(if classes == 0 { 10 } else { classes }) as u32, rows);
                (features, targets, Just((rows, columns, classes)))
            })
            .prop_map(|(features, targets, (rows, columns, classes))| {
                let features = Array2::from_shape_vec((rows, columns), features).unwrap();
                match classes {
                    0 => Dataset::regression(features, targets.iter().map(|&t| t as f32 / 8.0).collect()).unwrap(),
                    _ => Dataset::new(features, targets, classes).unwrap(),
                }
            })
    }

    proptest! {
        #[test]
        fn data_sets_come_back_as_they_were(data in datasets()) {
            let back = decode(encode(&data), data.classes()).unwrap();
            let bits = |data: &Dataset| data.features().all().iter().map(f32::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&data));
            prop_assert_eq!(back, data);
        }

        #[test]
        fn the_bytes_are_those_of_safetensors(data in datasets(), start in 0usize..400, most in 0usize..400) {
            let (kind, features) = match data.features().all() {
                Row::U8(bytes) => (Dtype::U8, bytes.to_vec()),
                Row::F32(floats) => (Dtype::F32, floats.iter().flat_map(|value| value.to_le_bytes()).collect()),
            };
            let (name, target, targets) = match data.targets() {
                Targets::Values(values) => (VALUES, Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
                Targets::Classes { labels, classes } => {
                    let kind = label_type(*classes);
                    let width = kind.bitsize() / 8;
                    let bytes: Vec<u8> = labels.iter().flat_map(|l| l.to_le_bytes()[..width].to_vec()).collect();
                    (LABELS, kind, bytes)
                }
            };
            let shape = [data.rows(), data.columns()];
            let expected = blob(&[(FEATURES, kind, &shape, &features), (name, target, &shape[..1], &targets)]);
            let encoded = Encoded::of(&data);
            prop_assert_eq!(encoded.digest(), Digest::of(&expected));
            prop_assert_eq!(encoded.len(), expected.len());
            let start = start.min(expected.len());
            let end = (start + most).min(expected.len());
            prop_assert_eq!(encoded.copy(start, most), &expected[start..end]);
            prop_assert_eq!(encode(&data), expected);
        }

        #[test]
        fn damaged_blobs_never_panic(data in datasets(), at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
            let mut bytes = encode(&data);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(bytes.clone(), data.classes());
            bytes.truncate(cut % bytes.len());
            prop_assert!(decode(bytes.clone(), data.classes()).is_err());
        }

        #[test]
        fn random_bytes_are_no_blob(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(decode(bytes.clone(), 2).is_err());
        }
    }
}
