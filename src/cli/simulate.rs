//! Owns `roundtable simulate`: a cluster in virtual time, to size it before it is paid for, and to look for what could go
//! wrong with it.

mod seeds;
mod shared;

use super::{Failure, Run, duration, output, table};
use crate::policy::{self, POLICIES, PolicyRow};
use crate::report::{self, Simulated};
use crate::sim::{self, FAULT_KINDS, Links, NodeSetup, Plan, Setup, Summary, Workload, quantile};
use anyhow::{Context, anyhow};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Simulate a cluster: how long a job takes on it, and what faults cost
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:\n  \
    roundtable simulate --nodes 100 --shards 1000 --load 0.5 --compare\n  \
    roundtable simulate --nodes 20 --shards 200 --coordinators 2 --faults crash=2,failover=1\n  \
    roundtable simulate --nodes 10 --jobs 20msx2,100msx2@10s --report rates.html\n  \
    roundtable simulate --any --seeds 1000")]
pub(super) struct Simulate {
    /// Compute nodes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: u32,
    /// Tasks that each node does at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: u32,
    /// How fast the nodes are: `uniform`, or counts and speeds that are repeated until all nodes have one: `9x1,1x0.1`
    #[arg(long, default_value = "uniform", value_parser = speeds)]
    speeds: Speeds,
    /// Tasks of a round
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    shards: u32,
    /// Rounds of the job
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// What the mean task takes on a node of speed 1
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    task_time: Duration,
    /// By which share tasks take more or less than that, 0 to 0.99
    #[arg(long, default_value_t = 0.0, value_parser = spread)]
    spread: f64,
    /// The scheduling policy, by number or name
    #[arg(long, default_value = "load-balancing")]
    policy: String,
    /// Run all policies
    #[arg(long)]
    compare: bool,
    /// The probability that a node delays a task, and, under load balancing, that it refuses one
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    load: f64,
    /// How long a delayed task waits
    #[arg(long, default_value = "3s", value_parser = duration, value_name = "TIME")]
    delay: Duration,
    /// Coordinators: the first leads, the others stand by
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    coordinators: u32,
    /// What goes wrong: `none`, `random`, or kinds with how many of each: `crash=2,failover=1` (crash, failover, pause,
    /// slow, partition, loss, store)
    #[arg(long, default_value = "none", value_parser = faults)]
    faults: Faults,
    /// The share of packets that are lost all the time
    #[arg(long, default_value_t = 0.0, value_parser = spread)]
    loss: f64,
    /// Where all that is left to chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this many seeds, and tell which broke a rule
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Draw the cluster, the job and the faults from the seed
    #[arg(long, conflicts_with_all = [
        "nodes", "slots", "speeds", "shards", "rounds", "task_time", "spread", "policy", "compare", "load", "delay",
        "coordinators", "faults", "loss",
    ])]
    any: bool,
    /// Plant a bug, to see that it is found
    #[arg(long, value_parser = bug, value_name = "NAME", hide = true)]
    plant: Option<&'static sim::Bug>,
    /// Let so many members gossip for 10 minutes, then kill half of them at once; tell how often one was wrongly held to be
    /// gone, and how soon the others noticed; for each of the seeds
    #[arg(long, value_name = "MEMBERS", conflicts_with = "json", value_parser = clap::value_parser!(u32).range(2..=1000))]
    gossip: Option<u32>,
    #[command(flatten)]
    sharing: shared::Sharing,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with plots to this file, or, of jobs that share the nodes, an SVG if its name ends so
    #[arg(long, value_name = "PAGE.html")]
    report: Option<PathBuf>,
}

/// How many nodes in a row have which speed.
#[derive(Clone, Debug)]
struct Speeds(Vec<(u32, f64)>);

