//! Which job gets a slot when several wait.

use super::*;
use crate::jobs::Measure;
use proptest::collection::vec;

/// A job of so many batches, cut as late as possible.
struct Batches {
    left: u32,
    batch: u32,
    cost: f64,
    made: u32,
    open: BTreeSet<u32>,
}

impl Batches {
    fn boxed(batches: u32, batch: u32, cost: f64) -> Box<dyn Job> {
        Box::new(Self { left: batches, batch, cost, made: 0, open: BTreeSet::new() })
    }
}

impl Job for Batches {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        let count = (self.left as usize).min(room) as u32;
        let made = self.made..self.made + count;
        (self.left, self.made) = (self.left - count, self.made + count);
        self.open.extend(made.clone());
        let spec = |shard| TaskSpec {
            id: TaskId { round: Round(1), shard },
            kind: "batches",
            parameters: String::new(),
            inputs: Vec::new(),
            cost: self.cost,
            for_originals: false,
            queries: self.batch,
        };
        made.map(spec).collect()
    }

    fn unmade(&self) -> u64 {
        u64::from(self.left)
    }

    fn measure(&self) -> Measure {
        Measure::Queries
    }

    fn complete(&mut self, task: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        assert!(self.open.remove(&task.shard), "{task} was counted twice");
        if self.left > 0 || !self.open.is_empty() {
            return Ok(Vec::new());
        }
        let model = Arc::new(Blob::new(Vec::new()));
        let (weights, measured) = (model.digest(), Box::new(worth()));
        Ok(vec![Effect::Finished { weights, model, round: Round(1), measured: Some(measured) }])
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn save(&self) -> crate::jobs::Saved {
        Default::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn memory(&self) -> usize {
        0
    }
}

impl Bench {
    fn submit_batches(&mut self, job: u64, batches: u32, batch: u32, weight: f64, priority: i32) {
        let order = Arc::new(JobOrder { weight, priority, ..(*order(None)).clone() });
        self.tell(Event::Submit { job: JobId(job), work: Batches::boxed(batches, batch, 1e9), order });
    }

    /// Ends attempts in the order in which they began, one every 5 ms; whose the tasks are that are sent then.
    fn go_on(&mut self, ends: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        for _ in 0..ends {
            let (attempt, ..) = self.next();
            self.now = self.now + Duration::from_millis(5);
            let before = self.dispatched.len();
            self.end(attempt, done(b""));
            let new = self.dispatched.iter().skip(before);
            sent.extend(new.filter_map(|(attempt, ..)| Some(self.engine.attempts.get(attempt)?.job.0)));
        }
        sent
    }
}

#[test]
fn the_first_slot_that_falls_free_is_for_the_job_that_came_last() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 4);
        bench.submit_batches(1, 1000, 2, 1.0, 0);
        bench.go_on(200);
        let abandoned = bench.abandoned.len();
        bench.submit_batches(2, 1000, 2, 1.0, 0);
        // Under the policies that do not look, one of its tasks is at this very node with a probability of 0.9.
        let sent = bench.go_on(8);
        let first = sent.iter().position(|job| *job == 2);
        assert!(
            first.is_some_and(|first| first == 0 || first < 4 && row.name == "random"),
            "{}: {sent:?}",
            row.name
        );
        assert_eq!(bench.abandoned.len(), abandoned, "nothing is given up for it");
    }
}

#[test]
fn batches_of_different_sizes_get_the_same_rate_and_weights_shift_it() {
    for (batch, weight, expected) in [(2, 1.0, 0.5), (10, 1.0, 1.0 / 6.0), (2, 3.0, 0.75)] {
        let mut bench = Bench::new("load-balancing", 4);
        bench.submit_batches(1, 100_000, 2, 1.0, 0);
        bench.submit_batches(2, 100_000, batch, weight, 0);
        bench.go_on(100);
        let sent = bench.go_on(1200);
        let share = sent.iter().filter(|job| **job == 2).count() as f64 / sent.len() as f64;
        assert!((share - expected).abs() < 0.01, "batches of {batch}, weight {weight}: {share}");
    }
}

#[test]
fn a_job_of_higher_priority_has_all_slots_that_it_can_use() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit_batches(1, 1000, 2, 1.0, 0);
    bench.go_on(10);
    bench.submit_batches(2, 20, 2, 1.0, 1);
    assert_eq!(bench.go_on(20), vec![2; 20]);
    assert_eq!(bench.go_on(5), vec![1; 5]);
}

#[test]
fn who_comes_late_or_back_is_owed_nothing() {
    let mut bench = Bench::new("load-balancing", 2);
    bench.submit_batches(1, 100_000, 2, 1.0, 0);
    bench.go_on(2000);
    bench.submit_batches(2, 100_000, 2, 1.0, 0);
    let sent = bench.go_on(40);
    let second = sent.iter().filter(|job| **job == 2).count();
    assert!((18..=22).contains(&second), "{sent:?}");
}

#[test]
fn what_came_to_nothing_is_not_counted() {
    let mut bench = Bench::new("load-balancing", 6);
    bench.submit_batches(1, 100_000, 2, 1.0, 0);
    bench.submit_batches(2, 100_000, 2, 1.0, 0);
    let mut answered = [0, 0];
    for at in 0..6000 {
        bench.now = bench.now + Duration::from_millis(5);
        let Some((attempt, ..)) = bench.dispatched.pop_front() else {
            bench.wait(5);
            continue;
        };
        let job = bench.engine.attempts[&attempt].job.0 as usize;
        // Every third of the second job's is refused.
        let outcome = if job == 2 && at % 3 == 0 { Outcome::Refused } else { done(b"") };
        answered[job - 1] += usize::from(matches!(outcome, Outcome::Done { .. }));
        bench.end(attempt, outcome);
    }
    assert!(answered[0].abs_diff(answered[1]) <= 8, "{answered:?}");
}

