//! The engine against a cluster of make-believe nodes, under virtual time.

use super::*;
use crate::data::shared::Blob;
use crate::jobs::{BadAnswer, Heard, Job, Progress, RoundResult, TaskOutput, TaskSpec};
use crate::ledger::{CorpusRef, ShardRef};
use crate::model::Answers;
use crate::policy::POLICIES;
use crate::types::Digest;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What the model is worth.
fn worth() -> Measured {
    let answers = Answers::Classes { confusion: Vec::new(), calibration_error: 0.0 };
    Measured { rows: 1, error: 0.5, loss: 1.0, answers }
}

/// What every round comes to.
const RESULT: RoundResult =
    RoundResult { validation_error: 0.5, validation_loss: 1.0, training_error: 0.5, training_loss: None };

/// A job of `rounds` rounds of `width` tasks, that notes what it is given.
struct Counting {
    rounds: u32,
    width: u32,
    round: u32,
    handed_out: bool,
    done: BTreeSet<u32>,
}

impl Counting {
    fn boxed(rounds: u32, width: u32) -> Box<dyn Job> {
        Box::new(Self { rounds, width, round: 1, handed_out: false, done: BTreeSet::new() })
    }
}

impl Job for Counting {
    fn save(&self) -> crate::jobs::Saved {
        Default::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        if self.handed_out || self.round > self.rounds {
            return Vec::new();
        }
        self.handed_out = true;
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

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        assert_eq!(task.round.0, self.round, "an answer of another round got through");
        if output.bytes == b"garbage" {
            return Err(BadAnswer("garbage".to_owned()));
        }
        assert!(self.done.insert(task.shard), "{task} was counted twice");
        if self.done.len() < self.width as usize {
            return Ok(Vec::new());
        }
        self.done.clear();
        self.handed_out = false;
        self.round += 1;
        let closed = Effect::Closed { round: task.round, result: RESULT, left_out: vec![], detail: None };
        let mut effects = vec![closed];
        if self.round > self.rounds {
            let model = Arc::new(Blob::new(Vec::new()));
            let round = task.round;
            effects.push(Effect::Finished {
                weights: model.digest(),
                model,
                round,
                measured: Some(Box::new(worth())),
            });
        }
        Ok(effects)
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn memory(&self) -> usize {
        0
    }

    fn progress(&self) -> Progress {
        Progress { round: self.round, rounds: self.rounds, tasks_done: self.done.len() as u32, tasks: self.width }
    }
}

mod durability;
mod members;
mod patience;
mod share;
mod words;

const JOB: JobId = JobId(1);

fn ms(ms: u64) -> Time {
    Time(Duration::from_millis(ms))
}

fn policy(name: &str) -> &'static PolicyRow {
    crate::policy::find(name).expect("a policy of this name")
}

fn done(bytes: &[u8]) -> Outcome {
    let output = TaskOutput { bytes: bytes.to_vec(), metrics: String::new() };
    Outcome::Done { output, busy_s: 0.01, delayed: false }
}

fn lost() -> Outcome {
    Outcome::Lost { reason: "went away".to_owned() }
}

/// What was asked for; nothing of it matters here but when to give up.
fn order(give_up_after: Option<Duration>) -> Arc<JobOrder> {
    let validation = ShardRef { name: String::new(), digest: Digest::of(b""), rows: 1 };
    let corpus = CorpusRef { name: String::new(), shards: vec![], validation, columns: 1, classes: vec![] };
    Arc::new(JobOrder { give_up_after, ..JobOrder::new("count", "", corpus) })
}

fn hello() -> Hello {
    Hello { software: "test".to_owned(), slots: 1, is_original: false }
}

/// The engine, and what it has asked for since it was looked at last.
struct Bench {
    engine: Engine,
    now: Time,
    dispatched: VecDeque<(AttemptId, NodeId, TaskId)>,
    probed: VecDeque<NodeId>,
    abandoned: VecDeque<AttemptId>,
    status: Option<Status>,
    rounds: usize,
    records: u64,
    disconnected: Vec<NodeId>,
    left_out: Vec<u32>,
    heard: Vec<(u64, Result<Heard, String>)>,
}

impl Bench {
    /// A bench with nodes that have all answered.
    fn new(policy_name: &str, nodes: u32) -> Self {
        Self::with_seed(policy_name, nodes, 1)
    }

