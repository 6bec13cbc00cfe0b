//! Owns the timing of all that is not training: calls over loopback, a task's way round, the engine by itself.
//!
//! - `call/hello`: one call and its answer, on a connection that is open.
//! - `call/put_blob 1 MiB`: a whole blob in one chunk; the receiver hashes and keeps it each time, as it must.
//! - `task/...`: a job whose training takes next to nothing (rows of 2 features, 2 hidden units, one epoch). The time is
//!   per task: the policy, the dispatch to the link's thread, the call, the node's work, the answer, the fold, and, as a
//!   share, the end of the round with its measurement on the validation row. Coordinator, node (one slot) and a client
//!   that watches are in this process. With one task a round nothing overlaps; with 11 the round's end is shared.
//! - `engine/...`: `Engine::handle` by itself for the end of an attempt, which is also the start of the next: no thread,
//!   no socket, a job that counts, and nodes that are make-believe. All slots are at work; what is left waits.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roundtable::client::{self, Order, Share};
use roundtable::coordinator::{self, Coordinator};
use roundtable::engine::{Action, Engine, Event, Hello, Outcome, Traffic};
use roundtable::jobs::training::TrainingRequest;
use roundtable::jobs::{BadAnswer, Effect, Job, Progress, RoundResult, TaskOutput, TaskSpec};
use roundtable::ledger::{CorpusRef, JobOrder, ShardRef};
use roundtable::model::Measured;
use roundtable::node::{self, Node};
use roundtable::policy::{self, POLICIES};
use roundtable::rpc::{self, Dialer};
use roundtable::types::{AttemptId, Digest, JobId, NodeId, Round, TaskId, Time};
use roundtable::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn a_node() -> Node {
    let listener = rpc::bind("127.0.0.1", 0).expect("a free port");
    Node::start(listener, node::Config::default()).expect("a node")
}

