//! The engine with a log: coordinators fall at any moment and others go on from what was durable, while nodes come and
//! go. Nothing is told before it is durable, every round is told once, and the weights are those of a run without faults.

use super::*;
use crate::data::{self, Dataset};
use crate::jobs::{self, Corpus, Shard, TaskInput};
use crate::ledger::{History, Ledger};
use crate::model::Model;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const ROUNDS: u32 = 4;
const PARAMETERS: &str = r#"{"rounds": 4, "epochs": 2, "hidden": [3], "eta": 0.01, "seed": 7}"#;

fn blobs() -> Vec<Arc<Blob>> {
    let blob = |rows: usize| {
        let features = Array2::from_shape_fn((rows, 2), |(row, column)| (row * 2 + column) as f32);
        let data = Dataset::new(features, (0..rows as u32).map(|row| row % 3).collect(), 3).expect("a data set");
        Arc::new(Blob::new(data::encode(&data)))
    };
    [3, 5, 2, 4, 3].map(blob).into()
}

fn corpus(blobs: &[Arc<Blob>]) -> Corpus {
    let rows = |blob: &Arc<Blob>| blob.dataset(3).expect("a data set").rows() as u64;
    let shard = |blob: &Arc<Blob>| Shard { name: "a".to_owned(), rows: rows(blob), blob: blob.clone() };
    let shards: Vec<Shard> = blobs.iter().map(shard).collect();
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    Corpus { name: "dir".to_owned(), validation: shards[0].clone(), shards, columns: 2, classes }
}

fn answer(spec: &TaskSpec, blobs: &[Arc<Blob>]) -> TaskOutput {
    let input = |input: &TaskInput| match input {
        TaskInput::Shard { digest, .. } => blobs.iter().find(|blob| blob.digest() == *digest).expect("it").clone(),
        TaskInput::Made(blob) => blob.clone(),
    };
    let inputs: Vec<Arc<Blob>> = spec.inputs.iter().map(input).collect();
    (kind().run)(&spec.parameters, &inputs, &jobs::Workbench::bare(&|| true, &jobs::inference::Models::new(0)))
        .expect("an answer")
}

fn kind() -> &'static jobs::JobKind {
    jobs::find("train").expect("the kind")
}

/// What one coordinator does, and what a log and watchers know of it.
struct World {
    chance: ChaCha8Rng,
    blobs: Vec<Arc<Blob>>,
    now: Time,
    engine: Engine,
    policy: &'static PolicyRow,
    running: Vec<(AttemptId, Arc<TaskSpec>)>,
    /// The tasks that this coordinator has sent.
    sent: BTreeSet<TaskId>,
    measuring: VecDeque<(Round, Arc<Model>)>,
    probed: Vec<NodeId>,
    connected: BTreeMap<NodeId, String>,
    /// What is durable, from all coordinators.
    ledger: Ledger,
    /// What this coordinator wrote: how much is durable, how much of that it knows.
    written: VecDeque<Record>,
    durable: u64,
    /// The rounds that this coordinator has told of.
    told: Vec<Round>,
    state: Option<State>,
}

impl World {
    fn new(seed: u64, policy: &'static PolicyRow) -> Self {
        let engine = Engine::new(policy, seed, &[]);
        let mut world = Self {
            chance: ChaCha8Rng::seed_from_u64(seed),
            blobs: blobs(),
            now: Time::default(),
            engine,
            policy,
            running: Vec::new(),
            sent: BTreeSet::new(),
            measuring: VecDeque::new(),
            probed: Vec::new(),
            connected: BTreeMap::new(),
            ledger: Ledger::default(),
            written: VecDeque::new(),
            durable: 0,
            told: Vec::new(),
            state: None,
        };
        world.begin();
        let work = (kind().start)(PARAMETERS, corpus(&world.blobs).into()).expect("a job");
        world.tell(Event::Submit { job: JOB, work, order: order(None) });
        world
    }

    /// A coordinator starts: it knows some of the nodes, in some order.
    fn begin(&mut self) {
        let mut addresses: Vec<String> = (0..3).map(|node| format!("node:{node}")).collect();
        addresses.rotate_left(self.chance.random_range(0..3));
        addresses.truncate(self.chance.random_range(1..=3));
        self.engine = Engine::new(self.policy, 1, &addresses);
        self.running.clear();
        self.sent.clear();
        self.measuring.clear();
        self.probed.clear();
        self.connected.clear();
        self.written.clear();
        self.durable = 0;
        self.told.clear();
        self.tell(Event::Tick);
    }