#[derive(Clone, Debug)]
enum Faults {
    Random,
    Kinds(Vec<(&'static str, u32)>),
}

fn speeds(text: &str) -> Result<Speeds, String> {
    if text == "uniform" {
        return Ok(Speeds(vec![(1, 1.0)]));
    }
    let group = |group: &str| {
        let (count, speed) = group.trim().split_once('x')?;
        let (count, speed): (u32, f64) = (count.parse().ok()?, speed.parse().ok()?);
        (count > 0 && (1e-3..=1e3).contains(&speed)).then_some((count, speed))
    };
    let groups: Option<Vec<_>> = text.split(',').map(group).collect();
    groups
        .map(Speeds)
        .ok_or_else(|| "write `uniform`, or groups such as 9x1,1x0.1; speeds are 0.001 to 1000".to_owned())
}

fn faults(text: &str) -> Result<Faults, String> {
    match text {
        "none" => return Ok(Faults::Kinds(Vec::new())),
        "random" => return Ok(Faults::Random),
        _ => {}
    }
    let names: Vec<&str> = FAULT_KINDS.iter().map(|kind| kind.name).collect();
    let kind = |item: &str| {
        let (name, count) = item.trim().split_once('=').unwrap_or((item.trim(), "1"));
        let kind = FAULT_KINDS.iter().find(|kind| kind.name == name)?;
        count.parse().ok().filter(|count| (1..=1000).contains(count)).map(|count| (kind.name, count))
    };
    let kinds: Option<Vec<_>> = text.split(',').map(kind).collect();
    let wrong = || format!("write none, random, or kinds with counts from 1 to 1000, of: {}", names.join(", "));
    kinds.map(Faults::Kinds).ok_or_else(wrong)
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "give a number from 0 to 1".to_owned())
}

fn spread(text: &str) -> Result<f64, String> {
    share(text).ok().filter(|share| *share <= 0.99).ok_or_else(|| "give a number from 0 to 0.99".to_owned())
}

fn bug(text: &str) -> Result<&'static sim::Bug, String> {
    let names = || sim::BUGS.iter().map(|bug| bug.name).collect::<Vec<_>>().join(", ");
    sim::find_bug(text).ok_or_else(|| format!("there is: {}", names()))
}

impl Run for Simulate {
    fn run(self) -> Result<(), Failure> {
        let rows = match self.compare {
            true => POLICIES.iter().collect(),
            false => vec![policy::find(&self.policy).map_err(Failure::input)?],
        };
        if self.load >= 1.0 && rows.iter().any(|row| row.nodes_may_refuse) {
            return Err(Failure::Input(anyhow!("with --load 1 every node refuses every task; give less than 1")));
        }
        if self.is_shared() {
            return self.run_shared(rows[0]);
        }
        if let Some(members) = self.gossip {
            self.gossip(members)?;
        }
        if self.seeds > 1 { seeds::run(&self, rows[0]) } else { self.run_one(&rows) }
    }
}

impl Simulate {
    fn setup(&self, policy: &'static PolicyRow, seed: u64) -> Setup {
        if self.any {
            return Setup { bug: self.plant, ..Setup::random(seed) };
        }
        let work = Workload::counting(self.rounds, self.shards, self.task_time, self.spread, seed);
        let mut setup = Setup {
            seed,
            nodes: self.nodes(),
            load: self.load,
            delay: self.delay,
            coordinators: self.coordinators as usize,
            links: Links { loss: self.loss, ..Links::default() },
            bug: self.plant,
            ..Setup::new(policy, 0, work)
        };
        // Whatever goes wrong does so while there is work.
        let time = setup.lower_bound().max(Duration::from_secs(5));
        setup.faults = match &self.faults {
            Faults::Random => Plan::random(seed, time, self.nodes, setup.coordinators),
            Faults::Kinds(kinds) => {
                Plan::of_kinds(kinds, seed, time, self.nodes, setup.coordinators).unwrap_or_default()
            }
        };
        setup
    }

    fn nodes(&self) -> Vec<NodeSetup> {
        let groups = self.speeds.0.iter().flat_map(|&(count, speed)| std::iter::repeat_n(speed, count as usize));
        let node = |speed| NodeSetup { speed, slots: self.slots as usize };
        groups.cycle().take(self.nodes as usize).map(node).collect()
    }

