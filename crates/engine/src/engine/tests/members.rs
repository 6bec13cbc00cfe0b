//! The engine while nodes join, leave and fall: their tasks are done by others, and nothing of them is kept for ever.

use super::*;

fn joined(bench: &mut Bench, address: &str) -> NodeId {
    bench.tell(Event::Joined { address: address.to_owned() });
    let node = bench.probed.pop_back().expect("it is asked at once");
    bench.tell(Event::Answered { node, hello: hello() });
    node
}

fn gone(address: &str) -> Event {
    Event::Gone { address: address.to_owned(), reason: "is dead".to_owned() }
}

#[test]
fn who_joins_is_used_and_the_tasks_of_who_goes_are_done_by_others() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 1);
        bench.submit(1, 3);
        let (first, fixed, _) = bench.next();
        let other = joined(&mut bench, "other:1");
        bench.tell(gone("node:0"));
        assert_eq!(bench.abandoned.pop_front(), Some(first), "{}", row.name);
        bench.end(first, lost());
        let mut done_by = BTreeSet::new();
        while let Some((attempt, node, _)) = bench.dispatched.pop_front() {
            done_by.insert(node);
            bench.end(attempt, done(b""));
        }
        assert!(matches!(bench.state(), State::Done { .. }), "{}: {:?}", row.name, bench.status);
        assert_eq!(done_by, BTreeSet::from([other]));
        let status = bench.status.clone().expect("a status");
        assert_eq!(status.node_ids, [fixed, other], "the fixed one is looked for all the same");
        bench.wait(1000);
        assert_eq!(bench.probed.pop_front(), Some(fixed));
    }
}

#[test]
fn who_leaves_ends_its_task_and_gets_no_other() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 0);
        bench.submit(1, 4);
        let leaving = joined(&mut bench, "a:1");
        let (attempt, node, _) = bench.next();
        assert_eq!(node, leaving);
        let staying = joined(&mut bench, "b:1");
        bench.tell(Event::Leaving { address: "a:1".to_owned() });
        assert!(bench.abandoned.is_empty(), "it may end what it is at");
        bench.end(attempt, done(b""));
        let mut ended = 1;
        while let Some((attempt, node, _)) = bench.dispatched.pop_front() {
            assert_eq!(node, staying, "{}", row.name);
            bench.end(attempt, done(b""));
            ended += 1;
        }
        assert_eq!(ended, 4, "{}", row.name);
        bench.tell(gone("a:1"));
        assert_eq!(bench.disconnected, [leaving], "{}: no job has counts of it any more", row.name);
    }
}

#[test]
fn who_is_back_is_asked_at_once_whatever_pause_it_was_in() {
    let mut bench = Bench::asleep("round-robin", 1);
    for _ in 0..20 {
        bench.wait(1000);
        while let Some(node) = bench.probed.pop_front() {
            bench.tell(Event::Unreachable { node, reason: "connection refused".to_owned() });
        }
    }
    bench.tell(Event::Joined { address: "node:0".to_owned() });
    assert_eq!(bench.probed.pop_front(), Some(NodeId(0)), "it has the number that it had");
}

#[test]
fn who_has_gone_is_kept_while_a_job_has_counts_of_it_and_comes_back_with_a_new_number_after_that() {
    let mut bench = Bench::new("round-robin", 0);
    bench.submit(1, 2);
    let first = joined(&mut bench, "a:1");
    let (attempt, ..) = bench.next();
    bench.end(attempt, done(b""));
    let (attempt, ..) = bench.next();
    bench.tell(gone("a:1"));
    bench.wait(60_000);
    assert!(bench.probed.is_empty(), "nobody looks for it");
    bench.end(attempt, lost());
    assert!(bench.disconnected.is_empty(), "the job has counts of it");
    assert_eq!(joined(&mut bench, "a:1"), first);
    let (attempt, ..) = bench.next();
    bench.end(attempt, done(b""));
    assert!(matches!(bench.state(), State::Done { .. }));
    bench.tell(gone("a:1"));
    assert_eq!(bench.disconnected, [first]);
    assert!(joined(&mut bench, "a:1") > first);
}

#[test]
fn nothing_is_kept_of_a_thousand_jobs_and_ten_thousand_members() {
    for row in POLICIES {
        let mut bench = Bench::new(row.name, 0);
        let mut answered = 0u64;
        for at in 0..10_000u64 {
            bench.now = bench.now + Duration::from_millis(7);
            joined(&mut bench, &format!("member:{at}"));
            if at.is_multiple_of(10) {
                let work = Counting::boxed(2, 3);
                bench.tell(Event::Submit { job: JobId(at / 10 + 1), work, order: order(None) });
            }
            for _ in 0..4 {
                let Some((attempt, ..)) = bench.dispatched.pop_front() else { break };
                answered += 1;
                bench.end(attempt, if answered.is_multiple_of(5) { lost() } else { done(b"") });
            }
            if at.is_multiple_of(3) {
                bench.tell(Event::Leaving { address: format!("member:{}", at.saturating_sub(4)) });
            }
            bench.tell(gone(&format!("member:{}", at.saturating_sub(5))));
            while let Some(attempt) = bench.abandoned.pop_front() {
                bench.dispatched.retain(|(other, ..)| *other != attempt);
                bench.end(attempt, lost());
            }
            for node in std::mem::take(&mut bench.probed) {
                bench.tell(Event::Answered { node, hello: hello() });
            }
            assert!(bench.engine.nodes.len() <= 64, "{}: {} nodes", row.name, bench.engine.nodes.len());
        }
        while let Some((attempt, ..)) = bench.dispatched.pop_front() {
            bench.end(attempt, done(b""));
        }
        for at in 9_990..10_000 {
            bench.tell(gone(&format!("member:{at}")));
        }
        let engine = &bench.engine;
        assert_eq!(engine.jobs.len(), 0, "{}", row.name);
        assert_eq!((engine.nodes.len(), engine.cluster.len(), engine.attempts.len()), (0, 0, 0), "{}", row.name);
        assert!(engine.line.is_empty() && engine.late.is_empty() && engine.held.is_empty(), "{}", row.name);
        bench.wait(60_000);
        assert_eq!(bench.engine.timers.len(), 0, "{}", row.name);
        assert_eq!(bench.disconnected.len(), 10_000, "{}", row.name);
    }
}
