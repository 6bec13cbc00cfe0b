//! Owns data as trees learn from it: each feature as the number of its value's bin, column by column.

use crate::data::{Dataset, MAX_CLASSES, MAX_COLUMNS, Row, Targets};
use crate::model::ModelError;
use std::sync::Arc;

/// So many rows can be counted: twice as many nodes still have numbers.
pub(super) const MAX_ROWS: usize = i32::MAX as usize;
/// A column has at most this many bins.
pub(super) const MAX_BINS: usize = 256;
/// So many columns are taken out of the rows at once: fewer passes over the rows, but more memory meanwhile.
const AT_ONCE: usize = 8;

/// The rows of some data sets with their classes, as trees learn from them; made once for any number of fits, also at
/// the same time.
///
/// A feature is kept as the number of the bin that its value is in: a byte, or a bit in columns of two values. A column
/// of at most 256 different values has a bin for each, so that trees are those of the values themselves; in others bins
/// hold about equally many rows.
#[derive(Clone, Debug)]
pub struct Binned {
    columns: Vec<Column>,
    labels: Vec<u16>,
    classes: usize,
}

/// One feature of all rows.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) bins: Bins,
    /// The least value in each bin; ascend.
    low: Vec<f32>,
    /// The greatest value in each bin, not above the next one's least.
    high: Vec<f32>,
}

/// The bin of each row.
#[derive(Clone, Debug)]
pub(super) enum Bins {
    /// Of at most two bins.
    Bits(Vec<u64>),
    Bytes(Vec<u8>),
}

