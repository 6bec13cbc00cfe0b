//! Owns a make-believe cluster under virtual time: the engine as it is, nodes that take as long as they are told to, a
//! store that takes a moment. The same plan always plays in the same way.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roundtable::data::shared::Blob;
use roundtable::engine::{Action, Engine, Event, Hello, Outcome, State, Status};
use roundtable::jobs::{BadAnswer, Effect, Job, Progress, Quorum, RoundResult, Saved, TaskOutput, TaskSpec};
use roundtable::ledger::{CorpusRef, JobOrder, Record, ShardRef, Traffic};
use roundtable::model::{Answers, Measured};
use roundtable::policy;
use roundtable::types::{AttemptId, Digest, JobId, NodeId, Round, TaskId, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

/// A cluster and a job for it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name of the policy.
    pub policy: &'static str,
    /// Where all random numbers come from.
    pub seed: u64,
    /// For each node, units of cost that it does in a second.
    pub speeds: Vec<f64>,
    /// For each task of a round, its cost.
    pub costs: Vec<f64>,
    /// Rounds of the job.
    pub rounds: u32,
    /// The probability that a task is delayed, and, independently, of a refusal where nodes may refuse.
    pub load: f64,
    /// How long a delayed task waits.
    pub delay: Duration,
    /// The way to a node and back takes this.
    pub latency: Duration,
    /// The store takes this for the records that it has.
    pub commit: Duration,
    /// Nodes that never end their first task, though they answer probes.
    pub stuck: Vec<usize>,
    /// When rounds may close early.
    pub quorum: Option<Quorum>,
}

impl Plan {
    /// Nodes of speed 1 without load, one round of tasks of cost 1.
    pub fn new(policy: &'static str, nodes: usize, tasks: usize) -> Self {
        Self {
            policy,
            seed: 1,
            speeds: vec![1.0; nodes],
            costs: vec![1.0; tasks],
            rounds: 1,
            load: 0.0,
            delay: Duration::from_millis(500),
            latency: Duration::from_millis(1),
            commit: Duration::from_millis(5),
            stuck: Vec::new(),
            quorum: None,
        }
    }

    /// Each tenth node is ten times slower than the others.
    pub fn with_slow_tenth(mut self) -> Self {
        self.speeds.iter_mut().skip(5).step_by(10).for_each(|speed| *speed /= 10.0);
        self
    }

    /// Costs from half to one and a half times what they are, in no order.
    pub fn with_unequal_tasks(mut self) -> Self {
        let spread = |(at, cost): (usize, &mut f64)| *cost *= 0.5 + (at * 37 % 101) as f64 / 100.0;
        self.costs.iter_mut().enumerate().for_each(spread);
        self
    }

    /// Seconds that a round takes at least, whoever decides and whatever is known before: the mean task and the mean
    /// delay on all nodes from start to end; or the longest task on the fastest node.
    pub fn bound(&self) -> f64 {
        let work: f64 = self.costs.iter().sum();
        let mean = work / self.costs.len() as f64;
        let waits = self.load * self.delay.as_secs_f64() + self.latency.as_secs_f64();
        let rate: f64 = self.speeds.iter().map(|speed| 1.0 / (mean / speed + waits)).sum();
        let longest = self.costs.iter().copied().fold(0.0, f64::max);
        let fastest = self.speeds.iter().copied().fold(0.0, f64::max);
        f64::from(self.rounds) * (self.costs.len() as f64 / rate).max(longest / fastest)
    }
}

/// What became of a plan.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Seconds until the job was told to be over.
    pub seconds: f64,
    /// Events that the engine was told.
    pub events: u64,
    /// Seconds of real time that it took for them, by the given clock.
    pub cpu_s: f64,
    /// The longest of those.
    pub slowest_s: f64,
    /// Tasks that were sent, refusals and copies included.
    pub dispatched: u64,
    /// Attempts that were abandoned.
    pub abandoned: u64,
    /// Attempts that were sent while another of the same task was at work.
    pub copies: u64,
    /// Of those, how many were sent while other tasks had not been sent at all.
    pub hasty_copies: u64,
    /// Statuses that were told.
    pub told: u64,
    /// Rounds that were told to be over, with how many tasks each was closed without.
    pub rounds: Vec<usize>,
    /// How it ended.
    pub state: Option<State>,
}

/// What is still to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ToCome {
    Answer(NodeId),
    End(AttemptId),
    Commit(u64),
}

/// How an attempt will end.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Done { busy_s: f64, delayed: bool },
    Refused,
    Lost,
}

struct World<'p> {
    plan: &'p Plan,
    engine: Engine,
    now: Time,
    to_come: BinaryHeap<Reverse<(Time, u64, ToCome)>>,
    last: u64,
    running: BTreeMap<AttemptId, (TaskId, Fate)>,
    /// How many are at each task that has no answer, and how many such tasks there are, sent or not.
    at_task: BTreeMap<TaskId, usize>,
    unanswered: usize,
    chance: ChaCha8Rng,
    may_refuse: bool,
    has_been_used: Vec<bool>,
    records: u64,
    committing: bool,
    committed: u64,
    played: Played,
}

