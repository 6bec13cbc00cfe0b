//! Owns the load-balancing policy: each task goes to the node that will have finished it soonest.
//!
//! This is list scheduling by earliest completion time: the waiting tasks are laid, in order, on the node where each
//! would end first, given what runs there, how fast the node has been and how often it refuses. Only those that would
//! start at once are decided for; the others stay free for whichever node turns out to be faster than expected.
//!
//! With few tasks and nodes that is just what is done. With many, the same is found without laying them: the fastest free
//! node gets the next task if it would be done with it before the others have done all that waits.

use super::cluster::{Seconds, tried_pace};
use super::{Cluster, Decision, NodeView, Policy, PolicyRow, Reason, TaskView, Waiting};
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

/// Up to so many tasks are laid one by one, on up to so many nodes.
const FEW: usize = 32;

struct LoadBalancing;

impl Policy for LoadBalancing {
    fn plan(&mut self, now: Time, waiting: &Waiting, nodes: &Cluster) -> Vec<(usize, Decision)> {
        if waiting.tasks <= FEW && waiting.tasks == waiting.first.len() && nodes.len() <= FEW {
            lay_all(now, waiting.first, nodes)
        } else {
            fill_free(now, waiting, nodes)
        }
    }

    fn waits_for_slots(&self) -> bool {
        true
    }
}

fn decision(node: &NodeView, end: f64) -> Decision {
    let expected = Duration::try_from_secs_f64(end).unwrap_or(Duration::MAX);
    Decision { node: node.id, reason: Reason::Soonest { expected, refusal_rate: node.refusal_rate } }
}