fn calls(c: &mut Criterion) {
    let node = a_node();
    let connection = Dialer::default().dial(&node.address().into()).expect("it answers");
    let mut client = connection.client(ComputeNodeSyncClient::new);
    let mut group = c.benchmark_group("call");
    group.sample_size(50).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    group.bench_function("hello", |b| b.iter(|| client.call(|c| c.hello(1)).expect("an answer")));
    let bytes: Vec<u8> = (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let digest = Digest::of(&bytes);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("put_blob 1 MiB", |b| {
        b.iter(|| rpc::put_blob(&mut client, &digest, &bytes, &mut |_| ()).expect("it is taken"));
    });
    group.finish();
}

/// Trains for so many rounds, and answers with what they took at the coordinator, without the client's preparations.
fn rounds(coordinator: &Coordinator, dataset: &Path, rounds: u32) -> Duration {
    let order = Order {
        coordinators: vec![coordinator.address().into()],
        reconnect: Duration::from_secs(10),
        dataset: dataset.to_string_lossy().into_owned(),
        values: false,
        work: client::Work::Rounds(TrainingRequest::original(rounds, 1, vec![2], 1e-4, 1)),
        give_up_after: Some(Duration::from_secs(60)),
        share: Share::default(),
    };
    let report = client::train(&order, &|| false, &mut |_| ()).expect("it trains");
    Duration::from_secs_f64(report.rounds.iter().map(|round| round.wall_s).sum())
}

fn tasks(c: &mut Criterion) {
    let node = a_node();
    let policy = policy::find("load-balancing").expect("it is there");
    let config = coordinator::Config::new(policy, vec![node.address().into()]);
    let listener = rpc::bind("127.0.0.1", 0).expect("a free port");
    let coordinator = Coordinator::start(listener, config).expect("a coordinator");
    let mut group = c.benchmark_group("task");
    group.sample_size(20).measurement_time(Duration::from_secs(5)).warm_up_time(Duration::from_secs(1));
    for shards in [1u32, 11] {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: String, rows: &str| std::fs::write(directory.path().join(name), rows).expect("a file");
        // There must be two labels: a single shard has two rows, of eleven each has one.
        let rows =
            |shard: u32| if shards == 1 { "1,2,0\n2,1,1\n" } else { ["1,2,0\n", "2,1,1\n"][shard as usize % 2] };
        (0..shards).for_each(|shard| write(format!("train{shard}.txt"), rows(shard)));
        write("validate.txt".to_owned(), "1,2,0\n");
        group.bench_function(format!("{shards} a round"), |b| {
            b.iter_custom(|tasks| {
                let wanted = tasks.div_ceil(u64::from(shards)).clamp(1, 1_000_000);
                let taken = rounds(&coordinator, directory.path(), wanted as u32);
                taken.mul_f64(tasks as f64 / (wanted * u64::from(shards)) as f64)
            });
        });
    }
    group.finish();
}

/// What every round comes to.
const RESULT: RoundResult =
    RoundResult { validation_error: 0.5, validation_loss: 1.0, training_error: 0.5, training_loss: None };

/// A job of endless rounds that counts answers.
struct Counting {
    round: u32,
    width: u32,
    done: u32,
    handed_out: bool,
}

impl Job for Counting {
    fn save(&self) -> roundtable::jobs::Saved {
        Default::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        0
    }

    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        if std::mem::replace(&mut self.handed_out, true) {
            return Vec::new();
        }
        let spec = |shard| TaskSpec {
            id: TaskId { round: Round(self.round), shard },
            kind: "count",
            parameters: String::new(),
            inputs: Vec::new(),
            cost: 1.0,
            for_originals: true,
            queries: 0,
        };
        (0..self.width).map(spec).collect()
    }

    fn complete(&mut self, task: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        self.done += 1;
        if self.done < self.width {
            return Ok(Vec::new());
        }
        *self = Self { round: self.round + 1, width: self.width, done: 0, handed_out: false };
        Ok(vec![Effect::Closed { round: task.round, result: RESULT, left_out: vec![], detail: None }])
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn progress(&self) -> Progress {
        Progress { round: self.round, rounds: u32::MAX, tasks_done: self.done, tasks: self.width }
    }
}

/// An engine at work on a job, and what it wants of the nodes.
struct AtWork {
    engine: Engine,
    now: Time,
    running: VecDeque<(AttemptId, NodeId)>,
    probed: VecDeque<NodeId>,
    /// What the engine has had written, and what it has been told is durable: all at once.
    records: u64,
    committed: u64,
}

/// What nobody looks at here.
fn order() -> Arc<JobOrder> {
    let validation = ShardRef { name: String::new(), digest: Digest::of(b""), rows: 1 };
    let corpus =
        CorpusRef { name: String::new(), shards: Vec::new(), validation, columns: 1, classes: Vec::new() };
    Arc::new(JobOrder::new("count", "", corpus))
}

impl AtWork {
    fn new(policy: &policy::PolicyRow, nodes: u32, tasks: u32) -> Self {
        let addresses: Vec<String> = (0..nodes).map(|node| format!("node:{node}")).collect();
        let engine = Engine::new(policy, 1, &addresses);
        let mut at_work = Self {
            engine,
            now: Time::default(),
            running: VecDeque::new(),
            probed: VecDeque::new(),
            records: 0,
            committed: 0,
        };
        (0..nodes).for_each(|node| at_work.answer(NodeId(node)));
        let work = Box::new(Counting { round: 1, width: tasks, done: 0, handed_out: false });
        at_work.tell(Event::Submit { job: JobId(1), work, order: order() });
        at_work
    }

    fn answer(&mut self, node: NodeId) {
        let hello = Hello { software: "none".to_owned(), slots: 1, is_original: false };
        self.tell(Event::Answered { node, hello });
    }

    fn tell(&mut self, event: Event) {
        for action in self.engine.handle(self.now, event) {
            match action {
                Action::Dispatch { attempt, node, .. } => self.running.push_back((attempt, node)),
                Action::Probe { node, .. } => self.probed.push_back(node),
                Action::Record(_) => self.records += 1,
                _ => {}
            }
        }
        if self.records > self.committed {
            self.committed = self.records;
            self.tell(Event::Committed { records: self.records });
        }
    }

    /// The attempt that has run longest ends.
    fn step(&mut self) {
        while let Some(node) = self.probed.pop_front() {
            self.answer(node);
        }
        let (attempt, _) = self.running.pop_front().expect("something is always at work");
        self.now = self.now + Duration::from_micros(10);
        let output = TaskOutput { bytes: Vec::new(), metrics: String::new() };
        let outcome = Outcome::Done { output, busy_s: 1e-5, delayed: false };
        self.tell(Event::Ended { attempt, outcome, traffic: Traffic { sent: 1, received: 1 } });
    }
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    group.sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for row in POLICIES {
        for (nodes, tasks) in [(4, 11), (100, 1000)] {
            let mut at_work = AtWork::new(row, nodes, tasks);
            group.bench_function(format!("{}, {nodes} nodes, {tasks} tasks", row.name), |b| {
                b.iter_custom(|events| {
                    let start = Instant::now();
                    (0..events).for_each(|_| at_work.step());
                    start.elapsed()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, calls, tasks, engine);
criterion_main!(benches);
