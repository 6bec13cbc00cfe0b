//! Whole rounds under virtual time, against what one could do who knew everything before: see `support/cluster.rs`. The
//! large sizes and the time that an event takes are measured by `benches/cluster.rs`.

#[path = "support/cluster.rs"]
mod cluster;

use cluster::{Plan, Played, play};
use roundtable::engine::State;
use roundtable::jobs::Quorum;
use std::time::Duration;

fn played(plan: &Plan) -> Played {
    let played = play(plan, &|| 0.0);
    assert!(matches!(played.state, Some(State::Done { .. })), "{:?}", played.state);
    assert_eq!(played.rounds.len(), plan.rounds as usize);
    assert_eq!(played.hasty_copies, 0, "a copy was sent while other tasks waited");
    played
}

#[test]
fn load_balancing_comes_near_to_what_is_possible_and_far_from_chance() {
    for (nodes, tasks) in [(40, 400), (300, 3000)] {
        for load in [0.0, 0.5] {
            let of =
                |policy| Plan { load, ..Plan::new(policy, nodes, tasks).with_slow_tenth().with_unequal_tasks() };
            let plan = of("load-balancing");
            let taken = played(&plan).seconds;
            let bound = plan.bound();
            assert!(taken <= 1.25 * bound, "{nodes} nodes, load {load}: {taken:.1} s, at best {bound:.1} s");
            let random = play(&of("random"), &|| 0.0).seconds;
            assert!(2.0 * taken <= random, "{nodes} nodes, load {load}: {taken:.1} s, random {random:.1} s");
        }
    }
}

#[test]
fn tasks_of_nodes_that_never_end_are_done_by_nodes_that_have_nothing_else_to_do() {
    let stuck = vec![3, 17, 31];
    let plan = Plan { stuck: stuck.clone(), ..Plan::new("load-balancing", 40, 400) };
    let played = played(&plan);
    assert!(played.copies >= 3 && played.copies <= 6, "{} copies", played.copies);
    assert!(played.seconds <= 1.25 * plan.bound(), "{:.1} s, at best {:.1} s", played.seconds, plan.bound());
}

#[test]
fn nodes_that_are_all_alike_are_not_asked_twice() {
    for load in [0.0, 0.2] {
        let plan = Plan { load, rounds: 3, ..Plan::new("load-balancing", 40, 400).with_unequal_tasks() };
        assert_eq!(played(&plan).copies, 0, "load {load}");
    }
}

#[test]
fn a_round_with_a_quorum_does_not_wait_for_slow_nodes() {
    // Nobody is idle long enough for copies: each node has one task.
    let mut plan = Plan { rounds: 3, ..Plan::new("round-robin", 40, 40).with_slow_tenth() };
    let waiting = play(&plan, &|| 0.0).seconds;
    plan.quorum = Some(Quorum { share: 0.8, deadline: Some(Duration::from_millis(1500)) });
    let closed = played(&plan);
    assert!(closed.rounds[0] > 0 && closed.rounds.iter().all(|left_out| *left_out <= 8), "{:?}", closed.rounds);
    assert!(closed.seconds < waiting, "{:.1} s, {waiting:.1} s without", closed.seconds);
}

#[test]
fn the_same_plan_plays_in_the_same_way() {
    let plan = Plan { load: 0.5, ..Plan::new("load-balancing", 30, 300).with_slow_tenth().with_unequal_tasks() };
    let of = |played: Played| (played.seconds, played.events, played.dispatched, played.copies);
    assert_eq!(of(play(&plan, &|| 0.0)), of(play(&plan, &|| 0.0)));
}
