//! Owns the simulation of jobs that share a cluster, and what is told of it.

use super::{Simulate, seconds};
use crate::cli::{Failure, duration, output, table};
use crate::policy::PolicyRow;
use crate::report;
use crate::sim::{self, Fairness, NodeSetup, Shared, SharedJob, SharedSummary, SharedWork};
use anyhow::Context;
use clap::Args;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The window of the rate at the end.
const WINDOW: Duration = Duration::from_secs(2);
/// The most jobs that are drawn.
const MOST_DRAWN: u32 = 10_000;

/// Jobs that share the nodes
#[derive(Args, Debug, Clone)]
pub(super) struct Sharing {
    /// Let jobs share the nodes, and tell how fair that is: their number, to draw inference jobs from the seed, or
    /// QUERY-TIMExBATCH[@ARRIVAL][*WEIGHT][^PRIORITY] for each, `train:` before TASK-TIMExTASKS: `20msx2,100msx2@10s*2`.
    /// Given again, another run is made
    #[arg(long, value_parser = jobs, value_name = "JOBS", conflicts_with_all = ["any", "compare", "gossip", "seeds", "json"])]
    jobs: Vec<Jobs>,
    /// How long to simulate jobs that share the nodes
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    span: Duration,
}

#[derive(Clone, Debug)]
enum Jobs {
    Drawn(u32),
    These(Vec<SharedJob>),
}

fn jobs(text: &str) -> Result<Jobs, String> {
    if let Ok(count) = text.parse() {
        return match count {
            1..=MOST_DRAWN => Ok(Jobs::Drawn(count)),
            _ => Err(format!("from 1 to {MOST_DRAWN} jobs can be drawn")),
        };
    }
    let wrong = |item: &str| {
        format!("'{item}' is no job; write a number of jobs, or each as 20msx2, 100msx2@10s*4 or train:1sx8")
    };
    text.split(',')
        .map(|item| job(item.trim()).ok_or_else(|| wrong(item)))
        .collect::<Result<_, _>>()
        .map(Jobs::These)
}

fn job(text: &str) -> Option<SharedJob> {
    let (text, priority) =
        text.split_once('^').map_or(Some((text, 0)), |(text, p)| Some((text, p.parse().ok()?)))?;
    let (text, weight) =
        text.split_once('*').map_or(Some((text, 1.0)), |(text, w)| Some((text, w.parse().ok()?)))?;
    let (text, arrives) = match text.split_once('@') {
        Some((text, at)) => (text, duration(at).ok()?),
        None => (text, Duration::ZERO),
    };
    let (text, is_training) = text.strip_prefix("train:").map_or((text, false), |text| (text, true));
    let (time, count) = text.split_once('x')?;
    let (time, count): (Duration, u32) = (duration(time).ok()?, count.parse().ok()?);
    let work = match is_training {
        true => SharedWork::Training { rounds: u32::MAX, tasks: count, task_time: time },
        false => SharedWork::Inference { queries: u64::MAX >> 1, batch: count, query_time: time },
    };
    let is_sane = time > Duration::ZERO && (1..=1_000_000).contains(&count) && (1e-3..=1e3).contains(&weight);
    is_sane.then_some(SharedJob { arrives, weight, priority, work })
}

impl Simulate {
    /// Whether jobs share the nodes.
    pub(super) fn is_shared(&self) -> bool {
        !self.sharing.jobs.is_empty()
    }

    /// Simulates them, run by run.
    pub(super) fn run_shared(&self, policy: &'static PolicyRow) -> Result<(), Failure> {
        let start = Instant::now();
        let mut runs = Vec::new();
        for jobs in &self.sharing.jobs {
            let setup = self.shared(policy, jobs);
            let summary = sim::simulate_shared(&setup, &|| start.elapsed());
            output::lines(lay_out(&setup, &summary))?;
            runs.push((setup, summary));
        }
        if let Some(path) = &self.report {
            self.write(path, &runs)?;
        }
        Ok(())
    }

    fn shared(&self, policy: &'static PolicyRow, jobs: &Jobs) -> Shared {
        let nodes: Vec<NodeSetup> = self.nodes();
        let jobs = match jobs {
            Jobs::Drawn(count) => {
                drawn(*count, self.seed, self.sharing.span, nodes.iter().map(|node| node.slots).sum())
            }
            Jobs::These(jobs) => jobs.clone(),
        };
        let refuse = if policy.nodes_may_refuse { self.load } else { 0.0 };
        let (seed, spread, until) = (self.seed, self.spread, self.sharing.span);
        Shared { policy, seed, nodes, spread, refuse, lose: 0.0, jobs, until }
    }