    fn with_seed(policy_name: &str, nodes: u32, seed: u64) -> Self {
        let mut bench = Self::asleep_with_seed(policy_name, nodes, seed);
        for node in 0..nodes {
            bench.tell(Event::Answered { node: NodeId(node), hello: hello() });
        }
        bench.probed.clear();
        bench
    }

    fn asleep(policy_name: &str, nodes: u32) -> Self {
        Self::asleep_with_seed(policy_name, nodes, 1)
    }

    fn asleep_with_seed(policy_name: &str, nodes: u32, seed: u64) -> Self {
        let addresses: Vec<String> = (0..nodes).map(|node| format!("node:{node}")).collect();
        let engine = Engine::new(policy(policy_name), seed, &addresses);
        let mut bench = Self {
            engine,
            now: ms(0),
            dispatched: VecDeque::new(),
            probed: VecDeque::new(),
            abandoned: VecDeque::new(),
            status: None,
            rounds: 0,
            records: 0,
            disconnected: Vec::new(),
            left_out: Vec::new(),
            heard: Vec::new(),
        };
        bench.tell(Event::Tick);
        bench
    }

    /// Tells the engine, and that what it has recorded is durable.
    fn tell(&mut self, event: Event) {
        let records = self.records;
        self.tell_only(event);
        if self.records > records {
            self.tell_only(Event::Committed { records: self.records });
        }
    }

    /// Tells the engine; copies must not be made while tasks wait for a node, nor wait for a node themselves.
    fn tell_only(&mut self, event: Event) {
        let actions = self.engine.handle(self.now, event);
        let at_it = |job, task| {
            let open = self.engine.jobs.get(&job).and_then(|run: &Run| run.open(task));
            open.map_or(0, |(_, attempts)| attempts.len())
        };
        for bound in self.engine.nodes.iter().flat_map(|node| node.queued()) {
            assert_eq!(at_it(bound.job, bound.task), 0, "a copy of {} waits for a node", bound.task);
        }
        for action in &actions {
            if let Action::Dispatch { job, task, .. } = action {
                assert!(
                    at_it(*job, task.id) < 2 || !self.engine.line.has(*job),
                    "{} is copied, others wait",
                    task.id
                );
            }
        }
        for action in actions {
            match action {
                Action::Dispatch { attempt, node, task, .. } => {
                    self.dispatched.push_back((attempt, node, task.id))
                }
                Action::Probe { node, .. } => self.probed.push_back(node),
                Action::Abandon { attempt, .. } => self.abandoned.push_back(attempt),
                Action::Publish { status, .. } => {
                    self.rounds += status.closed.len();
                    self.left_out.extend(status.closed.iter().flat_map(|closed| &closed.left_out));
                    self.status = Some(*status);
                }
                Action::Record(_) => self.records += 1,
                Action::Connect { .. } => {}
                Action::Disconnect { node } => self.disconnected.push(node),
                Action::Heard { ticket, heard } => self.heard.push((ticket, heard)),
                Action::Evaluate { .. } => unreachable!("this job measures nothing"),
            }
        }
    }

    fn submit(&mut self, rounds: u32, width: u32) {
        self.tell(Event::Submit { job: JOB, work: Counting::boxed(rounds, width), order: order(None) });
    }

    fn end(&mut self, attempt: AttemptId, outcome: Outcome) {
        self.tell(Event::Ended { attempt, outcome, traffic: Traffic { sent: 1, received: 2 } });
    }

    fn next(&mut self) -> (AttemptId, NodeId, TaskId) {
        self.dispatched.pop_front().expect("a dispatch")
    }

    fn wait(&mut self, for_ms: u64) {
        self.now = self.now + Duration::from_millis(for_ms);
        self.tell(Event::Tick);
    }

    fn state(&self) -> State {
        self.status.as_ref().expect("a status").state.clone()
    }
}

#[test]
fn every_policy_does_every_task_once() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 3);
        bench.submit(4, 7);
        let mut tasks = 0;
        while let Some((attempt, ..)) = bench.dispatched.pop_front() {
            bench.now = bench.now + Duration::from_millis(3);
            bench.end(attempt, done(b""));
            tasks += 1;
        }
        assert_eq!((tasks, bench.rounds), (28, 4), "{}", row.name);
        assert!(matches!(bench.state(), State::Done { .. }), "{}", row.name);
        let nodes = bench.status.expect("a status").nodes;
        assert_eq!(nodes.iter().map(|node| node.counts.tasks).sum::<u64>(), 28);
        assert_eq!(nodes.iter().map(|node| node.counts.traffic.received).sum::<u64>(), 56);
    }
}

