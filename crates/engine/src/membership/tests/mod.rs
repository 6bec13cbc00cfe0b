//! Owns the tests of membership, on a network of their own.

mod network;

use super::*;
use network::{Network, address, seconds};
use proptest::prelude::*;
use rand::Rng;

/// The longest time, over many seeds, until all that are left know that three of six are dead.
fn time_to_notice(seeds: u64, loss: f64, settings: Settings) -> (Duration, Duration) {
    let times: Vec<Duration> = (0..seeds)
        .map(|seed| {
            let mut network = Network::joined(6, seed, settings);
            network.loss = loss;
            let quiet = seconds(network.rng.random_range(0.5..3.0));
            network.run(quiet);
            for place in [1, 3, 5] {
                network.members[place] = None;
            }
            let took = network.run_until(seconds(30.0), |network| network.all_see(3));
            took.unwrap_or_else(|| panic!("seed {seed}: {}", network.told()))
        })
        .collect();
    (times.iter().sum::<Duration>() / seeds as u32, times.iter().copied().max().unwrap_or_default())
}

/// How many of six were wrongly taken for dead per minute and member, and the bytes that each sent per second.
fn mistakes(seeds: std::ops::Range<u64>, minutes: u64, loss: f64, settings: Settings) -> (usize, f64, f64) {
    let (mut wrong, mut bytes, runs) = (0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let mut network = Network::joined(6, seed, settings);
        network.loss = loss;
        network.changes.clear();
        network.bytes = 0;
        network.run(Duration::from_secs(60 * minutes));
        wrong += network.wrongly_down();
        bytes += network.bytes;
    }
    let member_minutes = (6 * minutes * runs) as f64;
    // Each that was taken for dead is told of by up to five others: the bar is about members, this counts more.
    (wrong, wrong as f64 / member_minutes, bytes as f64 / member_minutes / 60.0)
}

#[test]
fn all_find_each_other_in_any_order_of_joining() {
    for seed in 0..50 {
        let mut network = Network::new(8, seed, Settings::default());
        network.loss = 0.1;
        // Each knows one that may not know anyone yet, and the first knows the last.
        for place in 0..8 {
            let pause = seconds(network.rng.random_range(0.0..2.0));
            network.join(place, (place + 1) % 8);
            network.run(pause);
        }
        let took = network.run_until(seconds(20.0), |network| network.all_see(8));
        assert!(took.is_some(), "seed {seed}: {}", network.told());
    }
}

#[test]
fn three_of_six_that_die_are_noticed_in_two_seconds() {
    let (_, longest) = time_to_notice(200, 0.0, Settings::default());
    assert!(longest <= seconds(2.0), "{longest:?}");
}

#[test]
fn the_living_are_seldom_taken_for_dead() {
    assert_eq!(mistakes(0..1, 10, 0.03, Settings::default()).0, 0);
    let (_, rate, _) = mistakes(0..10, 10, 0.3, Settings::default());
    assert!(rate <= 0.01, "{rate} per member and minute");
}

#[test]
fn the_halves_of_a_network_that_was_cut_find_each_other_again() {
    for seed in 0..20 {
        let mut network = Network::joined(6, seed, Settings::default());
        network.sides = vec![0, 0, 0, 1, 1, 1];
        let cut =
            network.run_until(seconds(10.0), |network| (0..6).all(|place| network.seen_by(place).len() == 3));
        assert!(cut.is_some(), "seed {seed}: {}", network.told());
        network.run(seconds(30.0));
        network.sides = vec![0; 6];
        let healed = network.run_until(seconds(30.0), |network| network.all_see(6));
        assert!(healed.is_some(), "seed {seed}: {}", network.told());
        // What is under way of the cut may be heard late; then all is quiet.
        network.run(seconds(10.0));
        network.changes.clear();
        network.run(seconds(60.0));
        assert!(network.changes.is_empty() && network.all_see(6), "seed {seed}: {:?}", network.changes);
    }
}

