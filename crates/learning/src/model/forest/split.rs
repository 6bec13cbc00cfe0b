//! Owns the search for a node's best split by one feature.
//!
//! All counts are integers; a split's worth is two quotients of them in double precision, so it is the same everywhere.

use super::binned::{Bins, Column, MAX_BINS, bit};

/// A row as a tree sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) row: u32,
    pub(super) class: u16,
    /// How often it was drawn, at least once.
    pub(super) weight: u16,
}

/// A way to part a node's rows in two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// The sum over both sides of the sum of the squares of its classes' weights by its weight: the greater the better.
    pub(super) worth: f64,
    pub(super) column: u32,
    /// The last bin of the left side that has rows of the node.
    pub(super) left: u8,
    /// The first bin of the right side that has some.
    pub(super) right: u8,
    /// The rows that go left, and their weight.
    pub(super) rows: u32,
    pub(super) weight: u64,
    /// The sum of the squares of the classes' weights on either side.
    pub(super) squares: [u64; 2],
}

/// What there is to say of a node's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) weight: u64,
    /// The sum of the squares of the classes' weights.
    pub(super) squares: u64,
}

impl Sums {
    /// Whether all rows are of one class; not if there are none.
    pub(super) fn is_pure(&self) -> bool {
        self.weight > 0 && self.squares == self.weight * self.weight
    }
}

/// Memory to search in, and the node that is searched.
pub(super) struct Search {
    /// The weight of each class in the node.
    pub(super) total: Vec<u32>,
    pub(super) sums: Sums,
    /// No split leaves fewer rows on a side.
    pub(super) least: usize,
    /// The weight of each class in what has been passed; between two searches 0.
    passed: Vec<u32>,
    /// Bin, class and weight of the node's rows, from the highest bits to the lowest.
    keys: Vec<u64>,
    sorted: Vec<u64>,
    /// Rows (upper half) and weight (lower half) by bin and class.
    histogram: Vec<u64>,
    few: Vec<Entry>,
}

/// What a feature's search has found.
pub(super) enum Found {
    /// All rows have the same value.
    Constant,
    /// No split is better than the best so far.
    Nothing,
    Better(Split),
}

/// Up to so many keys are sorted by inserting each in its place.
const INSERTED: usize = 16;
/// One more row of a class, in a histogram.
const ROW: u64 = 1 << 32;

impl Search {
    pub(super) fn new(classes: usize, least: usize) -> Self {
        Self {
            total: vec![0; classes],
            sums: Sums::default(),
            least,
            passed: vec![0; classes],
            keys: Vec::new(),
            sorted: Vec::new(),
            histogram: Vec::new(),
            few: Vec::new(),
        }
    }

    /// Counts a node's rows; [`leave`](Self::leave) must follow when it is done with.
    pub(super) fn enter(&mut self, entries: &[Entry]) {
        let mut sums = Sums::default();
        for entry in entries {
            let total = &mut self.total[usize::from(entry.class)];
            let weight = u64::from(entry.weight);
            sums.squares += weight * (2 * u64::from(*total) + weight);
            sums.weight += weight;
            *total += u32::from(entry.weight);
        }
        self.sums = sums;
    }

    /// Forgets the node.
    pub(super) fn leave(&mut self, entries: &[Entry]) {
        clear(&mut self.total, entries.len(), entries.iter().map(|entry| entry.class));
    }

    /// Looks for a split by this column that is better than `worth`.
    pub(super) fn by(&mut self, place: u32, column: &Column, entries: &[Entry], worth: f64) -> Found {
        let count = column.count();
        if count < 2 {
            return Found::Constant;
        }
        match &column.bins {
            Bins::Bits(bits) => self.by_bits(place, bits, entries, worth),
            Bins::Bytes(bytes) if count * self.total.len() <= 2 * entries.len() => {
                self.by_histogram(place, bytes, count, entries, worth)
            }
            Bins::Bytes(bytes) => self.by_order(place, bytes, count, entries, worth),
        }
    }

