//! Owns what a confusion tells: rows and recall of each class, and the pairs that are confused most.

use super::svg::clip;
use crate::client::Confusion;
use std::collections::{BTreeMap, BTreeSet};

/// A class as the model knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Class {
    pub(super) name: String,
    /// Rows of this class.
    pub(super) rows: u64,
    /// Of those, how many the model knew.
    pub(super) known: u64,
    /// How many rows the model takes for this class.
    pub(super) said: u64,
    /// What it is most often mistaken for, and how often.
    pub(super) mistaken: Option<(u32, u64)>,
}

/// The counts, added up.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// By number; classes that no row has and that are never said are among them if they have a name.
    pub(super) classes: BTreeMap<u32, Class>,
    pub(super) counts: BTreeMap<(u32, u32), u64>,
    pub(super) rows: u64,
    pub(super) known: u64,
}

impl Tally {
    /// `None` if nothing was counted.
    pub(super) fn of(confusion: &Confusion) -> Option<Self> {
        let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for &(right, said, rows) in confusion.counts.iter().filter(|count| count.2 > 0) {
            let count = counts.entry((right, said)).or_default();
            *count = count.saturating_add(rows);
        }
        if counts.is_empty() {
            return None;
        }
        let used: BTreeSet<u32> = counts.keys().flat_map(|&(right, said)| [right, said]).collect();
        let named = 0..u32::try_from(confusion.classes.len()).unwrap_or(u32::MAX);
        let class = |number: u32| {
            let name = confusion.classes.get(number as usize).filter(|name| !name.is_empty());
            let name = name.map_or_else(|| format!("class {number}"), |name| clip(name, 60));
            (number, Class { name, ..Class::default() })
        };
        let mut classes: BTreeMap<u32, Class> = named.chain(used).map(class).collect();
        let (mut rows, mut known) = (0u64, 0u64);
        for (&(right, said), &count) in &counts {
            rows = rows.saturating_add(count);
            if let Some(class) = classes.get_mut(&said) {
                class.said = class.said.saturating_add(count);
            }
            let Some(class) = classes.get_mut(&right) else { continue };
            class.rows = class.rows.saturating_add(count);
            if right == said {
                class.known = class.known.saturating_add(count);
                known = known.saturating_add(count);
            } else if class.mistaken.is_none_or(|(_, most)| count > most) {
                class.mistaken = Some((said, count));
            }
        }
        Some(Self { classes, counts, rows, known })
    }

    /// The name of a class.
    pub(super) fn name(&self, class: u32) -> &str {
        self.classes.get(&class).map_or("", |class| class.name.as_str())
    }

    /// Pairs of different classes, the most confused first.
    pub(super) fn worst(&self) -> Vec<(u32, u32, u64)> {
        let wrong = self.counts.iter().filter(|((right, said), _)| right != said);
        let mut pairs: Vec<_> = wrong.map(|(&(right, said), &rows)| (right, said, rows)).collect();
        pairs.sort_by_key(|&(right, said, rows)| (std::cmp::Reverse(rows), right, said));
        pairs
    }
}

impl Class {
    /// The share of its rows that the model knew; NaN without rows.
    pub(super) fn recall(&self) -> f64 {
        self.known as f64 / self.rows as f64
    }

    /// The share of what the model takes for it that is it; NaN if it is never said.
    pub(super) fn precision(&self) -> f64 {
        self.known as f64 / self.said as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up() {
        let classes = ["A", "B", ""].map(str::to_owned).to_vec();
        let counts = vec![(0, 0, 8), (0, 1, 1), (0, 2, 1), (1, 0, 3), (1, 1, 1), (7, 1, u64::MAX), (7, 0, 0)];
        let tally = Tally::of(&Confusion { classes, counts }).expect("there are counts");
        let names: Vec<&str> = tally.classes.values().map(|class| class.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "class 2", "class 7"]);
        assert_eq!((tally.rows, tally.known), (u64::MAX, 9), "it stops at the largest number");
        let a = &tally.classes[&0];
        assert_eq!((a.rows, a.known, a.said, a.mistaken, a.recall()), (10, 8, 11, Some((1, 1)), 0.8));
        assert!(tally.classes[&2].recall().is_nan());
        assert_eq!(tally.worst()[..2], [(7, 1, u64::MAX), (1, 0, 3)]);
        assert!(Tally::of(&Confusion { classes: vec!["A".to_owned()], counts: vec![(0, 0, 0)] }).is_none());
    }
}
