//! Owns how the features of a data set are kept: as bytes or floats, alone or inside the blob that brought them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::Array2;

use super::{DataError, Row};

/// Rows of finite features, all equally wide: bytes if every value is an integer from 0 to 255, else floats.
#[derive(Clone, Debug)]
pub struct Features {
    columns: usize,
    kept: Kept,
}

#[derive(Clone, Debug)]
enum Kept {
    U8(Shared),
    /// Bytes of little-endian floats, at an address that suits floats on a little-endian machine.
    Cast(Shared),
    F32(Arc<Vec<f32>>),
}

/// A range of bytes that others hold too.
#[derive(Clone, Debug)]
struct Shared {
    all: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Shared {
    fn bytes(&self) -> &[u8] {
        self.all.get(self.range.clone()).unwrap_or_default()
    }
}

impl Features {
    /// Rows of `columns` bytes, one after the other.
    ///
    /// # Errors
    /// The bytes do not make rows, or no row at all.
    pub fn of_bytes(bytes: Vec<u8>, columns: usize) -> Result<Self, DataError> {
        let range = 0..bytes.len();
        Self::in_bytes(&Arc::new(bytes), range, columns)
    }

    /// Rows of `columns` floats, one after the other.
    ///
    /// # Errors
    /// The floats do not make rows, or no row at all; one is not finite.
    pub fn of_floats(floats: Vec<f32>, columns: usize) -> Result<Self, DataError> {
        rows(floats.len(), columns)?;
        match compact(&floats, columns)? {
            Some(bytes) => Self::of_bytes(bytes, columns),
            None => Ok(Self { columns, kept: Kept::F32(Arc::new(floats)) }),
        }
    }

    /// Rows of `columns` bytes inside a buffer, which is shared and not copied.
    pub(super) fn in_bytes(all: &Arc<Vec<u8>>, range: Range<usize>, columns: usize) -> Result<Self, DataError> {
        let shared = Shared { all: all.clone(), range };
        rows(shared.bytes().len(), columns)?;
        Ok(Self { columns, kept: Kept::U8(shared) })
    }

    /// Rows of `columns` little-endian floats inside a buffer, which is shared and not copied if they can be read
    /// where they are.
    pub(super) fn in_floats(all: &Arc<Vec<u8>>, range: Range<usize>, columns: usize) -> Result<Self, DataError> {
        let shared = Shared { all: all.clone(), range };
        let bytes = shared.bytes();
        rows(bytes.len() / 4, columns)?;
        match bytemuck::try_cast_slice::<u8, f32>(bytes) {
            Ok(floats) if cfg!(target_endian = "little") => match compact(floats, columns)? {
                Some(bytes) => Self::of_bytes(bytes, columns),
                None => Ok(Self { columns, kept: Kept::Cast(shared) }),
            },
            _ => {
                let floats = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
                Self::of_floats(floats.collect(), columns)
            }
        }
    }

    /// How many rows there are; at least one.
    pub fn rows(&self) -> usize {
        self.all().len() / self.columns
    }

    /// How many features a row has; at least one.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All rows, one after the other.
    pub fn all(&self) -> Row<'_> {
        match &self.kept {
            Kept::U8(shared) => Row::U8(shared.bytes()),
            Kept::Cast(shared) => Row::F32(bytemuck::try_cast_slice(shared.bytes()).unwrap_or_default()),
            Kept::F32(floats) => Row::F32(floats),
        }
    }

    /// A row; panics if there is no such row.
    pub fn row(&self, row: usize) -> Row<'_> {
        self.all().part(row * self.columns..(row + 1) * self.columns)
    }

    /// A copy as floats, rows x columns.
    pub fn to_array(&self) -> Array2<f32> {
        let mut array = Array2::zeros((self.rows(), self.columns));
        self.all().copy_to(array.as_slice_mut().unwrap_or_default());
        array
    }
}

/// Equal if the values are; how they are kept follows from these.
impl PartialEq for Features {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns && self.all() == other.all()
    }
}

/// How many rows that many values make.
fn rows(values: usize, columns: usize) -> Result<usize, DataError> {
    match values.checked_div(columns) {
        None | Some(0) => Err(DataError::Empty { rows: 0, columns }),
        Some(rows) if rows * columns == values => Ok(rows),
        Some(_) => Err(DataError::Ragged { values, columns }),
    }
}

/// The floats as bytes, if these hold them exactly. Fails if one is not finite.
fn compact(floats: &[f32], columns: usize) -> Result<Option<Vec<u8>>, DataError> {
    if floats.iter().all(|&value| byte(value).is_some()) {
        return Ok(Some(floats.iter().map(|&value| value as u8).collect()));
    }
    // Without an early end, eight at a time.
    let finite = floats.iter().fold(true, |all, value| all & value.is_finite());
    match floats.iter().enumerate().find(|(_, value)| !finite && !value.is_finite()) {
        Some((place, &value)) => {
            Err(DataError::NotFinite { row: place / columns, column: place % columns, value })
        }
        None => Ok(None),
    }
}