#[test]
fn one_that_paused_comes_back_and_accuses_nobody() {
    for (pause, is_noticed) in [(0.4, false), (5.0, true)] {
        for seed in 0..20 {
            let mut network = Network::joined(6, seed, Settings::default());
            network.changes.clear();
            network.paused.insert(2);
            network.run(seconds(pause));
            assert_eq!(network.wrongly_down() > 0, is_noticed, "seed {seed}, {pause} s");
            network.wake(2);
            let back = network.run_until(seconds(10.0), |network| network.all_see(6));
            assert!(back.is_some(), "seed {seed}: {}", network.told());
            let accused =
                |(_, by, change): &&(Time, usize, Change)| *by == 2 && matches!(change, Change::Down(..));
            assert!(network.changes.iter().find(accused).is_none(), "seed {seed}: {:?}", network.changes);
        }
    }
}

#[test]
fn a_restarted_process_takes_the_place_of_the_old_one_at_once_even_if_its_clock_went_back() {
    for (seed, start) in (0..20).flat_map(|seed| [(seed, 5_000), (seed, 1)]) {
        let mut network = Network::joined(6, seed, Settings::default());
        network.changes.clear();
        network.starts = start;
        network.start(2);
        let instance = network.members[2].as_ref().expect("it runs").me().instance;
        network.join(2, 4);
        let took = network.run_until(seconds(2.0), |network| {
            let knows = |place: usize| {
                let members = network.members[place].as_ref().expect("it runs").members();
                members.iter().any(|member| member.instance == instance && member.standing == Standing::Alive)
            };
            network.all_see(6) && (0..6).all(knows)
        });
        assert!(took.is_some(), "seed {seed}: {}", network.told());
        let downs = |place: usize| {
            let by = network.changes.iter().filter(move |(_, by, _)| *by == place);
            let down = by.filter_map(|(.., change)| match change {
                Change::Down(member, why) => Some((member.address, *why)),
                _ => None,
            });
            down.collect::<Vec<_>>()
        };
        for place in [0, 1, 3, 4, 5] {
            let downs = downs(place);
            assert!(matches!(downs[..], [(gone, _)] if gone == address(2)), "seed {seed}: {:?}", network.changes);
            // With a clock that went back it first tells all that whoever they know there is no more.
            assert!(start == 1 || downs[0].1 == Departure::Replaced, "seed {seed}: {downs:?}");
        }
    }
}

