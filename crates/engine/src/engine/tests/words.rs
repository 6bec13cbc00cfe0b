//! Words to jobs at work: nobody hears before what follows from his word is durable, saves follow each other one at a time,
//! and tasks are sent ahead where that is wanted.

use super::*;
use crate::data::shared::Blob;
use crate::jobs::{Refused, Saved, Version, Word};
use crate::model::{Form, Mlp, Model, Shape};

/// A job that counts the words it hears and the tasks that are done, and saves the sum.
#[derive(Default)]
struct Hearing {
    heard: u64,
    done: u64,
    /// Tasks to hand out, and those that were.
    tasks: u32,
    handed_out: u32,
    /// Those that take longer are not sent ahead.
    longest: Duration,
}

impl Job for Hearing {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        let more = (self.tasks - self.handed_out).min(room as u32);
        let first = self.handed_out;
        self.handed_out += more;
        (first..self.handed_out).map(spec).collect()
    }

    fn begins(&mut self, task: TaskId, behind: &[TaskId]) -> Option<TaskSpec> {
        let behind: Vec<u32> = behind.iter().map(|task| task.shard).collect();
        Some(TaskSpec { parameters: format!("after {}, behind {behind:?}", self.done), ..spec(task.shard) })
    }

    fn sends_ahead(&self) -> Option<Duration> {
        Some(self.longest)
    }

    fn unmade(&self) -> u64 {
        u64::from(self.tasks - self.handed_out)
    }

    fn complete(&mut self, _: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        self.done += 1;
        Ok(vec![Effect::SaveSoon])
    }

    fn receive(&mut self, word: Word) -> Result<(Heard, Vec<Effect>), Refused> {
        let Word::FeedEnd { feeder } = word else { return Err(Refused("what is that?".to_owned())) };
        let heard = |version| Heard { is_taken: true, version, ..Heard::default() };
        if feeder == "again" {
            return Ok((heard(self.heard), Vec::new()));
        }
        self.heard += 1;
        Ok((heard(self.heard), vec![Effect::SaveSoon]))
    }

    fn versions(&self) -> Vec<Version> {
        let weights = Mlp::zeros(&Shape::new([1, 1]).expect("a shape"));
        let model = Arc::new(Model { weights, form: Form::default(), notes: Default::default() });
        let number = self.heard + self.done;
        vec![Version { number, model, blob: Arc::new(Blob::new(number.to_le_bytes().to_vec())) }]
    }

    fn keeps_answers(&self) -> bool {
        false
    }

    fn save(&self) -> Saved {
        Saved { json: (self.heard + self.done).to_string(), blobs: Vec::new() }
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn memory(&self) -> usize {
        0
    }
}

fn spec(shard: u32) -> TaskSpec {
    TaskSpec {
        id: TaskId { round: Round(1), shard },
        kind: "hear",
        parameters: String::new(),
        inputs: Vec::new(),
        cost: 1.0,
        for_originals: false,
        queries: 0,
    }
}

fn bench(policy: &str, nodes: u32, tasks: u32) -> Bench {
    let bench = Bench::new(policy, nodes);
    bench_of(bench, Hearing { tasks, longest: Duration::from_millis(5), ..Hearing::default() })
}

fn bench_of(mut bench: Bench, work: Hearing) -> Bench {
    let work = Box::new(work);
    bench.tell(Event::Submit { job: JOB, work, order: order(None) });
    bench
}

/// Says something, and lets the store lie.
fn say(bench: &mut Bench, ticket: u64, what: &str) {
    let word = Word::FeedEnd { feeder: what.to_owned() };
    bench.tell_only(Event::Said { job: JOB, word, ticket });
}

fn commit(bench: &mut Bench) {
    bench.tell_only(Event::Committed { records: bench.records });
}

fn tickets(bench: &mut Bench) -> Vec<u64> {
    std::mem::take(&mut bench.heard)
        .into_iter()
        .map(|(ticket, heard)| heard.map(|_| ticket).expect("heard"))
        .collect()
}

