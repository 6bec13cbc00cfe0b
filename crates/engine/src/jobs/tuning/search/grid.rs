//! Owns the search of a whole grid: every combination is tried to its end.

use super::{Fate, Search, SearchRow, Verdict};

pub(super) const ROW: SearchRow = SearchRow {
    name: "grid",
    about: "every combination of the listed values",
    draws: false,
    rungs: |_| vec![1.0],
    make: |_| Box::new(ToTheEnd),
};

/// Whatever is tried is tried to its end.
pub(super) struct ToTheEnd;

impl Search for ToTheEnd {
    fn report(&mut self, _: u32, _: usize, _: Option<f64>) -> Verdict {
        Verdict { fate: Fate::Done, promoted: Vec::new() }
    }
}