    fn run_one(&self, rows: &[&'static PolicyRow]) -> Result<(), Failure> {
        let start = Instant::now();
        let mut runs = Vec::new();
        for row in rows {
            let setup = self.setup(row, self.seed);
            let summary = sim::simulate(&setup, &|| start.elapsed());
            runs.push(Simulated { name: setup.policy.name.to_owned(), summary });
        }
        if self.json {
            let all: Vec<_> = runs.iter().map(json).collect();
            output::line(&serde_json::Value::from(all).to_string())?;
        } else {
            output::lines(lay_out(&runs))?;
        }
        if let Some(path) = &self.report {
            let page = report::simulated(&self.about(), &runs);
            std::fs::write(path, page.html)
                .with_context(|| format!("cannot write {}; give another file with --report", path.display()))
                .map_err(Failure::Input)?;
        }
        match runs.iter().find_map(|run| run.summary.violation.as_ref()) {
            Some(violation) => {
                let again = self.command(self.seed);
                Err(Failure::run(anyhow!("a rule was broken: {violation}\nrun it again: {again}")))
            }
            None => Ok(()),
        }
    }

    fn gossip(&self, members: u32) -> Result<(), Failure> {
        let (killed, links) = (members / 2, Links { loss: self.loss, ..Links::default() });
        let (mut times, mut missed, mut wrong, mut minutes) = (Vec::new(), 0, 0, 0.0);
        for seed in self.seed..self.seed.saturating_add(self.seeds) {
            let noticed = sim::gossip(members as usize, killed as usize, links, seed);
            times.extend(noticed.times);
            missed += noticed.missed;
            wrong += noticed.wrong;
            minutes += noticed.calm.as_secs_f64() / 60.0 * f64::from(members);
        }
        let rate = wrong as f64 / minutes;
        output::line(&format!(
            "gossip: {wrong} wrong suspicions in {minutes:.0} member-minutes ({rate:.5} in one)"
        ))?;
        output::line(&format!(
            "gossip: {killed} of {members} members were killed; the others noticed within {} (p50), {} (p99), {} (last); \
             {missed} missed",
            seconds(quantile(&times, 0.5)),
            seconds(quantile(&times, 0.99)),
            seconds(quantile(&times, 1.0)),
        ))
    }

    /// The command that does the run of a seed again.
    fn command(&self, seed: u64) -> String {
        let plant = self.plant.map(|bug| format!(" --plant {}", bug.name)).unwrap_or_default();
        if self.any {
            return format!("roundtable simulate --any --seed {seed}{plant}");
        }
        let groups: Vec<String> = self.speeds.0.iter().map(|(count, speed)| format!("{count}x{speed}")).collect();
        let faults = match &self.faults {
            Faults::Random => "random".to_owned(),
            Faults::Kinds(kinds) if kinds.is_empty() => "none".to_owned(),
            Faults::Kinds(kinds) => {
                kinds.iter().map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>().join(",")
            }
        };
        let policy = if self.compare { "--compare".to_owned() } else { format!("--policy {}", self.policy) };
        format!(
            "roundtable simulate --nodes {} --slots {} --speeds {} --shards {} --rounds {} --task-time {}ns --spread {} \
             {policy} --load {} --delay {}ns --coordinators {} --faults {faults} --loss {} --seed {seed}{plant}",
            self.nodes,
            self.slots,
            groups.join(","),
            self.shards,
            self.rounds,
            self.task_time.as_nanos(),
            self.spread,
            self.load,
            self.delay.as_nanos(),
            self.coordinators,
            self.loss,
        )
    }

    fn about(&self) -> String {
        let (nodes, shards, rounds) = (self.nodes, self.shards, self.rounds);
        format!(
            "{nodes} nodes, {shards} tasks a round, {rounds} rounds, {:?} a task, load {}, seed {}",
            self.task_time, self.load, self.seed
        )
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// The most memory that this process had.
fn peak() -> String {
    // The system counts in KiB, but for Apple's, which counts bytes.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let peak = getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.max_rss().saturating_mul(unit));
    peak.map_or("?".to_owned(), |bytes| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)))
}

/// A column for each run.
fn lay_out(runs: &[Simulated]) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
    rows[0].extend(runs.iter().map(|run| run.name.clone()));
    let mut row = |name: &str, value: &dyn Fn(&Summary) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(runs.iter().map(|run| value(&run.summary)));
        rows.push(cells);
    };
    row("makespan", &|run| run.makespan.map_or("never ended".to_owned(), seconds));
    row("lower bound", &|run| seconds(run.lower_bound));
    row("times that", &|run| run.stretch().map_or(String::new(), |stretch| format!("{stretch:.2}")));
    row("busy", &|run| format!("{:.1} %", 100.0 * run.utilisation()));
    row("round p50", &|run| seconds(quantile(&run.rounds, 0.5)));
    row("round p99", &|run| seconds(quantile(&run.rounds, 0.99)));
    row("task waits p50", &|run| seconds(quantile(&run.waits, 0.5)));
    row("task waits p99", &|run| seconds(quantile(&run.waits, 0.99)));
    row("tasks sent", &|run| run.dispatched.to_string());
    row("refused", &|run| run.refused.to_string());
    row("copied", &|run| run.copies.to_string());
    row("redone", &|run| run.redone.to_string());
    row("messages", &|run| run.messages.to_string());
    row("written", &|run| format!("{:.1} MiB", run.bytes_written as f64 / f64::from(1 << 20)));
    row("leaders", &|run| run.leaders.to_string());
    row("crash noticed p50", &|run| match run.detections.is_empty() {
        true => String::new(),
        false => seconds(quantile(&run.detections, 0.5)),
    });
    row("engine events", &|run| run.events.to_string());
    row("us per event", &|run| format!("{:.1}", run.engine_time.as_secs_f64() * 1e6 / run.events.max(1) as f64));
    row("slowest event", &|run| format!("{:.1} ms", run.slowest_event.as_secs_f64() * 1e3));
    rows.push(vec!["peak memory".to_owned(), peak()]);
    table::lay_out(&rows)
}

