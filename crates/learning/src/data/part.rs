//! Owns a task's share of the rows: a range of the rows of several data sets, taken one after the other, or some of them.

use super::{DataError, Dataset, Features, Row, Targets};
use std::sync::Arc;

/// Rows `start..start + rows` of the rows of some data sets in their order, or some of these; all of one width and kind.
#[derive(Clone, Debug)]
pub struct Part {
    sets: Vec<Arc<Dataset>>,
    /// Where each set begins, counted in rows of all of them.
    begins: Vec<usize>,
    start: usize,
    rows: usize,
    /// Which of the rows from `start` on; `None`: all.
    picked: Option<Arc<Vec<u32>>>,
}

impl Part {
    /// All rows of one data set.
    pub fn whole(set: Arc<Dataset>) -> Self {
        let rows = set.rows();
        Self { sets: vec![set], begins: vec![0], start: 0, rows, picked: None }
    }

    /// A range of the rows of these sets; `None` if it is empty or not within them, or if they differ in width or in
    /// what is to be learnt.
    pub fn new(sets: Vec<Arc<Dataset>>, start: usize, rows: usize) -> Option<Self> {
        let first = sets.first()?;
        let alike = |set: &Arc<Dataset>| set.columns() == first.columns() && set.classes() == first.classes();
        let mut begins = Vec::with_capacity(sets.len());
        let mut all = 0;
        for set in &sets {
            begins.push(all);
            all += set.rows();
        }
        let fits = rows > 0 && start.checked_add(rows).is_some_and(|end| end <= all) && sets.iter().all(alike);
        fits.then_some(Self { sets, begins, start, rows, picked: None })
    }

    /// Some of its rows, in this order; `None` if there are none, or one is not among its own.
    pub fn pick(&self, rows: Arc<Vec<u32>>) -> Option<Self> {
        let fits = !rows.is_empty() && self.picked.is_none() && rows.iter().all(|&row| (row as usize) < self.rows);
        fits.then(|| Self { rows: rows.len(), picked: Some(rows), ..self.clone() })
    }

    /// A copy of its rows.
    ///
    /// # Errors
    /// None that rows of data sets can cause.
    pub fn to_dataset(&self) -> Result<Dataset, DataError> {
        let columns = self.columns();
        let all_bytes = self.sets.iter().all(|set| matches!(set.features().all(), Row::U8(_)));
        let features = if all_bytes {
            let mut bytes = Vec::with_capacity(self.rows * columns);
            for row in 0..self.rows {
                match self.row(row) {
                    Row::U8(row) => bytes.extend_from_slice(row),
                    Row::F32(_) => {}
                }
            }
            Features::of_bytes(bytes, columns)?
        } else {
            let mut floats = vec![0.0; self.rows * columns];
            let rows = floats.chunks_exact_mut(columns).enumerate();
            rows.for_each(|(row, to)| self.row(row).copy_to(to));
            Features::of_floats(floats, columns)?
        };
        let targets = match self.classes() {
            0 => Targets::Values((0..self.rows).map(|row| self.value(row)).collect()),
            classes => Targets::Classes { labels: (0..self.rows).map(|row| self.label(row)).collect(), classes },
        };
        Dataset::of(features, targets)
    }

    /// How many rows there are; at least one.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.sets[0].columns()
    }

    /// How many classes there are; 0 if values are to be learnt.
    pub fn classes(&self) -> usize {
        self.sets[0].classes()
    }

    /// The features of a row; panics if there is no such row.
    pub fn row(&self, row: usize) -> Row<'_> {
        let (set, row) = self.find(row);
        set.row(row)
    }

    /// The class of a row; panics if there is no such row, or values are to be learnt.
    pub fn label(&self, row: usize) -> u32 {
        let (set, row) = self.find(row);
        set.labels()[row]
    }

    /// The value of a row; panics if there is no such row, or classes are to be learnt.
    pub fn value(&self, row: usize) -> f32 {
        let (set, row) = self.find(row);
        set.values()[row]
    }

    fn find(&self, row: usize) -> (&Dataset, usize) {
        assert!(row < self.rows);
        let row = self.start + self.picked.as_ref().map_or(row, |picked| picked[row] as usize);
        let set = self.begins.partition_point(|&begin| begin <= row) - 1;
        (&self.sets[set], row - self.begins[set])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn rows_are_found_across_sets() {
        let set = |from: usize, rows: usize| {
            let features = Array2::from_shape_fn((rows, 1), |(row, _)| (from + row) as f32);
            let labels = (from..from + rows).map(|row| row as u32).collect();
            Arc::new(Dataset::new(features, labels, 10).unwrap())
        };
        let sets = vec![set(0, 3), set(3, 1), set(4, 4)];
        let part = Part::new(sets.clone(), 2, 4).unwrap();
        let seen: Vec<_> =
            (0..part.rows()).map(|row| (part.row(row).iter().sum::<f32>(), part.label(row))).collect();
        assert_eq!(seen, [(2.0, 2), (3.0, 3), (4.0, 4), (5.0, 5)]);
        assert!(Part::new(sets.clone(), 0, 8).is_some());
        for (start, rows) in [(0, 0), (0, 9), (8, 1), (usize::MAX, 2)] {
            assert!(Part::new(sets.clone(), start, rows).is_none(), "{start} {rows}");
        }
        assert!(Part::new(Vec::new(), 0, 1).is_none());
        assert_eq!(Part::whole(sets[2].clone()).label(3), 7);
        let picked = part.pick(Arc::new(vec![3, 0])).unwrap();
        assert_eq!((picked.rows(), picked.label(0), picked.label(1)), (2, 5, 2));
        let copy = picked.to_dataset().unwrap();
        assert_eq!((copy.labels(), copy.row(1)), (&[5, 2][..], picked.row(1)));
        assert!(part.pick(Arc::new(vec![4])).is_none() && part.pick(Arc::new(vec![])).is_none());
    }
}
