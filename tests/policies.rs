//! One suite for all scheduling policies: the rules of `Policy::plan` hold for every row of the table, whatever tasks
//! and nodes there are; then what each policy promises beyond them. Time is a number here.

use proptest::prelude::*;
use roundtable::policy::{self, Cluster, Decision, NodeView, POLICIES, Policy, Reason, TaskView, Waiting};
use roundtable::types::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

type Plan = Vec<(usize, Decision)>;

/// What a policy is asked about in one call.
#[derive(Clone, Debug)]
struct Scene {
    now: Time,
    tasks: Vec<TaskView>,
    nodes: Vec<NodeView>,
}

fn ms(ms: u64) -> Time {
    Time(Duration::from_millis(ms))
}

fn make(name: &str, seed: u64) -> Box<dyn Policy> {
    (policy::find(name).expect("a policy of this name").make)(seed)
}

/// A node that has done nothing yet.
fn idle(id: u32) -> NodeView {
    NodeView::new(NodeId(id))
}

/// Asks a policy about all of these at once.
fn plan(policy: &mut dyn Policy, now: Time, tasks: &[TaskView], nodes: &[NodeView]) -> Plan {
    policy.plan(now, &Waiting::only(tasks), &Cluster::of(now, nodes))
}

fn idle_nodes(count: u32) -> Vec<NodeView> {
    (0..count).map(idle).collect()
}

fn equal_tasks(count: usize) -> Vec<TaskView> {
    vec![TaskView::of(1.0); count]
}

/// The moment at which generated scenes play.
const NOW_MS: u64 = 10_000;

fn node() -> impl Strategy<Value = NodeView> {
    let pace = prop::option::weighted(0.7, 0.001f64..10.0);
    let refusal_rate = prop_oneof![Just(0.0), 0.0..=1.0f64, Just(1.0)];
    let available_at = prop_oneof![4 => Just(0), 1 => Just(NOW_MS), 1 => NOW_MS + 1..30_000];
    let running = prop::collection::vec((0..=NOW_MS, 0.01f64..10.0), 0..4);
    let queued = (0..3usize, 0.01f64..10.0);
    (1..4usize, running, queued, pace, refusal_rate, available_at).prop_map(
        |(slots, mut running, queued, pace, refusal_rate, available_at)| {
            running.truncate(slots);
            let running = running.into_iter().map(|(since, cost)| (ms(since), cost)).collect();
            let (queued, queued_cost) = (queued.0, queued.0 as f64 * queued.1);
            let (pace_since, available_at) = (ms(NOW_MS), ms(available_at));
            NodeView {
                slots,
                running,
                queued,
                queued_cost,
                pace,
                pace_since,
                refusal_rate,
                available_at,
                ..NodeView::new(NodeId(0))
            }
        },
    )
}

/// Nodes with ascending ids that need not be consecutive; tasks avoid some of them, and some that are not there.
fn scene() -> impl Strategy<Value = Scene> {
    let nodes = prop::collection::vec((node(), 1..3u32, prop::bool::weighted(0.2)), 0..6);
    let kind = (prop::bool::weighted(0.8), prop::bool::weighted(0.1));
    let tasks = prop::collection::vec((0.01f64..10.0, prop::collection::vec(0..14u32, 0..4), kind), 0..12);
    (nodes, tasks).prop_map(|(nodes, tasks)| {
        let mut last = 0;
        let with_id = |(node, gap, is_original)| {
            last += gap;
            NodeView { id: NodeId(last), is_original, ..node }
        };
        let task = |(cost, avoid, (for_originals, at_once)): (f64, Vec<u32>, (bool, bool))| {
            let avoid = avoid.into_iter().map(NodeId).collect();
            TaskView { cost, avoid, for_originals, at_once }
        };
        Scene {
            now: ms(NOW_MS),
            nodes: nodes.into_iter().map(with_id).collect(),
            tasks: tasks.into_iter().map(task).collect(),
        }
    })
}