#[test]
fn a_refused_task_goes_elsewhere_at_once_and_the_refusing_node_is_left_alone() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit(1, 1);
    let (attempt, first, task) = bench.next();
    bench.end(attempt, Outcome::Refused);
    let (attempt, second, again) = bench.next();
    assert!(second != first && again == task);
    bench.end(attempt, Outcome::Refused);
    assert!(bench.dispatched.is_empty(), "both nodes are left alone for a while");
    let wakeup = bench.engine.next_wakeup().expect("the end of a pause");
    assert!(wakeup > bench.now && wakeup.since(bench.now) <= Duration::from_millis(10));
    bench.wait(10);
    assert_eq!(bench.next().2, task);
}

#[test]
fn the_pauses_of_a_node_that_goes_on_refusing_grow() {
    let mut bench = Bench::new("load-balancing", 1);
    bench.submit(1, 1);
    let mut refusals = 0;
    for _ in 0..3000 {
        if let Some((attempt, ..)) = bench.dispatched.pop_front() {
            refusals += 1;
            bench.end(attempt, Outcome::Refused);
        }
        bench.wait(10);
    }
    assert!((10..=25).contains(&refusals), "{refusals} requests in 30 s");
}

#[test]
fn a_lost_task_is_retried_and_the_node_used_again_when_it_answers() {
    let mut bench = Bench::new("round-robin", 2);
    bench.submit(1, 2);
    let (attempt, node, task) = bench.next();
    bench.next();
    bench.end(attempt, lost());
    assert!(bench.probed.is_empty());
    bench.wait(50);
    assert_eq!(bench.probed.pop_front(), Some(node));
    bench.tell(Event::Unreachable { node, reason: "refused".to_owned() });
    bench.wait(49);
    assert!(bench.probed.is_empty(), "too early");
    bench.wait(1);
    assert_eq!(bench.probed.pop_front(), Some(node));
    assert!(bench.dispatched.is_empty(), "the other node is busy, this one away");
    bench.tell(Event::Answered { node, hello: hello() });
    // Round-robin had bound the task to the other node meanwhile, where it waits for the slot.
    let other = bench.engine.nodes.iter().filter(|node| node.has_queue()).count();
    assert_eq!(other, 1, "{task} waits");
}

#[test]
fn a_node_that_hangs_is_found_out_and_its_task_done_elsewhere() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit(1, 1);
    let (hung, node, task) = bench.next();
    bench.wait(999);
    assert!(bench.probed.is_empty());
    bench.wait(1);
    assert_eq!(bench.probed.pop_front(), Some(node));
    bench.wait(1000);
    bench.tell(Event::Unreachable { node, reason: "did not answer in time".to_owned() });
    assert_eq!(bench.abandoned.pop_front(), Some(hung));
    let (attempt, other, again) = bench.next();
    assert!(other != node && again == task);
    bench.end(hung, done(b""));
    assert_eq!(bench.state(), State::Running, "the answer of an abandoned attempt does not count");
    bench.end(attempt, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
}

