//! Owns the tests of the ledger: its records, reduced or not, written and read, add up to the same.

use super::*;
use crate::jobs::RoundResult;
use crate::model::{Answers, Measured};
use crate::types::{Epoch, Round};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn blob(size: usize, seed: u8) -> Arc<Blob> {
    Arc::new(Blob::new((0..size).map(|place| (place as u8).wrapping_mul(31).wrapping_add(seed)).collect()))
}

fn order(seed: u8) -> Arc<JobOrder> {
    let shard = |name: &str| ShardRef { name: name.to_owned(), digest: Digest::of(&[seed]), rows: 7 };
    Arc::new(JobOrder {
        kind: "train".to_owned(),
        parameters: format!("{{\"seed\": {seed}, \"text\": \"a\\nb\"}}"),
        corpus: CorpusRef {
            name: "letters".to_owned(),
            shards: vec![shard("train1.txt"), shard("train2.txt")],
            validation: shard("validate.txt"),
            columns: 16,
            classes: vec!["A".to_owned(), "\"é\"".to_owned()],
        }
        .into(),
        weight: 1.0,
        priority: 0,
        give_up_after: Some(Duration::from_millis(1500)),
        request_id: Some(format!("request {seed}")),
        submitted_ms: 1_700_000_000_000,
    })
}

fn closed(round: u32, loss: f64) -> Arc<ClosedRound> {
    let result =
        RoundResult { validation_error: 0.25, validation_loss: loss, training_error: 0.1, training_loss: None };
    let span = Span {
        node: NodeId(round % 3),
        task: TaskId { round: Round(round), shard: 1 },
        start: Duration::from_millis(3),
        end: Duration::from_nanos(12_345_678_901),
        busy_s: 0.1 + 0.2,
        outcome: "done".into(),
        delayed: true,
    };
    let (wall, left_out) = (Duration::from_secs(1), vec![4; round as usize % 2]);
    Arc::new(ClosedRound { round: Round(round), result, wall, spans: [span].into(), left_out, detail: None })
}

fn finish(seed: u8, size: usize) -> Finish {
    let answers = Answers::Classes { confusion: Vec::new(), calibration_error: f64::NAN.max(0.5) };
    let measured = Measured { rows: 10, error: 0.1, loss: f64::INFINITY, answers };
    Finish { model: blob(size, seed), round: Round(3), measured: Some(Box::new(measured)), figures: None }
}

fn standing() -> NodeStanding {
    let counts = NodeCounts { tasks: 3, busy_s: 0.3, ..NodeCounts::default() };
    NodeStanding { address: "a:1".to_owned(), state: "ready".into(), software: "x".to_owned(), counts }
}

/// Records as an engine would make them, and others that make no sense.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0..6u8, 1..4u64, 1..6u32, 0..3u8, prop::sample::select(vec![0, 10, 5_000, INLINE + 1]));
    let make = |(what, job, round, seed, size): (u8, u64, u32, u8, usize)| {
        let job = JobId(job);
        match what {
            0 => Record::Submitted { job, order: order(job.0 as u8) },
            1 => {
                let output = TaskOutput { bytes: blob(size, seed).bytes().to_vec(), metrics: "{}".to_owned() };
                let task = TaskId { round: Round(round), shard: u32::from(seed) };
                Record::Answered { job, task, output: Arc::new(output) }
            }
            2 => {
                let blobs = (0..=seed).map(|more| blob(size + usize::from(more), seed)).collect();
                Record::Saved { job, saved: Saved { json: format!("{{\"round\": {round}}}"), blobs } }
            }
            3 => Record::Closed {
                job,
                round: closed(round, [0.5, f64::INFINITY, -0.0][usize::from(seed)]),
                nodes: vec![(NodeId(round % 3), format!("host:{round}"))],
                elapsed: Duration::from_secs(round.into()),
            },
            4 => {
                let states = [
                    State::Done { weights: Digest::of(b"w") },
                    State::Failed { reason: "x".to_owned() },
                    State::Cancelled,
                ];
                let finish = (seed == 0).then(|| finish(seed, size));
                let (state, elapsed) = (states[usize::from(seed)].clone(), Duration::from_secs(9));
                Record::Ended { job, state, finish, nodes: vec![standing()], elapsed }
            }
            _ => Record::Resumed { job, elapsed: Duration::from_secs(round.into()) },
        }
    };
    prop::collection::vec(one.prop_map(make), 0..40)
}

fn entry(records: Vec<Record>) -> Entry {
    let (leader, instance) = ("a:1".to_owned(), "x".to_owned());
    Entry { epoch: Epoch(3), leader, instance, last_job: JobId(0), records }
}

fn ledger(records: &[Record]) -> Ledger {
    let mut ledger = Ledger::default();
    records.iter().for_each(|record| ledger.apply(record));
    ledger
}