/// The first rule that a plan breaks.
fn broken_rule(scene: &Scene, plan: &Plan) -> Option<String> {
    let mut decided = BTreeSet::new();
    for (place, decision) in plan {
        let Some(task) = scene.tasks.get(*place) else { return Some(format!("there is no task {place}")) };
        let Some(node) = scene.nodes.iter().find(|node| node.id == decision.node) else {
            return Some(format!("task {place}: node {} is not in the list", decision.node));
        };
        if !decided.insert(*place) {
            return Some(format!("task {place} is decided for twice"));
        }
        if task.avoid.contains(&node.id) {
            return Some(format!("task {place} must avoid node {}", node.id));
        }
        if node.available_at > scene.now {
            return Some(format!("task {place}: node {} is to be left alone", node.id));
        }
        if task.at_once && node.free(scene.now) == 0 {
            return Some(format!("task {place} is a copy, and node {} would not start it at once", node.id));
        }
        if node.is_original && !task.for_originals {
            return Some(format!("task {place} is none for node {}", node.id));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_rules_hold_for_every_policy(row in 0..POLICIES.len(), seed: u64, scenes in prop::collection::vec(scene(), 1..5)) {
        let row = &POLICIES[row];
        let (mut policy, mut again) = ((row.make)(seed), (row.make)(seed));
        for scene in &scenes {
            let decided = plan(policy.as_mut(), scene.now, &scene.tasks, &scene.nodes);
            prop_assert_eq!(broken_rule(scene, &decided), None, "{}", row.name);
            let same = plan(again.as_mut(), scene.now, &scene.tasks, &scene.nodes);
            prop_assert_eq!(decided, same, "{}: the same seed and the same calls", row.name);
            prop_assert_eq!(plan(policy.as_mut(), scene.now, &scene.tasks, &[]), vec![], "{}: no nodes", row.name);
            plan(again.as_mut(), scene.now, &scene.tasks, &[]);
        }
    }

    /// Numbers that no engine should ever give: the rules hold all the same, and nothing panics.
    #[test]
    fn the_rules_hold_for_absurd_numbers(
        row in 0..POLICIES.len(),
        mut scene in scene(),
        cost in prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(-1.0), Just(f64::INFINITY)],
        pace in prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(f64::MAX)],
        slots in prop_oneof![Just(0usize), Just(1), Just(2)],
    ) {
        let row = &POLICIES[row];
        for task in scene.tasks.iter_mut().step_by(2) {
            task.cost = cost;
        }
        for node in scene.nodes.iter_mut().step_by(2) {
            node.pace = Some(pace);
            node.refusal_rate = cost;
            node.running.push((Time(Duration::MAX), cost));
        }
        for node in scene.nodes.iter_mut().skip(1).step_by(2) {
            node.slots = slots;
        }
        let plan = plan((row.make)(1).as_mut(), scene.now, &scene.tasks, &scene.nodes);
        prop_assert_eq!(broken_rule(&scene, &plan), None, "{}", row.name);
    }

    /// With all nodes free and alike there is no reason to keep one waiting that has a task to do.
    #[test]
    fn free_nodes_do_not_stay_without_work(row in 0..POLICIES.len(), seed: u64, nodes in 1..6u32, tasks in 1..12usize) {
        let row = &POLICIES[row];
        let plan = plan((row.make)(seed).as_mut(), ms(0), &equal_tasks(tasks), &idle_nodes(nodes));
        prop_assert!(plan.len() >= tasks.min(nodes as usize), "{}: {plan:?}", row.name);
    }
}

