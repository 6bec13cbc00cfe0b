//! Owns what is still to happen: by time, and of one moment in the order in which it was foreseen.

use crate::types::Time;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What is to happen, the next first.
pub(super) struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    last: u64,
}

struct Entry<T> {
    at: Time,
    number: u64,
    what: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), last: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, at: Time, what: T) {
        self.last += 1;
        self.heap.push(Entry { at, number: self.last, what });
    }

    pub(super) fn pop(&mut self) -> Option<(Time, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first.
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_foreseen_first_happens_first() {
        let mut queue = Queue::default();
        for (at, what) in [(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c')] {
            queue.push(Time(Duration::from_secs(at)), what);
        }
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, what)| what).collect();
        assert_eq!((order.as_str(), queue.pop()), ("abcd", None));
    }
}