#[test]
fn training_and_inference_divide_the_time_of_slots() {
    let mut bench = Bench::new("load-balancing", 8);
    bench.submit_batches(2, 100_000, 2, 1.0, 0);
    bench.submit(1, 100_000);
    // A task takes three times as long as a batch.
    let mut to_come: Vec<(Time, AttemptId, JobId)> = Vec::new();
    let mut busy = [Duration::ZERO; 2];
    while bench.now < ms(60_000) {
        while let Some((attempt, ..)) = bench.dispatched.pop_front() {
            let job = bench.engine.attempts[&attempt].job;
            let takes = Duration::from_millis(if job == JOB { 300 } else { 100 });
            busy[job.0 as usize - 1] += takes;
            to_come.push((bench.now + takes, attempt, job));
        }
        to_come.sort();
        let (at, attempt, _) = to_come.remove(0);
        bench.now = at;
        bench.end(attempt, done(b""));
    }
    let share = busy[0].as_secs_f64() / (busy[0] + busy[1]).as_secs_f64();
    assert!((share - 0.5).abs() < 0.03, "training has {share} of the time");
}

#[test]
fn assignments_tell_who_does_what_and_why() {
    let mut bench = Bench::new("load-balancing", 3);
    bench.submit_batches(7, 1000, 4, 1.0, 0);
    assert!(bench.engine.assignments().iter().all(|told| told.share == ShareReason::Alone && told.queries == 4));
    bench.go_on(30);
    bench.submit_batches(8, 1000, 4, 1.0, 0);
    bench.go_on(30);
    let told = bench.engine.assignments();
    assert_eq!(told.len(), 3);
    for assignment in &told {
        assert_eq!(assignment.address, format!("node:{}", assignment.node.0));
        assert!(assignment.since <= bench.now && assignment.reason.to_string().starts_with("done soonest"));
        let why = assignment.share.to_string();
        assert!(why.contains("queries a weight less") || why.contains("no other job"), "{why}");
    }
    let rates = bench.status.and_then(|status| status.queries).expect("rates are told");
    assert!(rates.done > 0 && rates.rate_10s > 0.0 && rates.nodes_now > 0, "{rates:?}");
}

#[test]
fn the_next_task_that_a_node_is_told_of_is_the_next_that_it_gets() {
    for name in ["load-balancing", "round-robin"] {
        let mut bench = Bench::new(name, 3);
        bench.submit_batches(1, 500, 2, 1.0, 0);
        let mut told: BTreeMap<NodeId, TaskId> = BTreeMap::new();
        let (mut right, mut tasks) = (0, 0);
        bench.dispatched.clear();
        let mut running: VecDeque<AttemptId> = bench.engine.attempts.keys().copied().collect();
        while let Some(attempt) = running.pop_front() {
            bench.now = bench.now + Duration::from_millis(5);
            let event = Event::Ended { attempt, outcome: done(b""), traffic: Traffic::default() };
            for action in bench.engine.handle(bench.now, event) {
                match action {
                    Action::Dispatch { attempt, node, task, next, .. } => {
                        tasks += 1;
                        right += usize::from(told.get(&node).is_none_or(|told| *told == task.id));
                        told.extend(next.map(|next| (node, next.id)));
                        running.push_back(attempt);
                    }
                    Action::Record(_) => bench.records += 1,
                    _ => {}
                }
            }
            bench.engine.handle(bench.now, Event::Committed { records: bench.records });
        }
        assert_eq!(tasks, 497, "{name}: no reservation keeps a task from being done");
        assert!(right >= tasks - 6, "{name}: {right} of {tasks}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Jobs come and go, tasks are lost and refused: every job ends, and nothing is left in any account.
    #[test]
    fn all_jobs_end_and_nothing_is_left(
        jobs in vec((1u32..40, 1u32..12, 1u32..5, -1i32..2), 1..8),
        outcomes in vec(0u8..10, 1..200),
        row in 0..POLICIES.len(),
        nodes in 1u32..5,
    ) {
        let mut bench = Bench::new(POLICIES[row].name, nodes);
        let mut to_submit = (1u64..).zip(jobs);
        let mut outcomes = outcomes.into_iter().chain(std::iter::repeat(9));
        for step in 0.. {
            prop_assert!(step < 20_000, "they do not end");
            if step % 7 == 0 && let Some((job, (batches, batch, weight, priority))) = to_submit.next() {
                bench.submit_batches(job, batches, batch, f64::from(weight), priority);
            }
            while let Some(node) = bench.probed.pop_front() {
                bench.tell(Event::Answered { node, hello: hello() });
            }
            while let Some(attempt) = bench.abandoned.pop_front() {
                bench.dispatched.retain(|(other, ..)| *other != attempt);
                bench.end(attempt, lost());
            }
            match bench.dispatched.pop_front() {
                Some((attempt, ..)) => {
                    let outcome = match outcomes.next() {
                        Some(0) => lost(),
                        Some(1) => Outcome::Refused,
                        _ => done(b""),
                    };
                    bench.now = bench.now + Duration::from_millis(7);
                    bench.end(attempt, outcome);
                }
                None if bench.engine.jobs.is_empty() && step > 60 => break,
                None => bench.wait(10),
            }
        }
        prop_assert!(bench.engine.line.share.is_empty() && bench.engine.line.is_empty());
    }
}
