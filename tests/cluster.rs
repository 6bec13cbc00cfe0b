//! The main job with real processes: what a user does, and what the user may rely on.

mod support;

use roundtable::rpc::Dialer;
use roundtable::wire::coordinator::{CoordinatorSyncClient, TCoordinatorSyncClient};
use serde_json::Value;
use std::process::Stdio;
use support::{Coordinator, Process, Server, finish, sha, texts, total, wait_until};

/// Small enough to be done often.
const JOB: &str = "letters 2 5 12 0.0001";

fn nodes(count: usize) -> Vec<Server> {
    (0..count).map(|_| Server::node("0", &[])).collect()
}

fn cluster(policy: &str, nodes: &[Server]) -> Coordinator {
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    Coordinator::start(policy, &addresses, &[])
}

#[test]
fn letters_are_learnt_reported_timed_kept_and_predicted() {
    let nodes = nodes(2);
    let coordinator = cluster("2", &nodes);
    let model = coordinator.path("letters.safetensors");
    let report = coordinator.train("letters 3 75 24 0.0001", &["--model-out", &model.to_string_lossy()]);
    let error = report["validation_error"].as_f64().expect("a number");
    assert!(error <= 0.45, "{error}");
    assert_eq!(report["rounds"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["rounds"][2]["validation_error"].as_f64(), Some(error));
    assert_eq!(total(&report, "tasks"), 33);
    assert_eq!(report["config"]["hidden"], serde_json::json!([24]));
    assert_eq!(sha(&report).len(), 64);

    let timing = std::fs::read_to_string(coordinator.path("timing.txt")).expect("timing.txt");
    let words: Vec<&str> = timing.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["run", "round", "round", "round", "node", "node", "total"]);
    assert!(timing.contains(sha(&report)) && timing.contains("real_s") && timing.contains("bytes_sent"));

    // The labels of the validation rows, guessed from their features alone.
    let labelled =
        std::fs::read_to_string(support::root().join("letters/validate_letters.txt")).expect("the data");
    let (features, labels): (Vec<&str>, Vec<&str>) = labelled.lines().filter_map(|l| l.rsplit_once(',')).unzip();
    let rows = coordinator.path("rows.csv");
    std::fs::write(&rows, features.join("\n")).expect("the rows can be written");
    let mut predict = support::roundtable();
    predict.arg("predict").args([&model, &rows]);
    let output = finish(predict);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    let wrong = out.lines().zip(&labels).filter(|(guess, label)| guess != *label).count();
    assert_eq!(out.lines().count(), labels.len());
    assert!((wrong as f64 / labels.len() as f64 - error).abs() < 1e-9, "{wrong} wrong, {error} reported");
}

#[test]
fn the_weights_do_not_depend_on_nodes_policies_or_load() {
    let reference = {
        let nodes = nodes(1);
        sha(&cluster("round-robin", &nodes).train(JOB, &[])).to_owned()
    };
    let loaded =
        || ["0.3", "0.5", "0", "0.2"].map(|load| Server::node(load, &["--slots", "2"])).into_iter().collect();
    for row in roundtable::policy::POLICIES {
        for nodes in [nodes(2), loaded()] {
            let report = cluster(row.name, &nodes).train(JOB, &[]);
            assert_eq!(sha(&report), reference, "{} on {} nodes", row.name, nodes.len());
            assert_eq!(total(&report, "tasks"), 22, "every shard counts once: {report}");
        }
    }
    let nodes = nodes(1);
    let other = cluster("random", &nodes).train(JOB, &["--seed", "2"]);
    assert_ne!(sha(&other), reference, "the seed matters");
}

#[test]
fn round_robin_takes_turns_and_load_balancing_feeds_the_fast() {
    let nodes = nodes(2);
    let report = cluster("3", &nodes).train("letters 2 5 12 0.0001", &[]);
    let tasks: Vec<_> =
        report["nodes"].as_array().expect("nodes").iter().map(|node| node["tasks"].as_i64()).collect();
    assert_eq!(tasks, [Some(11), Some(11)]);
    // One node delays each task by far more than a task takes.
    let slow = Server::node("1", &["--load-delay", "300ms"]);
    let addresses = [nodes[0].address, slow.address];
    let report = Coordinator::start("2", &addresses, &[]).train("letters 4 5 12 0.0001", &[]);
    let fast = report["nodes"][0]["tasks"].as_i64().expect("a count");
    assert!(fast >= 38, "{report}");
}

#[test]
fn data_go_up_and_on_once() {
    let nodes = nodes(1);
    let coordinator = cluster("1", &nodes);
    let first = coordinator.train(JOB, &[]);
    let second = coordinator.train(JOB, &[]);
    let bytes = |report: &Value| (report["bytes_sent"].as_u64().unwrap(), total(report, "bytes_sent"));
    assert!(bytes(&first).0 > 300_000 && bytes(&first).1 > 250_000, "{first}");
    assert!(bytes(&second).0 < 10_000, "the client sends no data again: {second}");
    assert!(bytes(&second).1 < 100_000, "nor does the coordinator: {second}");
    assert_eq!(sha(&first), sha(&second));
}