    /// The coordinator falls, and another one goes on from what is durable; some of that the first one did not hear of.
    fn fall(&mut self) {
        self.write(usize::MAX);
        self.now = Time(Duration::from_secs(self.chance.random_range(0..100)));
        self.begin();
        let Some(history) = self.ledger.jobs().get(&JOB).cloned() else {
            // Its client asks again.
            let work = (kind().start)(PARAMETERS, corpus(&self.blobs).into()).expect("a job");
            return self.tell(Event::Submit { job: JOB, work, order: order(None) });
        };
        if history.state == State::Running {
            self.restore(history, false);
        } else {
            self.state = Some(history.state);
        }
    }

    fn restore(&mut self, history: History, resumed: bool) {
        let corpus = corpus(&self.blobs);
        let work = match &history.saved {
            Some(saved) => (kind().resume)(PARAMETERS, corpus.into(), saved),
            None => (kind().start)(PARAMETERS, corpus.into()),
        };
        let work = work.expect("a job");
        self.tell(Event::Restore { job: JOB, work, history: Box::new(history), resumed });
    }

    /// The store takes some of what waits, at most `most`.
    fn write(&mut self, most: usize) {
        let waiting = self.written.len().min(most);
        for _ in 0..self.chance.random_range(0..=waiting) {
            self.ledger.apply(&self.written.pop_front().expect("it waits"));
            self.durable += 1;
        }
    }

    fn tell(&mut self, event: Event) {
        for action in self.engine.handle(self.now, event) {
            match action {
                Action::Connect { node, address } => {
                    assert_eq!(self.connected.insert(node, address), None, "{node} is connected twice");
                }
                Action::Disconnect { node } => assert!(self.connected.remove(&node).is_some(), "{node}"),
                Action::Probe { node, .. } => self.probed.push(self.known(node)),
                Action::Dispatch { attempt, node, task, .. } => {
                    self.known(node);
                    self.sent.insert(task.id);
                    self.running.push((attempt, task));
                }
                Action::Abandon { node, .. } => drop(self.known(node)),
                Action::Record(record) => self.written.push_back(record),
                Action::Heard { .. } => unreachable!("nobody says anything"),
                Action::Evaluate { round, model, .. } => self.measuring.push_back((round, model)),
                Action::Publish { status, .. } => self.hear(&status),
            }
        }
    }

    fn known(&self, node: NodeId) -> NodeId {
        assert!(self.connected.contains_key(&node), "{node} is not connected");
        node
    }

    /// Watchers hear something: it must be durable, and no round must be told twice.
    fn hear(&mut self, status: &Status) {
        let history = self.ledger.jobs().get(&JOB).expect("nothing is told before the order is durable");
        for closed in &status.closed {
            let kept = history.closed.iter().find(|kept| kept.round == closed.round);
            assert!(kept.is_some(), "round {} is told before it is durable", closed.round);
            assert!(self.told.last().is_none_or(|last| *last < closed.round), "round {} again", closed.round);
            self.told.push(closed.round);
            let of_nodes = closed.spans.iter().map(|span| span.node);
            of_nodes.for_each(|node| assert!(status.node_ids.contains(&node), "{node} is not told of"));
        }
        if status.state != State::Running {
            assert_eq!(status.state, history.state, "an end is told before it is durable");
            let tasks: u64 = status.nodes.iter().map(|node| node.counts.tasks).sum();
            assert!(tasks <= u64::from(ROUNDS) * self.blobs.len() as u64, "a task is counted twice");
            self.state = Some(status.state.clone());
        }
    }

    /// Something happens.
    fn step(&mut self) {
        for node in std::mem::take(&mut self.probed) {
            if self.chance.random_bool(0.9) {
                self.tell(Event::Answered { node, hello: hello() });
            } else {
                self.tell(Event::Unreachable { node, reason: "no answer".to_owned() });
            }
        }
        match self.chance.random_range(0..16) {
            0..6 if !self.running.is_empty() => self.end_one(),
            6..8 => {
                if let Some((round, model)) = self.measuring.pop_front() {
                    let data = self.blobs[0].dataset(3).expect("a data set");
                    let measured = crate::model::measure(&model, &data).expect("a measure");
                    self.tell(Event::Evaluated { job: JOB, round, measured: Ok(Box::new(measured)) });
                }
            }
            8..11 => {
                self.write(4);
                let heard = self.chance.random_range(0..=self.durable);
                self.tell(Event::Committed { records: heard });
            }
            11 => {
                let address = format!("node:{}", self.chance.random_range(0..5));
                let event = match self.chance.random_range(0..4) {
                    0 => Event::Leaving { address },
                    1 => Event::Gone { address, reason: "is dead".to_owned() },
                    _ => Event::Joined { address },
                };
                self.tell(event);
            }
            _ => {
                let wakeup = self.engine.next_wakeup().unwrap_or(self.now);
                self.now = self.now.max(wakeup.min(self.now + Duration::from_millis(20)));
                self.tell(Event::Tick);
            }
        }
    }