/// Plays a plan to its end; `clock` gives seconds of real time, for [`Played::cpu_s`].
pub fn play(plan: &Plan, clock: &dyn Fn() -> f64) -> Played {
    let row = policy::find(plan.policy).expect("a policy of this name");
    let addresses: Vec<String> = (0..plan.speeds.len()).map(|node| format!("node:{node}")).collect();
    let mut world = World {
        plan,
        engine: Engine::new(row, plan.seed, &addresses),
        now: Time::default(),
        to_come: BinaryHeap::new(),
        last: 0,
        running: BTreeMap::new(),
        at_task: BTreeMap::new(),
        unanswered: plan.costs.len(),
        chance: ChaCha8Rng::seed_from_u64(plan.seed),
        may_refuse: row.nodes_may_refuse,
        has_been_used: vec![false; plan.speeds.len()],
        records: 0,
        committing: false,
        committed: 0,
        played: Played::default(),
    };
    world.tell(Event::Tick, clock);
    while !world.to_come.is_empty() {
        world.step(clock);
    }
    let start = world.now;
    let work = Box::new(Counting::new(plan));
    world.played = Played::default();
    world.tell(Event::Submit { job: JobId(1), work, order: order() }, clock);
    while world.played.state.is_none() {
        world.step(clock);
    }
    world.played.seconds = world.now.since(start).as_secs_f64();
    world.played
}

impl World<'_> {
    fn step(&mut self, clock: &dyn Fn() -> f64) {
        let wakeup = self.engine.next_wakeup();
        let next = self.to_come.peek().map(|Reverse((at, ..))| *at);
        if next.is_none_or(|next| wakeup.is_some_and(|wakeup| wakeup < next)) {
            self.now = self.now.max(wakeup.expect("nothing will ever happen"));
            return self.tell(Event::Tick, clock);
        }
        let Some(Reverse((at, _, what))) = self.to_come.pop() else { return };
        self.now = self.now.max(at);
        let event = match what {
            ToCome::Answer(node) => {
                let hello = Hello { software: "none".to_owned(), slots: 1, is_original: false };
                Event::Answered { node, hello }
            }
            ToCome::Commit(records) => {
                self.committing = false;
                self.committed = records;
                Event::Committed { records }
            }
            ToCome::End(attempt) => {
                let Some((task, fate)) = self.running.remove(&attempt) else { return };
                self.leave(task, fate);
                Event::Ended { attempt, outcome: outcome(fate), traffic: Traffic { sent: 1, received: 1 } }
            }
        };
        self.tell(event, clock);
    }

    fn later(&mut self, after: Duration, what: ToCome) {
        self.last += 1;
        self.to_come.push(Reverse((self.now + after, self.last, what)));
    }

    fn tell(&mut self, event: Event, clock: &dyn Fn() -> f64) {
        let before = clock();
        let actions = self.engine.handle(self.now, event);
        let took = clock() - before;
        self.played.events += 1;
        self.played.cpu_s += took;
        self.played.slowest_s = self.played.slowest_s.max(took);
        for action in actions {
            self.perform(action);
        }
        if !self.committing && self.records > self.committed {
            self.committing = true;
            self.later(self.plan.commit, ToCome::Commit(self.records));
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Heard { .. } => unreachable!("nobody says anything"),
            Action::Probe { node, .. } => self.later(self.plan.latency, ToCome::Answer(node)),
            Action::Dispatch { attempt, node, task, .. } => self.dispatch(attempt, node, task.id, task.cost),
            Action::Abandon { attempt, .. } => {
                self.played.abandoned += 1;
                let Some((_, fate)) = self.running.get_mut(&attempt) else { return };
                *fate = Fate::Lost;
                self.later(self.plan.latency, ToCome::End(attempt));
            }
            Action::Record(record) => {
                self.records += 1;
                drop::<Record>(record);
            }
            Action::Publish { status, .. } => self.note(&status),
            Action::Evaluate { .. } => unreachable!("this job measures nothing"),
            Action::Connect { .. } | Action::Disconnect { .. } => {}
        }
    }

    fn note(&mut self, status: &Status) {
        self.played.told += 1;
        self.played.rounds.extend(status.closed.iter().map(|closed| closed.left_out.len()));
        if status.state != State::Running {
            self.played.state = Some(status.state.clone());
        }
    }

    fn dispatch(&mut self, attempt: AttemptId, node: NodeId, task: TaskId, cost: f64) {
        let place = node.0 as usize;
        self.played.dispatched += 1;
        let at_it = self.at_task.entry(task).or_default();
        *at_it += 1;
        if *at_it > 1 {
            self.played.copies += 1;
            self.played.hasty_copies += u64::from(self.unanswered > self.at_task.len());
        }
        let (refuse, delay) = (self.chance.random::<f64>(), self.chance.random::<f64>());
        let first = !std::mem::replace(&mut self.has_been_used[place], true);
        let (after, fate) = if self.may_refuse && refuse < self.plan.load {
            (Duration::ZERO, Fate::Refused)
        } else {
            let delayed = delay < self.plan.load;
            let wait = if delayed { self.plan.delay } else { Duration::ZERO };
            let busy_s = cost / self.plan.speeds[place];
            (wait + Duration::from_secs_f64(busy_s), Fate::Done { busy_s, delayed })
        };
        self.running.insert(attempt, (task, fate));
        if !(first && self.plan.stuck.contains(&place)) {
            self.later(after + self.plan.latency, ToCome::End(attempt));
        }
    }

    fn leave(&mut self, task: TaskId, fate: Fate) {
        let Some(at_it) = self.at_task.get_mut(&task) else { return };
        *at_it -= 1;
        let is_answered = matches!(fate, Fate::Done { .. });
        if is_answered || *at_it == 0 {
            self.at_task.remove(&task);
        }
        if is_answered {
            // A round is over when all have answered.
            self.unanswered = if self.unanswered == 1 { self.plan.costs.len() } else { self.unanswered - 1 };
        }
    }
}