#[test]
fn a_node_that_is_only_slow_is_left_at_work() {
    let mut bench = Bench::new("load-balancing", 1);
    bench.submit(1, 1);
    let (attempt, node, _) = bench.next();
    for _ in 0..100 {
        bench.wait(1000);
        assert_eq!(bench.probed.pop_front(), Some(node));
        bench.tell(Event::Answered { node, hello: hello() });
    }
    assert!(bench.abandoned.is_empty() && bench.dispatched.is_empty());
    bench.end(attempt, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
}

#[test]
fn an_overdue_task_is_copied_and_the_first_answer_counts() {
    for original_wins in [true, false] {
        let mut bench = Bench::new("load-balancing", 2);
        bench.submit(2, 2);
        let (quick, ..) = bench.next();
        let (slow, slow_node, task) = bench.next();
        bench.now = ms(100);
        bench.end(quick, done(b""));
        bench.wait(390);
        assert!(bench.dispatched.is_empty(), "overdue is 100 ms + 6 x 25 ms + 250 ms");
        bench.wait(20);
        let (copy, copy_node, copied) = bench.next();
        assert!(copied == task && copy_node != slow_node);
        let (winner, loser) = if original_wins { (slow, copy) } else { (copy, slow) };
        bench.end(winner, done(b""));
        assert_eq!(bench.rounds, 1);
        assert_eq!(bench.abandoned.pop_front(), Some(loser));
        bench.end(loser, lost());
        let failures: u64 = bench.engine.jobs[&JOB].failures();
        assert_eq!(failures, 0, "to be abandoned is no failure");
    }
}

#[test]
fn a_copy_never_goes_to_the_node_that_is_at_the_task() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 1);
        bench.tell(Event::Answered { node: NodeId(0), hello: Hello { slots: 2, ..hello() } });
        bench.submit(1, 2);
        let (quick, ..) = bench.next();
        bench.now = ms(10);
        bench.end(quick, done(b""));
        let (slow, ..) = bench.next();
        for _ in 0..10 {
            bench.wait(1000);
            bench.tell(Event::Answered { node: NodeId(0), hello: Hello { slots: 2, ..hello() } });
        }
        assert!(bench.dispatched.is_empty(), "{}", row.name);
        bench.end(slow, done(b""));
        assert!(matches!(bench.state(), State::Done { .. }));
        assert!(bench.engine.jobs.is_empty() && bench.engine.attempts.is_empty(), "nothing is kept");
    }
}

#[test]
fn a_node_that_was_overtaken_in_silence_must_answer_before_it_gets_more() {
    let mut bench = Bench::new("round-robin", 2);
    bench.submit(3, 4);
    let (quick, quick_node, _) = bench.next();
    let (_, hung_node, _) = bench.next();
    bench.now = ms(10);
    bench.end(quick, done(b""));
    let mut by_the_other = 0;
    for _ in 0..200 {
        bench.wait(5);
        while let Some((attempt, node, _)) = bench.dispatched.pop_front() {
            assert_eq!(node, quick_node, "the other node is silent");
            bench.end(attempt, done(b""));
            by_the_other += 1;
        }
        // The call ends, the node stays silent.
        while let Some(attempt) = bench.abandoned.pop_front() {
            bench.end(attempt, lost());
        }
    }
    bench.tell(Event::Answered { node: hung_node, hello: hello() });
    let pace = |node: NodeId| bench.engine.cluster.pace(bench.now, node);
    assert!(pace(hung_node) > pace(quick_node), "it is known to be slow");
    assert_eq!(by_the_other, 11, "all that was bound to the silent node was done by the other");
    assert!(matches!(bench.state(), State::Done { .. }));
    assert!(bench.probed.contains(&hung_node));
}

#[test]
fn garbage_is_retried_with_growing_pauses_and_does_not_end_the_job() {
    let mut bench = Bench::new("random", 1);
    bench.submit(1, 1);
    let mut tries = 0;
    for _ in 0..1000 {
        if let Some((attempt, ..)) = bench.dispatched.pop_front() {
            tries += 1;
            bench.end(attempt, done(b"garbage"));
        }
        bench.wait(10);
    }
    assert!((6..=9).contains(&tries), "{tries} tries in 10 s");
    bench.wait(30_000);
    let (attempt, ..) = bench.next();
    bench.end(attempt, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
}

#[test]
fn what_two_nodes_call_impossible_fails_the_job() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit(1, 1);
    for _ in 0..2 {
        assert_eq!(bench.state(), State::Running);
        let (attempt, ..) = bench.next();
        bench.end(attempt, Outcome::Impossible { reason: "diverged".to_owned() });
    }
    let State::Failed { reason } = bench.state() else { panic!("it goes on") };
    assert!(reason.starts_with("diverged (says node:"), "{reason}");
    assert!(bench.dispatched.is_empty());
}

#[test]
fn cancelling_abandons_all_and_frees_the_nodes() {
    let mut bench = Bench::new("round-robin", 2);
    bench.submit(1, 6);
    let running = [bench.next().0, bench.next().0];
    bench.tell(Event::Cancel { job: JOB });
    assert_eq!(bench.state(), State::Cancelled);
    assert_eq!(Vec::from(bench.abandoned.clone()), running);
    assert!(!bench.engine.nodes.iter().any(|node| node.has_queue()));
    bench.tell(Event::Submit { job: JobId(2), work: Counting::boxed(1, 1), order: order(None) });
    assert!(bench.dispatched.is_empty(), "the slots are held until the calls have ended");
    for attempt in running {
        bench.end(attempt, lost());
    }
    bench.next();
}

