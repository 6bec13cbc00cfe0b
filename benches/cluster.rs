//! Owns the measuring of whole rounds under virtual time: what the engine takes for an event, and how good its decisions
//! are, from the letters' job to 10,000 nodes and 100,000 tasks. `cargo bench --bench cluster [WORD...]` plays the rows
//! whose names have one of the words.

#[path = "../tests/support/cluster.rs"]
mod cluster;

use cluster::{Plan, play};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use roundtable::policy::POLICIES;
use std::time::Duration;

/// The highest resident memory of this process so far, in MiB, where the system tells it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Seconds of processor time that this process has had: other processes do not make it longer.
fn processor_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system tells it");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 * 1e-6
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!(
        "{:44} {:>9} {:>8} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}",
        "cluster", "events", "us/event", "worst ms", "seconds", "bound", "ratio", "copies", "MiB"
    );
    for (nodes, tasks) in [(4, 11), (100, 1_000), (1_000, 10_000), (10_000, 100_000)] {
        for load in [0.0, 0.5] {
            for row in POLICIES {
                let even = Plan { load, ..Plan::new(row.name, nodes, tasks) };
                let uneven = even.clone().with_slow_tenth().with_unequal_tasks();
                for (name, plan) in [("alike", even), ("a tenth slow", uneven)] {
                    let name = format!("{nodes} nodes {tasks} tasks, load {load}, {name}, {}", row.name);
                    if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
                        continue;
                    }
                    let plan = Plan { delay: Duration::from_millis(500), ..plan };
                    let played = play(&plan, &processor_s);
                    println!(
                        "{name:60} {:>9} {:>8.1} {:>9.1} {:>9.2} {:>8.2} {:>8.2} {:>7} {:>7}",
                        played.events,
                        played.cpu_s * 1e6 / played.events as f64,
                        played.slowest_s * 1e3,
                        played.seconds,
                        plan.bound(),
                        played.seconds / plan.bound(),
                        played.copies,
                        peak_mib().unwrap_or_default(),
                    );
                }
            }
        }
    }
}