    /// Of two bins it is enough to look at the rows in the second.
    fn by_bits(&mut self, place: u32, bits: &[u64], entries: &[Entry], worth: f64) -> Found {
        if self.few.len() < entries.len() {
            self.few.resize(entries.len(), Entry::default());
        }
        let mut count = 0;
        for entry in entries {
            self.few[count] = *entry;
            count += bit(bits, entry.row) as usize;
        }
        if count == 0 || count == entries.len() {
            return Found::Constant;
        }
        let rows = entries.len() - count;
        if rows.min(count) < self.least {
            return Found::Nothing;
        }
        let few = &self.few[..count];
        let mut side = Side::new(self.sums);
        few.iter().for_each(|entry| side.pass(&self.total, &mut self.passed, entry.class, entry.weight));
        clear(&mut self.passed, count, few.iter().map(|entry| entry.class));
        let found = side.worth();
        if found <= worth {
            return Found::Nothing;
        }
        Found::Better(Split {
            worth: found,
            column: place,
            left: 0,
            right: 1,
            rows: rows as u32,
            weight: side.total.weight - side.passed.weight,
            squares: [side.rest, side.passed.squares],
        })
    }

    /// Many rows: counts them by bin and class.
    fn by_histogram(&mut self, place: u32, bytes: &[u8], count: usize, entries: &[Entry], worth: f64) -> Found {
        let classes = self.total.len();
        self.histogram.clear();
        self.histogram.resize(count * classes, 0);
        for entry in entries {
            let bin = usize::from(bytes[entry.row as usize]);
            self.histogram[bin * classes + usize::from(entry.class)] += ROW | u64::from(entry.weight);
        }
        let mut best = Best::new(place, worth);
        let mut side = Side::new(self.sums);
        let (mut rows, mut last) = (0, None);
        for (bin, of_bin) in self.histogram.chunks_exact(classes).enumerate() {
            let in_bin = of_bin.iter().map(|cell| cell >> 32).sum::<u64>() as usize;
            if in_bin == 0 {
                continue;
            }
            if let Some(left) = last {
                best.offer(&side, rows, entries.len(), self.least, (left, bin as u8));
            }
            for (class, &cell) in of_bin.iter().enumerate() {
                if cell != 0 {
                    side.pass_weight(&self.total, &mut self.passed, class, u64::from(cell as u32));
                }
            }
            (rows, last) = (rows + in_bin, Some(bin as u8));
        }
        self.passed.fill(0);
        best.found()
    }

    /// Few rows: brings them in order.
    fn by_order(&mut self, place: u32, bytes: &[u8], count: usize, entries: &[Entry], worth: f64) -> Found {
        let key = |entry: &Entry| {
            let bin = u64::from(bytes[entry.row as usize]);
            bin << 32 | u64::from(entry.class) << 16 | u64::from(entry.weight)
        };
        self.keys.clear();
        self.keys.extend(entries.iter().map(key));
        let keys = &mut self.keys[..];
        let keys = if keys.len() <= INSERTED {
            insert(keys);
            &*keys
        } else if count > 2 * keys.len() {
            keys.sort_unstable();
            &*keys
        } else {
            self.sorted.resize(keys.len().max(self.sorted.len()), 0);
            sort_by_bin(keys, &mut self.sorted, count);
            &self.sorted[..keys.len()]
        };
        let (first, last) = (keys[0] >> 32, keys[keys.len() - 1] >> 32);
        if first == last {
            return Found::Constant;
        }
        let mut best = Best::new(place, worth);
        let mut side = Side::new(self.sums);
        let mut bin = first;
        for (rows, &key) in keys.iter().enumerate() {
            if key >> 32 != bin {
                best.offer(&side, rows, keys.len(), self.least, (bin as u8, (key >> 32) as u8));
                bin = key >> 32;
                if bin == last {
                    break;
                }
            }
            side.pass(&self.total, &mut self.passed, (key >> 16) as u16, key as u16);
        }
        clear(&mut self.passed, keys.len(), keys.iter().map(|key| (key >> 16) as u16));
        best.found()
    }
}