    fn write(&self, path: &PathBuf, runs: &[(Shared, SharedSummary)]) -> Result<(), Failure> {
        let page = report::shared(runs);
        let is_picture = path.extension().is_some_and(|end| end == "svg");
        let picture = page.pictures.into_iter().next().filter(|_| is_picture);
        let text = picture.map_or(page.html, |picture| picture.svg);
        std::fs::write(path, text)
            .with_context(|| format!("cannot write {}; give another file with --report", path.display()))
            .map_err(Failure::Input)
    }
}

/// Jobs of different costs and lengths that come in the first half of the time.
fn drawn(count: u32, seed: u64, span: Duration, slots: usize) -> Vec<SharedJob> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |_| {
        let query = 0.01 * 10f64.powf(chance.random_range(0.0..1.0));
        let batch = [2, 4, 8, 10][chance.random_range(0..4)];
        let life = span.as_secs_f64() * chance.random_range(0.2..0.6);
        let arrives = span.mul_f64(chance.random_range(0.0..0.5));
        // As many as it would answer in this time if two thirds of all were there.
        let queries = life * slots as f64 / (0.67 * f64::from(count) * 0.039);
        SharedJob {
            arrives,
            weight: 1.0,
            priority: 0,
            work: SharedWork::Inference {
                queries: queries as u64 + 1,
                batch,
                query_time: Duration::from_secs_f64(query),
            },
        }
    };
    (0..count).map(&mut draw).collect()
}

/// Tables of the jobs, and of all together.
fn lay_out(setup: &Shared, summary: &SharedSummary) -> Vec<String> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rows = vec![
        ["job", "of", "arrives", "weight", "first sent", "first answer", "done", "rate at the end"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (place, (job, of)) in setup.jobs.iter().zip(&summary.jobs).enumerate() {
        let of_what = match job.work {
            SharedWork::Inference { batch, query_time, .. } => format!("{batch} queries of {query_time:.1?}"),
            SharedWork::Training { tasks, task_time, .. } => format!("{tasks} tasks of {task_time:.1?}"),
        };
        let time = |time: Option<Duration>| time.map_or("-".to_owned(), seconds);
        let done: u64 = of.answers.iter().map(|count| u64::from(*count)).sum();
        let last = sim::rates(summary, place, WINDOW, sim::PART).last().map_or(0.0, |(_, rate)| *rate);
        rows.push(vec![
            (place + 1).to_string(),
            of_what,
            seconds(job.arrives),
            job.weight.to_string(),
            time(of.first_sent),
            time(of.first_answer),
            done.to_string(),
            of.ended.map_or_else(|| format!("{last:.1}/s"), |at| format!("ended at {}", seconds(at))),
        ]);
    }
    let fair = |window: u64, settled: u64| {
        Fairness::of(setup, summary, Duration::from_secs(window), Duration::from_secs(settled))
    };
    let gap =
        |of: Fairness| format!("{} (at {}; {} moments)", percent(of.worst), seconds(of.worst_at), of.moments);
    let per = |time: Duration, count: u64| format!("{:.1} us", time.as_secs_f64() * 1e6 / count.max(1) as f64);
    let figures = [
        ("widest gap over 2 s, from 3 s on".to_owned(), gap(fair(2, 3))),
        ("widest gap over 4 s, from 6 s on".to_owned(), gap(fair(4, 6))),
        ("widest gap over 10 s".to_owned(), gap(fair(10, 10))),
        ("slots at work".to_owned(), percent(summary.utilisation)),
        ("models loaded, of batches sent".to_owned(), format!("{} of {}", summary.loads, summary.dispatched)),
        ("batches foreseen".to_owned(), format!("{} of {}", summary.foreseen.0, summary.foreseen.1)),
        ("engine, an event".to_owned(), per(summary.engine_time, summary.events)),
        ("engine, a batch".to_owned(), per(summary.engine_time, summary.dispatched)),
    ];
    let mut lines = table::lay_out(&rows);
    lines.extend(figures.into_iter().map(|(name, value)| format!("{name:<36}{value}")));
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_read() {
        assert!(matches!(jobs("50"), Ok(Jobs::Drawn(50))));
        let Ok(Jobs::These(read)) = jobs("20msx2, 100msx10@5s*2^-1,train:1sx8") else { panic!("they are jobs") };
        assert_eq!((read[1].arrives, read[1].weight, read[1].priority), (Duration::from_secs(5), 2.0, -1));
        assert!(matches!(read[0].work, SharedWork::Inference { batch: 2, .. }));
        assert!(matches!(read[2].work, SharedWork::Training { tasks: 8, .. }));
        for wrong in
            ["", "0", "20ms", "x2", "20msx0", "20msx2*0", "20msx2*NaN", "20msx2@soon", "0sx2", "20msx2^high"]
        {
            assert!(jobs(wrong).is_err(), "{wrong}");
        }
    }
}
