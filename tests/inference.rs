//! Inference on real processes: rows and pictures of the store, fair shares, nodes and coordinators that die.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use support::gallery::gallery;
use support::{Coordinator, Process, Server, finish, roundtable, texts, wait_until};

/// Nodes that take this long for each task, whatever it is: all tasks are delayed, and none is refused by round robin.
fn slow_nodes(count: usize, delay: &str) -> Vec<Server> {
    (0..count).map(|_| Server::start(&["compute-node", "0", "1", "--load-delay", delay])).collect()
}

fn addresses(nodes: &[Server]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

fn command(coordinators: &[SocketAddr], words: &[&str]) -> Command {
    let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
    let mut command = roundtable();
    command.args(words).args(["--coordinator", &hosts.join(",")]);
    command
}

/// Does a command that must succeed.
fn say(coordinators: &[SocketAddr], words: &[&str]) -> String {
    let output = finish(command(coordinators, words));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{words:?}: {err}{out}");
    out
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn stats(coordinators: &[SocketAddr], job: &str) -> Value {
    json(&say(coordinators, &["job-stats", job, "--json"]))[0].clone()
}

/// A model of the letters, trained a little, in the store as `m.safetensors` with the validation rows as `rows.csv`.
fn with_letters(coordinator: &Coordinator) -> [SocketAddr; 1] {
    let at = [coordinator.server.address];
    let model = coordinator.path("m.safetensors").to_string_lossy().into_owned();
    coordinator.train("letters 2 2 16 0.0001", &["--model-out", &model]);
    say(&at, &["put", &model, "m.safetensors"]);
    say(&at, &["put", "letters/validate_letters.txt", "rows.csv"]);
    at
}

/// The digest of all answers to the rows, when nothing goes wrong.
fn undisturbed(at: &[SocketAddr]) -> String {
    let told = json(&say(at, &["infer", "m.safetensors", "rows.csv", "--wait", "--json"]));
    told["answers_sha256"].as_str().expect("a digest").to_owned()
}

/// Each row of the output is there once, in order; the nodes that answered.
fn nodes_of(output: &Value) -> BTreeSet<String> {
    let answers = output["answers"].as_array().expect("answers");
    let rows = answers.iter().map(|answer| answer["row"].as_u64().expect("a row"));
    assert!(rows.eq(1..=3500), "each row is answered once");
    answers.iter().map(|answer| answer["node"].as_str().expect("a node").to_owned()).collect()
}

#[test]
fn rows_are_answered_as_predict_answers_them() {
    let nodes = [Server::node("0", &[]), Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = with_letters(&coordinator);
    let out = coordinator.path("out.csv").to_string_lossy().into_owned();
    say(&at, &["infer", "m.safetensors", "rows.csv", "--batch-size", "300", "--output", &out]);
    let text = std::fs::read_to_string(&out).expect("the output");
    let ours: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(4).expect("a label")).collect();
    let unlabelled = coordinator.path("features.csv");
    let rows = std::fs::read_to_string("letters/validate_letters.txt").expect("the rows");
    let features: Vec<&str> = rows.lines().map(|line| line.rsplit_once(',').expect("fields").0).collect();
    std::fs::write(&unlabelled, features.join("\n")).expect("a file");
    let unlabelled = unlabelled.to_string_lossy().into_owned();
    let predicted = finish({
        let mut command = roundtable();
        command.args(["predict", &coordinator.path("m.safetensors").to_string_lossy(), &unlabelled]);
        command
    });
    let (predicted, err) = texts(&predicted);
    assert_eq!(ours, predicted.lines().collect::<Vec<_>>(), "{err}");
    // Without labels, in batches of other sizes, only some, more of the best.
    say(&at, &["put", &unlabelled, "features.csv"]);
    let wait = ["infer", "m.safetensors", "features.csv", "--wait", "--json"];
    let told = json(&say(&at, &wait));
    assert_eq!(
        told["answers_sha256"],
        json(&say(&at, &[&wait[..], &["--batch-size", "7"]].concat()))["answers_sha256"]
    );
    let few = json(&say(&at, &[&wait[..], &["--count", "5", "--top", "3"]].concat()));
    assert_eq!(few["queries"], 5);
    let output = json(&say(&at, &["get-output", few["job"].as_str().expect("a number")]));
    assert_eq!(output["answers"][4]["labels"].as_array().map(Vec::len), Some(3));
    assert_eq!(output["answers"].as_array().map(Vec::len), Some(5));
}

#[test]
fn what_cannot_be_asked_is_told_at_once() {
    let nodes = [Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = with_letters(&coordinator);
    let odd = coordinator.path("odd.csv");
    std::fs::write(&odd, "1,2,3\n").expect("a file");
    say(&at, &["put", &odd.to_string_lossy(), "odd.csv"]);
    say(&at, &["put", &odd.to_string_lossy(), "odd.onnx"]);
    for (words, expected) in [
        (vec!["infer", "gone.onnx", "*"], "there is no model gone.onnx in the store"),
        (vec!["infer", "m.safetensors", "pictures/*"], "no file in the store matches 'pictures/*'"),
        (vec!["infer", "m.safetensors", "odd.csv"], "odd.csv:1: found 3 fields; expected 16 features"),
        (vec!["infer", "odd.onnx", "rows.csv"], "odd.onnx: "),
        (vec!["infer", "m.safetensors", "rows.csv", "--batch-size", "0"], "a batch has from 1 to 1048576 queries"),
        (vec!["infer", "m.safetensors", "rows.csv", "--latency", "1s"], "latency_s needs largest_batch"),
        (vec!["infer", "m.safetensors", "rows.csv", "--weight", "0"], "it must be from 0.001 to 1000"),
        (vec!["get-output", "1"], "job 1 answers no queries"),
        (vec!["get-output", "99"], "there is no job '99' here"),
        (vec!["set-batch-size", "gone.onnx", "4"], "there is no model gone.onnx in the store"),
    ] {
        let output = finish(command(&at, &words));
        let (_, err) = texts(&output);
        assert!(err.contains(expected), "{words:?}: {err}");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{words:?}: {:?}", output.status);
    }
}

#[test]
fn a_bad_picture_is_an_error_in_the_output() {
    let nodes = [Server::node("0", &[]), Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let gallery = gallery();
    let all = gallery.path().join("*").to_string_lossy().into_owned();
    say(&at, &["put-all", &all, "--prefix", "p/"]);
    let told = json(&say(&at, &["infer", "p/colours.onnx", "p/*g", "--wait", "--json", "--batch-size", "2"]));
    assert_eq!((&told["queries"], &told["errors"]), (&3.into(), &1.into()));
    let output = json(&say(&at, &["get-output", "1"]));
    let answers = output["answers"].as_array().expect("answers");
    let best = |answer: &Value| answer["labels"][0]["label"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answers[0]["input"], "p/blue.jpg");
    assert_eq!((best(&answers[0]), best(&answers[2])), ("blue".to_owned(), "red".to_owned()));
    assert!(answers[1]["error"].as_str().is_some_and(|error| error.starts_with("not a picture")), "{answers:?}");
    assert_eq!(output["model"]["name"], "p/colours.onnx");
    // What was done is known after a restart.
    assert_eq!(stats(&at, "1")["errors"], 1);
}

#[test]
fn whatever_dies_each_query_is_answered_once() {
    let nodes = slow_nodes(3, "20ms");
    let leader = Coordinator::start("3", &addresses(&nodes), &[]);
    let at = with_letters(&leader);
    let expected = undisturbed(&at);
    let (list, store) = (leader.path("compute_nodes.txt"), leader.path("store"));
    let (list, store) = (list.to_string_lossy().into_owned(), store.to_string_lossy().into_owned());
    let standby = ["coordinator", "0", "3", "--nodes", &list, "--store", &store, "--standby", "--no-gossip"];
    let standby = Server::start(&standby);
    let both = [at[0], standby.address];
    let job = say(&both, &["infer", "m.safetensors", "rows.csv", "--batch-size", "20"]);
    let job = job.trim();
    let done = || stats(&both, job)["queries"].as_u64().unwrap_or(0);
    wait_until("some are answered", || done() > 200);
    nodes[0].process.signal("KILL");
    wait_until("others go on", || done() > 600);
    leader.server.process.signal("KILL");
    let told = json(&say(&both, &["watch", job, "--json"]));
    assert_eq!(told["answers_sha256"].as_str(), Some(expected.as_str()));
    assert_eq!(told["queries"], 3500);
    let output = json(&say(&both, &["get-output", job]));
    assert_eq!(nodes_of(&output).len(), 3, "the one that was killed had answered some");
}

#[test]
fn a_job_that_comes_gets_its_share_at_once_and_a_batch_size_stays() {
    let nodes = slow_nodes(2, "20ms");
    let coordinator = Coordinator::start("3", &addresses(&nodes), &[]);
    let at = with_letters(&coordinator);
    say(&at, &["set-batch-size", "m.safetensors", "10"]);
    let infer = ["infer", "m.safetensors", "rows.csv"];
    let first = say(&at, &infer);
    wait_until("the first is at work", || stats(&at, first.trim())["queries"].as_u64() > Some(50));
    assert_eq!(stats(&at, first.trim())["batch_size"], 10);
    let second = say(&at, &[&infer[..], &["--weight", "3"]].concat());
    wait_until("so is the second", || stats(&at, second.trim())["queries"].as_u64() > Some(600));
    let of = |job: &str| stats(&at, job)["queries"].as_u64().expect("a count") as f64;
    let before = (of(first.trim()), of(second.trim()));
    wait_until("both go on", || of(second.trim()) > before.1 + 600.0);
    let (gained, heavier) = (of(first.trim()) - before.0, of(second.trim()) - before.1);
    assert!((0.2..0.5).contains(&(gained / heavier)), "{gained} beside {heavier} of three times the weight");
    let at_work = say(&at, &["assignments"]);
    assert!(at_work.contains("m.safetensors") && at_work.contains("queries a weight less than job"), "{at_work}");
    say(&at, &["set-batch-size", "m.safetensors", "500"]);
    say(&at, &["watch", first.trim()]);
    say(&at, &["watch", second.trim()]);
    assert_eq!(stats(&at, second.trim())["batch_size"], 500);
}

#[test]
fn the_console_takes_a_script_with_the_old_names() {
    let nodes = [Server::node("0", &[])];
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = with_letters(&coordinator);
    let mut child = roundtable();
    child
        .args(["console", &at[0].to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Process { child: child.spawn().expect("the program starts") };
    let script = "# as it was\njob_info\nC3 m.safetensors 100\nsubmit-job m.safetensors rows.csv 50\nwatch 2\n\
                  job_stats\nC5\nnonsense\nget-output 2 --csv\nquit\njobs\n";
    let mut input = process.child.stdin.take().expect("it is piped");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    let mut out = String::new();
    let mut from = process.child.stdout.take().expect("it is piped");
    std::io::Read::read_to_string(&mut from, &mut out).expect("text");
    assert_eq!(process.wait().code(), Some(2), "a line was wrong");
    for expected in ["train  letters", "have 100 queries", "job 2: 3500 queries", "rate 10s", "no node has a task"]
    {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    assert!(out.contains("rows.csv,3500,,"), "what comes after a wrong line is done");
    assert_eq!(out.matches("submitted").count(), 1, "nothing comes after quit");
}
