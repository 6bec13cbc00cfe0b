//! Owns the simulation of a shared cluster: inference and training jobs come and go, and what counts is how the nodes are
//! divided. The engine is the real one; nodes and network do nothing but take time.

use super::counting::{self, Request};
use super::queries::Queries;
use super::queue::Queue;
use super::setup::NodeSetup;
use super::workload::order;
use crate::engine::{Action, Engine, Event, Hello, Outcome, State, Traffic};
use crate::jobs::inference::Models;
use crate::jobs::{Job, TaskOutput, Workbench};
use crate::policy::PolicyRow;
use crate::types::{AttemptId, JobId, NodeId, Time};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A message takes so long.
const LATENCY: Duration = Duration::from_millis(1);
/// A record is durable after so long.
const COMMIT: Duration = Duration::from_millis(5);
/// A node keeps the models of so many jobs.
const MODELS: usize = 4;
/// Answers are counted by parts of this length.
pub const PART: Duration = Duration::from_millis(100);

/// What a job does.
#[derive(Clone, Copy, Debug)]
pub enum SharedWork {
    /// Answers queries.
    Inference {
        /// How many.
        queries: u64,
        /// How many a task.
        batch: u32,
        /// What one takes on a node of speed 1.
        query_time: Duration,
    },
    /// Trains.
    Training {
        /// How many rounds.
        rounds: u32,
        /// How many tasks a round.
        tasks: u32,
        /// What one takes on a node of speed 1.
        task_time: Duration,
    },
}

/// A job of many.
#[derive(Clone, Copy, Debug)]
pub struct SharedJob {
    /// When it comes.
    pub arrives: Duration,
    /// Its share beside the others.
    pub weight: f64,
    /// Those of higher ones go first.
    pub priority: i32,
    /// What it does.
    pub work: SharedWork,
}

/// A cluster and its jobs.
#[derive(Debug)]
pub struct Shared {
    /// Who gets which task.
    pub policy: &'static PolicyRow,
    /// Where all random numbers come from.
    pub seed: u64,
    /// The compute nodes.
    pub nodes: Vec<NodeSetup>,
    /// By which share tasks take more or less than usual.
    pub spread: f64,
    /// The probability that a node refuses a task.
    pub refuse: f64,
    /// The probability that a node is lost when it is at a task; it is back at once.
    pub lose: f64,
    /// The jobs, numbered from 1 in this order.
    pub jobs: Vec<SharedJob>,
    /// When to end at the latest.
    pub until: Duration,
}

/// What became of a job.
#[derive(Clone, Debug, Default)]
pub struct SharedOutcome {
    /// From its arrival until a node was at its first task.
    pub first_sent: Option<Duration>,
    /// From its arrival until its first answer.
    pub first_answer: Option<Duration>,
    /// When it ended.
    pub ended: Option<Duration>,
    /// Queries, or of training jobs tasks, that were answered in each [`PART`] of the time.
    pub answers: Vec<u32>,
    /// The same for seconds of slots.
    pub busy: Vec<f64>,
}

/// What became of all.
#[derive(Clone, Debug, Default)]
pub struct SharedSummary {
    /// Of each job.
    pub jobs: Vec<SharedOutcome>,
    /// When the last job ended, or the simulation did.
    pub time: Duration,
    /// Tasks sent.
    pub dispatched: u64,
    /// How often a node had to load a model.
    pub loads: u64,
    /// How often the task was sent that a node had been told to get ready for, of all times when it had been told of one of
    /// the same job.
    pub foreseen: (u64, u64),
    /// The share of slots that were at work, from the first arrival to the end.
    pub utilisation: f64,
    /// What the engine was told.
    pub events: u64,
    /// The real time that it took, if there was a stopwatch.
    pub engine_time: Duration,
}

enum What {
    Hello(u32),
    Arrives(usize),
    Done(AttemptId),
    Ends(AttemptId, Outcome),
    Committed,
    Tick,
}

struct Running {
    job: usize,
    queries: u32,
    since: Time,
    output: TaskOutput,
}

struct Cluster<'a> {
    setup: &'a Shared,
    stopwatch: &'a dyn Fn() -> Duration,
    engine: Engine,
    now: Time,
    queue: Queue<What>,
    chance: ChaCha8Rng,
    running: BTreeMap<AttemptId, Running>,
    /// The jobs whose models each node has, the latest first, and what it was told to get ready for.
    models: Vec<Vec<usize>>,
    next: BTreeMap<(u32, usize), Vec<u32>>,
    records: u64,
    is_committing: bool,
    /// When the engine is called next because it wants to be.
    tick: Option<Time>,
    left: usize,
    busy: f64,
    summary: SharedSummary,
}

