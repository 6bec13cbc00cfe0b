//! Owns standardising: the mean and the deviation of each feature over all rows of a job.

use super::{Dataset, Part, Row};

/// So many squares of bytes surely fit 32 bits.
const BLOCK: usize = 65_536;

/// Takes a feature `x` to `(x - mean) / deviation`.
///
/// Means are finite, deviations finite and above 0; there are equally many.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scaling {
    /// These means and deviations, one per feature; `None` if they are not as described above.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Option<Self> {
        let good = mean.len() == deviation.len()
            && mean.iter().all(|value| value.is_finite())
            && deviation.iter().all(|value| value.is_finite() && *value > 0.0);
        good.then_some(Self { mean, deviation })
    }

    /// The mean and the population standard deviation of each feature over the rows of these sets, which are equally
    /// wide. A feature that is the same everywhere has deviation 1. `None` without sets.
    ///
    /// Depends on the rows and their order, not on how they are cut into sets. For bytes it is exact up to the last
    /// rounding, and the order is of no matter.
    pub fn of<'d>(sets: impl IntoIterator<Item = &'d Dataset> + Clone) -> Option<Self> {
        let columns = sets.clone().into_iter().next()?.columns();
        let all_bytes = sets.clone().into_iter().all(|set| matches!(set.features().all(), Row::U8(_)));
        let (mean, variance) = match all_bytes {
            true => byte_moments(sets, columns),
            false => float_moments(sets, columns),
        };
        let deviation = variance.into_iter().map(f64::sqrt);
        Self::new(
            mean,
            deviation.map(|value| if value > 0.0 && value.is_finite() { value } else { 1.0 }).collect(),
        )
    }

    /// The mean and the population standard deviation of the values to be learnt; `None` if there are none.
    pub fn of_values<'d>(sets: impl IntoIterator<Item = &'d Dataset> + Clone) -> Option<(f64, f64)> {
        let values = || sets.clone().into_iter().flat_map(Dataset::values).map(|&value| f64::from(value));
        let count = values().count();
        if count == 0 {
            return None;
        }
        let mean = values().sum::<f64>() / count as f64;
        let deviation = (values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count as f64).sqrt();
        Some((mean, if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 }))
    }

    /// As [`Scaling::of`], of some rows, always in their order.
    pub fn of_part(part: &Part) -> Option<Self> {
        let (columns, rows) = (part.columns(), part.rows() as f64);
        let (mut mean, mut variance, mut x) = (vec![0.0; columns], vec![0.0; columns], vec![0.0; columns]);
        for row in 0..part.rows() {
            part.row(row).copy_to(&mut x);
            mean.iter_mut().zip(&x).for_each(|(sum, x): (&mut f64, &f64)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= rows);
        for row in 0..part.rows() {
            part.row(row).copy_to(&mut x);
            let squares = variance.iter_mut().zip(&mean).zip(&x);
            squares.for_each(|((sum, mean), x): ((&mut f64, &f64), &f64)| *sum += (x - mean) * (x - mean));
        }
        let deviation = variance.into_iter().map(|sum| (sum / rows).sqrt());
        let usable = |value: f64| if value > 0.0 && value.is_finite() { value } else { 1.0 };
        Self::new(mean, deviation.map(usable).collect())
    }

    /// As [`Scaling::of_values`], of some rows.
    pub fn of_values_in(part: &Part) -> Option<(f64, f64)> {
        let values = || (0..part.rows()).map(|row| f64::from(part.value(row)));
        let count = part.rows() as f64;
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
        Some((mean, if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 }))
    }

    /// One per feature.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// One per feature.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }
}

/// The mean and the variance of each column, by sums of integers.
fn byte_moments<'d>(sets: impl IntoIterator<Item = &'d Dataset>, columns: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut count, mut sums, mut squares) = (0, vec![0u64; columns], vec![0u64; columns]);
    let (mut block_sums, mut block_squares) = (vec![0u32; columns], vec![0u32; columns]);
    for set in sets {
        count += set.rows() as u64;
        let Row::U8(bytes) = set.features().all() else { continue };
        for block in bytes.chunks(BLOCK * columns) {
            for row in block.chunks_exact(columns) {
                for ((sum, square), &x) in block_sums.iter_mut().zip(&mut block_squares).zip(row) {
                    *sum += u32::from(x);
                    // The square fits 16 bits, and half as wide is twice as fast.
                    *square += u32::from(u16::from(x) * u16::from(x));
                }
            }
            drain(&mut block_sums, &mut sums);
            drain(&mut block_squares, &mut squares);
        }
    }
    let mean = sums.iter().map(|&sum| sum as f64 / count as f64).collect();
    let variance = sums.iter().zip(&squares).map(|(&sum, &square)| {
        // n sum(x^2) - sum(x)^2 is n^2 times the variance; no 128 bits overflow before memory does.
        let (n, sum, square) = (u128::from(count), u128::from(sum), u128::from(square));
        (n * square - sum * sum) as f64 / (n * n) as f64
    });
    (mean, variance.collect())
}