/// The value as a byte; by bits, for -0.0 would come back as 0.0.
fn byte(value: f32) -> Option<u8> {
    (f32::from(value as u8).to_bits() == value.to_bits()).then_some(value as u8)
}

/// Features that are still being read: bytes up to the first value that is none, then floats.
#[derive(Debug)]
pub(super) enum Growing {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

impl Growing {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(bytes) => bytes.len(),
            Self::F32(floats) => floats.len(),
        }
    }

    pub(super) fn push(&mut self, value: f32) {
        match self {
            Self::F32(floats) => floats.push(value),
            Self::U8(bytes) => match byte(value) {
                Some(byte) => bytes.push(byte),
                None => {
                    let mut floats = Vec::with_capacity(bytes.len() + 1);
                    floats.extend(bytes.iter().map(|&byte| f32::from(byte)));
                    floats.push(value);
                    *self = Self::F32(floats);
                }
            },
        }
    }

    /// The rows; fails if there are none.
    pub(super) fn finish(self, columns: usize) -> Result<Features, DataError> {
        match self {
            Self::U8(mut bytes) => {
                bytes.shrink_to_fit();
                Features::of_bytes(bytes, columns)
            }
            Self::F32(mut floats) => {
                floats.shrink_to_fit();
                Features::of_floats(floats, columns)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grown(values: &[f32]) -> Features {
        let mut growing = Growing::U8(Vec::new());
        values.iter().for_each(|&value| growing.push(value));
        growing.finish(1).unwrap()
    }

    #[test]
    fn integers_from_0_to_255_are_bytes_and_all_else_floats() {
        for value in [0.0, 1.0, 255.0] {
            assert_eq!(grown(&[value]).all(), Row::U8(&[value as u8]));
        }
        for value in [-0.0, 256.0, -1.0, 0.5, f32::MIN_POSITIVE / 2.0, f32::MAX] {
            for features in [grown(&[7.0, value]), Features::of_floats(vec![7.0, value], 1).unwrap()] {
                let Row::F32(floats) = features.all() else { panic!("{value} is kept as a byte") };
                assert_eq!(
                    floats.iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
                    [7.0_f32.to_bits(), value.to_bits()]
                );
            }
        }
    }

    #[test]
    fn what_makes_no_rows_is_refused() {
        assert_eq!(Features::of_bytes(vec![1; 7], 0), Err(DataError::Empty { rows: 0, columns: 0 }));
        assert_eq!(Features::of_bytes(vec![1; 7], 8), Err(DataError::Empty { rows: 0, columns: 8 }));
        assert_eq!(Features::of_floats(vec![], 2), Err(DataError::Empty { rows: 0, columns: 2 }));
        let message = Features::of_floats(vec![1.0; 7], 2).unwrap_err().to_string();
        assert_eq!(message, "7 values do not make rows of 2 features");
        let error = Features::of_floats(vec![1.0, 0.5, 1.0, f32::INFINITY], 2).unwrap_err();
        assert_eq!(error, DataError::NotFinite { row: 1, column: 1, value: f32::INFINITY });
    }

    #[test]
    fn floats_are_read_where_they_are_if_they_can_be() {
        let values = [0.5_f32, -1.0, 2.0, 3.0];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        for shift in 0..8 {
            let all = Arc::new([vec![0; shift], bytes.clone()].concat());
            let features = Features::in_floats(&all, shift..shift + 16, 2).unwrap();
            assert_eq!(features.row(1), Row::F32(&values[2..]));
            let Row::F32(floats) = features.all() else { panic!("they are no bytes") };
            let there = floats.as_ptr().cast::<u8>() == all[shift..].as_ptr();
            let aligned = (all[shift..].as_ptr() as usize).is_multiple_of(4);
            assert_eq!(there, aligned && cfg!(target_endian = "little"), "{shift}");
        }
    }

    proptest! {
        #[test]
        fn widening_at_any_place_keeps_every_bit(
            mut values in proptest::collection::vec((0u8..=255).prop_map(f32::from), 1..40),
            at in any::<proptest::sample::Index>(),
            other in any::<f32>().prop_filter("finite", |value| value.is_finite()),
        ) {
            let bits = |features: &Features| features.all().iter().map(f32::to_bits).collect::<Vec<_>>();
            prop_assert!(matches!(grown(&values).all(), Row::U8(_)));
            let at = at.index(values.len());
            values[at] = other;
            let expected: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            let found = grown(&values);
            prop_assert_eq!(bits(&found), expected);
            prop_assert_eq!(found, Features::of_floats(values, 1).unwrap());
        }
    }
}