/// Lays each task on the node where it would end first.
fn lay_all(now: Time, tasks: &[TaskView], nodes: &Cluster) -> Vec<(usize, Decision)> {
    let mut lanes: Vec<Lane> = nodes.views().map(|node| Lane::of(node, now, nodes)).collect();
    let mut free: usize = lanes.iter().map(|lane| lane.free).sum();
    let mut decisions = Vec::new();
    for (place, task) in tasks.iter().enumerate() {
        if free == 0 {
            break;
        }
        let may = |lane: &&mut Lane| {
            !task.avoid.contains(&lane.node.id) && (task.for_originals || !lane.node.is_original)
        };
        let best = lanes.iter_mut().filter(may).min_by(|a, b| a.end_of(task.cost).total_cmp(&b.end_of(task.cost)));
        let Some(lane) = best else { continue };
        let end = lane.end_of(task.cost);
        lane.lay(task.cost);
        if lane.free > 0 {
            lane.free -= 1;
            free -= 1;
            decisions.push((place, decision(lane.node, end)));
        }
    }
    decisions
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
    fn of(node: &'a NodeView, now: Time, nodes: &Cluster) -> Self {
        let pause = node.available_at.since(now).as_secs_f64();
        let mut slots: BinaryHeap<_> = nodes.ends(now, node).map(|end| Reverse(Seconds(end.max(pause)))).collect();
        while slots.len() < node.slots {
            slots.push(Reverse(Seconds(pause)));
        }
        let pace = tried_pace(nodes.pace(now, node.id).unwrap_or(1.0), node);
        let mut lane = Self { node, pace, slots, free: node.free(now) };
        (0..node.queued).for_each(|_| lane.lay(node.queued_cost / node.queued as f64));
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

/// A free node in the order of speed, and what it is given in this plan.
struct Candidate<'a> {
    node: &'a NodeView,
    pace: f64,
    free: usize,
}

/// Gives the first tasks to the fastest free nodes, as long as that is sooner than to wait for a node at work.
fn fill_free(now: Time, waiting: &Waiting, nodes: &Cluster) -> Vec<(usize, Decision)> {
    let (at, lanes) = (now.0.as_secs_f64(), nodes.lanes());
    let mut untried = nodes.fastest_free().map(|(pace, node, free)| Candidate { node, pace, free });
    let mut tried: Vec<Candidate> = Vec::new();
    // For each slot that is filled in this plan, how long it is, and how long a unit of cost would take there then.
    let mut filled: Vec<(f64, f64)> = Vec::new();
    // What those that can have only nodes of ours, and those that can have any, are to wait for.
    let mut better_wait = [false; 2];
    let (mut decisions, mut cost_left) = (Vec::new(), waiting.cost);
    for (place, task) in waiting.first.iter().enumerate() {
        let class = usize::from(task.for_originals);
        if better_wait[class] && task.avoid.is_empty() {
            continue;
        }
        let Some(best) = fastest(task, &mut tried, &mut untried) else { continue };
        let takes = task.cost * best.pace;
        // If the others will have done all that waits before it, it is not for it.
        let left = (cost_left / task.cost).max(1.0);
        let sooner = |&(end, pace): &(f64, f64)| ((takes - end) / (pace * task.cost)).floor().max(0.0);
        let done = lanes.done_before(at + takes, task.cost, left) + filled.iter().map(sooner).sum::<f64>();
        if done + 0.5 < left {
            best.free -= 1;
            cost_left -= task.cost;
            filled.push((takes, best.pace));
            decisions.push((place, decision(best.node, takes)));
        } else {
            better_wait[class] = task.avoid.is_empty();
        }
    }
    decisions
}

/// The fastest node with a free slot that may have this task.
fn fastest<'t, 'a>(
    task: &TaskView,
    tried: &'t mut Vec<Candidate<'a>>,
    untried: &mut impl Iterator<Item = Candidate<'a>>,
) -> Option<&'t mut Candidate<'a>> {
    let may = |candidate: &Candidate| {
        let node = candidate.node;
        candidate.free > 0 && !task.avoid.contains(&node.id) && (task.for_originals || !node.is_original)
    };
    tried.retain(|candidate| candidate.free > 0);
    if let Some(at) = tried.iter().position(may) {
        return tried.get_mut(at);
    }
    for candidate in untried {
        let fits = may(&candidate);
        tried.push(candidate);
        if fits {
            return tried.last_mut();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;
    use proptest::prelude::*;

    fn node(id: u32, pace: Option<f64>) -> NodeView {
        NodeView { pace, ..NodeView::new(NodeId(id)) }
    }

    fn plan(now: Time, count: usize, nodes: &[NodeView]) -> Vec<(usize, u32)> {
        let tasks = vec![TaskView::of(1.0); count];
        let plan = LoadBalancing.plan(now, &Waiting::only(&tasks), &Cluster::of(now, nodes));
        plan.iter().map(|(place, decision)| (*place, decision.node.0)).collect()
    }

    fn nodes() -> impl Strategy<Value = Vec<NodeView>> {
        let node = (
            // What is expected of the others may be up to a twentieth off.
            (0.1f64..10.0).prop_map(Some),
            1..3usize,
            prop::collection::vec((0..10_000u64, 0.1f64..5.0), 0..2),
            prop_oneof![3 => Just(0.0), 1 => 0.0f64..1.0],
            prop_oneof![5 => Just(0), 1 => 10_001..14_000u64],
        );
        let view = |(id, (pace, slots, running, refusal_rate, available_at))| NodeView {
            slots,
            running: Vec::into_iter(running)
                .map(|(since, cost)| (Time(Duration::from_millis(since)), cost))
                .collect(),
            pace,
            pace_since: Time(Duration::from_secs(10)),
            refusal_rate,
            available_at: Time(Duration::from_millis(available_at)),
            ..NodeView::new(NodeId(id))
        };
        prop::collection::vec(node, 1..25).prop_map(move |nodes| (0..).zip(nodes).map(view).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// What is done with many nodes and tasks is what is done with few.
        #[test]
        fn the_quick_way_decides_as_laying_all_tasks_does(nodes in nodes(), count in 1..33usize) {
            let now = Time(Duration::from_secs(10));
            let tasks = vec![TaskView::of(1.0); count];
            let mut cluster = Cluster::of(now, &nodes);
            cluster.review(now, Some(1.0));
            let given = |plan: Vec<(usize, Decision)>| {
                let mut given: Vec<NodeId> = plan.into_iter().map(|(_, decision)| decision.node).collect();
                given.sort_unstable();
                given
            };
            let quick = fill_free(now, &Waiting::only(&tasks), &cluster);
            prop_assert_eq!(given(quick), given(lay_all(now, &tasks, &cluster)));
        }
    }

    #[test]
    fn unknown_nodes_get_one_task_each() {
        let nodes = [node(0, None), node(1, None), node(2, None)];
        assert_eq!(plan(Time::default(), 5, &nodes), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_slow_node_gets_a_task_only_if_it_would_end_first() {
        // Node 1 needs 2.5 s where node 0 needs 1 s: the third task in line is worth giving to it, the second is not.
        let nodes = [node(0, Some(1.0)), node(1, Some(2.5))];
        assert_eq!(plan(Time::default(), 2, &nodes), [(0, 0)]);
        assert_eq!(plan(Time::default(), 3, &nodes), [(0, 0), (2, 1)]);
    }

    #[test]
    fn the_busy_and_the_refusing_come_later() {
        let mut busy = node(0, Some(1.0));
        busy.running = vec![(Time::default(), 1.0)];
        let mut refusing = node(1, Some(1.0));
        refusing.refusal_rate = 0.9;
        let nodes = [busy.clone(), refusing.clone(), node(2, Some(1.2))];
        assert_eq!(plan(Time::default(), 1, &nodes), [(0, 2)]);
        // Two seconds expected at the busy node, nine refusals and one second at the other.
        assert_eq!(plan(Time::default(), 1, &[busy.clone(), refusing.clone()]), [(0, 1)]);
        refusing.pace = Some(1.6);
        assert!(plan(Time::default(), 1, &[busy, refusing]).is_empty());
    }

    #[test]
    fn a_node_is_left_alone_until_it_is_available() {
        let mut paused = node(0, Some(1.0));
        paused.available_at = Time(Duration::from_millis(10));
        assert!(plan(Time::default(), 3, std::slice::from_ref(&paused)).is_empty());
        assert_eq!(plan(Time(Duration::from_millis(10)), 3, &[paused]), [(0, 0)]);
    }

    #[test]
    fn slots_are_filled_up() {
        let mut wide = node(0, Some(1.0));
        wide.slots = 3;
        wide.running = vec![(Time::default(), 1.0)];
        assert_eq!(plan(Time::default(), 4, &[wide]), [(0, 0), (1, 0)]);
    }
}
