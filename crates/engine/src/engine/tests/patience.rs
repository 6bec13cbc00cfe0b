//! The engine with nodes that are late: copies of their tasks are made by nodes that have nothing else to do, and rounds
//! close without their last tasks where the job allows it.

use super::*;
use crate::jobs::{Quorum, Saved};

#[test]
fn copies_are_made_only_by_nodes_that_have_nothing_else_to_do() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit(1, 6);
    let (hung, hung_node, late) = bench.next();
    for _ in 0..4 {
        let (attempt, node, _) = bench.next();
        assert!(node != hung_node && bench.dispatched.is_empty());
        bench.wait(200);
        bench.end(attempt, done(b""));
    }
    // The task is overdue, and the other node is at the last one.
    let (last, ..) = bench.next();
    bench.wait(600);
    assert_eq!(bench.engine.late.len(), 1);
    assert!(bench.dispatched.is_empty() && !bench.engine.nodes.iter().any(|node| node.has_queue()));
    bench.end(last, done(b""));
    let (copy, node, task) = bench.next();
    assert!(node != hung_node && task == late);
    bench.wait(10_000);
    assert!(bench.dispatched.is_empty(), "one copy is enough");
    bench.end(copy, done(b""));
    assert_eq!(Vec::from(bench.abandoned.clone()), [hung]);
    assert!(matches!(bench.state(), State::Done { .. }));
}

/// Two nodes, of which one hangs with a task that is overdue, and the copy of that at the other.
fn copied() -> (Bench, AttemptId, TaskId) {
    let mut bench = Bench::new("load-balancing", 3);
    bench.submit(1, 3);
    let (_, _, late) = bench.next();
    for _ in 0..2 {
        let (attempt, ..) = bench.next();
        bench.wait(100);
        bench.end(attempt, done(b""));
    }
    bench.wait(1000);
    let (copy, _, task) = bench.next();
    assert_eq!(task, late);
    (bench, copy, late)
}

#[test]
fn a_copy_that_comes_to_nothing_is_made_again() {
    let lost_copies: [fn(&mut Bench, AttemptId); 4] = [
        |bench, copy| bench.end(copy, Outcome::Refused),
        |bench, copy| bench.end(copy, lost()),
        |bench, copy| bench.end(copy, done(b"garbage")),
        |bench, copy| {
            let node = bench.engine.attempts[&copy].node;
            bench.tell(Event::Unreachable { node, reason: "gone".to_owned() });
            assert_eq!(bench.abandoned.pop_front(), Some(copy));
            bench.end(copy, lost());
        },
    ];
    for (case, lose) in lost_copies.into_iter().enumerate() {
        let (mut bench, copy, late) = copied();
        lose(&mut bench, copy);
        bench.wait(5000);
        let (second, _, task) = bench.dispatched.pop_front().unwrap_or_else(|| panic!("case {case}: no copy"));
        assert!(task == late && bench.dispatched.is_empty(), "case {case}: one copy is enough");
        bench.end(second, done(b""));
        assert!(matches!(bench.state(), State::Done { .. }), "case {case}");
    }
}

#[test]
fn a_first_task_that_nobody_answers_is_copied_too() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 2);
        bench.submit(1, 1);
        let (_, hung, _) = bench.next();
        bench.wait(59_000);
        assert!(bench.dispatched.is_empty(), "{}", row.name);
        for _ in 0..20 {
            bench.wait(500);
        }
        let (copy, node, _) = bench.next();
        assert!(node != hung, "{}", row.name);
        bench.end(copy, done(b""));
        assert!(matches!(bench.state(), State::Done { .. }), "{}", row.name);
    }
}

#[test]
fn what_the_noise_of_a_busy_machine_delays_is_not_copied() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 4);
        bench.submit(50, 4);
        let mut ended = 0;
        while !bench.dispatched.is_empty() {
            let round: Vec<AttemptId> = bench.dispatched.drain(..).map(|(attempt, ..)| attempt).collect();
            bench.wait(5);
            for (at, attempt) in round.into_iter().enumerate() {
                // One in a hundred takes 200 ms more.
                ended += 1;
                bench.wait(if ended % 100 == 0 { 200 } else { at as u64 });
                bench.end(attempt, done(b""));
            }
        }
        assert_eq!(ended, 200, "{}", row.name);
        assert!(bench.abandoned.is_empty() && matches!(bench.state(), State::Done { .. }), "{}", row.name);
    }
}

#[test]
fn nothing_is_copied_to_a_node_that_would_take_longer_than_the_one_at_it() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit(3, 2);
    let mut abandoned = 0;
    for _ in 0..3 {
        let mut first: Vec<_> = bench.dispatched.drain(..).collect();
        first.sort_by_key(|(_, node, _)| *node);
        for (attempt, node, _) in first {
            // Node 1 is twenty times slower.
            bench.wait(if node.0 == 0 { 1000 } else { 19_000 });
            abandoned += bench.abandoned.len();
            bench.abandoned.clear();
            bench.end(attempt, done(b""));
        }
        for (attempt, ..) in std::mem::take(&mut bench.dispatched) {
            bench.wait(1000);
            bench.end(attempt, done(b""));
        }
    }
    assert!(matches!(bench.state(), State::Running | State::Done { .. }));
    assert!(abandoned <= 3);
}

