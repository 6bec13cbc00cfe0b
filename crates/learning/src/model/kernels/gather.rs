//! Owns how rows come into a block: converted and standardised as they are copied.

use super::super::real::Real;
use super::network::padded;
use crate::data::{Row, Scaling};

/// What takes a feature `x` to `(x - mean) * (1 / deviation)`; nothing, if features go in as they are.
pub struct Standard<T> {
    mean: Vec<T>,
    inverse: Vec<T>,
}

impl<T: Real> Standard<T> {
    /// Of this scaling.
    pub(in crate::model) fn new(scaling: Option<&Scaling>) -> Self {
        let Some(scaling) = scaling else { return Self { mean: Vec::new(), inverse: Vec::new() } };
        Self {
            mean: scaling.mean().iter().map(|&mean| T::from_f64(mean)).collect(),
            inverse: scaling.deviation().iter().map(|&deviation| T::from_f64(1.0 / deviation)).collect(),
        }
    }
}

/// Copies rows into padded rows of `to`.
#[inline(always)]
pub(super) fn gather<T: Real>(rows: &[Row<'_>], columns: usize, standard: &Standard<T>, to: &mut [T]) {
    for (&row, to) in rows.iter().zip(to.chunks_exact_mut(padded::<T>(columns))) {
        let to = &mut to[..columns];
        // Four loops, because one over something that is either would not become vectors.
        match (row, standard.mean.is_empty()) {
            (Row::U8(bytes), true) => {
                to.iter_mut().zip(bytes).for_each(|(to, &x)| *to = T::from(f32::from(x)));
            }
            (Row::F32(floats), true) => {
                to.iter_mut().zip(floats).for_each(|(to, &x)| *to = T::from(x));
            }
            (Row::U8(bytes), false) => {
                let numbers = standard.mean.iter().zip(&standard.inverse);
                for ((to, &x), (&mean, &inverse)) in to.iter_mut().zip(bytes).zip(numbers) {
                    *to = (T::from(f32::from(x)) - mean) * inverse;
                }
            }
            (Row::F32(floats), false) => {
                let numbers = standard.mean.iter().zip(&standard.inverse);
                for ((to, &x), (&mean, &inverse)) in to.iter_mut().zip(floats).zip(numbers) {
                    *to = (T::from(x) - mean) * inverse;
                }
            }
        }
    }
}

/// Copies these rows of `from`, whose rows are `step` long, to the front of `to`.
#[inline(always)]
pub(super) fn pick<T: Real>(from: &[T], rows: &[u32], step: usize, to: &mut [T]) {
    for (&row, to) in rows.iter().zip(to.chunks_exact_mut(step)) {
        to.copy_from_slice(&from[row as usize * step..][..step]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Path;
    use super::super::Kernels;
    use super::*;

    #[test]
    fn bytes_and_floats_come_in_alike() {
        let bytes: Vec<u8> = (0..37).map(|x| x * 6).collect();
        let floats: Vec<f32> = bytes.iter().map(|&x| f32::from(x)).collect();
        let mean: Vec<f64> = (0..37).map(|x| f64::from(x) * 2.5).collect();
        let scaling = Scaling::new(mean, (1..38).map(f64::from).collect());
        for path in Path::available() {
            for scaling in [None, scaling.as_ref()] {
                let standard = Standard::<f32>::new(scaling);
                let mut block = [7.0_f32; 2 * 48];
                <f32 as Kernels>::gather(path, &[Row::U8(&bytes), Row::F32(&floats)], 37, &standard, &mut block);
                assert_eq!(block[..37], block[48..48 + 37]);
                assert_eq!((block[37], block[95]), (7.0, 7.0), "padding is left alone");
                let expected = if scaling.is_some() { (90.0 - 37.5) * (1.0 / 16.0) } else { 90.0 };
                assert_eq!(block[15], expected);
            }
        }
    }
}