    fn end_one(&mut self) {
        let place = self.chance.random_range(0..self.running.len());
        let (attempt, spec) = self.running.swap_remove(place);
        let outcome = match self.chance.random_range(0..8) {
            0 => lost(),
            1 => done(b"garbage"),
            2 => Outcome::Refused,
            _ => Outcome::Done { output: answer(&spec, &self.blobs), busy_s: 0.01, delayed: false },
        };
        self.now = self.now + Duration::from_millis(1);
        self.tell(Event::Ended { attempt, outcome, traffic: Traffic::default() });
    }

    /// Goes on until the end of the job is told; a coordinator falls after each of these numbers of steps.
    fn run(&mut self, falls: &[usize]) -> State {
        let mut falls = falls.iter().copied();
        let mut next = falls.next();
        let mut since = 0;
        for _ in 0..200_000 {
            if let Some(state) = self.state.clone() {
                return state;
            }
            if next.is_some_and(|next| since >= next) {
                self.fall();
                (next, since) = (falls.next(), 0);
                continue;
            }
            since += 1;
            self.step();
        }
        panic!("the job does not end");
    }
}

/// The weights of a run without faults.
fn weights() -> State {
    World::new(0, policy("round-robin")).run(&[])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whoever_falls_whenever_the_weights_are_the_same_and_nothing_is_told_too_soon_or_twice(
        seed: u64,
        row in 0..POLICIES.len(),
        falls in prop::collection::vec(0usize..250, 0..5),
    ) {
        let mut world = World::new(seed, &POLICIES[row]);
        prop_assert_eq!(world.run(&falls), weights());
        let history = &world.ledger.jobs()[&JOB];
        let rounds: Vec<u32> = history.closed.iter().map(|closed| closed.round.0).collect();
        prop_assert_eq!(rounds, (1..=ROUNDS).collect::<Vec<_>>());
    }
}

#[test]
fn a_job_that_was_cancelled_can_be_resumed() {
    let mut world = World::new(3, policy("random"));
    while world.ledger.jobs().get(&JOB).is_none_or(|history| history.closed.len() < 2) {
        world.step();
    }
    world.tell(Event::Cancel { job: JOB });
    while world.state.is_none() {
        world.step();
    }
    let mut history = world.ledger.jobs()[&JOB].clone();
    assert_eq!(history.state, State::Cancelled);
    history.state = State::Running;
    world.state = None;
    world.told.clear();
    world.restore(history, true);
    assert!(matches!(world.written.back(), Some(Record::Resumed { .. })));
    assert!(world.told.is_empty(), "it is told that it goes on when that is durable");
    assert_eq!(world.run(&[50]), weights());
}

#[test]
fn answers_of_the_log_are_not_asked_for_again() {
    let mut world = World::new(5, policy("load-balancing"));
    let answers = |world: &World| world.ledger.jobs().get(&JOB).map_or(0, |history| history.answers.len());
    while answers(&world) < 3 {
        world.step();
    }
    let history = world.ledger.jobs()[&JOB].clone();
    world.begin();
    world.restore(history.clone(), false);
    let written = world.written.iter().filter(|record| matches!(record, Record::Answered { .. })).count();
    assert_eq!(written, 0, "they are in the log already");
    for _ in 0..2000 {
        world.step();
    }
    assert!(world.sent.len() > history.answers.len(), "the others are asked for");
    let twice = history.answers.tasks().find(|task| world.sent.contains(task));
    assert_eq!(twice, None, "it has its answer");
}

#[test]
fn a_slow_store_slows_the_job_down_and_is_named() {
    let mut bench = Bench::new("round-robin", 2);
    bench.submit(5000, 2);
    while let Some((attempt, ..)) = bench.dispatched.pop_front() {
        bench.tell_only(Event::Ended { attempt, outcome: done(b""), traffic: Traffic::default() });
    }
    assert!((1000..1100).contains(&(bench.records - 1)), "{} records wait", bench.records);
    bench.wait(1000);
    bench.now = bench.now + Duration::from_secs(2);
    bench.tell_only(Event::Tick);
    let notice = bench.status.as_ref().expect("a status").notice.clone();
    assert!(notice.starts_with("waiting for the store (10"), "{notice}");
    bench.tell_only(Event::Committed { records: bench.records });
    assert!(!bench.dispatched.is_empty(), "it goes on");
    bench.wait(50);
    assert_eq!(bench.status.as_ref().expect("a status").notice, "");
}
