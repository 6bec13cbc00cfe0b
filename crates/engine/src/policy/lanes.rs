//! Owns the slots that are taken, in the order in which they could have done one more task: how many tasks they will do
//! before a given moment is known without looking at each of them.

use crate::types::NodeId;

/// A block of lanes is split when it has so many.
const BLOCK: usize = 256;
/// So many lanes are counted one by one; of the rest, block by block, only the sum is right.
const ONE_BY_ONE: usize = 128;

/// A slot that is taken until a moment, in seconds, and what it needs for a unit of cost from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) node: NodeId,
    pub(super) free_at: f64,
    pub(super) pace: f64,
}

/// A lane with the end of the task that it could do next: its place in the order.
#[derive(Clone, Copy, Debug)]
struct Placed {
    end: f64,
    /// Of one task, in seconds.
    takes: f64,
    lane: Lane,
}

impl Placed {
    fn is_before(&self, end: f64, node: NodeId) -> bool {
        self.end.total_cmp(&end).then(self.lane.node.cmp(&node)).is_lt()
    }
}

struct Block {
    lanes: Vec<Placed>,
    /// Tasks for each second, of all lanes together.
    speed: f64,
    /// The tasks that they would have done by second 0, had they always worked.
    done: f64,
    /// The least and the most seconds that a task takes in one of them.
    quickest: f64,
    slowest: f64,
    /// How often lanes have come or gone since all were summed up.
    changes: usize,
}

impl Default for Block {
    fn default() -> Self {
        let (quickest, slowest) = (f64::INFINITY, 0.0);
        Self { lanes: Vec::new(), speed: 0.0, done: 0.0, quickest, slowest, changes: 0 }
    }
}

impl Block {
    fn add(&mut self, placed: &Placed) {
        self.speed += 1.0 / placed.takes;
        self.done += placed.lane.free_at / placed.takes;
        self.quickest = self.quickest.min(placed.takes);
        self.slowest = self.slowest.max(placed.takes);
        self.changed();
    }

    /// The extremes stay: they are too wide for a while, and decisions take a little longer.
    fn subtract(&mut self, placed: &Placed) {
        self.speed -= 1.0 / placed.takes;
        self.done -= placed.lane.free_at / placed.takes;
        self.changed();
    }

    /// Sums up anew now and then, so that rounding does not add up.
    fn changed(&mut self) {
        self.changes += 1;
        if self.changes >= BLOCK / 2 {
            self.sum_up();
        }
    }

    fn sum_up(&mut self) {
        self.changes = 0;
        self.speed = self.lanes.iter().map(|placed| 1.0 / placed.takes).sum();
        self.done = self.lanes.iter().map(|placed| placed.lane.free_at / placed.takes).sum();
        self.quickest = self.lanes.iter().map(|placed| placed.takes).fold(f64::INFINITY, f64::min);
        self.slowest = self.lanes.iter().map(|placed| placed.takes).fold(0.0, f64::max);
    }

    /// Whether no lane could do a task of this size, in grains, before `end`.
    fn does_nothing_before(&self, end: f64, size: f64) -> bool {
        self.lanes.first().is_none_or(|first| first.end + (size - 1.0).max(0.0) * self.quickest > end)
    }

    /// Whether each lane could do one.
    fn does_all_before(&self, end: f64, size: f64) -> bool {
        self.lanes.last().is_some_and(|last| last.end + (size - 1.0).max(0.0) * self.slowest <= end)
    }
}

/// All lanes, for tasks of one size.
pub(super) struct Lanes {
    grain: f64,
    blocks: Vec<Block>,
}

impl Lanes {
    /// For tasks of this cost.
    pub(super) fn new(grain: f64) -> Self {
        Self { grain, blocks: vec![Block::default()] }
    }

    /// The cost of a task that is counted as one.
    pub(super) fn grain(&self) -> f64 {
        self.grain
    }

    fn placed(&self, lane: Lane) -> Placed {
        // A lane that takes no time, or no number, would do everything.
        let takes = (lane.pace * self.grain).max(1e-12);
        Placed { end: lane.free_at + takes, takes, lane }
    }