#[test]
fn rows_have_numbers_and_names_of_their_own_and_are_found_by_them() {
    let numbers: BTreeSet<i32> = POLICIES.iter().map(|row| row.number).collect();
    let names: BTreeSet<String> = POLICIES.iter().map(|row| row.name.to_lowercase()).collect();
    assert_eq!((numbers.len(), names.len()), (POLICIES.len(), POLICIES.len()));
    for row in POLICIES {
        assert!(row.name.parse::<f64>().is_err(), "{} would be taken for a number", row.name);
        assert!(!row.about.is_empty() && !row.about.contains('\n'), "{}", row.name);
        for text in
            [row.number.to_string(), row.name.to_owned(), row.name.to_uppercase(), format!(" {} ", row.name)]
        {
            let found = policy::find(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(found.number, row.number, "{text}");
        }
        assert_eq!(policy::nodes_may_refuse(row.number), row.nodes_may_refuse);
    }
}

#[test]
fn an_unknown_name_is_told_what_there_is() {
    for unknown in ["", "0", "-1", "4294967297", "1.0", "rand om", "round_robin", "número"] {
        let Err(error) = policy::find(unknown) else { panic!("'{unknown}' is found") };
        let message = error.to_string();
        assert!(message.contains(&format!("'{unknown}'")), "{message}");
        for row in POLICIES {
            assert!(message.contains(&format!("{} {}", row.number, row.name)), "{message}");
        }
    }
    assert!(!policy::nodes_may_refuse(i32::MAX) && !policy::nodes_may_refuse(0));
}

#[test]
fn the_seed_matters_to_the_random_policy() {
    let of_seed = |seed| plan(make("random", seed).as_mut(), ms(0), &equal_tasks(40), &idle_nodes(4));
    assert_ne!(of_seed(1), of_seed(2));
}

#[test]
fn random_is_uniform_over_those_that_may_have_the_task() {
    // Node 2 is busy, which does not matter; node 4 is in a pause; node 1 is to be avoided by every other task.
    let mut nodes = idle_nodes(5);
    nodes[2].running = vec![(ms(0), 1e9)];
    (nodes[2].queued, nodes[2].queued_cost) = (100, 100.0);
    nodes[4].available_at = ms(1);
    let mut tasks = equal_tasks(24_000);
    tasks.iter_mut().step_by(2).for_each(|task| task.avoid = vec![NodeId(1)]);
    let mut counts = BTreeMap::new();
    for (place, decision) in plan(make("random", 7).as_mut(), ms(0), &tasks, &nodes) {
        *counts.entry((place % 2, decision.node.0)).or_insert(0u32) += 1;
        let among = if place % 2 == 0 { 3 } else { 4 };
        assert_eq!(decision.reason, Reason::Drawn { among });
    }
    for (share, who) in
        [(1.0f64 / 3.0, vec![(0, 0), (0, 2), (0, 3)]), (0.25, vec![(1, 0), (1, 1), (1, 2), (1, 3)])]
    {
        let deviation = (12_000.0 * share * (1.0 - share)).sqrt();
        for key in who {
            let count = counts.remove(&key).unwrap_or(0);
            let off = (f64::from(count) - 12_000.0 * share) / deviation;
            assert!(off.abs() < 4.5, "{key:?}: {count}, {off:.1} standard deviations off");
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
}

#[test]
fn random_draws_do_not_follow_each_other() {
    // Of 9 pairs of neighbours each must be as frequent as any other.
    let plan = plan(make("random", 3).as_mut(), ms(0), &equal_tasks(18_001), &idle_nodes(3));
    let mut pairs = BTreeMap::new();
    for pair in plan.windows(2) {
        *pairs.entry((pair[0].1.node, pair[1].1.node)).or_insert(0u32) += 1;
    }
    assert_eq!(pairs.len(), 9);
    let deviation = (18_000.0f64 * (1.0 / 9.0) * (8.0 / 9.0)).sqrt();
    assert!(pairs.values().all(|&n| (f64::from(n) - 2000.0).abs() < 4.5 * deviation), "{pairs:?}");
}

proptest! {
    /// However the tasks come, and however busy the nodes are, no node is more than one task ahead of another.
    #[test]
    fn round_robin_is_fair_to_within_a_task(
        nodes in 1..7u32,
        batches in prop::collection::vec(0..9usize, 1..20),
        busy in 0..7u32,
    ) {
        let mut nodes = idle_nodes(nodes);
        if let Some(node) = nodes.get_mut(busy as usize) {
            node.running = vec![(ms(0), 1e6)];
            (node.queued, node.queued_cost) = (9, 9.0);
        }
        let mut counts = vec![0u32; nodes.len()];
        let mut policy = make("round-robin", 0);
        for batch in batches {
            let plan = plan(policy.as_mut(), ms(0), &equal_tasks(batch), &nodes);
            prop_assert_eq!(plan.len(), batch);
            plan.iter().for_each(|(_, decision)| counts[decision.node.0 as usize] += 1);
            let (least, most) = (counts.iter().min(), counts.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
        }
    }
}

#[test]
fn round_robin_goes_on_where_it_was_when_nodes_come_and_go() {
    let mut policy = make("round-robin", 0);
    let mut turn = |nodes: &[NodeView]| plan(policy.as_mut(), ms(0), &equal_tasks(1), nodes)[0].1.node.0;
    let all = idle_nodes(4);
    assert_eq!([turn(&all), turn(&all)], [0, 1]);
    let without_two: Vec<NodeView> = all.iter().filter(|node| node.id != NodeId(2)).cloned().collect();
    assert_eq!([turn(&without_two), turn(&without_two)], [3, 0]);
    assert_eq!([turn(&all), turn(&all), turn(&all)], [1, 2, 3]);
}

/// A node as the oracle has it: what it is known to have to do, and nothing computed.
struct Ledger<'a> {
    node: &'a NodeView,
    pace: f64,
    /// Costs, in the order in which they came to it.
    given: Vec<f64>,
    decided: usize,
}

impl Ledger<'_> {
    /// Seconds from now until a task would be done here: each running task ends when its pace says so, or, over its
    /// time, in as long again as it has had; each task given starts on the slot that is free first.
    fn finish(&self, now: Time, cost: f64) -> f64 {
        let pause = self.node.available_at.since(now).as_secs_f64();
        let mut slots: Vec<f64> = Vec::new();
        for &(since, cost) in &self.node.running {
            let (had, all) = (now.since(since).as_secs_f64(), cost * self.pace);
            slots.push(pause.max(if had < all { all - had } else { had }));
        }
        slots.resize(self.node.slots, pause);
        // Of 1 / (1 - rate) tries all but one are refused, and each of those costs a 32nd of the task.
        let rate = self.node.refusal_rate.min(0.95);
        let tries = 1.0 + (1.0 / (1.0 - rate) - 1.0) / 32.0;
        let mut end = 0.0;
        for cost in self.given.iter().chain([&cost]) {
            slots.sort_by(f64::total_cmp);
            end = slots[0] + cost * self.pace * tries;
            slots[0] = end;
        }
        end
    }
}

/// What load-balancing must decide, found by trying every node for every task, from scratch each time.
fn best_plan(scene: &Scene) -> Vec<(usize, NodeId, f64)> {
    let mut paces: Vec<f64> = scene.nodes.iter().filter_map(|node| node.pace).collect();
    paces.sort_by(f64::total_cmp);
    let usual = paces.get(paces.len() / 2).copied().unwrap_or(1.0);
    let ledger = |node| Ledger {
        node,
        pace: node.pace.unwrap_or(usual),
        given: vec![node.queued_cost / node.queued.max(1) as f64; node.queued],
        decided: 0,
    };
    let mut ledgers: Vec<Ledger> = scene.nodes.iter().map(ledger).collect();
    let mut plan = Vec::new();
    for (place, task) in scene.tasks.iter().enumerate() {
        let may = |ledger: &&mut Ledger| {
            !task.avoid.contains(&ledger.node.id) && (task.for_originals || !ledger.node.is_original)
        };
        let may = ledgers.iter_mut().filter(may);
        let mut ends: Vec<(f64, &mut Ledger)> = may.map(|l| (l.finish(scene.now, task.cost), l)).collect();
        ends.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let Some((end, ledger)) = ends.into_iter().next() else { continue };
        let node = ledger.node;
        let free =
            node.available_at <= scene.now && node.running.len() + node.queued + ledger.decided < node.slots;
        if free {
            ledger.decided += 1;
            plan.push((place, node.id, end));
        }
        ledger.given.push(task.cost);
    }
    plan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn load_balancing_decides_what_trying_everything_finds_best(scene in scene()) {
        let plan = plan(make("load-balancing", 0).as_mut(), scene.now, &scene.tasks, &scene.nodes);
        let best = best_plan(&scene);
        let places: Vec<_> = plan.iter().map(|(place, decision)| (*place, decision.node)).collect();
        let expected: Vec<_> = best.iter().map(|&(place, node, _)| (place, node)).collect();
        prop_assert_eq!(places, expected);
        let mut given: BTreeMap<NodeId, usize> = BTreeMap::new();
        for ((_, decision), (place, _, end)) in plan.iter().zip(&best) {
            let Reason::Soonest { expected, refusal_rate } = &decision.reason else {
                return Err(TestCaseError::fail(format!("{decision:?}")));
            };
            prop_assert!((expected.as_secs_f64() - end).abs() <= 1e-9 * end.max(1.0), "task {place}: {end}");
            let node = scene.nodes.iter().find(|node| node.id == decision.node).expect("a rule of all policies");
            prop_assert_eq!(*refusal_rate, node.refusal_rate);
            let given = given.entry(node.id).or_default();
            *given += 1;
            let taken = node.running.len() + node.queued + *given;
            prop_assert!(taken <= node.slots, "task {place}: node {} has no free slot", node.id);
        }
    }
}

/// A cluster under virtual time: node `i` needs `costs[t] / speeds[i]` seconds for task `t`.
struct Simulation<'a> {
    speeds: &'a [f64],
    costs: &'a [f64],
}

struct Worker {
    view: NodeView,
    queue: VecDeque<usize>,
    /// The task at work and its end.
    at_work: Option<(usize, Time)>,
}

impl Simulation<'_> {
    /// From the first task's start to the last one's end, in seconds. Nodes' paces are unknown at first, and learnt.
    fn makespan(&self, policy: &mut dyn Policy) -> f64 {
        let mut now = ms(0);
        let mut waiting: Vec<usize> = (0..self.costs.len()).collect();
        let mut left = waiting.len();
        let view = |id| Worker { view: idle(id), queue: VecDeque::new(), at_work: None };
        let mut workers: Vec<Worker> = (0..self.speeds.len() as u32).map(view).collect();
        while left > 0 {
            let tasks: Vec<TaskView> = waiting.iter().map(|&t| TaskView::of(self.costs[t])).collect();
            let views: Vec<NodeView> = workers.iter().map(|worker| worker.view.clone()).collect();
            let plan = plan(policy, now, &tasks, &views);
            for (place, decision) in &plan {
                workers[decision.node.0 as usize].queue.push_back(waiting[*place]);
            }
            let decided: BTreeSet<usize> = plan.iter().map(|(place, _)| waiting[*place]).collect();
            waiting.retain(|task| !decided.contains(task));
            for (worker, speed) in workers.iter_mut().zip(self.speeds) {
                if worker.at_work.is_none()
                    && let Some(task) = worker.queue.pop_front()
                {
                    let cost = self.costs[task];
                    worker.at_work = Some((task, now + Duration::from_secs_f64(cost / speed)));
                    worker.view.running = vec![(now, cost)];
                }
                worker.view.queued = worker.queue.len();
                worker.view.queued_cost = worker.queue.iter().map(|&task| self.costs[task]).sum();
            }
            now = workers.iter().filter_map(|w| w.at_work.map(|(_, end)| end)).min().expect("somebody works");
            for worker in &mut workers {
                if let Some((task, end)) = worker.at_work
                    && end <= now
                {
                    let taken = end.since(worker.view.running[0].0).as_secs_f64();
                    (worker.view.pace, worker.view.pace_since) = (Some(taken / self.costs[task]), now);
                    worker.view.running.clear();
                    worker.at_work = None;
                    left -= 1;
                }
            }
        }
        now.0.as_secs_f64()
    }

    /// The work over the speed of all, and the longest task on the fastest node after that.
    fn bound(&self) -> f64 {
        let longest = self.costs.iter().copied().fold(0.0, f64::max);
        let fastest = self.speeds.iter().copied().fold(0.0, f64::max);
        self.costs.iter().sum::<f64>() / self.speeds.iter().sum::<f64>() + longest / fastest
    }
}