#[test]
fn a_node_that_was_cut_off_is_as_fast_as_before_when_it_is_back_and_a_slow_one_is_not() {
    for is_cut_off in [true, false] {
        let mut bench = Bench::new("load-balancing", 2);
        bench.submit(20, 2);
        for _ in 0..4 {
            let round = std::mem::take(&mut bench.dispatched);
            bench.wait(10);
            round.into_iter().for_each(|(attempt, ..)| bench.end(attempt, done(b"")));
        }
        let mut round = std::mem::take(&mut bench.dispatched).into_iter();
        let ((_, node, _), (other, ..)) = (round.next().unwrap(), round.next().unwrap());
        let pace = |bench: &Bench| {
            bench.engine.nodes.get(node).unwrap().view(|_| None, &bench.engine.line.share).unwrap().pace.unwrap()
        };
        let before = pace(&bench);
        bench.wait(10);
        bench.end(other, done(b""));
        for _ in 0..500 {
            if !bench.dispatched.is_empty() {
                break;
            }
            bench.wait(10);
        }
        let (copy, ..) = bench.next();
        bench.wait(10);
        bench.end(copy, done(b""));
        assert_eq!(bench.abandoned.len(), 1);
        if is_cut_off {
            bench.tell(Event::Unreachable { node, reason: "cut off".to_owned() });
        }
        bench.tell(Event::Answered { node, hello: hello() });
        assert_eq!(pace(&bench) <= before * 1.01, is_cut_off, "{} {before}", pace(&bench));
    }
}

/// A counting job whose rounds may close early.
struct Early {
    counting: Counting,
    quorum: Quorum,
}

impl Job for Early {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        self.counting.take_ready(room)
    }
    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        self.counting.complete(task, output)
    }
    fn evaluated(&mut self, round: Round, measured: &Measured) -> Vec<Effect> {
        self.counting.evaluated(round, measured)
    }
    fn quorum(&self) -> Option<Quorum> {
        Some(self.quorum)
    }
    fn close_early(&mut self) -> Vec<Effect> {
        let round = Round(self.counting.round);
        let left_out: Vec<u32> =
            (0..self.counting.width).filter(|task| !self.counting.done.contains(task)).collect();
        self.counting.done = (0..self.counting.width).collect();
        let last = TaskId { round, shard: self.counting.width - 1 };
        self.counting.done.remove(&last.shard);
        let output = TaskOutput { bytes: Vec::new(), metrics: String::new() };
        let mut effects = self.counting.complete(last, &output).expect("it is the last");
        if let Effect::Closed { left_out: given, .. } = &mut effects[0] {
            *given = left_out;
        }
        effects
    }
    fn save(&self) -> Saved {
        Saved::default()
    }
    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }
    fn progress(&self) -> Progress {
        self.counting.progress()
    }
    fn memory(&self) -> usize {
        0
    }
}

/// Four nodes with a task each; all but the last answer after 100 ms.
fn nearly_done(quorum: Quorum) -> (Bench, AttemptId, TaskId) {
    let mut bench = Bench::new("round-robin", 4);
    let counting = Counting { rounds: 2, width: 4, round: 1, handed_out: false, done: BTreeSet::new() };
    let work = Box::new(Early { counting, quorum });
    bench.tell(Event::Submit { job: JOB, work, order: order(None) });
    bench.wait(100);
    for _ in 0..3 {
        let (attempt, ..) = bench.next();
        bench.end(attempt, done(b""));
    }
    let (last, _, task) = bench.next();
    (bench, last, task)
}

#[test]
fn a_round_closes_without_its_last_task_at_the_deadline_if_enough_have_answered() {
    let deadline = Some(Duration::from_millis(400));
    let (mut bench, last, task) = nearly_done(Quorum { share: 0.75, deadline });
    bench.wait(299);
    assert!(bench.rounds == 0 && bench.abandoned.is_empty());
    bench.wait(1);
    assert_eq!((bench.rounds, bench.abandoned.pop_front()), (1, Some(last)));
    assert_eq!(bench.left_out, [task.shard]);
    assert_eq!(bench.dispatched.len(), 3, "the next round is at work; a slot is held until the call has ended");
    bench.end(last, done(b""));
    for _ in 0..4 {
        let (attempt, _, task) = bench.next();
        assert_eq!(task.round, Round(2));
        bench.end(attempt, done(b""));
    }
    assert!(matches!(bench.state(), State::Done { .. }));
}

#[test]
fn a_round_does_not_close_while_too_few_have_answered() {
    let (mut bench, ..) = nearly_done(Quorum { share: 0.76, deadline: Some(Duration::from_millis(400)) });
    for _ in 0..100 {
        bench.wait(100);
    }
    assert_eq!(bench.rounds, 0);
}

#[test]
fn without_a_deadline_a_round_closes_when_its_last_tasks_are_overdue() {
    let (mut bench, ..) = nearly_done(Quorum { share: 0.5, deadline: None });
    // 100 ms + 6 x 25 ms + 250 ms, as for a copy.
    bench.wait(399);
    assert_eq!(bench.rounds, 0);
    bench.wait(1);
    assert_eq!(bench.rounds, 1);
}

/// The rules of copies are checked after every event: see [`Bench::tell_only`].
#[test]
fn copies_go_to_idle_nodes_under_every_policy() {
    for row in POLICIES {
        let mut copies = 0;
        for seed in 0..20 {
            let mut bench = Bench::with_seed(row.name, 4, seed);
            bench.submit(1, 8);
            let mut hung = 0;
            for _ in 0..100 {
                for (attempt, _, task) in std::mem::take(&mut bench.dispatched) {
                    // The first two hang, and their copies, too.
                    if task.shard < 2 {
                        hung += 1;
                    } else {
                        bench.end(attempt, done(b""));
                    }
                }
                for node in std::mem::take(&mut bench.probed) {
                    bench.tell(Event::Answered { node, hello: hello() });
                }
                bench.wait(100);
            }
            copies += hung - 2;
        }
        assert!(copies >= 20, "{}: {copies} copies", row.name);
    }
}