/// Simulates a cluster until all jobs have ended or the time is over. `stopwatch` gives real time since any moment, to
/// measure what the engine takes; nothing else depends on it.
pub fn simulate_shared(setup: &Shared, stopwatch: &dyn Fn() -> Duration) -> SharedSummary {
    let addresses: Vec<String> = (0..setup.nodes.len()).map(|node| format!("node:{node}")).collect();
    let mut cluster = Cluster {
        setup,
        stopwatch,
        engine: Engine::new(setup.policy, setup.seed, &addresses),
        now: Time::default(),
        queue: Queue::default(),
        chance: ChaCha8Rng::seed_from_u64(setup.seed),
        running: BTreeMap::new(),
        models: vec![Vec::new(); setup.nodes.len()],
        next: BTreeMap::new(),
        records: 0,
        is_committing: false,
        tick: Some(Time::default()),
        left: setup.jobs.len(),
        busy: 0.0,
        summary: SharedSummary {
            jobs: vec![SharedOutcome::default(); setup.jobs.len()],
            ..SharedSummary::default()
        },
    };
    cluster.queue.push(Time::default(), What::Tick);
    for (job, order) in setup.jobs.iter().enumerate() {
        cluster.queue.push(Time(order.arrives), What::Arrives(job));
    }
    while cluster.left > 0
        && let Some((at, what)) = cluster.queue.pop()
        && at.0 <= setup.until
    {
        cluster.now = at;
        cluster.happens(what);
    }
    let mut summary = cluster.summary;
    summary.time = cluster.now.0;
    let slots: usize = setup.nodes.iter().map(|node| node.slots).sum();
    let first = setup.jobs.iter().map(|job| job.arrives).min().unwrap_or_default();
    let whole = cluster.now.since(Time(first)).as_secs_f64() * slots as f64;
    summary.utilisation = if whole > 0.0 { cluster.busy / whole } else { 0.0 };
    summary
}

fn lost() -> Outcome {
    Outcome::Lost { reason: "went away".to_owned() }
}

