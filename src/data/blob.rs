//! Owns a data set's form as a blob: safetensors bytes that depend on nothing but the data set.
//!
//! | tensor | shape | type |
//! |---|---|---|
//! | `features` | rows x columns | `U8` if every value is an integer from 0 to 255, else `F32` |
//! | `labels` | rows | `U8` for up to 256 classes, `U16` for up to 65,536, else `U32` |
//!
//! No metadata. So equal data sets have equal digests, and pictures and letters take a quarter of the bytes.

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{DataError, Dataset};

const FEATURES: &str = "features";
const LABELS: &str = "labels";

/// A header of two tensors has some 150 bytes; this bounds what a hostile one can make the JSON reader allocate.
const MAX_HEADER: u64 = 4096;

/// The data set's bytes.
pub fn encode(data: &Dataset) -> Vec<u8> {
    let (feature_type, features) = feature_bytes(data);
    let label_type = label_type(data.classes());
    let width = label_type.bitsize() / 8;
    let labels: Vec<u8> =
        data.labels().iter().flat_map(|label| label.to_le_bytes().into_iter().take(width)).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes);
    view(feature_type, vec![data.rows(), data.columns()], features.as_slice())
        .and_then(|features| Ok([(FEATURES, features), (LABELS, view(label_type, vec![data.rows()], &labels)?)]))
        .and_then(|tensors| safetensors::serialize(tensors, None))
        // Fails only if a shape overflows, and these shapes are those of arrays in memory.
        .expect("the tensors of a data set can be written")
}

/// Reads a data set of `classes` classes from its bytes. Allocates at most a few times as much as `blob` has.
///
/// # Errors
/// The bytes are not safetensors; tensors are missing or are more than two; a type or shape is not the one
/// described above; whatever [`Dataset::new`] refuses: no rows, labels that are no class, features that are not
/// finite.
pub fn decode(blob: &[u8], classes: usize) -> Result<Dataset, DataError> {
    let header = blob.first_chunk().map(|length| u64::from_le_bytes(*length));
    if header.is_some_and(|length| length > MAX_HEADER) {
        return Err(refuse(format!("its header claims more than {MAX_HEADER} bytes")));
    }
    let tensors = SafeTensors::deserialize(blob).map_err(|error| refuse(error.to_string()))?;
    if tensors.len() != 2 {
        return Err(refuse(format!("it has {} tensors, not `{FEATURES}` and `{LABELS}`", tensors.len())));
    }
    let tensor = |name| tensors.tensor(name).map_err(|_| refuse(format!("it has no tensor `{name}`")));
    let (features, labels) = (tensor(FEATURES)?, tensor(LABELS)?);
    let &[rows, columns] = features.shape() else {
        return Err(refuse(format!("`{FEATURES}` has shape {:?}, not rows x columns", features.shape())));
    };
    if labels.shape() != [rows] {
        return Err(refuse(format!("`{LABELS}` has shape {:?}, not [{rows}]", labels.shape())));
    }
    if rows == 0 || columns == 0 {
        return Err(DataError::Empty { rows, columns });
    }
    let features = read_features(&features)?;
    let features = Array2::from_shape_vec((rows, columns), features).map_err(|error| refuse(error.to_string()))?;
    Dataset::new(features, read_labels(&labels, classes)?, classes)
}

fn refuse(reason: String) -> DataError {
    DataError::Blob { reason }
}