fn outcome(fate: Fate) -> Outcome {
    match fate {
        Fate::Done { busy_s, delayed } => {
            let output = TaskOutput { bytes: Vec::new(), metrics: String::new() };
            Outcome::Done { output, busy_s, delayed }
        }
        Fate::Refused => Outcome::Refused,
        Fate::Lost => Outcome::Lost { reason: "hung up".to_owned() },
    }
}

fn order() -> Arc<JobOrder> {
    let validation = ShardRef { name: String::new(), digest: Digest::of(b""), rows: 1 };
    let corpus =
        CorpusRef { name: String::new(), shards: Vec::new(), validation, columns: 1, classes: Vec::new() };
    Arc::new(JobOrder::new("count", "", corpus))
}

/// A job that only counts its answers.
struct Counting {
    costs: Vec<f64>,
    rounds: u32,
    round: u32,
    handed_out: bool,
    answered: Vec<bool>,
    done: u32,
    quorum: Option<Quorum>,
}

impl Counting {
    fn new(plan: &Plan) -> Self {
        let Plan { costs, rounds, quorum, .. } = plan.clone();
        let answered = vec![false; costs.len()];
        Self { costs, rounds, round: 1, handed_out: false, answered, done: 0, quorum }
    }

    fn close(&mut self) -> Vec<Effect> {
        let left_out = (0..).zip(&self.answered).filter(|(_, answered)| !**answered).map(|(place, _)| place);
        let result =
            RoundResult { validation_error: 0.0, validation_loss: 0.0, training_error: 0.0, training_loss: None };
        let round = Round(self.round);
        let mut effects =
            vec![Effect::Save, Effect::Closed { round, result, left_out: left_out.collect(), detail: None }];
        self.answered.fill(false);
        (self.done, self.handed_out) = (0, false);
        self.round += 1;
        if self.round > self.rounds {
            let model = Arc::new(Blob::new(Vec::new()));
            let answers = Answers::Classes { confusion: Vec::new(), calibration_error: 0.0 };
            let measured = Box::new(Measured { rows: 1, error: 0.0, loss: 0.0, answers });
            effects.push(Effect::Finished { weights: model.digest(), model, round, measured: Some(measured) });
        }
        effects
    }
}

impl Job for Counting {
    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        if self.round > self.rounds || std::mem::replace(&mut self.handed_out, true) {
            return Vec::new();
        }
        let spec = |(place, &cost): (u32, &f64)| TaskSpec {
            id: TaskId { round: Round(self.round), shard: place },
            kind: "count",
            parameters: String::new(),
            inputs: Vec::new(),
            cost,
            for_originals: true,
            queries: 0,
        };
        (0..).zip(&self.costs).map(spec).collect()
    }

    fn complete(&mut self, task: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        assert_eq!(task.round.0, self.round, "an answer of another round got through");
        let answered = &mut self.answered[task.shard as usize];
        assert!(!std::mem::replace(answered, true), "{task} was counted twice");
        self.done += 1;
        Ok(if self.done as usize == self.costs.len() { self.close() } else { Vec::new() })
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn quorum(&self) -> Option<Quorum> {
        self.quorum
    }

    fn close_early(&mut self) -> Vec<Effect> {
        self.close()
    }

    fn save(&self) -> Saved {
        Saved::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn progress(&self) -> Progress {
        let tasks = self.costs.len() as u32;
        Progress { round: self.round.min(self.rounds), rounds: self.rounds, tasks_done: self.done, tasks }
    }

    fn memory(&self) -> usize {
        0
    }
}