impl Cluster<'_> {
    fn happens(&mut self, what: What) {
        let event = match what {
            What::Tick => {
                self.tick = self.tick.filter(|at| *at > self.now);
                Event::Tick
            }
            What::Hello(node) => {
                let slots = self.setup.nodes.get(node as usize).map_or(1, |node| node.slots);
                let hello = Hello { software: "simulated".to_owned(), slots, is_original: false };
                Event::Answered { node: NodeId(node), hello }
            }
            What::Arrives(job) => match self.arrives(job) {
                Some(event) => event,
                None => return,
            },
            What::Committed => {
                self.is_committing = false;
                Event::Committed { records: self.records }
            }
            What::Ends(attempt, outcome) => {
                self.running.remove(&attempt);
                Event::Ended { attempt, outcome, traffic: Traffic::default() }
            }
            What::Done(attempt) => match self.done(attempt) {
                Some(event) => event,
                None => return,
            },
        };
        self.tell(event);
    }

    fn arrives(&mut self, place: usize) -> Option<Event> {
        let job = self.setup.jobs.get(place)?;
        // Kinds of job differ in what they get done in a second for a unit of cost.
        let unit = [1e6, 2e7, 3e5].get(place % 3)?;
        let work: Box<dyn Job> = match job.work {
            SharedWork::Inference { queries, batch, query_time } => {
                Box::new(Queries::new(queries, batch, query_time.as_secs_f64() * unit))
            }
            SharedWork::Training { rounds, tasks, task_time } => {
                let (cost, seed) = (task_time.as_secs_f64(), self.setup.seed);
                let request = Request { rounds, tasks, cost, spread: 0.0, seed };
                let parameters = serde_json::to_string(&request).ok()?;
                (counting::KIND.start)(&parameters, counting::corpus().into()).ok()?
            }
        };
        let mut order = (*order("shared", "", &counting::corpus())).clone();
        (order.weight, order.priority) = (job.weight, job.priority);
        Some(Event::Submit { job: JobId(place as u64 + 1), work, order: Arc::new(order) })
    }

    fn done(&mut self, attempt: AttemptId) -> Option<Event> {
        let Running { job, queries, since, output, .. } = self.running.remove(&attempt)?;
        let part = (self.now.0.as_millis() / PART.as_millis()) as usize;
        let took = self.now.since(since).as_secs_f64();
        let arrives = self.setup.jobs.get(job)?.arrives;
        let of = self.summary.jobs.get_mut(job)?;
        of.first_answer.get_or_insert(self.now.since(Time(arrives)));
        of.answers.resize(of.answers.len().max(part + 1), 0);
        of.busy.resize(of.busy.len().max(part + 1), 0.0);
        of.answers[part] += queries.max(1);
        of.busy[part] += took;
        self.busy += took;
        let outcome = Outcome::Done { output, busy_s: took, delayed: false };
        Some(Event::Ended { attempt, outcome, traffic: Traffic::default() })
    }

    fn tell(&mut self, event: Event) {
        let before = (self.stopwatch)();
        let actions = self.engine.handle(self.now, event);
        self.summary.engine_time += (self.stopwatch)().saturating_sub(before);
        self.summary.events += 1;
        actions.into_iter().for_each(|action| self.perform(action));
        if let Some(at) = self.engine.next_wakeup().map(|at| at.max(self.now))
            && self.tick.is_none_or(|tick| at < tick)
        {
            self.tick = Some(at);
            self.queue.push(at, What::Tick);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Probe { node, .. } => self.queue.push(self.now + LATENCY, What::Hello(node.0)),
            Action::Dispatch { attempt, node, job, task, next, .. } => {
                let place = (job.0 - 1) as usize;
                self.begins(attempt, node.0, place, &task);
                if let Some(next) = next {
                    self.next.entry((node.0, place)).or_default().push(next.id.shard);
                }
            }
            Action::Abandon { attempt, .. } => self.queue.push(self.now + LATENCY, What::Ends(attempt, lost())),
            Action::Record(_) => {
                self.records += 1;
                if !std::mem::replace(&mut self.is_committing, true) {
                    self.queue.push(self.now + COMMIT, What::Committed);
                }
            }
            Action::Publish { job, status } if status.state != State::Running => {
                let now = self.now.0;
                if let Some(of) = self.summary.jobs.get_mut((job.0 - 1) as usize).filter(|of| of.ended.is_none()) {
                    of.ended = Some(now);
                    self.left -= 1;
                }
            }
            _ => {}
        }
    }

    fn begins(&mut self, attempt: AttemptId, node: u32, place: usize, task: &crate::jobs::TaskSpec) {
        let (Some(job), Some(setup)) = (self.setup.jobs.get(place), self.setup.nodes.get(node as usize)) else {
            return;
        };
        let usual = match job.work {
            SharedWork::Inference { query_time, .. } => query_time.mul_f64(f64::from(task.queries)),
            SharedWork::Training { task_time, .. } => task_time,
        };
        let around = 1.0 + self.setup.spread * self.chance.random_range(-1.0..=1.0);
        let takes = usual.mul_f64(around / setup.speed.max(1e-6));
        let output = match task.queries {
            0 => (counting::KIND.run)(&task.parameters, &[], &Workbench::bare(&|| true, &Models::new(0))).ok(),
            _ => None,
        };
        let output = output.unwrap_or(TaskOutput { bytes: Vec::new(), metrics: String::new() });
        let since = self.now + LATENCY;
        self.running.insert(attempt, Running { job: place, queries: task.queries, since, output });
        if self.chance.random::<f64>() < self.setup.refuse {
            self.queue.push(since + LATENCY, What::Ends(attempt, Outcome::Refused));
        } else if self.chance.random::<f64>() < self.setup.lose {
            self.queue.push(since + takes / 2, What::Ends(attempt, lost()));
        }
        self.queue.push(since + takes + LATENCY, What::Done(attempt));
        if let Some(of) = self.summary.jobs.get_mut(place) {
            of.first_sent.get_or_insert(since.since(Time(job.arrives)));
        }
        self.summary.dispatched += 1;
        if let Some(told) = self.next.get_mut(&(node, place)).filter(|told| !told.is_empty()) {
            self.summary.foreseen.1 += 1;
            if let Some(at) = told.iter().position(|shard| *shard == task.id.shard) {
                told.remove(at);
                self.summary.foreseen.0 += 1;
            }
        }
        if let Some(models) = self.models.get_mut(node as usize) {
            self.summary.loads += u64::from(!models.contains(&place));
            models.retain(|other| *other != place);
            models.insert(0, place);
            models.truncate(MODELS);
        }
    }
}
