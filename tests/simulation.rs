//! Whole clusters under virtual time: nothing is lost whatever goes wrong, and the simulator finds planted bugs.

use roundtable::policy::{self, POLICIES};
use roundtable::sim::{self, BUGS, Rule, Setup, Summary, Violation, Workload};
use std::time::Duration;

/// Seeds of random faults.
const SEEDS: u64 = 4000;
/// A planted bug is found within so many.
const SEEDS_FOR_BUG: u64 = 300;

fn run(setup: &Setup) -> Summary {
    sim::simulate(setup, &|| Duration::ZERO)
}

#[test]
fn without_faults_every_policy_ends_and_none_is_quicker_than_possible() {
    for row in POLICIES {
        let work = Workload::counting(3, 60, Duration::from_secs(2), 0.3, 7);
        let setup = Setup { load: 0.3, ..Setup::new(row, 10, work) };
        let summary = run(&setup);
        assert_eq!(summary.violation, None, "{}", row.name);
        let stretch = summary.stretch().expect("it ends");
        assert!((0.95..8.0).contains(&stretch), "{}: {stretch}", row.name);
        assert_eq!((summary.rounds.len(), summary.waits.len(), summary.leaders), (3, 180, 1), "{}", row.name);
        assert!(summary.tasks.iter().sum::<u64>() >= 180 && summary.utilisation() > 0.1, "{}", row.name);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let seen = |seed| {
        let summary = run(&Setup::random(seed));
        (summary.happenings, summary.messages, summary.bytes_written, summary.makespan, summary.weights)
    };
    for seed in 0..20 {
        assert_eq!(seen(seed), seen(seed), "seed {seed}");
    }
    assert_ne!(seen(1), seen(2));
}

#[test]
fn a_real_job_has_the_weights_that_it_has_without_a_cluster() {
    let work = Workload::small_training(1, Duration::from_millis(800)).expect("a job");
    let summary = run(&Setup { coordinators: 2, ..Setup::new(&POLICIES[0], 3, work) });
    assert_eq!(summary.violation, None);
    assert!(summary.weights.is_some());
}

#[test]
fn whatever_goes_wrong_no_rule_is_broken() {
    let (mut leaders, mut redone, mut copies) = (0, 0, 0);
    let mut broken: Vec<(u64, Violation)> = Vec::new();
    for seed in 0..SEEDS {
        let summary = run(&Setup::random(seed));
        leaders += summary.leaders;
        redone += summary.redone;
        copies += summary.copies;
        broken.extend(summary.violation.map(|violation| (seed, violation)));
    }
    let told: Vec<String> = broken.iter().take(20).map(|(seed, v)| format!("seed {seed}: {v}")).collect();
    assert!(broken.is_empty(), "{} of {SEEDS} seeds:\n{}", broken.len(), told.join("\n"));
    // Otherwise nothing would have gone wrong.
    assert!(leaders > SEEDS * 5 / 4 && redone > 0 && copies > 0, "{leaders} {redone} {copies}");
}

/// Each of these once broke a rule.
#[test]
fn what_went_wrong_once_goes_right() {
    let seeds = [
        (47, "a late task was not copied again after its copy had been refused"),
        (260, "a leader wrote the job's end, and was deposed before it could tell: its successor has to"),
        (3758, "at the end of the run a leader had just been deposed, and did not know it yet"),
        (4976, "a task took hours at a node that had been slow for seconds when it began"),
        (1311, "an operation of the store took minutes, and a deposed leader waited for it"),
        (1408, "a node was never told that the machine was gone whose task it did"),
    ];
    for (seed, what) in seeds {
        assert_eq!(run(&Setup::random(seed)).violation, None, "seed {seed}: {what}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in BUGS {
        let found = (0..SEEDS_FOR_BUG).find_map(|seed| {
            let violation = run(&Setup { bug: Some(bug), ..Setup::random(seed) }).violation?;
            Some((seed, violation))
        });
        match found {
            Some((_, violation)) if bug.breaks.contains(&violation.rule) => {}
            Some((seed, violation)) => missed.push(format!("{}: seed {seed}: {violation}", bug.name)),
            None => missed.push(format!("{}: not found", bug.name)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let rules: std::collections::BTreeSet<Rule> = BUGS.iter().flat_map(|bug| bug.breaks).copied().collect();
    assert_eq!(rules.len(), 8, "each rule is broken by some bug");
}

#[test]
fn load_balancing_uses_what_there_is() {
    let work = || Workload::counting(2, 1000, Duration::from_secs(1), 0.0, 3);
    let stretch = |name: &str| {
        let row = policy::find(name).expect("a policy of this name");
        let mut setup = Setup { load: 0.5, delay: Duration::from_secs(1), ..Setup::new(row, 100, work()) };
        setup.nodes.iter_mut().step_by(10).for_each(|node| node.speed = 0.1);
        let summary = run(&setup);
        assert_eq!(summary.violation, None, "{name}");
        summary.stretch().expect("it ends")
    };
    let (balanced, random) = (stretch("load-balancing"), stretch("random"));
    assert!(balanced < 1.6 && random > 2.0 * balanced, "{balanced} {random}");
}

/// Runs `roundtable simulate` with these words: its exit code, and what it printed on both ways.
fn simulate(words: &str) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roundtable"));
    let output = command.arg("simulate").args(words.split_whitespace()).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_compares_policies_and_writes_a_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("page.html");
    let words = "--nodes 20 --shards 100 --speeds 9x1,1x0.1 --load 0.3 --delay 1s --compare --gossip 6 --report";
    let (code, out, err) = simulate(&format!("{words} {}", page.display()));
    assert_eq!(code, 0, "{err}");
    let head = out.lines().find(|line| line.contains(POLICIES[0].name)).expect("a head");
    assert!(POLICIES.iter().all(|row| head.contains(row.name)), "{out}");
    assert!(out.contains("lower bound") && out.contains("gossip: 3 of 6 members"), "{out}");
    let html = std::fs::read_to_string(&page).expect("a page");
    let html = html.trim_start_matches("<!DOCTYPE html>");
    let document = roxmltree::Document::parse(html).expect("well-formed");
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("svg")).count(), 2);
    let (code, out, _) = simulate("--nodes 5 --shards 10 --rounds 1 --json");
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, json[0]["tasks"].as_array().expect("nodes").len()), (0, 5));
}

#[test]
fn the_command_says_how_to_see_a_broken_rule_again() {
    let (code, out, _) = simulate("--any --seeds 60 --plant told-too-early");
    assert_eq!(code, 1, "{out}");
    let again = out.lines().find_map(|line| line.trim().strip_prefix("roundtable simulate ")).expect("a command");
    let what = out.lines().rfind(|line| line.contains(" at ")).expect("what was broken");
    let last = out.lines().rfind(|line| line.contains("--any")).expect("a command").trim();
    let (code, _, err) = simulate(last.trim_start_matches("roundtable simulate "));
    assert!(code == 1 && err.contains(what), "{last}\n{what}\n{err}");
    assert!(again.contains("--plant told-too-early"));
    let faults = "--nodes 6 --shards 40 --coordinators 2 --faults";
    assert_eq!(simulate(&format!("{faults} crash=2,failover=1,partition=1,store=1 --seeds 10")).0, 0);
    for wrong in [
        "--nodes 0",
        "--speeds 1",
        "--faults quake=1",
        "--policy none",
        "--load 1",
        "--any --compare",
        "--any --nodes 5",
        "--gossip 6 --json",
    ] {
        assert_eq!(simulate(wrong).0, 2, "{wrong}");
    }
}