/// Reads an entry as a coordinator does, fetching large blobs.
fn read(written: &Written, before: &Ledger) -> Entry {
    match Entry::read(&written.bytes, before, &BTreeMap::new()) {
        Ok(entry) => {
            assert!(written.blobs.is_empty());
            entry
        }
        Err(EntryError::Missing(missing)) => {
            let blobs = written.blobs.iter().map(|blob| (blob.digest(), blob.clone()));
            let fetched: BTreeMap<_, _> = blobs.filter(|(digest, _)| missing.contains(digest)).collect();
            assert_eq!(fetched.len(), missing.len(), "all that is missing was to be written");
            Entry::read(&written.bytes, before, &fetched).unwrap()
        }
        Err(e) => panic!("{e}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_in_pieces_reads_back_to_the_same_ledger(records in records(), pieces in 1..6usize) {
        let expected = ledger(&records);
        let mut replayed = Ledger::default();
        for piece in records.chunks(records.len().div_ceil(pieces).max(1)) {
            let written = entry(reduced(piece.to_vec())).write(&replayed);
            let back = read(&written, &replayed);
            back.apply_to(&mut replayed);
        }
        prop_assert_eq!(&replayed, &expected);
        let snapshot = entry(expected.records()).write(&Ledger::default());
        let mut restored = Ledger::default();
        read(&snapshot, &restored.clone()).apply_to(&mut restored);
        prop_assert_eq!(restored, expected);
    }

    #[test]
    fn damage_is_found(records in records(), place in any::<prop::sample::Index>(), bit in 0..8u8, cut in any::<bool>()) {
        let mut bytes = entry(records).write(&Ledger::default()).bytes;
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
        let result = Entry::read(&bytes, &Ledger::default(), &BTreeMap::new());
        prop_assert!(matches!(result, Err(EntryError::Damaged(_))), "{result:?}");
    }
}

#[test]
fn every_bit_of_the_first_line_counts() {
    let bytes = entry(vec![]).write(&Ledger::default()).bytes;
    let line = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for place in 0..8 * line {
        let mut bytes = bytes.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        let result = Entry::read(&bytes, &Ledger::default(), &BTreeMap::new());
        assert!(matches!(result, Err(EntryError::Damaged(_))), "bit {place}: {result:?}");
    }
}

#[test]
fn saves_make_answers_unnecessary() {
    let job = JobId(1);
    let output = Arc::new(TaskOutput { bytes: vec![1], metrics: String::new() });
    let answered = |round, shard| Record::Answered {
        job,
        task: TaskId { round: Round(round), shard },
        output: output.clone(),
    };
    let saved = |round: u32| Record::Saved { job, saved: Saved { json: round.to_string(), blobs: vec![] } };
    let all = vec![answered(1, 0), answered(1, 1), saved(1), answered(2, 0), saved(2), answered(3, 0)];
    assert_eq!(reduced(all), [saved(2), answered(3, 0)]);
}

#[test]
fn only_so_many_ended_jobs_are_remembered() {
    let mut ledger = Ledger::default();
    for job in (1..=100).map(JobId) {
        ledger.apply(&Record::Submitted { job, order: order(1) });
    }
    for job in (2..=100).rev().map(JobId) {
        let (state, elapsed) = (State::Cancelled, Duration::ZERO);
        ledger.apply(&Record::Ended { job, state, finish: None, nodes: vec![], elapsed });
    }
    assert_eq!(ledger.jobs().len(), 65);
    let kept: Vec<u64> = ledger.jobs().keys().map(|job| job.0).collect();
    assert_eq!(kept, (1..=65).collect::<Vec<_>>(), "the job at work, and those that ended last");
    assert_eq!(ledger.last_job(), JobId(100));
    assert_eq!(ledger.find_request("request 1"), Some(JobId(1)));
}

#[test]
fn one_address_has_one_number_whatever_each_coordinator_called_it() {
    let job = JobId(1);
    let of = |round: u32, nodes: &[(u32, &str)]| Record::Closed {
        job,
        round: {
            let mut closed = closed(round, 0.5);
            let span = closed.spans[0].clone();
            let spans = nodes.iter().map(|(id, _)| Span { node: NodeId(*id), ..span.clone() }).collect();
            Arc::make_mut(&mut closed).spans = spans;
            closed
        },
        nodes: nodes.iter().map(|(id, address)| (NodeId(*id), (*address).to_owned())).collect(),
        elapsed: Duration::ZERO,
    };
    let first = [(0, "a:1"), (1, "b:1")];
    let other = [(0, "b:1"), (1, "c:1"), (2, "a:1")];
    let records =
        [Record::Submitted { job, order: order(1) }, of(1, &first), of(2, &other), of(3, &first), of(4, &other)];
    let ledger = ledger(&records);
    let history = &ledger.jobs()[&job];
    for (closed, expected) in history.closed.iter().zip([&first[..], &other, &first, &other]) {
        let addresses: Vec<&str> = closed.spans.iter().map(|span| history.nodes[&span.node].as_str()).collect();
        assert_eq!(
            addresses,
            expected.iter().map(|(_, address)| *address).collect::<Vec<_>>(),
            "{:?}",
            closed.round
        );
    }
    assert_eq!(history.nodes.len(), 3);
}