fn json(run: &Simulated) -> serde_json::Value {
    let Simulated { name, summary } = run;
    let seconds = |times: &[Duration]| times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    serde_json::json!({
        "policy": name,
        "makespan_s": summary.makespan.map(|time| time.as_secs_f64()),
        "lower_bound_s": summary.lower_bound.as_secs_f64(),
        "utilisation": summary.utilisation(),
        "rounds_s": seconds(&summary.rounds),
        "task_waits_s": { "p50": quantile(&summary.waits, 0.5).as_secs_f64(), "p99": quantile(&summary.waits, 0.99).as_secs_f64() },
        "busy_s": seconds(&summary.busy),
        "tasks": summary.tasks,
        "dispatched": summary.dispatched,
        "refused": summary.refused,
        "copies": summary.copies,
        "redone": summary.redone,
        "messages": summary.messages,
        "bytes_written": summary.bytes_written,
        "leaders": summary.leaders,
        "detections_s": seconds(&summary.detections),
        "engine_events": summary.events,
        "engine_us_per_event": summary.engine_time.as_secs_f64() * 1e6 / summary.events.max(1) as f64,
        "weights_sha256": summary.weights.map(|digest| digest.to_string()),
        "violation": summary.violation.as_ref().map(ToString::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_faults_are_read() {
        assert_eq!(speeds("9x1,1x0.1").unwrap().0, [(9, 1.0), (1, 0.1)]);
        for wrong in ["", "1", "0x1", "1x0", "x", "2x-1", "1xNaN"] {
            assert!(speeds(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(faults("random"), Ok(Faults::Random)));
        assert!(
            matches!(faults("crash=2,loss"), Ok(Faults::Kinds(kinds)) if kinds == [("crash", 2), ("loss", 1)])
        );
        for wrong in ["", "crash=0", "quake=1", "crash=x"] {
            assert!(faults(wrong).is_err(), "{wrong}");
        }
    }
}