#[test]
fn load_balancing_keeps_unequal_nodes_busy_to_the_end() {
    let clusters: &[&[f64]] = &[&[1.0, 0.1], &[1.0, 1.0, 1.0, 0.1], &[2.0, 1.0, 1.0, 0.5, 0.1], &[10.0; 7]];
    for speeds in clusters {
        for tasks in [100, 300] {
            // From 0.5 to 1.5, in no order.
            let costs: Vec<f64> = (0..tasks).map(|t| 0.5 + f64::from(t * 37 % 101) / 100.0).collect();
            let simulation = Simulation { speeds, costs: &costs };
            let taken = simulation.makespan(make("load-balancing", 0).as_mut());
            let bound = simulation.bound();
            assert!(taken <= 1.25 * bound, "{tasks} tasks on {speeds:?}: {taken:.1} s, the bound is {bound:.1} s");
            let random = |seed| simulation.makespan(make("random", seed).as_mut());
            let mean = (0..20).map(random).sum::<f64>() / 20.0;
            // With one node ten times slower than the others, chance gives it ten times too much.
            let better = if speeds.contains(&0.1) { 4.0 } else { 1.0 };
            assert!(taken * better < mean, "{tasks} tasks on {speeds:?}: {taken:.1} s, random {mean:.1} s");
        }
    }
}