fn durable(bench: &Bench) -> Vec<u64> {
    bench.status.as_ref().expect("a status").versions.iter().map(|version| version.number).collect()
}

#[test]
fn nobody_hears_before_his_word_is_durable() {
    let mut bench = bench("load-balancing", 1, 0);
    let before = bench.records;
    say(&mut bench, 1, "a");
    assert_eq!((bench.records, bench.heard.len()), (before + 1, 0));
    bench.wait(60);
    assert_eq!(durable(&bench), [0], "nor of the version");
    commit(&mut bench);
    assert_eq!((tickets(&mut bench), durable(&bench)), (vec![1], vec![1]));
}

#[test]
fn words_during_a_save_are_in_the_next() {
    let mut bench = bench("load-balancing", 1, 0);
    say(&mut bench, 1, "a");
    let saves = bench.records;
    for ticket in 2..9 {
        say(&mut bench, ticket, "b");
    }
    assert_eq!((bench.records, bench.heard.len()), (saves, 0), "one save is on its way");
    bench.tell_only(Event::Committed { records: saves });
    assert_eq!((bench.records, tickets(&mut bench)), (saves + 1, vec![1]), "all others are in the next");
    commit(&mut bench);
    assert_eq!((tickets(&mut bench), durable(&bench)), ((2..9).collect(), vec![8]));
    assert_eq!(bench.records, saves + 1, "nothing has happened since");
}

#[test]
fn a_word_that_changes_nothing_waits_for_what_it_tells_of() {
    let mut bench = bench("load-balancing", 1, 0);
    say(&mut bench, 1, "again");
    assert_eq!(tickets(&mut bench), [1], "all is durable");
    say(&mut bench, 2, "a");
    say(&mut bench, 3, "again");
    assert!(bench.heard.is_empty());
    commit(&mut bench);
    assert_eq!(tickets(&mut bench), [2, 3]);
    // It has said something else meanwhile, which is not saved yet.
    say(&mut bench, 4, "a");
    say(&mut bench, 5, "b");
    say(&mut bench, 6, "again");
    commit(&mut bench);
    assert_eq!(tickets(&mut bench), [4]);
    commit(&mut bench);
    assert_eq!(tickets(&mut bench), [5, 6]);
}

#[test]
fn what_a_job_does_not_take_is_said_at_once() {
    let mut bench = bench("load-balancing", 1, 0);
    let word = Word::Update { id: "x".to_owned(), version: 0, parameters: Vec::new(), rows: 0 };
    bench.tell_only(Event::Said { job: JOB, word: word.clone(), ticket: 1 });
    bench.tell_only(Event::Said { job: JobId(9), word, ticket: 2 });
    let heard = std::mem::take(&mut bench.heard);
    assert_eq!(heard, [(1, Err("what is that?".to_owned())), (2, Err("job 9 is not at work".to_owned()))]);
}

#[test]
fn the_end_of_a_job_answers_all_who_wait() {
    let mut bench = bench("load-balancing", 1, 0);
    say(&mut bench, 1, "a");
    say(&mut bench, 2, "b");
    bench.tell_only(Event::Cancel { job: JOB });
    assert!(bench.heard.is_empty());
    commit(&mut bench);
    assert_eq!(tickets(&mut bench), [1, 2]);
    assert!(matches!(bench.state(), State::Cancelled));
}

#[test]
fn saves_that_nobody_waits_for_are_put_off() {
    let mut bench = bench("load-balancing", 1, 2000);
    let mut saves = Vec::new();
    for _ in 0..1200 {
        let (attempt, ..) = bench.next();
        let before = bench.records;
        bench.now = bench.now + Duration::from_millis(1);
        bench.end(attempt, done(b""));
        saves.extend((bench.records > before).then_some(bench.now));
    }
    assert!((2..=3).contains(&saves.len()), "{saves:?}");
    let before = bench.records;
    say(&mut bench, 1, "a");
    assert_eq!(bench.records, before + 1, "but not this one");
    commit(&mut bench);
    bench.wait(200);
    assert_eq!(durable(&bench), [1201]);
}

