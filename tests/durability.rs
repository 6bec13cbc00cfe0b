//! What happens to jobs when coordinators die, sleep, or are started again: they end with the same model, and nothing that
//! was told is lost.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{Process, Server, finish, roundtable, sha, texts, wait_until};

/// Long enough for something to happen meanwhile.
const JOB: &str = "letters 40 20 24 0.0001";

/// Nodes, and a directory with a store for coordinators.
struct Cluster {
    _nodes: Vec<Server>,
    directory: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Self {
        let nodes: Vec<Server> = (0..2).map(|_| Server::node("0", &[])).collect();
        let directory = tempfile::tempdir().expect("a directory for the test");
        let list: String =
            nodes.iter().map(|node| format!("{},{}\n", node.address.ip(), node.address.port())).collect();
        std::fs::write(directory.path().join("nodes.txt"), list).expect("the nodes file can be written");
        Self { _nodes: nodes, directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn coordinator(&self, port: u16, more: &[&str]) -> Server {
        let (port, nodes, store) = (port.to_string(), self.path("nodes.txt"), self.path("store"));
        // Ports are used again: gossip would bring the nodes of other tests.
        let args = ["coordinator", &port, "2", "--nodes", &nodes, "--store", &store, "--no-gossip"];
        Server::start(&[&args, more].concat())
    }

    /// A client that knows these coordinators.
    fn client(&self, coordinators: &[SocketAddr], job: &str, more: &[&str]) -> Command {
        let mut command = roundtable();
        let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
        command.args(["client", &hosts.join(","), "1"]).args(job.split(' '));
        command.args(["--timing", &self.path("timing.txt")]).args(more);
        command
    }

    /// Starts a client, and waits until it has told of a round.
    fn at_work(&self, coordinators: &[SocketAddr]) -> (Process, BufReader<std::process::ChildStdout>, PathBuf) {
        let run = self.directory.path().join("run.json");
        let mut command = self.client(coordinators, JOB, &["--run-out", &run.to_string_lossy()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = Process { child: child.expect("the client starts") };
        let mut out = BufReader::new(process.child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.starts_with("round 5/") {
            line.clear();
            assert!(out.read_line(&mut line).expect("text") > 0, "the client ends before its fifth round");
        }
        (process, out, run)
    }
}

fn ended((mut process, mut out, run): (Process, BufReader<std::process::ChildStdout>, PathBuf)) -> Value {
    std::io::copy(&mut out, &mut std::io::sink()).expect("text");
    assert!(process.wait().success());
    let report: Value = serde_json::from_slice(&std::fs::read(run).expect("the run's file")).expect("JSON");
    let rounds = report["rounds"].as_array().expect("rounds").iter().map(|round| round["round"].as_u64());
    assert!(rounds.eq((1..=40).map(Some)), "each round is told once, in order");
    report
}

fn ask(coordinators: &[SocketAddr], words: &[&str]) -> (Option<i32>, String, String) {
    let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
    let mut command = roundtable();
    command.args(words).args(["--coordinator", &hosts.join(",")]);
    let output = finish(command);
    let (out, err) = texts(&output);
    (output.status.code(), out, err)
}

fn undisturbed(cluster: &Cluster, coordinator: SocketAddr) -> Value {
    let output = finish(cluster.client(&[coordinator], JOB, &["--json"]));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn a_standby_takes_over_from_a_leader_that_is_killed() {
    let cluster = Cluster::start();
    let leader = cluster.coordinator(0, &[]);
    let expected = undisturbed(&cluster, leader.address);
    let standby = cluster.coordinator(0, &["--standby"]);
    let both = [leader.address, standby.address];
    let client = cluster.at_work(&both);
    leader.process.signal("KILL");
    assert_eq!(sha(&ended(client)), sha(&expected));
    let (_, out, _) = ask(&both, &["jobs", "--json"]);
    let jobs: Value = serde_json::from_str(&out).expect("JSON");
    let states: Vec<&str> =
        jobs.as_array().expect("jobs").iter().filter_map(|job| job["state"].as_str()).collect();
    assert_eq!(states, ["done", "done"], "the one before is remembered, too");
}

#[test]
fn a_leader_that_slept_finds_itself_deposed() {
    let cluster = Cluster::start();
    let leader = cluster.coordinator(0, &[]);
    let expected = undisturbed(&cluster, leader.address);
    let standby = cluster.coordinator(0, &["--standby"]);
    let both = [leader.address, standby.address];
    let client = cluster.at_work(&both);
    leader.process.signal("STOP");
    let led_by = |server: &Server| {
        let words = ["members", "--member", &server.address.to_string(), "--json"];
        let mut command = roundtable();
        let (out, _) = texts(&finish({
            command.args(words);
            command
        }));
        let members: Value = serde_json::from_str(&out).unwrap_or_default();
        members[0]["leads"] == true
    };
    wait_until("the standby leads", || led_by(&standby));
    leader.process.signal("CONT");
    wait_until("the one that slept stands by", || !led_by(&leader));
    assert_eq!(sha(&ended(client)), sha(&expected));
    assert!(led_by(&standby) && !led_by(&leader), "one leads");
}

#[test]
fn a_coordinator_started_again_on_its_store_goes_on() {
    let cluster = Cluster::start();
    let first = cluster.coordinator(0, &[]);
    let address = first.address;
    let expected = undisturbed(&cluster, address);
    let client = cluster.at_work(&[address]);
    drop(first);
    let _again = cluster.coordinator(address.port(), &[]);
    assert_eq!(sha(&ended(client)), sha(&expected));
}

#[test]
fn a_job_outlives_its_client_and_may_be_cancelled_and_resumed() {
    let cluster = Cluster::start();
    let coordinator = [cluster.coordinator(0, &[])];
    let address = [coordinator[0].address];
    let expected = undisturbed(&cluster, address[0]);
    let output = finish(cluster.client(&address, JOB, &["--detach", "--json"]));
    let (out, err) = texts(&output);
    let job: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert_eq!(job["job"], "2");
    let (code, out, _) = ask(&address, &["cancel", "2"]);
    assert!(code == Some(0) && out.contains("job 2 is cancelled"), "{out}");
    let (code, out, _) = ask(&address, &["cancel", "1"]);
    assert!(code == Some(0) && out.contains("job 1 had ended before: done"), "{out}");
    let state = |wanted: &str| {
        let (_, out, _) = ask(&address, &["job", "2", "--json"]);
        serde_json::from_str::<Value>(&out).is_ok_and(|job| job["state"] == wanted)
    };
    wait_until("it is cancelled", || state("cancelled"));
    let (code, _, err) = ask(&address, &["watch", "2"]);
    assert!(code == Some(1) && err.contains("was cancelled"), "{err}");
    assert_eq!(ask(&address, &["resume", "2"]).0, Some(0));
    let (code, out, err) = ask(&address, &["watch", "2", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(sha(&report), sha(&expected));
    let (code, _, err) = ask(&address, &["resume", "2"]);
    assert!(code == Some(2) && err.contains("nothing to go on with"), "{err}");
    let (code, _, err) = ask(&address, &["job", "77"]);
    assert!(code == Some(2) && err.contains("no job '77'"), "{err}");
}

#[test]
fn two_cannot_lead_with_one_store() {
    let cluster = Cluster::start();
    let leader = cluster.coordinator(0, &[]);
    let (nodes, store) = (cluster.path("nodes.txt"), cluster.path("store"));
    let mut command = roundtable();
    command.args(["coordinator", "0", "2", "--nodes", &nodes, "--store", &store]);
    let output = finish(command);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains(&leader.address.to_string()) && err.contains("--standby"), "{err}");
}