#[test]
fn without_nodes_the_job_waits_says_so_and_gives_up_only_if_told() {
    let mut bench = Bench::asleep("load-balancing", 2);
    let limit = Some(Duration::from_secs(5));
    bench.tell(Event::Submit { job: JOB, work: Counting::boxed(1, 1), order: order(limit) });
    for node in [NodeId(0), NodeId(1)] {
        bench.tell(Event::Unreachable { node, reason: "connection refused".to_owned() });
    }
    bench.wait(50);
    let notice = bench.status.clone().expect("a status").notice;
    assert_eq!(notice, "waiting for a compute node (node:0, node:1: connection refused)");
    assert_eq!(bench.state(), State::Running);
    bench.wait(4949);
    assert_eq!(bench.state(), State::Running);
    assert!(bench.engine.next_wakeup().is_some_and(|at| at <= ms(5000)));
    bench.wait(1);
    let State::Failed { reason } = bench.state() else { panic!("it goes on") };
    assert!(reason.starts_with("no progress for 5s: waiting for a compute node"), "{reason}");
}

#[test]
fn who_waits_for_others_or_for_slow_work_does_not_give_up() {
    let mut bench = Bench::new("round-robin", 1);
    let limit = Some(Duration::from_secs(5));
    bench.tell(Event::Submit { job: JOB, work: Counting::boxed(1, 2), order: order(limit) });
    bench.tell(Event::Submit { job: JobId(2), work: Counting::boxed(1, 1), order: order(limit) });
    for _ in 0..3 {
        let (attempt, node, _) = bench.next();
        for _ in 0..8 {
            bench.wait(1000);
            if bench.probed.pop_front().is_some() {
                bench.tell(Event::Answered { node, hello: hello() });
            }
        }
        bench.end(attempt, done(b""));
    }
    assert!(matches!(bench.state(), State::Done { .. }), "{:?}", bench.state());
}

#[test]
fn a_node_that_answered_a_task_meanwhile_is_not_away() {
    let mut bench = Bench::new("round-robin", 1);
    bench.submit(1, 2);
    let (attempt, node, _) = bench.next();
    bench.wait(1000);
    assert_eq!(bench.probed.pop_front(), Some(node));
    bench.wait(10);
    bench.end(attempt, done(b""));
    let (second, ..) = bench.next();
    bench.wait(10);
    bench.tell(Event::Unreachable { node, reason: "did not answer in time".to_owned() });
    assert!(bench.abandoned.is_empty());
    bench.end(second, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
}

#[test]
fn a_node_that_comes_late_is_used() {
    let mut bench = Bench::asleep("random", 1);
    bench.submit(1, 1);
    bench.tell(Event::Unreachable { node: NodeId(0), reason: "connection refused".to_owned() });
    for _ in 0..20 {
        bench.wait(1000);
        if bench.probed.pop_front().is_some() {
            bench.tell(Event::Unreachable { node: NodeId(0), reason: "connection refused".to_owned() });
        }
    }
    bench.wait(1000);
    bench.tell(Event::Answered { node: NodeId(0), hello: hello() });
    let (attempt, ..) = bench.next();
    bench.end(attempt, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
}

/// What a make-believe node does with a task.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Answer,
    Refuse,
    Lose,
    Garbage,
    Hang,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        5 => Just(Fault::Answer),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::Lose),
        1 => Just(Fault::Garbage),
        1 => Just(Fault::Hang),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever nodes do, as long as they go on answering now and then, each task counts once and the job ends.
    #[test]
    fn the_job_ends_whatever_happens(
        faults in prop::collection::vec((fault(), 1u64..400), 1..60),
        row in 0..POLICIES.len(),
        nodes in 1u32..5,
        slots in 1usize..3,
        width in 1u32..9,
    ) {
        let mut bench = Bench::asleep(POLICIES[row].name, nodes);
        bench.submit(3, width);
        let mut faults = faults.into_iter().chain(std::iter::repeat((Fault::Answer, 5)));
        // What will happen, and when.
        let mut to_come: Vec<(Time, AttemptId, Fault)> = Vec::new();
        for step in 0.. {
            prop_assert!(step < 20_000, "the job does not end: {:?}", bench.status);
            if bench.status.as_ref().is_some_and(|status| status.state != State::Running) {
                break;
            }
            let probes: Vec<NodeId> = bench.probed.drain(..).collect();
            for node in probes {
                let hung = to_come.iter().any(|&(_, attempt, fault)| {
                    matches!(fault, Fault::Hang) && bench.engine.attempts.get(&attempt).is_some_and(|a| a.node == node)
                });
                if hung {
                    bench.tell(Event::Unreachable { node, reason: "hung".to_owned() });
                } else {
                    let slots = Hello { slots, ..hello() };
                    bench.tell(Event::Answered { node, hello: slots });
                }
            }
            let abandoned: Vec<AttemptId> = bench.abandoned.drain(..).collect();
            for attempt in abandoned {
                to_come.retain(|&(_, other, _)| other != attempt);
                bench.end(attempt, lost());
            }
            while let Some((attempt, ..)) = bench.dispatched.pop_front() {
                let (fault, after) = faults.next().expect("it is endless");
                to_come.push((bench.now + Duration::from_millis(after), attempt, fault));
            }
            let next = to_come.iter().filter(|(_, _, fault)| !matches!(fault, Fault::Hang)).min_by_key(|(at, ..)| *at);
            let wakeup = bench.engine.next_wakeup();
            match (next.copied(), wakeup) {
                (Some((at, attempt, fault)), wakeup) if wakeup.is_none_or(|wakeup| at <= wakeup) => {
                    bench.now = bench.now.max(at);
                    to_come.retain(|&(_, other, _)| other != attempt);
                    let outcome = match fault {
                        Fault::Answer | Fault::Hang => done(b""),
                        Fault::Refuse => Outcome::Refused,
                        Fault::Lose => lost(),
                        Fault::Garbage => done(b"garbage"),
                    };
                    bench.end(attempt, outcome);
                }
                (_, Some(wakeup)) => {
                    bench.now = bench.now.max(wakeup);
                    bench.tell(Event::Tick);
                }
                (_, None) => prop_assert!(
                    !bench.probed.is_empty() || !bench.abandoned.is_empty() || !bench.dispatched.is_empty(),
                    "nothing will ever happen: {:?}", bench.status
                ),
            }
        }
        prop_assert!(matches!(bench.state(), State::Done { .. }), "{:?}", bench.state());
        prop_assert_eq!(bench.rounds, 3);
    }
}

