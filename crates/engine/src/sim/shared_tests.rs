//! How nodes are divided between jobs, in simulated clusters of many kinds.

use super::NodeSetup;
use super::fairness::{Fairness, gap};
use super::shared::{PART, Shared, SharedJob, SharedSummary, SharedWork, simulate_shared};
use proptest::prelude::*;
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn inference(arrives: Duration, query: Duration, batch: u32, weight: f64) -> SharedJob {
    let work = SharedWork::Inference { queries: 1 << 40, batch, query_time: query };
    SharedJob { arrives, weight, priority: 0, work }
}

fn training(arrives: Duration, tasks: u32, task_time: Duration) -> SharedJob {
    SharedJob {
        arrives,
        weight: 1.0,
        priority: 0,
        work: SharedWork::Training { rounds: u32::MAX, tasks, task_time },
    }
}

fn shared(policy: &str, nodes: usize, jobs: Vec<SharedJob>, until: Duration) -> Shared {
    let policy = crate::policy::find(policy).expect("a policy of this name");
    let nodes = vec![NodeSetup { speed: 1.0, slots: 1 }; nodes];
    Shared { policy, seed: 1, nodes, spread: 0.1, refuse: 0.0, lose: 0.0, jobs, until }
}

fn run(setup: &Shared) -> SharedSummary {
    simulate_shared(setup, &|| Duration::ZERO)
}

fn done(summary: &SharedSummary, job: usize) -> f64 {
    summary.jobs[job].answers.iter().map(|count| f64::from(*count)).sum()
}

fn busy(summary: &SharedSummary, job: usize, from: Duration, to: Duration) -> f64 {
    let part = |time: Duration| (time.as_millis() / PART.as_millis()) as usize;
    summary.jobs[job].busy.iter().take(part(to)).skip(part(from)).sum()
}

#[test]
fn jobs_of_which_one_costs_five_times_as_much_get_equal_rates_within_seconds() {
    // Batch, window, and from when on.
    for (batch, window, settled) in [(2, secs(2), secs(3)), (10, secs(4), secs(6))] {
        let jobs = vec![inference(ms(0), ms(20), batch, 1.0), inference(secs(10), ms(100), batch, 1.0)];
        let setup = shared("load-balancing", 10, jobs, secs(40));
        let summary = run(&setup);
        let fair = Fairness::of(&setup, &summary, window, settled);
        assert!(fair.moments > 200 && fair.worst <= 0.1, "batches of {batch}: {fair:?}");
        // Its first node is the first that has done a batch.
        let longest = ms(20) * batch * 11 / 10 + ms(3);
        assert!(summary.jobs[1].first_sent.is_some_and(|first| first <= longest), "{:?}", summary.jobs[1]);
        assert!(summary.utilisation > 0.93, "{}", summary.utilisation);
    }
}

#[test]
fn weights_are_kept() {
    let weights = [1.0, 1.0, 2.0, 4.0];
    let costs = [10, 25, 50, 20];
    let job = |(weight, cost)| inference(ms(0), ms(cost), 2, weight);
    let jobs = weights.into_iter().zip(costs).map(job).collect();
    let setup = shared("load-balancing", 16, jobs, secs(30));
    let summary = run(&setup);
    for at in [10, 20, 30] {
        let gap = gap(&setup, &summary, secs(at), secs(8), secs(8));
        assert!(gap.is_some_and(|gap| gap <= 0.1), "at {at} s: {gap:?}");
    }
}

#[test]
fn when_a_job_ends_the_others_get_its_nodes() {
    let mut jobs = vec![inference(ms(0), ms(40), 2, 1.0), inference(ms(0), ms(40), 2, 1.0)];
    jobs[1].work = SharedWork::Inference { queries: 1000, batch: 2, query_time: ms(40) };
    let summary = run(&shared("load-balancing", 10, jobs, secs(20)));
    let ended = summary.jobs[1].ended.expect("it has ended");
    assert!(ended > secs(7) && ended < secs(10), "{ended:?}");
    let alone = busy(&summary, 0, ended + ms(200), secs(20)) / (secs(20) - ended - ms(200)).as_secs_f64();
    assert!(alone > 9.4, "{alone} of 10 nodes");
}