fn feature_bytes(data: &Dataset) -> (Dtype, Vec<u8>) {
    // By bits, for -0.0 would come back as 0.0.
    let byte = |&value: &f32| (f32::from(value as u8).to_bits() == value.to_bits()).then_some(value as u8);
    match data.features().iter().map(byte).collect() {
        Some(bytes) => (Dtype::U8, bytes),
        None => (Dtype::F32, data.features().iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

fn label_type(classes: usize) -> Dtype {
    match classes {
        0..=256 => Dtype::U8,
        257..=65_536 => Dtype::U16,
        _ => Dtype::U32,
    }
}

fn read_features(tensor: &TensorView) -> Result<Vec<f32>, DataError> {
    match tensor.dtype() {
        Dtype::U8 => Ok(tensor.data().iter().map(|&byte| f32::from(byte)).collect()),
        Dtype::F32 => Ok(tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
        other => Err(refuse(format!("`{FEATURES}` has type {other}, neither U8 nor F32"))),
    }
}

fn read_labels(tensor: &TensorView, classes: usize) -> Result<Vec<u32>, DataError> {
    let expected = label_type(classes);
    if tensor.dtype() != expected {
        let found = tensor.dtype();
        return Err(refuse(format!("`{LABELS}` has type {found}, not {expected} as for {classes} classes")));
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte));
    Ok(tensor.data().chunks(expected.bitsize() / 8).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Digest;
    use ndarray::array;
    use proptest::prelude::*;

    fn blob(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|&(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn refusal(bytes: &[u8], classes: usize) -> String {
        decode(bytes, classes).unwrap_err().to_string()
    }

    #[test]
    fn small_integers_take_a_byte_and_the_bytes_are_fixed() {
        let data = Dataset::new(array![[0.0, 255.0], [1.0, 2.0]], vec![1, 0], 2).unwrap();
        let bytes = encode(&data);
        assert!(bytes.ends_with(&[0, 255, 1, 2, 1, 0]));
        assert_eq!(Digest::of(&bytes).short(), "5cae98e1");
        assert_eq!(decode(&bytes, 2).unwrap(), data);
    }

    #[test]
    fn other_numbers_keep_their_bits() {
        for value in [-0.0, 256.0, -1.0, 0.5, f32::MIN_POSITIVE / 2.0, f32::MAX] {
            let data = Dataset::new(array![[value, 1.0]], vec![300], 301).unwrap();
            let bytes = encode(&data);
            assert!(bytes.ends_with(&[0, 0, 128, 63, 44, 1]));
            let back = decode(&bytes, 301).unwrap();
            assert_eq!(back.features()[[0, 0]].to_bits(), value.to_bits());
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
            assert_eq!(decode(&bytes, classes).unwrap(), data);
        }
    }

    #[test]
    fn foreign_blobs_are_refused_with_the_reason() {
        use Dtype::{F32, I32, U8, U16};
        let row: (_, _, &[usize], &[u8]) = (FEATURES, U8, &[1, 2], &[1, 2]);
        let label: (_, _, &[usize], &[u8]) = (LABELS, U8, &[1], &[1]);
        assert!(decode(&blob(&[row, label]), 2).is_ok());
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
        (1usize..6, 1usize..6, prop_oneof![2usize..5, 250usize..300])
            .prop_flat_map(move |(rows, columns, classes)| {
                let features = proptest::collection::vec(value.clone(), rows * columns);
                let labels = proptest::collection::vec(0..classes as u32, rows);
                (features, labels, Just((rows, columns, classes)))
            })
            .prop_map(|(features, labels, (rows, columns, classes))| {
                Dataset::new(Array2::from_shape_vec((rows, columns), features).unwrap(), labels, classes).unwrap()
            })
    }

    proptest! {
        #[test]
        fn data_sets_come_back_as_they_were(data in datasets()) {
            let back = decode(&encode(&data), data.classes()).unwrap();
            let bits = |data: &Dataset| data.features().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&data));
            prop_assert_eq!(back, data);
        }

        #[test]
        fn damaged_blobs_never_panic(data in datasets(), at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
            let mut bytes = encode(&data);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes, data.classes());
            bytes.truncate(cut % bytes.len());
            prop_assert!(decode(&bytes, data.classes()).is_err());
        }

        #[test]
        fn random_bytes_are_no_blob(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(decode(&bytes, 2).is_err());
        }
    }
}