#[test]
fn nodes_of_the_original_system_get_only_what_they_can_do() {
    for for_originals in [true, false] {
        for row in POLICIES {
            let mut engine = Engine::new(row, 1, &["ours:1".to_owned(), "original:1".to_owned()]);
            let now = Time::default();
            for (place, is_original) in [(0, false), (1, true)] {
                engine
                    .handle(now, Event::Answered { node: NodeId(place), hello: Hello { is_original, ..hello() } });
            }
            let mut work = Counting { rounds: 1, width: 40, round: 1, handed_out: false, done: BTreeSet::new() };
            let spec = |mut spec: TaskSpec| {
                spec.for_originals = for_originals;
                spec
            };
            let tasks = work.take_ready(usize::MAX).into_iter().map(spec).collect();
            let work = Box::new(Given { tasks, counting: work });
            let mut actions = engine.handle(now, Event::Submit { job: JobId(1), work, order: order(None) });
            let mut used = BTreeSet::new();
            while let Some(action) = actions.pop() {
                let Action::Dispatch { attempt, node, .. } = action else { continue };
                used.insert(node.0);
                let output = TaskOutput { bytes: Vec::new(), metrics: String::new() };
                let outcome = Outcome::Done { output, busy_s: 0.0, delayed: false };
                let now = now + Duration::from_millis(1);
                actions.extend(engine.handle(now, Event::Ended { attempt, outcome, traffic: Traffic::default() }));
            }
            let expected = if for_originals { BTreeSet::from([0, 1]) } else { BTreeSet::from([0]) };
            assert_eq!(used, expected, "{}", row.name);
        }
    }
}

/// A counting job of one round with these tasks.
struct Given {
    tasks: Vec<TaskSpec>,
    counting: Counting,
}

impl Job for Given {
    fn save(&self) -> crate::jobs::Saved {
        Default::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        std::mem::take(&mut self.tasks)
    }
    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        self.counting.complete(task, output)
    }
    fn evaluated(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        self.counting.evaluated(round, measured)
    }
    fn progress(&self) -> Progress {
        self.counting.progress()
    }
    fn memory(&self) -> usize {
        0
    }
}