impl Binned {
    /// The rows of these sets, one after the other.
    ///
    /// # Errors
    /// There is no set, or they differ in features or classes; values are to be learnt and not classes; there are too
    /// many rows, features or classes.
    pub fn of(sets: &[Arc<Dataset>]) -> Result<Self, ModelError> {
        let limits = |field, value: usize, range| Err(ModelError::Setting { field, value: value as f64, range });
        let Some(first) = sets.first() else { return limits("data sets", 0, "1 or more") };
        let (columns, classes) = (first.columns(), first.classes());
        let rows = sets.iter().map(|set| set.rows()).sum::<usize>();
        if rows > MAX_ROWS {
            return limits("rows", rows, "at most 2147483647");
        }
        if columns > MAX_COLUMNS {
            return limits("features", columns, "at most 65536");
        }
        if classes > MAX_CLASSES {
            return limits("classes", classes, "at most 65536");
        }
        let mut labels = Vec::with_capacity(rows);
        for set in sets {
            if set.columns() != columns {
                let (what, data) = ("features", set.columns());
                return Err(ModelError::DataDiffers { what, model: columns, data });
            }
            match set.targets() {
                Targets::Classes { labels: some, classes: other } if *other == classes => {
                    labels.extend(some.iter().map(|&label| label as u16));
                }
                Targets::Classes { classes: other, .. } => {
                    return Err(ModelError::DataDiffers { what: "classes", model: classes, data: *other });
                }
                Targets::Values(_) => {
                    return Err(ModelError::TargetsDiffer { model: "classes", data: "values" });
                }
            }
        }
        Ok(Self { columns: bin(sets, columns, rows), labels, classes })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let of_column = |column: &Column| {
            let bins = match &column.bins {
                Bins::Bits(bits) => 8 * bits.capacity(),
                Bins::Bytes(bytes) => bytes.capacity(),
            };
            bins + 4 * (column.low.capacity() + column.high.capacity()) + size_of::<Column>()
        };
        self.columns.iter().map(of_column).sum::<usize>() + 2 * self.labels.capacity()
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.columns.len()
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The class of a row; panics if there is no such row.
    pub fn label(&self, row: u32) -> u32 {
        u32::from(self.labels[row as usize])
    }

    /// The class of each row.
    pub(super) fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// All features.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Column {
    /// How many bins there are.
    pub(super) fn count(&self) -> usize {
        self.low.len()
    }

    /// The bin of a row.
    pub(super) fn bin(&self, row: u32) -> usize {
        match &self.bins {
            Bins::Bits(bits) => bit(bits, row) as usize,
            Bins::Bytes(bytes) => usize::from(bytes[row as usize]),
        }
    }

    /// A value that goes where the row's value goes, in any tree that was grown from the same bins.
    pub(super) fn value(&self, row: u32) -> f32 {
        self.low[self.bin(row)]
    }

    /// The greatest float that is not above the middle between a bin and a later one: as scikit-learn has it, to which
    /// the middle is a double.
    pub(super) fn threshold(&self, left: u8, right: u8) -> f32 {
        let (below, above) = (self.high[usize::from(left)], self.low[usize::from(right)]);
        let middle = f64::from(below) / 2.0 + f64::from(above) / 2.0;
        let rounded = middle as f32;
        if f64::from(rounded) > middle { rounded.next_down() } else { rounded }
    }
}

/// Whether the row's bit is set: 0 or 1.
#[inline(always)]
pub(super) fn bit(bits: &[u64], row: u32) -> u64 {
    bits[row as usize / 64] >> (row % 64) & 1
}

fn bin(sets: &[Arc<Dataset>], columns: usize, rows: usize) -> Vec<Column> {
    let mut binned = Vec::with_capacity(columns);
    let mut values = vec![Vec::with_capacity(rows); AT_ONCE.min(columns)];
    for first in (0..columns).step_by(AT_ONCE) {
        let some = first..columns.min(first + AT_ONCE);
        values.iter_mut().for_each(Vec::clear);
        for set in sets {
            match set.features().all() {
                Row::U8(bytes) => take(bytes, columns, some.clone(), &mut values),
                Row::F32(floats) => take(floats, columns, some.clone(), &mut values),
            }
        }
        binned.extend(values.iter().take(some.len()).map(|values| column(values)));
    }
    binned
}

/// Appends some columns of the rows to `to`.
fn take<X: Copy + Into<f32>>(from: &[X], columns: usize, some: std::ops::Range<usize>, to: &mut [Vec<f32>]) {
    for row in from.chunks_exact(columns) {
        for (to, &value) in to.iter_mut().zip(&row[some.clone()]) {
            // Minus zero is zero.
            to.push(value.into() + 0.0);
        }
    }
}

fn column(values: &[f32]) -> Column {
    let (low, high) = match distinct(values) {
        Some(all) => (all.clone(), all),
        None => equal_shares(values),
    };
    let find = |value: f32| high.partition_point(|&high| high < value);
    let bins = match high.len() {
        0..=2 => {
            let word = |values: &[f32]| values.iter().rev().fold(0, |word, &value| word << 1 | find(value) as u64);
            Bins::Bits(values.chunks(64).map(word).collect())
        }
        _ => Bins::Bytes(values.iter().map(|&value| find(value) as u8).collect()),
    };
    Column { bins, low, high }
}

/// The different values in ascending order, if there are few enough.
fn distinct(values: &[f32]) -> Option<Vec<f32>> {
    let mut all: Vec<f32> = Vec::new();
    let mut last = f32::NAN;
    for &value in values {
        // Most values of most columns with few of them are the same as before.
        if value == last {
            continue;
        }
        last = value;
        let place = all.partition_point(|&other| other < value);
        if all.get(place) != Some(&value) {
            if all.len() == MAX_BINS {
                return None;
            }
            all.insert(place, value);
        }
    }
    Some(all)
}

/// The least and the greatest value of each bin, when each takes its share of the rows that are left.
fn equal_shares(values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let (mut low, mut high) = (Vec::with_capacity(MAX_BINS), Vec::with_capacity(MAX_BINS));
    let mut begin = 0;
    while begin < sorted.len() {
        let left = MAX_BINS - low.len();
        let wanted = (begin + (sorted.len() - begin).div_ceil(left)).min(sorted.len());
        let greatest = sorted[wanted - 1];
        // Equal values are never in two bins.
        let end = begin + sorted[begin..].partition_point(|&value| value <= greatest);
        low.push(sorted[begin]);
        high.push(greatest);
        begin = end;
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use proptest::prelude::*;

    fn set(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Arc<Dataset> {
        let features = Array2::from_shape_fn((rows, columns), |(row, column)| value(row, column));
        Arc::new(Dataset::new(features, (0..rows).map(|row| row as u32 % 3).collect(), 3).unwrap())
    }

    #[test]
    fn few_values_have_a_bin_each_whatever_sets_they_are_in() {
        let sets = [set(70, 3, |row, column| ((row + column) % 5) as f32), set(9, 3, |row, _| row as f32 - 0.5)];
        let binned = Binned::of(&sets).unwrap();
        assert_eq!((binned.rows(), binned.features(), binned.classes()), (79, 3, 3));
        for (place, column) in binned.columns().iter().enumerate() {
            assert_eq!(column.count(), 14);
            for row in 0..79 {
                let right = if row < 70 { ((row + place) % 5) as f32 } else { (row - 70) as f32 - 0.5 };
                assert_eq!(column.value(row as u32), right);
            }
        }
        assert_eq!(binned.label(71), 1);
        assert!(binned.bytes() >= 79 * 5);
    }

    #[test]
    fn two_values_are_bits() {
        let binned = Binned::of(&[set(200, 2, |row, column| f32::from(row % 3 == column) * 7.0 - 0.0)]).unwrap();
        for (place, column) in binned.columns().iter().enumerate() {
            assert!(matches!(column.bins, Bins::Bits(_)));
            assert!((0..200).all(|row| column.bin(row) == usize::from(row % 3 == place as u32)));
            assert_eq!(column.threshold(0, 1), 3.5);
        }
    }

    #[test]
    fn thresholds_part_the_values_even_if_these_are_neighbours() {
        for (below, above) in [(1.0_f32, 1.0_f32.next_up()), (-1.0, (-1.0_f32).next_up()), (f32::MIN, f32::MAX)] {
            let binned = Binned::of(&[set(2, 1, |row, _| if row == 0 { below } else { above })]).unwrap();
            let threshold = binned.columns()[0].threshold(0, 1);
            assert!(below <= threshold && threshold < above, "{below} {above} {threshold}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let says = |sets: &[Arc<Dataset>]| Binned::of(sets).unwrap_err().to_string();
        assert_eq!(says(&[]), "data sets is 0; it must be 1 or more");
        let narrow = set(3, 2, |_, _| 1.0);
        assert_eq!(says(&[narrow.clone(), set(3, 3, |_, _| 1.0)]), "the model takes 2 features, the data has 3");
        let fewer = Arc::new(Dataset::new(Array2::zeros((1, 2)), vec![0], 2).unwrap());
        assert_eq!(says(&[narrow.clone(), fewer]), "the model takes 3 classes, the data has 2");
        let values = Arc::new(Dataset::regression(Array2::zeros((1, 2)), vec![0.5]).unwrap());
        assert_eq!(says(std::slice::from_ref(&values)), "the model gives classes, the data has values");
        assert_eq!(says(&[narrow, values]), "the model gives classes, the data has values");
    }

    proptest! {
        #[test]
        fn bins_keep_the_order_of_values(numbers in proptest::collection::vec(-900i32..900, 1..2000)) {
            let values: Vec<f32> = numbers.iter().map(|&number| number as f32 / 8.0).collect();
            let column = column(&values);
            let mut different = numbers.clone();
            different.sort_unstable();
            different.dedup();
            prop_assert!(column.count() == different.len().min(MAX_BINS) || column.count() > MAX_BINS / 2);
            for (row, &value) in values.iter().enumerate() {
                let bin = column.bin(row as u32);
                prop_assert!(column.low[bin] <= value && value <= column.high[bin]);
                prop_assert!(bin == 0 || column.high[bin - 1] < value);
                prop_assert!(different.len() > MAX_BINS || column.low[bin] == value);
            }
        }
    }
}