#[test]
fn a_directory_that_only_the_coordinator_has() {
    let nodes = nodes(1);
    let addresses = [nodes[0].address];
    let here = cluster("1", &nodes).train(JOB, &[]);
    let root = support::root().to_string_lossy();
    let coordinator = Coordinator::start("1", &addresses, &["--data-dir", &root]);
    let mut client = coordinator.client(JOB, &["--json"]);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let output = finish({
        client.current_dir(elsewhere.path());
        client
    });
    let (out, err) = texts(&output);
    let there: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert_eq!(sha(&here), sha(&there));

    let output = finish({
        let mut client = coordinator.client("nowhere 2 5 12 0.0001", &[]);
        client.current_dir(elsewhere.path());
        client
    });
    assert_eq!(output.status.code(), Some(2));
    let (_, err) = texts(&output);
    assert!(err.contains("nowhere is not on this machine") && err.contains("there is no"), "{err}");
}

#[test]
fn lines_where_there_is_no_terminal_and_the_error_last() {
    let nodes = nodes(1);
    let output = finish(cluster("2", &nodes).client(JOB, &[]));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "");
    assert_eq!(out.lines().filter(|line| line.starts_with("round ")).count(), 2, "{out}");
    assert!(out.lines().any(|line| line.starts_with("node ") && line.contains("refusals")), "{out}");
    let last = out.lines().last().expect("a last line");
    let error: f64 = last.strip_prefix("Final validation error: ").expect(last).parse().expect(last);
    assert!((0.0..=1.0).contains(&error));
}

#[test]
fn ctrl_c_ends_servers_cleanly_and_cancels_the_clients_job() {
    let mut nodes = nodes(1);
    let mut coordinator = cluster("2", &nodes);
    let mut client = coordinator.client("letters 1000000 50 24 0.0001", &[]);
    let child = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client starts");
    let mut client = Process { child };
    let out = std::io::BufReader::new(client.child.stdout.take().expect("it is piped"));
    let rounds = std::io::BufRead::lines(out).map_while(Result::ok).filter(|line| line.starts_with("round "));
    assert_eq!(rounds.take(1).count(), 1, "it trains");
    client.signal("INT");
    assert_eq!(client.wait().code(), Some(130));
    // If the job had not been cancelled, its endless rounds would be before those of this one.
    let report = coordinator.train(JOB, &[]);
    assert_eq!(total(&report, "tasks"), 22);
    for (server, signal) in [(&mut coordinator.server, "INT"), (&mut nodes[0], "TERM")] {
        server.process.signal(signal);
        assert_eq!(server.process.wait().code(), Some(0));
    }
}

#[test]
fn the_demo_runs_and_leaves_nothing_behind() {
    let timing = tempfile::NamedTempFile::new().expect("a file");
    let timing = timing.path().to_string_lossy().into_owned();
    let mut demo = support::roundtable();
    demo.args(["demo", "--training", "2", "5", "12", "0.0001", "--timing", &timing]);
    let output = finish(demo);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("$ roundtable")).count(), 5, "{out}");
    assert!(out.lines().last().is_some_and(|line| line.starts_with("Final validation error: ")), "{out}");
    for port in ports(&out) {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} still answers");
    }
}

#[test]
fn an_interrupted_demo_ends_in_order() {
    let mut demo = support::roundtable();
    demo.args(["demo", "--training", "1000000", "50", "24", "0.0001", "--timing", "/dev/null"]);
    let child = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the demo starts");
    let mut demo = Process { child };
    let mut out = std::io::BufReader::new(demo.child.stdout.take().expect("it is piped"));
    let mut text = String::new();
    while !text.lines().any(|line| line.starts_with("round ")) {
        assert!(std::io::BufRead::read_line(&mut out, &mut text).expect("text") > 0, "{text}");
    }
    demo.signal("TERM");
    assert_eq!(demo.wait().code(), Some(130));
    for port in ports(&text) {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "port {port} still answers");
    }
    let mut err = String::new();
    let stderr = demo.child.stderr.as_mut().expect("it is piped");
    std::io::Read::read_to_string(stderr, &mut err).expect("text");
    let told: Vec<&str> = err.lines().collect();
    let expected =
        ["cancelling; Ctrl-C again to leave at once", "job 1 was cancelled", "the demo was interrupted"];
    assert_eq!(told, expected);
}

