//! Owns one row of features as a reader sees it, whichever way it is kept.

use std::ops::Range;

/// The features of one row, as they are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row<'a> {
    /// Integers from 0 to 255.
    U8(&'a [u8]),
    /// Any finite numbers.
    F32(&'a [f32]),
}

impl<'a> Row<'a> {
    /// The features as numbers.
    pub fn iter(self) -> impl Iterator<Item = f32> + 'a {
        let (bytes, floats): (&[u8], &[f32]) = match self {
            Row::U8(bytes) => (bytes, &[]),
            Row::F32(floats) => (&[], floats),
        };
        bytes.iter().map(|&byte| f32::from(byte)).chain(floats.iter().copied())
    }

    /// How many features there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(self) -> usize {
        match self {
            Row::U8(bytes) => bytes.len(),
            Row::F32(floats) => floats.len(),
        }
    }

    /// Some of the features; panics if there are not so many.
    #[inline]
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Row::U8(bytes) => Row::U8(&bytes[range]),
            Row::F32(floats) => Row::F32(&floats[range]),
        }
    }

    /// Writes the features to the beginning of `to`, as many as fit; many at a time, unlike [`iter`](Self::iter).
    pub fn copy_to<T: From<f32>>(self, to: &mut [T]) {
        match self {
            Row::U8(bytes) => to.iter_mut().zip(bytes).for_each(|(to, &byte)| *to = T::from(f32::from(byte))),
            Row::F32(floats) => to.iter_mut().zip(floats).for_each(|(to, &value)| *to = T::from(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_copied_as_they_are_counted() {
        for row in [Row::U8(&[1, 2, 255]), Row::F32(&[1.0, 2.0, 255.0])] {
            assert_eq!(row.len(), 3);
            assert_eq!(row.iter().collect::<Vec<_>>(), [1.0, 2.0, 255.0]);
            assert_eq!(row.part(1..3).iter().collect::<Vec<_>>(), [2.0, 255.0]);
            let mut wide = [-1.0_f64; 4];
            row.copy_to(&mut wide);
            assert_eq!(wide, [1.0, 2.0, 255.0, -1.0]);
            let mut narrow = [0.0_f32; 2];
            row.copy_to(&mut narrow);
            assert_eq!(narrow, [1.0, 2.0]);
        }
    }
}