    fn block_of(&self, placed: &Placed) -> usize {
        let before =
            |block: &Block| block.lanes.last().is_some_and(|last| last.is_before(placed.end, placed.lane.node));
        self.blocks.partition_point(before).min(self.blocks.len() - 1)
    }

    pub(super) fn insert(&mut self, lane: Lane) {
        let placed = self.placed(lane);
        let at = self.block_of(&placed);
        let block = &mut self.blocks[at];
        let place = block.lanes.partition_point(|other| other.is_before(placed.end, lane.node));
        block.lanes.insert(place, placed);
        block.add(&placed);
        if block.lanes.len() > BLOCK {
            let mut upper = Block { lanes: block.lanes.split_off(BLOCK / 2), ..Block::default() };
            block.sum_up();
            upper.sum_up();
            self.blocks.insert(at + 1, upper);
        }
    }

    /// Removes a lane that was inserted just so.
    pub(super) fn remove(&mut self, lane: Lane) {
        let placed = self.placed(lane);
        let at = self.block_of(&placed);
        let block = &mut self.blocks[at];
        let place = block.lanes.partition_point(|other| other.is_before(placed.end, lane.node));
        if block.lanes.get(place).is_some_and(|other| other.lane.node == lane.node) {
            let gone = block.lanes.remove(place);
            block.subtract(&gone);
        }
        if block.lanes.is_empty() {
            // The last one is kept: there is always a block to insert into.
            *block = Block::default();
            if self.blocks.len() > 1 {
                self.blocks.remove(at);
            }
        }
    }

    /// How many tasks of this cost would be done before `end`, if there were enough of them; counted up to `enough`.
    /// Tasks much smaller than the usual ones are counted too low.
    pub(super) fn done_before(&self, end: f64, cost: f64, enough: f64) -> f64 {
        let (mut count, mut looked_at) = (0.0, 0);
        let size = (cost / self.grain).max(f64::MIN_POSITIVE);
        for block in &self.blocks {
            if count >= enough {
                break;
            }
            if block.does_nothing_before(end, size) {
                continue;
            }
            if looked_at >= ONE_BY_ONE && block.does_all_before(end, size) {
                // Each lane is on average in the middle of a task, which does not count.
                count += ((end * block.speed - block.done) / size - block.lanes.len() as f64 / 2.0).max(0.0);
                continue;
            }
            for placed in &block.lanes {
                if placed.end > end || count >= enough {
                    return count;
                }
                count += ((end - placed.lane.free_at) / (placed.takes * size)).floor().max(0.0);
                looked_at += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(node: usize, free_at: f64, pace: f64) -> Lane {
        Lane { node: NodeId(node as u32), free_at, pace }
    }

    proptest! {
        /// Against counting all of them, after lanes have come and gone.
        #[test]
        fn the_count_is_that_of_all_lanes(
            given in prop::collection::vec((0.0f64..10.0, 0.01f64..3.0), 1..1500),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
            end in 0.0f64..40.0,
            cost in prop_oneof![Just(1.0), 1.0f64..3.0],
        ) {
            let mut lanes = Lanes::new(1.0);
            let mut all: Vec<Lane> = given.iter().enumerate().map(|(i, &(at, pace))| lane(i, at, pace)).collect();
            all.iter().for_each(|&lane| lanes.insert(lane));
            for index in gone {
                if !all.is_empty() {
                    lanes.remove(all.swap_remove(index.index(all.len())));
                }
            }
            let exact: f64 = all.iter().map(|lane| ((end - lane.free_at) / (lane.pace * cost)).floor().max(0.0)).sum();
            let count = lanes.done_before(end, cost, f64::INFINITY);
            if all.len() <= ONE_BY_ONE {
                prop_assert_eq!(count, exact);
            } else {
                prop_assert!((count - exact).abs() <= 4.0 * (all.len() as f64).sqrt(), "{count} for {exact}");
            }
            prop_assert_eq!(lanes.blocks.iter().map(|block| block.lanes.len()).sum::<usize>(), all.len());
            prop_assert!(lanes.blocks.len() <= 2 + given.len() / (BLOCK / 2));
        }
    }
}