#[test]
fn two_jobs_at_once_get_what_each_would_alone() {
    let nodes = nodes(2);
    let coordinator = cluster("2", &nodes);
    let jobs = ["letters 8 5 12 0.0001", "letters 6 5 24 0.0001"];
    let alone = jobs.map(|job| sha(&coordinator.train(job, &[])).to_owned());
    let together = std::thread::scope(|scope| {
        let threads = jobs.map(|job| scope.spawn(|| sha(&coordinator.train(job, &[])).to_owned()));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    assert_eq!(alone, together);
}

#[test]
fn a_cancelled_job_frees_its_node_at_once() {
    let nodes = nodes(1);
    let coordinator = cluster("2", &nodes);
    // Tasks of many minutes each.
    let mut client = coordinator.client("letters 1 1000000 4096 0.000001", &[]);
    let child = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client starts");
    let mut client = Process { child };
    let is_busy = || {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", nodes[0].process.child.id())).expect("it runs");
        // The 14th field: user time in ticks, usually of 10 ms.
        stat.split(' ').nth(13).and_then(|ticks| ticks.parse().ok()) > Some(20u64)
    };
    wait_until("the node is at work", is_busy);
    client.signal("INT");
    assert_eq!(client.wait().code(), Some(130));
    assert_eq!(total(&coordinator.train(JOB, &[]), "tasks"), 22);
}

#[test]
fn a_caller_of_the_original_call_cancels_by_hanging_up() {
    let nodes = nodes(1);
    let coordinator = cluster("2", &nodes);
    let address = coordinator.server.address.into();
    let mut caller = Dialer::default().dial(&address).expect("it accepts").client(CoordinatorSyncClient::new);
    caller.set_timeout(None);
    let hangup = caller.hangup();
    std::thread::scope(|scope| {
        let eta = thrift::OrderedFloat(1e-4);
        let call = scope.spawn(move || caller.call(|c| c.train("letters".to_owned(), 1_000_000, 5, 12, 26, eta)));
        let is_busy = || {
            let mut watcher =
                Dialer::default().dial(&address).expect("it accepts").client(CoordinatorSyncClient::new);
            let status = watcher.call(|c| c.watch("1".to_owned(), 0, 0, 0));
            status.is_ok_and(|status| status.round > 1)
        };
        wait_until("the job is at work", is_busy);
        hangup.hang_up();
        assert!(call.join().expect("no panic").is_err());
    });
    // Its endless rounds would be before those of this one.
    assert_eq!(total(&coordinator.train(JOB, &[]), "tasks"), 22);
}

#[test]
fn weights_too_large_for_a_message_travel_in_chunks() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["train1.csv", "train2.csv", "validate.csv"] {
        std::fs::write(directory.path().join(name), "1,2,a\n3,4,b\n5,6,a\n").expect("a file can be written");
    }
    let job = format!("{} 2 2 60000 0.0001", directory.path().display());
    let digests = [1, 2].map(|count| {
        let nodes = nodes(count);
        let coordinator = cluster("3", &nodes);
        let model = coordinator.path("model.safetensors");
        let report = coordinator.train(&job, &["--model-out", &model.to_string_lossy()]);
        assert!(std::fs::metadata(&model).expect("the model").len() > 1_200_000);
        assert_eq!((total(&report, "tasks"), total(&report, "failures")), (4, 0), "{report}");
        sha(&report).to_owned()
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_model_may_be_larger_than_the_room_for_data() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = "1,2,a\n3,4,b\n5,6,a\n";
    for name in ["train1.csv", "validate.csv"] {
        std::fs::write(directory.path().join(name), rows).expect("a file can be written");
    }
    let nodes = nodes(1);
    // All models together are larger than the room: they fit only because they are not kept there.
    let coordinator = Coordinator::start("1", &[nodes[0].address], &["--memory", "2MiB"]);
    let model = coordinator.path("model.safetensors");
    for _ in 0..20 {
        let job = format!("{} 1 2 6000 0.0001", directory.path().display());
        coordinator.train(&job, &["--model-out", &model.to_string_lossy()]);
    }
    assert!(std::fs::metadata(&model).expect("the model").len() > 110_000);
    let job = format!("{} 1 2 60000 0.0001", directory.path().display());
    let output = finish(coordinator.client(&job, &[]));
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("no room for a job") && err.contains("--memory"), "{err}");
}

#[test]
fn a_killed_demo_leaves_nothing_behind_either() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut demo = support::roundtable();
    demo.env("TMPDIR", directory.path());
    demo.args(["demo", "--training", "1000000", "50", "24", "0.0001", "--timing", "/dev/null"]);
    let child = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the demo starts");
    let mut demo = Process { child };
    let mut out = std::io::BufReader::new(demo.child.stdout.take().expect("it is piped"));
    let mut text = String::new();
    while !text.lines().any(|line| line.starts_with("round ")) {
        assert!(std::io::BufRead::read_line(&mut out, &mut text).expect("text") > 0, "{text}");
    }
    demo.signal("KILL");
    assert!(!demo.wait().success());
    for port in ports(&text) {
        wait_until("the server is gone", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

/// The ports of the servers that the demo started.
fn ports(out: &str) -> Vec<u16> {
    let ports: Vec<u16> =
        out.lines().filter_map(|l| l.split_once("# listening on 127.0.0.1:")?.1.trim().parse().ok()).collect();
    assert_eq!(ports.len(), 4, "{out}");
    ports
}