#[test]
fn training_has_its_share_of_the_time_whatever_its_tasks_take() {
    for (tasks, time) in [(8, ms(700)), (40, ms(30)), (8, ms(4000))] {
        // Three of them have a weight of three beside one that trains.
        let mut jobs: Vec<SharedJob> = [20, 50, 100].map(|cost| inference(ms(0), ms(cost), 2, 1.0)).into();
        jobs.push(training(secs(2), tasks, time));
        let setup = shared("load-balancing", 12, jobs, secs(60));
        let summary = run(&setup);
        let of_training = busy(&summary, 3, secs(10), secs(60)) / (50.0 * 12.0);
        // Between two rounds it has nothing to do, and what is lost then is not made up for.
        assert!((0.17..0.29).contains(&of_training), "{tasks} x {time:?}: {of_training}");
        let gap = gap(&setup, &summary, secs(60), secs(20), secs(20));
        assert!(gap.is_some_and(|gap| gap <= 0.1), "{gap:?}");
    }
}

#[test]
fn a_round_that_waits_for_its_last_task_is_helped_though_others_never_stop_waiting() {
    // The slowest of the nodes is so slow that every round waits for a copy of its task.
    let mut setup = shared("load-balancing", 6, vec![inference(ms(0), ms(20), 2, 1.0)], secs(60));
    setup.jobs.push(training(secs(1), 6, ms(200)));
    setup.nodes[5].speed = 0.01;
    let summary = run(&setup);
    assert!(done(&summary, 1) > 6.0 * 10.0, "{} tasks", done(&summary, 1));
}

#[test]
fn higher_priorities_go_first_and_lower_ones_get_what_is_left() {
    let mut jobs = vec![inference(ms(0), ms(50), 2, 1.0), training(secs(5), 4, ms(300))];
    jobs[1].priority = 1;
    let setup = shared("load-balancing", 8, jobs, secs(30));
    let summary = run(&setup);
    let of_training = busy(&summary, 1, secs(8), secs(28)) / (20.0 * 4.0);
    assert!(of_training > 0.75, "it is at work on four nodes nearly all the time: {of_training}");
    assert!(busy(&summary, 0, secs(8), secs(28)) > 20.0 * 3.5, "the other four are the other's");
}

#[test]
fn no_slot_waits_because_a_kind_of_job_is_inefficient() {
    // What a unit of cost takes differs 67 times between the first three jobs.
    let jobs = [30, 40, 50].map(|cost| inference(ms(0), ms(cost), 2, 1.0)).to_vec();
    let mut setup = shared("load-balancing", 4, jobs, secs(20));
    setup.jobs.push(training(secs(5), 16, ms(100)));
    let summary = run(&setup);
    // A message there and back is 2 to 3 % of a batch.
    assert!(summary.utilisation > 0.95, "{}", summary.utilisation);
}

#[test]
fn nodes_stay_with_jobs_and_know_what_comes_next() {
    let job = |place: u64| inference(ms(100 * place), ms(10 + 2 * place), 4, 1.0);
    let setup = shared("load-balancing", 200, (0..20).map(job).collect(), secs(20));
    let summary = run(&setup);
    let (foreseen, told) = summary.foreseen;
    assert!(foreseen as f64 > 0.9 * told as f64, "{foreseen} of {told}");
    assert!(
        (summary.loads as f64) < 0.25 * summary.dispatched as f64,
        "{} of {}",
        summary.loads,
        summary.dispatched
    );
    let fair = Fairness::of(&setup, &summary, secs(2), secs(3));
    assert!(fair.moments > 100 && fair.worst <= 0.1, "{fair:?}");
}