/// Rows on one side of a split that moves over them, and on the other.
struct Side {
    total: Sums,
    passed: Sums,
    /// The sum of the squares of the weights of what has not been passed.
    rest: u64,
}

impl Side {
    fn new(total: Sums) -> Self {
        Self { total, passed: Sums::default(), rest: total.squares }
    }

    #[inline(always)]
    fn pass(&mut self, total: &[u32], passed: &mut [u32], class: u16, weight: u16) {
        self.pass_weight(total, passed, usize::from(class), u64::from(weight));
    }

    #[inline(always)]
    fn pass_weight(&mut self, total: &[u32], passed: &mut [u32], class: usize, weight: u64) {
        let (total, passed) = (u64::from(total[class]), &mut passed[class]);
        let before = u64::from(*passed);
        self.passed.squares += weight * (2 * before + weight);
        // (rest)^2 - (rest - weight)^2, where the weight is never more than the rest.
        self.rest -= weight * (2 * (total - before) - weight);
        self.passed.weight += weight;
        *passed += weight as u32;
    }

    #[inline(always)]
    fn worth(&self) -> f64 {
        let rest = self.total.weight - self.passed.weight;
        self.passed.squares as f64 / self.passed.weight as f64 + self.rest as f64 / rest as f64
    }
}

/// The best split by a column so far; what it is not better than is not kept.
struct Best {
    split: Split,
    better: bool,
    /// How many bins had rows, but the first.
    boundaries: usize,
}

impl Best {
    fn new(column: u32, worth: f64) -> Self {
        let split = Split { worth, column, left: 0, right: 0, rows: 0, weight: 0, squares: [0; 2] };
        Self { split, better: false, boundaries: 0 }
    }

    #[inline(always)]
    fn offer(&mut self, side: &Side, rows: usize, all: usize, least: usize, (left, right): (u8, u8)) {
        self.boundaries += 1;
        if rows < least || all - rows < least {
            return;
        }
        let worth = side.worth();
        if worth > self.split.worth {
            self.better = true;
            self.split.worth = worth;
            (self.split.left, self.split.right) = (left, right);
            (self.split.rows, self.split.weight) = (rows as u32, side.passed.weight);
            self.split.squares = [side.passed.squares, side.rest];
        }
    }

    fn found(self) -> Found {
        match (self.better, self.boundaries) {
            (true, _) => Found::Better(self.split),
            (false, 0) => Found::Constant,
            (false, _) => Found::Nothing,
        }
    }
}

/// Sets the numbers of the classes that `count` rows have to 0.
fn clear(numbers: &mut [u32], count: usize, classes: impl Iterator<Item = u16>) {
    if count < numbers.len() / 8 {
        classes.for_each(|class| numbers[usize::from(class)] = 0);
    } else {
        numbers.fill(0);
    }
}

fn insert(keys: &mut [u64]) {
    for sorted in 1..keys.len() {
        let key = keys[sorted];
        let mut place = sorted;
        while place > 0 && keys[place - 1] > key {
            keys[place] = keys[place - 1];
            place -= 1;
        }
        keys[place] = key;
    }
}

/// Writes the keys to `to` by ascending bin, of which there are `count`.
fn sort_by_bin(keys: &[u64], to: &mut [u64], count: usize) {
    let mut places = [0_u32; MAX_BINS];
    for key in keys {
        places[(key >> 32) as usize % MAX_BINS] += 1;
    }
    let mut begin = 0;
    for place in &mut places[..count] {
        (*place, begin) = (begin, begin + *place);
    }
    for &key in keys {
        let place = &mut places[(key >> 32) as usize % MAX_BINS];
        to[*place as usize] = key;
        *place += 1;
    }
}

#[cfg(test)]
mod tests;