/// Adds the first to the second and makes the first zero.
fn drain(from: &mut [u32], to: &mut [u64]) {
    for (from, to) in from.iter_mut().zip(to) {
        *to += u64::from(std::mem::take(from));
    }
}

/// The mean and the variance of each column, in one order of summation and two passes.
fn float_moments<'d>(sets: impl IntoIterator<Item = &'d Dataset> + Clone, columns: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut mean, mut variance, mut x) = (vec![0.0; columns], vec![0.0; columns], vec![0.0; columns]);
    let mut rows = 0;
    for set in sets.clone() {
        rows += set.rows();
        for row in 0..set.rows() {
            set.row(row).copy_to(&mut x);
            mean.iter_mut().zip(&x).for_each(|(sum, x): (&mut f64, &f64)| *sum += x);
        }
    }
    mean.iter_mut().for_each(|sum| *sum /= rows as f64);
    for set in sets {
        for row in 0..set.rows() {
            set.row(row).copy_to(&mut x);
            let squares = variance.iter_mut().zip(&mean).zip(&x);
            squares.for_each(|((sum, mean), x): ((&mut f64, &f64), &f64)| *sum += (x - mean) * (x - mean));
        }
    }
    variance.iter_mut().for_each(|sum| *sum /= rows as f64);
    (mean, variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    #[test]
    fn moments_are_those_of_all_sets_together() {
        let one = Dataset::new(array![[1.0, 7.0], [3.0, 7.0]], vec![0, 1], 2).unwrap();
        let two = Dataset::new(array![[5.0, 7.0]], vec![0], 2).unwrap();
        let scaling = Scaling::of([&one, &two]).unwrap();
        assert_eq!(scaling.mean(), [3.0, 7.0]);
        assert_eq!(scaling.deviation(), [(8.0_f64 / 3.0).sqrt(), 1.0]);
        let part = Part::new(vec![one.into(), two.into()], 0, 3).unwrap();
        assert_eq!(Scaling::of_part(&part).unwrap(), scaling);
        assert!(Scaling::of([]).is_none());
        assert!(Scaling::new(vec![0.0], vec![0.0]).is_none());
        assert!(Scaling::new(vec![f64::NAN], vec![1.0]).is_none());
    }

    #[test]
    fn many_rows_of_the_greatest_byte_overflow_nothing() {
        let rows = 2 * BLOCK + 3;
        let mut bytes = vec![255; rows];
        bytes[0] = 254;
        let features = super::super::Features::of_bytes(bytes, 1).unwrap();
        let targets = super::super::Targets::Values(vec![0.0; rows]);
        let scaling = Scaling::of([&Dataset::of(features, targets).unwrap()]).unwrap();
        let share = 1.0 / rows as f64;
        assert!((scaling.mean()[0] - (255.0 - share)).abs() < 1e-12);
        assert!((scaling.deviation()[0] / (share * (1.0 - share)).sqrt() - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_cut_into_sets_is_of_no_matter(
            bytes in proptest::collection::vec(any::<u8>(), 30),
            cuts in (1usize..5, 5usize..9),
            other in proptest::option::of((0usize..30, -1e3f32..1e3)),
        ) {
            let mut values: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
            if let Some((place, value)) = other {
                values[place] = value;
            }
            let set = |rows: std::ops::Range<usize>| {
                let features = Array2::from_shape_vec((rows.len(), 3), values[rows.start * 3..rows.end * 3].to_vec());
                Dataset::new(features.unwrap(), vec![0; rows.len()], 2).unwrap()
            };
            let whole = Scaling::of([&set(0..10)]).unwrap();
            let sets = [set(0..cuts.0), set(cuts.0..cuts.1), set(cuts.1..10)];
            prop_assert_eq!(&Scaling::of(&sets).unwrap(), &whole);
            let exact = float_moments([&set(0..10)], 3);
            for column in 0..3 {
                prop_assert!((whole.mean()[column] - exact.0[column]).abs() < 1e-9);
                let deviation = if exact.1[column] == 0.0 { 1.0 } else { exact.1[column].sqrt() };
                prop_assert!((whole.deviation()[column] - deviation).abs() < 1e-9);
            }
        }
    }
}
