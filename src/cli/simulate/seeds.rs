//! Owns the simulation of many seeds: on all processors, and what they came to.

use super::{Simulate, peak, seconds};
use crate::cli::{Failure, output};
use crate::policy::PolicyRow;
use crate::sim::{self, Summary, quantile};
use anyhow::anyhow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs all seeds from the first on; fails if any broke a rule, with the command that does it again.
pub(super) fn run(asked: &Simulate, policy: &'static PolicyRow) -> Result<(), Failure> {
    let start = Instant::now();
    let runs = all(asked, policy);
    let violation = |(seed, run): &(u64, Summary)| Some((*seed, run.violation.as_ref()?.to_string()));
    let broken: BTreeMap<u64, String> = runs.iter().filter_map(violation).collect();
    let sum = |of: fn(&Summary) -> u64| runs.iter().map(|(_, run)| of(run)).sum::<u64>();
    let makespans: Vec<Duration> = runs.iter().filter_map(|(_, run)| run.makespan).collect();
    let hours = runs.iter().map(|(_, run)| run.virtual_time.as_secs_f64()).sum::<f64>() / 3600.0;
    let rows = [
        ("seeds", asked.seeds.to_string()),
        ("broken rules", broken.len().to_string()),
        ("events", sum(|run| run.happenings).to_string()),
        ("virtual time", format!("{hours:.1} h")),
        ("real time", format!("{:.1} s", start.elapsed().as_secs_f64())),
        ("makespan p50", seconds(quantile(&makespans, 0.5))),
        ("makespan p99", seconds(quantile(&makespans, 0.99))),
        ("leaders", sum(|run| run.leaders).to_string()),
        ("tasks copied", sum(|run| run.copies).to_string()),
        ("tasks redone", sum(|run| run.redone).to_string()),
        ("peak memory", peak()),
    ];
    if asked.json {
        let figures: BTreeMap<&str, &String> = rows.iter().map(|(name, value)| (*name, value)).collect();
        output::line(&serde_json::json!({ "figures": figures, "broken": broken }).to_string())?;
    } else {
        output::lines(rows.iter().map(|(name, value)| format!("{name:<14}{value}")))?;
        let again = |(seed, what): (&u64, &String)| format!("{what}\n  {}", asked.command(*seed));
        output::lines(broken.iter().map(again))?;
    }
    match broken.len() {
        0 => Ok(()),
        several => Err(Failure::run(anyhow!("{several} of {} seeds broke a rule", asked.seeds))),
    }
}

fn all(asked: &Simulate, policy: &'static PolicyRow) -> Vec<(u64, Summary)> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= asked.seeds {
                return;
            }
            let seed = asked.seed.wrapping_add(at);
            let mut run = sim::simulate(&asked.setup(policy, seed), &|| Duration::ZERO);
            // Of very many runs no curves are kept.
            (run.waits, run.utilisation_over_time) = (Vec::new(), Vec::new());
            done.lock().unwrap_or_else(PoisonError::into_inner).push((seed, run));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}
