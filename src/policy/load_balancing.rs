//! Owns the load-balancing policy: each task goes to the node that will have finished it soonest.
//!
//! This is list scheduling by earliest completion time: the waiting tasks are laid, in order, on the node where each
//! would end first, given what runs there, how fast the node has been and how often it refuses. Only those that would
//! start at once are decided for; the others stay free for whichever node turns out to be faster than expected.

use super::{Decision, NodeView, Policy, PolicyRow, Reason, TaskView};
use crate::types::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

pub(super) const ROW: PolicyRow = PolicyRow {
    number: 2,
    name: "load-balancing",
    about: "the node that will be done soonest",
    nodes_may_refuse: true,
    make: |_| Box::new(LoadBalancing),
};

/// A node that refuses nearly always is still tried now and then.
const HIGHEST_REFUSAL_RATE: f64 = 0.95;

struct LoadBalancing;

impl Policy for LoadBalancing {
    fn plan(&mut self, now: Time, tasks: &[TaskView], nodes: &[NodeView]) -> Vec<(usize, Decision)> {
        let usual_pace = usual_pace(nodes);
        let mut lanes: Vec<Lane> = nodes.iter().map(|node| Lane::of(node, now, usual_pace)).collect();
        let mut free: usize = lanes.iter().map(|lane| lane.free).sum();
        let mut decisions = Vec::new();
        for (place, task) in tasks.iter().enumerate() {
            if free == 0 {
                break;
            }
            let best = lanes
                .iter_mut()
                .filter(|lane| !task.avoid.contains(&lane.node.id))
                .min_by(|a, b| a.end_of(task.cost).total_cmp(&b.end_of(task.cost)));
            let Some(lane) = best else { continue };
            let expected = Duration::try_from_secs_f64(lane.end_of(task.cost)).unwrap_or(Duration::MAX);
            lane.lay(task.cost);
            if lane.free > 0 {
                lane.free -= 1;
                free -= 1;
                let reason = Reason::Soonest { expected, refusal_rate: lane.node.refusal_rate };
                decisions.push((place, Decision { node: lane.node.id, reason }));
            }
        }
        decisions
    }
}

/// The median pace of the nodes that have done anything: what is expected of the others.
fn usual_pace(nodes: &[NodeView]) -> f64 {
    let mut paces: Vec<f64> = nodes.iter().filter_map(|node| node.pace).collect();
    paces.sort_by(f64::total_cmp);
    // With nothing known any value does, as long as it is the same for all.
    paces.get(paces.len() / 2).copied().unwrap_or(1.0)
}

/// A node with the times, in seconds from now, at which its slots will be free.
struct Lane<'a> {
    node: &'a NodeView,
    /// Seconds for a unit of cost, with the refusals that must be expected on the way.
    pace: f64,
    slots: BinaryHeap<Reverse<Seconds>>,
    /// How many tasks would start at once.
    free: usize,
}

impl<'a> Lane<'a> {
    fn of(node: &'a NodeView, now: Time, usual_pace: f64) -> Self {
        let known_pace = node.pace.unwrap_or(usual_pace);
        let pause = node.available_at.since(now).as_secs_f64();
        let mut slots: BinaryHeap<_> = node
            .running
            .iter()
            .map(|&(since, cost)| {
                let elapsed = now.since(since).as_secs_f64();
                let expected = cost * known_pace;
                // A task that is over its time is likely to need as long again as it has had.
                let left = if elapsed < expected { expected - elapsed } else { elapsed };
                Reverse(Seconds(left.max(pause)))
            })
            .collect();
        while slots.len() < node.slots {
            slots.push(Reverse(Seconds(pause)));
        }
        let pace = known_pace / (1.0 - node.refusal_rate.min(HIGHEST_REFUSAL_RATE));
        let taken = node.running.len() + node.queued.len();
        let free = if node.is_free(now) { node.slots - taken } else { 0 };
        let mut lane = Self { node, pace, slots, free };
        node.queued.iter().for_each(|&cost| lane.lay(cost));
        lane
    }

    /// When a task would be done here, in seconds from now.
    fn end_of(&self, cost: f64) -> f64 {
        self.slots.peek().map_or(f64::INFINITY, |Reverse(Seconds(start))| start + cost * self.pace)
    }

    /// Lays a task on the slot that is free first.
    fn lay(&mut self, cost: f64) {
        let end = self.end_of(cost);
        self.slots.pop();
        self.slots.push(Reverse(Seconds(end)));
    }
}

#[derive(PartialEq)]
struct Seconds(f64);

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn node(id: u32, pace: Option<f64>) -> NodeView {
        NodeView {
            id: NodeId(id),
            slots: 1,
            running: vec![],
            queued: vec![],
            pace,
            refusal_rate: 0.0,
            available_at: Time::default(),
        }
    }

    fn tasks(count: usize) -> Vec<TaskView> {
        vec![TaskView { cost: 1.0, avoid: vec![] }; count]
    }

    fn nodes_of(decisions: &[(usize, Decision)]) -> Vec<(usize, u32)> {
        decisions.iter().map(|(place, decision)| (*place, decision.node.0)).collect()
    }

    #[test]
    fn unknown_nodes_get_one_task_each() {
        let nodes = [node(0, None), node(1, None), node(2, None)];
        let plan = LoadBalancing.plan(Time::default(), &tasks(5), &nodes);
        assert_eq!(nodes_of(&plan), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_slow_node_gets_a_task_only_if_it_would_end_first() {
        // Node 1 needs 3 s where node 0 needs 1 s: the third task in line is worth giving to it, the second is not.
        let nodes = [node(0, Some(1.0)), node(1, Some(2.5))];
        assert_eq!(nodes_of(&LoadBalancing.plan(Time::default(), &tasks(2), &nodes)), [(0, 0)]);
        assert_eq!(nodes_of(&LoadBalancing.plan(Time::default(), &tasks(3), &nodes)), [(0, 0), (2, 1)]);
    }

    #[test]
    fn the_busy_and_the_refusing_come_later() {
        let mut busy = node(0, Some(1.0));
        busy.running = vec![(Time::default(), 1.0)];
        let mut refusing = node(1, Some(1.0));
        refusing.refusal_rate = 0.9;
        let plan =
            LoadBalancing.plan(Time::default(), &tasks(1), &[busy.clone(), refusing.clone(), node(2, Some(1.5))]);
        assert_eq!(nodes_of(&plan), [(0, 2)]);
        // Ten seconds expected at the refusing node, two at the busy one: the task waits.
        assert!(LoadBalancing.plan(Time::default(), &tasks(1), &[busy, refusing]).is_empty());
    }

    #[test]
    fn a_node_is_left_alone_until_it_is_available() {
        let mut paused = node(0, Some(1.0));
        paused.available_at = Time(Duration::from_millis(10));
        assert!(LoadBalancing.plan(Time::default(), &tasks(3), std::slice::from_ref(&paused)).is_empty());
        let later = Time(Duration::from_millis(10));
        assert_eq!(nodes_of(&LoadBalancing.plan(later, &tasks(3), &[paused])), [(0, 0)]);
    }

    #[test]
    fn slots_are_filled_up() {
        let mut wide = node(0, Some(1.0));
        wide.slots = 3;
        wide.running = vec![(Time::default(), 1.0)];
        let plan = LoadBalancing.plan(Time::default(), &tasks(4), &[wide]);
        assert_eq!(nodes_of(&plan), [(0, 0), (1, 0)]);
    }
}