#[test]
fn a_node_gets_a_task_ahead_and_each_task_is_sent_as_it_is_then() {
    for row in POLICIES {
        let mut bench = bench(row.name, 2, 40);
        // Before anything is known of what tasks take nothing is sent ahead.
        let first: Vec<_> = bench.dispatched.drain(..).collect();
        assert_eq!(first.len(), 2, "{}", row.name);
        let mut open: VecDeque<(AttemptId, NodeId, TaskId)> = first.into();
        let mut sent = BTreeSet::from([open[0].2, open[1].2]);
        let mut most = 0;
        while let Some((attempt, ..)) = open.pop_front() {
            bench.now = bench.now + Duration::from_millis(2);
            bench.end(attempt, done(b""));
            for next in bench.dispatched.drain(..) {
                assert!(sent.insert(next.2), "{}: {} is sent twice", row.name, next.2);
                open.push_back(next);
            }
            for node in [0, 1] {
                most = most.max(open.iter().filter(|(_, at, _)| at.0 == node).count());
            }
        }
        assert_eq!((sent.len(), most), (40, 2), "{}", row.name);
        assert_eq!(bench.engine.attempts.len(), 0);
    }
}

#[test]
fn a_long_task_is_not_sent_ahead() {
    for nodes in [1, 2] {
        let mut bench = bench("load-balancing", nodes, 40);
        let mut open: VecDeque<(AttemptId, NodeId, TaskId)> = bench.dispatched.drain(..).collect();
        let mut most = 0;
        while let Some((attempt, ..)) = open.pop_front() {
            bench.now = bench.now + Duration::from_millis(50);
            bench.end(attempt, done(b""));
            open.extend(bench.dispatched.drain(..));
            most = most.max(open.len());
        }
        assert_eq!(most, nodes as usize);
    }
}

#[test]
fn a_long_task_is_sent_ahead_when_a_slot_is_about_to_be_free() {
    let work = Hearing { tasks: 40, longest: Duration::MAX, ..Hearing::default() };
    let mut bench = bench_of(Bench::new("load-balancing", 1), work);
    let (mut attempt, ..) = bench.next();
    bench.wait(60);
    bench.end(attempt, done(b""));
    for number in 1..20 {
        // It is the one that was sent ahead, but for the first time.
        if number == 1 {
            (attempt, ..) = bench.next();
        }
        bench.wait(39);
        assert!(bench.dispatched.is_empty(), "{number}: too early");
        bench.wait(1);
        let (ahead, _, task) = bench.next();
        let (spec, _) = bench.engine.jobs[&JOB].open(task).expect("open");
        assert_eq!(spec.parameters, format!("after {number}, behind [{number}]"));
        bench.wait(20);
        assert!(bench.dispatched.is_empty(), "one is enough");
        bench.end(attempt, done(b""));
        attempt = ahead;
    }
}

#[test]
fn what_was_sent_ahead_goes_elsewhere_when_its_node_does() {
    let mut bench = bench("round-robin", 1, 30);
    let (attempt, ..) = bench.next();
    bench.now = ms(2);
    bench.end(attempt, done(b""));
    bench.wait(1);
    let at_work: Vec<_> = bench.dispatched.drain(..).collect();
    assert_eq!(at_work.len(), 2);
    for (attempt, ..) in &at_work {
        bench.end(*attempt, lost());
    }
    bench.tell(Event::Joined { address: "node:7".to_owned() });
    bench.tell(Event::Answered { node: NodeId(1), hello: hello() });
    let (_, node, task) = bench.next();
    assert_eq!(node, NodeId(1));
    assert!(at_work.iter().any(|(_, _, lost)| *lost == task), "{task}");
}
