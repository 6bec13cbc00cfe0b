//! Owns a task's share of the rows: a range of the rows of several data sets, taken one after the other, or any of them.

use super::{Dataset, Row};
use std::sync::Arc;

/// Rows of some data sets of one width and kind: `start..start + rows` in their order, or those that were chosen.
#[derive(Clone, Debug)]
pub struct Part {
    sets: Vec<Arc<Dataset>>,
    /// Where each set begins, counted in rows of all of them.
    begins: Vec<usize>,
    start: usize,
    rows: usize,
    /// Counted in rows of all sets; without it the range.
    chosen: Option<Vec<u32>>,
}

impl Part {
    /// All rows of one data set.
    pub fn whole(set: Arc<Dataset>) -> Self {
        let rows = set.rows();
        Self { sets: vec![set], begins: vec![0], start: 0, rows, chosen: None }
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
        fits.then_some(Self { sets, begins, start, rows, chosen: None })
    }

    /// These rows of these sets, counted over all of them, in this order; `None` if there are none or not all of them are
    /// there, or if the sets differ in width or in what is to be learnt.
    pub fn chosen(sets: Vec<Arc<Dataset>>, rows: Vec<u32>) -> Option<Self> {
        let all = sets.iter().map(|set| set.rows()).sum();
        let part = Self::new(sets, 0, all)?;
        let fits = !rows.is_empty() && rows.iter().all(|&row| (row as usize) < all);
        fits.then_some(Self { rows: rows.len(), chosen: Some(rows), ..part })
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
        let row = match &self.chosen {
            Some(chosen) => chosen[row] as usize,
            None => self.start + row,
        };
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
        let part = Part::chosen(sets.clone(), vec![7, 0, 3, 7]).unwrap();
        let seen: Vec<_> = (0..part.rows()).map(|row| part.label(row)).collect();
        assert_eq!(seen, [7, 0, 3, 7]);
        for rows in [vec![], vec![0, 8]] {
            assert!(Part::chosen(sets.clone(), rows).is_none());
        }
    }
}
