//! Owns the order in which an epoch takes the rows: a permutation of all of them that is computed row by row, so that a
//! node finds the rows of its task without looking at the others.

/// Rounds of the network: with fewer the order of small sets shows a pattern.
const ROUNDS: usize = 6;

/// A permutation of `0..rows`, a function of seed and epoch alone.
///
/// A Feistel network over the next power of two; what falls outside is sent through it again until it is inside.
pub(super) struct Order {
    rows: u64,
    low_bits: u32,
    low_mask: u64,
    high_mask: u64,
    keys: [u64; ROUNDS],
}

impl Order {
    pub(super) fn new(seed: u64, epoch: u32, rows: u64) -> Self {
        let bits = u64::BITS - rows.saturating_sub(1).leading_zeros();
        let low_bits = bits / 2;
        let mask = |bits: u32| 1u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1);
        let first = mix(seed ^ mix(u64::from(epoch) + 1));
        let keys = std::array::from_fn(|round| mix(first.wrapping_add(round as u64)));
        Self { rows, low_bits, low_mask: mask(low_bits), high_mask: mask(bits - low_bits), keys }
    }

    /// The row that is taken at this place, below `rows`; so is the row.
    pub(super) fn row(&self, place: u64) -> u64 {
        let mut row = place;
        loop {
            row = self.once(row);
            if row < self.rows {
                return row;
            }
            if place >= self.rows {
                return 0;
            }
        }
    }

    fn once(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        for pair in self.keys.chunks_exact(2) {
            high ^= scatter(low, pair[0]) & self.high_mask;
            low ^= scatter(high, pair[1]) & self.low_mask;
        }
        high << self.low_bits | low
    }
}

fn scatter(value: u64, key: u64) -> u64 {
    let product = (value ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ product >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// SplitMix64's.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_comes_once(rows in 1u64..3000, seed: u64, epoch in 0u32..9) {
            let order = Order::new(seed, epoch, rows);
            let mut seen = vec![false; rows as usize];
            for place in 0..rows {
                prop_assert!(!std::mem::replace(&mut seen[order.row(place) as usize], true));
            }
        }
    }

    #[test]
    fn orders_differ_and_are_random_enough() {
        let of = |seed, epoch| {
            let order = Order::new(seed, epoch, 1000);
            (0..1000).map(|place| order.row(place)).collect::<Vec<_>>()
        };
        assert_eq!(of(1, 0), of(1, 0));
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
        // The mean distance of neighbours is a third of the rows, and hardly any row stays in its place.
        for epoch in 0..20 {
            let order = of(3, epoch);
            let distance: u64 = order.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum();
            assert!((300..370).contains(&(distance / 999)), "{distance}");
            assert!(order.iter().enumerate().filter(|&(place, &row)| place as u64 == row).count() < 10);
        }
    }

    #[test]
    fn the_smallest_sets_have_an_order_too() {
        assert_eq!(Order::new(1, 0, 1).row(0), 0);
        assert_eq!(Order::new(1, 0, 0).row(0), 0);
    }
}
