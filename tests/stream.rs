//! Asynchronous training on real processes: each mini-batch counts once, whatever dies meanwhile.

mod support;

use serde_json::Value;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use support::{Coordinator, Process, Server, finish, roundtable, sha, texts, wait_until};

const JOB: &str = "letters 2 1 24 0.1 --async --batch-size 64 --standardize --group 8";

fn addresses(nodes: &[Server]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn run(command: Command) -> Value {
    let output = finish(command);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}{out}");
    json(&out)
}

fn local(job: &str) -> Value {
    let mut command = roundtable();
    command.arg("local").args(job.split(' ')).arg("--json");
    run(command)
}

/// So many rows of two features, of three classes that a line can tell apart.
fn rows(count: usize) -> String {
    let mut text = String::new();
    for row in 0..count {
        let (class, x, y) = (row * 7919 % 3, row * 31 % 17, row * 57 % 13);
        writeln!(text, "{},{},{}", x + 40 * class, y, ["a", "b", "c"][class]).expect("text");
    }
    text
}

#[test]
fn one_node_learns_what_one_process_does() {
    let nodes = [Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let (cluster, alone) = (coordinator.train(JOB, &[]), local(JOB));
    for report in [&cluster, &alone] {
        let stream = &report["stream"];
        assert_eq!((stream["rows"].as_i64(), stream["batches"].as_i64()), (Some(33_000), Some(516)), "{stream}");
        assert_eq!(report["rounds"].as_array().expect("rounds").len(), 2);
        assert_eq!(report["config"]["stream"]["group"], 8);
    }
    assert_eq!(alone["stream"]["mean_staleness"], 0.0);
    let error = |report: &Value| report["validation_error"].as_f64().expect("an error");
    assert!((error(&cluster) - error(&alone)).abs() < 0.05, "{} {}", error(&cluster), error(&alone));
    // The rounds of `client` are those of `local`, to the last bit.
    let rounds = "letters 2 3 24 0.0001";
    assert_eq!(sha(&coordinator.train(rounds, &[])), sha(&local(rounds)));
}

#[test]
fn versions_are_had_while_the_job_is_at_work() {
    let nodes = [Server::start(&["compute-node", "0", "0", "--slowdown", "4"])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let child = coordinator.client(&JOB.replace("letters 2", "letters 60"), &[]).stdout(Stdio::piped()).spawn();
    let mut client = Process { child: child.expect("the client starts") };
    let mut out = BufReader::new(client.child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while !line.starts_with("round 2/60") {
        line.clear();
        assert!(out.read_line(&mut line).expect("text") > 0, "the client ends before its second round");
    }
    client.signal("INT");
    assert_eq!(client.wait().code(), Some(130));
}

#[test]
fn wrong_flags_are_told() {
    let says = |words: &str| {
        let mut command = roundtable();
        command.args(words.split(' '));
        let output = finish(command);
        assert_eq!(output.status.code(), Some(2), "{words}");
        texts(&output).1
    };
    assert!(says("local letters 2 1 24 0.1 --group 8").contains("--group needs --async"));
    assert!(says("local letters 2 1 24 0.1 --async").contains("needs --batch-size"));
    let fold = says("local letters 2 1 24 0.1 --async --batch-size 8 --fold mean");
    assert!(fold.contains("--fold makes sense only in rounds"), "{fold}");
}

/// A feeder at work.
fn feeder(coordinators: &[SocketAddr], csv: &str, epochs: u32, more: &[&str]) -> Process {
    let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
    let mut command = roundtable();
    command.args(["feed", &hosts.join(","), csv, &epochs.to_string()]);
    command.args([
        "--batch-size",
        "16",
        "--group",
        "2",
        "--hidden",
        "8",
        "--eta",
        "0.05",
        "--standardize",
        "--json",
    ]);
    command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Process { child: command.spawn().expect("the feeder starts") }
}

fn report(mut feeder: Process) -> Value {
    let mut out = BufReader::new(feeder.child.stdout.take().expect("it is piped"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut out, &mut text).expect("text");
    assert!(feeder.wait().success(), "{text}");
    json(&text)
}

/// What the job's figures must be when each row has counted as often as there were passes.
fn counted(report: &Value, rows: i64, epochs: i64) {
    let stream = &report["stream"];
    assert_eq!(stream["rows"].as_i64(), Some(rows * epochs), "{stream}");
    assert_eq!(stream["updates"], stream["version"], "{stream}");
    let error = report["validation_error"].as_f64().expect("an error");
    assert!(error < 0.2, "{error}");
}

fn jobs(coordinators: &[SocketAddr]) -> Vec<Value> {
    let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
    let mut command = roundtable();
    command.args(["jobs", "--json", "--coordinator", &hosts.join(",")]);
    let output = finish(command);
    serde_json::from_str(&texts(&output).0).unwrap_or_default()
}

fn has_learnt(coordinators: &[SocketAddr], rounds: u64) -> bool {
    jobs(coordinators).iter().any(|job| job["round"].as_u64().is_some_and(|round| round > rounds))
}

#[test]
fn a_file_is_fed_and_each_row_counts_once_a_pass() {
    let nodes = [Server::node("0", &[]), Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let csv = coordinator.path("rows.csv").to_string_lossy().into_owned();
    std::fs::write(&csv, rows(2000)).expect("the rows");
    // Each tenth row is kept back; the queue has room for few, so that the feeder waits.
    counted(&report(feeder(&at, &csv, 3, &["--queue-rows", "300"])), 1800, 3);
    let validation = coordinator.path("validation.csv").to_string_lossy().into_owned();
    std::fs::write(&validation, rows(90)).expect("the rows");
    counted(&report(feeder(&at, &csv, 1, &["--validation", &validation])), 2000, 1);
}

#[test]
fn a_feeder_that_was_killed_goes_on_where_it_was() {
    let nodes = [Server::start(&["compute-node", "0", "1", "--load-delay", "2ms"])];
    let coordinator = Coordinator::start("1", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let csv = coordinator.path("rows.csv").to_string_lossy().into_owned();
    std::fs::write(&csv, rows(4000)).expect("the rows");
    let more = ["--queue-rows", "500", "--measure-every", "20"];
    let first = feeder(&at, &csv, 4, &more);
    wait_until("some is learnt", || has_learnt(&at, 2));
    first.signal("KILL");
    drop(first);
    let job = jobs(&at)[0]["job"].as_str().expect("a job").to_owned();
    counted(&report(feeder(&at, &csv, 4, &[&more[..], &["--job", &job]].concat())), 3600, 4);
}

#[test]
fn nothing_is_lost_or_doubled_when_nodes_and_leaders_are_killed() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let slow = |port: u16| Server::start(&["compute-node", &port.to_string(), "1", "--load-delay", "3ms"]);
    let (first, second) = (slow(0), slow(0));
    let list: String =
        [&first, &second].iter().map(|node| format!("{},{}\n", node.address.ip(), node.address.port())).collect();
    std::fs::write(path("nodes.txt"), list).expect("the nodes file");
    std::fs::write(path("rows.csv"), rows(4000)).expect("the rows");
    let coordinator = |more: &[&str]| {
        let (nodes, store) = (path("nodes.txt"), path("store"));
        let args = ["coordinator", "0", "1", "--nodes", &nodes, "--store", &store, "--no-gossip"];
        Server::start(&[&args, more].concat())
    };
    let leader = coordinator(&[]);
    let standby = coordinator(&["--standby"]);
    let both = [leader.address, standby.address];
    let feeder = feeder(&both, &path("rows.csv"), 5, &["--queue-rows", "1000", "--measure-every", "50"]);
    wait_until("some is learnt", || has_learnt(&both, 2));
    second.process.signal("KILL");
    wait_until("more is learnt", || has_learnt(&both, 5));
    let port = second.address.port();
    drop(second);
    let again = slow(port);
    leader.process.signal("KILL");
    wait_until("the standby goes on", || has_learnt(&[standby.address], 8));
    first.process.signal("KILL");
    counted(&report(feeder), 3600, 5);
    drop(again);
}