#[test]
fn where_tasks_are_bound_at_once_jobs_of_small_and_large_tasks_share() {
    for (policy, seed) in
        ["random", "round-robin"].into_iter().flat_map(|policy| (0..4).map(move |seed| (policy, seed)))
    {
        // A task of the second takes 24 times as long, and both come before all nodes are there.
        let jobs = vec![inference(ms(0), ms(10), 2, 1.0), inference(ms(0), ms(48), 10, 4.0)];
        let setup = Shared { seed, spread: 0.3, ..shared(policy, 6, jobs, secs(28)) };
        let summary = run(&setup);
        let [small, large] = [0, 1].map(|job| done(&summary, job) / setup.jobs[job].weight);
        assert!((small - large).abs() < 0.2 * small.max(large), "{small} and {large} under {policy}, seed {seed}");
    }
}

/// Any jobs, on any cluster, where some things go wrong. Policies that bind tasks to nodes without looking at them get nodes
/// that are all alike: else the tasks that may be open at once are all at the slow ones.
fn clusters() -> impl Strategy<Value = Shared> {
    let job = (0u64..8, 10u64..60, prop_oneof![Just(1u32), Just(2), Just(5), Just(10)], 1u32..5);
    let job = job.prop_map(|(at, cost, batch, weight)| inference(secs(at), ms(cost), batch, f64::from(weight)));
    let node = (prop_oneof![3 => Just(1.0), 1 => 0.3f64..3.0], 1usize..3);
    let nodes = prop::collection::vec(node.prop_map(|(speed, slots)| NodeSetup { speed, slots }), 4..12);
    let bad = (prop_oneof![Just(0.0), 0.0f64..0.2], prop_oneof![2 => Just(0.0), 1 => 0.0f64..0.02]);
    let policy = prop_oneof![3 => Just("load-balancing"), 1 => Just("random"), 1 => Just("round-robin")];
    (prop::collection::vec(job, 2..7), nodes, bad, policy, any::<u64>()).prop_map(
        |(jobs, mut nodes, (mut refuse, mut lose), policy, seed)| {
            if policy != "load-balancing" {
                (refuse, lose) = (0.0, 0.0);
                nodes.iter_mut().for_each(|node| node.speed = 1.0);
            }
            Shared { seed, nodes, spread: 0.3, refuse, lose, ..shared(policy, 0, jobs, secs(28)) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever queries cost, whatever batches and weights are, and whatever nodes do: rates are as weights.
    #[test]
    fn rates_are_as_weights(setup in clusters()) {
        let summary = run(&setup);
        // The last 20 s, in which all are there; a batch more or less makes the rest.
        let window = secs(20);
        let part = |time: Duration| (time.as_millis() / PART.as_millis()) as usize;
        let rate = |(place, job): (usize, &SharedJob)| {
            let answers = summary.jobs[place].answers.iter().take(part(secs(28))).skip(part(secs(28) - window));
            let SharedWork::Inference { batch, .. } = job.work else { return (0.0, 0.0) };
            let count: f64 = answers.map(|count| f64::from(*count)).sum();
            // As many may be under way when the window begins and ends as there are slots.
            let slots: usize = setup.nodes.iter().map(|node| node.slots).sum();
            (count / job.weight, f64::from(batch) * slots as f64 / job.weight)
        };
        let part_of = if setup.policy.name == "load-balancing" { 0.05 } else { 0.2 };
        let rates: Vec<(f64, f64)> = setup.jobs.iter().enumerate().map(rate).collect();
        for (one, a) in rates.iter().enumerate() {
            for (other, b) in rates.iter().enumerate().skip(one + 1) {
                let apart = (a.0 - b.0).abs();
                prop_assert!(
                    apart <= part_of * a.0.max(b.0) + a.1 + b.1,
                    "{one} has {a:?}, {other} has {b:?}, of {:?} under {}", rates, setup.policy.name
                );
            }
        }
        prop_assert!(rates.iter().all(|rate| rate.0 > 0.0), "one starves: {rates:?}");
    }
}