#[test]
fn leaving_is_told_to_all_and_good_byes_need_no_suspicion() {
    for seed in 0..20 {
        let mut network = Network::joined(6, seed, Settings::default());
        network.changes.clear();
        network.loss = 0.3;
        network.with(3, |member, now| member.set_leaving(now));
        let told = |network: &Network, wanted: &dyn Fn(&Change) -> bool| {
            let tells =
                |place: usize| network.changes.iter().any(|(_, by, change)| *by == place && wanted(change));
            [0, 1, 2, 4, 5].into_iter().all(tells)
        };
        let leaving = |change: &Change| matches!(change, Change::Leaving(member) if member.address == address(3));
        let took = network.run_until(seconds(10.0), |network| told(network, &leaving));
        assert!(took.is_some(), "seed {seed}: {:?}", network.changes);
        let seen = network.members[0].as_ref().expect("it runs").members();
        assert!(seen.iter().any(|member| member.address == address(3) && member.standing != Standing::Down));
        network.loss = 0.0;
        network.with(3, |member, now| member.leave(now));
        let left = |change: &Change| matches!(change, Change::Down(_, Departure::Left));
        let took = network.run_until(seconds(0.1), |network| told(network, &left));
        assert!(took.is_some(), "seed {seed}: {:?}", network.changes);
        network.run(seconds(5.0));
        assert!(network.changes.iter().all(|(_, _, change)| !matches!(change, Change::Up(_) | Change::CameBack)));
        assert_eq!(network.wrongly_down(), 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let events = |seed| {
        let mut network = Network::joined(5, seed, Settings::default());
        network.loss = 0.3;
        network.run(seconds(20.0));
        (network.changes, network.bytes)
    };
    assert_eq!(events(7), events(7));
    assert_ne!(events(7), events(8));
}

#[test]
fn only_so_many_members_are_known_and_the_dead_make_room() {
    let settings = Settings { most_members: 120, ..Settings::default() };
    let mut network = Network::new(1, 0, settings);
    let knock = |network: &mut Network, places: std::ops::Range<usize>| {
        for place in places {
            let identity = Identity::new(address(place), Role::Node, place as u64, 5);
            let mut stranger = Membership::new(identity, settings, 1);
            for output in stranger.join(Time::default(), &[address(0)]) {
                let Output::Send { bytes, .. } = output else { continue };
                network.with(0, |member, now| member.receive(now, address(place), &bytes).expect("it is gossip"));
            }
        }
    };
    knock(&mut network, 1..500);
    let known = network.seen_by(0).len();
    assert!((60..=120).contains(&known), "{known}");
    // None of them answers.
    network.run(seconds(120.0));
    assert_eq!(network.seen_by(0).len(), 1);
    knock(&mut network, 1000..1010);
    assert_eq!(network.seen_by(0).len(), 11);
    assert!(network.members[0].as_ref().expect("it runs").members().len() <= 121);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_other_programs_send_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assume!(!bytes.starts_with(b"rt\x01"));
        let mut member = Membership::new(Identity::new(address(0), Role::Node, 1, 1), Settings::default(), 1);
        prop_assert!(member.receive(Time::default(), address(9), &bytes).is_err());
        prop_assert_eq!(member.next_wakeup(), None);
        prop_assert_eq!(member.members().len(), 1);
    }

    #[test]
    fn damaged_datagrams_harm_nobody(
        seed in 0u64..4,
        kind in 0u8..3,
        damage in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), 0usize..4), 1..40),
        random in proptest::collection::vec(any::<u8>(), 0..1500),
    ) {
        let mut network = Network::joined(4, seed, Settings::default());
        let mut all: Vec<Vec<u8>> = network.last.iter().cloned().collect();
        all.push([&b"rt\x01"[..], &[kind], &random].concat());
        for (which, at, value, how) in damage {
            let mut bytes = all[which % all.len()].clone();
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = value,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, value),
                _ => bytes.extend_from_within(at..),
            }
            // What comes of it does not matter, only that it ends.
            network.with((value % 4).into(), |member, now| {
                member.receive(now, address(9), &bytes).unwrap_or_default()
            });
        }
        network.run(seconds(3.0));
    }
}

/// Prints how the bars are met: `cargo test --release --lib membership -- --ignored --nocapture table`.
#[test]
#[ignore = "it measures, for minutes"]
fn table_of_what_settings_do() {
    println!(
        "probe ms  suspicion ms  mean s  longest s  at 10 % loss  wrong at 3 %  at 30 % /min  B/s  B/s at 30 %"
    );
    for (probe, suspicion) in
        [(100, 800), (100, 1000), (150, 800), (150, 900), (150, 1000), (200, 800), (200, 1000)]
    {
        let settings = Settings {
            probe_period: Duration::from_millis(probe),
            suspicion: Duration::from_millis(suspicion),
            ..Settings::default()
        };
        let (mean, longest) = time_to_notice(200, 0.0, settings);
        let (_, lossy) = time_to_notice(200, 0.1, settings);
        let (wrong, _, bytes) = mistakes(0..10, 10, 0.03, settings);
        let (_, rate, bytes_lossy) = mistakes(0..20, 10, 0.3, settings);
        println!(
            "{probe:>8}  {suspicion:>12}  {:>6.2}  {:>9.2}  {:>12.2}  {wrong:>12}  {rate:>12.5}  {bytes:>4.0}  {bytes_lossy:>4.0}",
            mean.as_secs_f64(),
            longest.as_secs_f64(),
            lossy.as_secs_f64(),
        );
    }
}
