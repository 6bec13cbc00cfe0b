//! The attacks of `wire_abuse.rs` against the real servers: they serve on, stay small, and train as if nothing were.

mod support;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use roundtable::rpc::{Dialer, Limits};
use roundtable::wire::PROTOCOL;
use roundtable::wire::blobs::{BlobStoreSyncClient, TBlobStoreSyncClient};
use roundtable::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use std::net::SocketAddr;
use std::time::Duration;
use support::{Coordinator, Server, abuse, sha};

/// What a server takes before anybody sends it anything, generously.
const AT_REST: usize = 32 << 20;

/// The most bytes that a process ever had in memory.
fn peak(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

fn quick() -> Dialer {
    let mut dialer = Dialer::default();
    dialer.timeouts.answer = Some(Duration::from_secs(10));
    dialer
}

fn is_well(address: SocketAddr) {
    let mut client = quick().dial(&address.into()).expect("it accepts").client(BlobStoreSyncClient::new);
    client.call(|c| c.missing_blobs(Vec::new())).expect("it answers");
}

#[test]
fn abused_servers_serve_on_and_stay_small() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit can be raised");
    let node = Server::node("0", &[]);
    let coordinator = Coordinator::start("2", &[node.address], &[]);
    let before = coordinator.train("letters 2 5 12 0.0001", &[]);
    let bound = Limits::default().memory_bound() + AT_REST;
    for server in [&node, &coordinator.server] {
        let check = || {
            is_well(server.address);
            let peak = peak(server.process.child.id());
            assert!(peak <= bound, "{} MiB", peak >> 20);
        };
        abuse::run_all(server.address, check);
        check();
    }
    let after = coordinator.train("letters 2 5 12 0.0001", &[]);
    assert_eq!(sha(&before), sha(&after));
}

/// Nothing in the calls themselves brings a node down.
#[test]
fn absurd_arguments_are_answered_with_reasons() {
    use roundtable::wire::compute_node::{Task, TaskOutcome, Weights};
    use thrift::OrderedFloat;
    let node = Server::node("0", &[]);
    let mut client = quick().dial(&node.address.into()).expect("it accepts").client(ComputeNodeSyncClient::new);
    let task = |kind: &str, parameters: &str, inputs: Vec<String>| Task {
        label: "absurd".to_owned(),
        kind: kind.to_owned(),
        parameters: parameters.to_owned(),
        inputs,
        scheduling_policy: -7,
        attached: Vec::new(),
        cluster: None,
        epoch: None,
        coordinator: None,
        prefetch: None,
    };
    let good = r#"{"epochs": 1, "eta": 0.001, "early_stop": 0.2}"#;
    for (task, expected) in [
        (task("dance", good, vec![]), "does not know tasks of kind 'dance'"),
        (task("train", "{", vec![]), "parameters"),
        (task("train", good, vec![]), "0 given"),
        (task("train", good, vec!["x".to_owned()]), "no SHA-256"),
        (task("train", r#"{"epochs": 4294967295, "eta": 1e999, "early_stop": 0.2}"#, vec![]), "parameters"),
    ] {
        let answer = client.call(|c| c.run_task(task)).expect("an answer");
        assert_eq!(answer.outcome, TaskOutcome::FAILED);
        assert!(answer.reason.contains(expected), "{}", answer.reason);
    }
    let row = |value: f64, length: usize| vec![OrderedFloat(value); length];
    let file = "letters/train_letters1.txt";
    for (file, v, w, (k, h), expected) in [
        (file, vec![], vec![], (26, 24), "0 rows"),
        (file, vec![row(0.0, 26); 25], vec![row(0.0, 24); 16], (26, 24), "shape"),
        (file, vec![row(0.0, 26); 25], vec![row(0.0, 24); 17], (26, 12), "shape"),
        (file, vec![row(f64::NAN, 26); 25], vec![row(0.0, 24); 17], (26, 24), "NaN"),
        (file, vec![row(0.0, 26), row(0.0, 25)], vec![row(0.0, 1); 17], (26, 1), "V[1]"),
        (file, vec![row(0.0, 26); 25], vec![row(0.0, 24); 17], (i32::MIN, 24), "k is"),
        ("../etc/passwd", vec![row(0.0, 26); 25], vec![row(0.0, 24); 17], (26, 24), "there is no"),
        ("/etc/passwd", vec![row(0.0, 26); 25], vec![row(0.0, 24); 17], (26, 24), "there is no"),
    ] {
        let weights = Weights { v: Some(v), w: Some(w) };
        let (file, eta, none) = (file.to_owned(), OrderedFloat(1e-4), OrderedFloat(0.0));
        let answer = client.call(|c| c.train_with_weights(file, weights, none, k, h, eta, 1, 1));
        let reason = answer.expect_err(expected).to_string();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    client.call(|c| c.hello(PROTOCOL)).expect("the same connection still serves");
}
