//! Tuning on real processes: grids, halving, refits and files; nodes and coordinators that die.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use support::{Coordinator, Process, Server, finish, roundtable, texts, wait_until};

fn nodes(count: usize) -> Vec<Server> {
    (0..count).map(|_| Server::node("0", &[])).collect()
}

fn addresses(nodes: &[Server]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

/// `roundtable tune` on the letters.
fn tune(coordinators: &[SocketAddr], words: &str, more: &[&str]) -> Command {
    let hosts: Vec<String> = coordinators.iter().map(SocketAddr::to_string).collect();
    let mut command = roundtable();
    command.args(["tune", &hosts.join(","), "letters"]).args(words.split_whitespace()).args(more);
    command
}

fn text(command: Command) -> String {
    let output = finish(command);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}{out}");
    out
}

fn report(command: Command) -> Value {
    let out = text(command);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn fails(command: Command, code: i32) -> String {
    let output = finish(command);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(code), "{err}{out}");
    err
}

#[test]
fn a_grid_of_networks_is_tried_and_the_best_is_written() {
    let nodes = nodes(2);
    let coordinator = Coordinator::start("3", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let (model, run) = (coordinator.path("best.onnx"), coordinator.path("run.json"));
    let (model, run) = (model.to_string_lossy().into_owned(), run.to_string_lossy().into_owned());
    let grid = "--grid h=4,24 --grid eta=1e-4,1e-2 --set epochs=2 --folds 2";
    let out = text(tune(&at, grid, &["--model-out", &model, "--run-out", &run]));
    assert_eq!(out.matches("\ntrial ").count(), 5, "four as they end, and the head of the table: {out}");
    for expected in
        ["eta=0.01 h=24  error 0.", "\u{b1}", "The best is trial 4: eta=0.01 h=24", "validation error 0."]
    {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let told: Value = serde_json::from_slice(&std::fs::read(&run).expect("the run")).expect("JSON");
    let trials = told["trials"].as_array().expect("trials");
    assert!(
        trials
            .iter()
            .all(|trial| trial["state"] == "done" && trial["folds"].as_array().is_some_and(|f| f.len() == 2))
    );
    assert_eq!(
        (trials.len(), &trials[0]["number"], told["order"].as_array().map(Vec::len)),
        (4, &told["best"], Some(4))
    );
    let mut evaluate = roundtable();
    evaluate.args(["evaluate", &model, "letters/validate_letters.txt", "--json"]);
    let evaluated = report(evaluate);
    assert_eq!(evaluated["error"], told["refit"]["error"], "{evaluated}");
    // The same again, whoever does what.
    let again = report(tune(&at, grid, &["--refit", "--json"]));
    assert_eq!((&again["sha256"], &again["best"]), (&told["sha256"], &told["best"]));
    // Rows go to each node once: this job and the one before brought it nothing but the tasks' words.
    let sent = |report: &Value| support::total(report, "bytes_sent");
    assert!(sent(&told) > 500_000 && sent(&again) < 100_000, "{} and then {}", sent(&told), sent(&again));
    // The page of it.
    let mut page = roundtable();
    page.args(["report", &run]);
    let files = text(page);
    assert!(
        files.contains("run.html") && files.contains("run-parallel.svg") && files.contains("run-progress.svg")
    );
    let html = std::fs::read_to_string(coordinator.path("run.html")).expect("a page");
    assert!(html.contains("Best trial") && html.contains("The order of results"));
}

#[test]
fn forests_are_halved_and_the_job_is_told_like_any_other() {
    let nodes = nodes(2);
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let hosts = at[0].to_string();
    let (space, model) = (coordinator.path("tune.toml"), coordinator.path("best.safetensors"));
    let file = "model = 'forest'\nsearch = 'asha'\ntrials = 6\nrungs = 2\nmetric = 'accuracy'\nrefit = true\n\
                [set]\nn_estimators = 6\n[space]\nmax_depth = { integer = [2, 16] }\nmin_samples_leaf = [1, 5]\n";
    std::fs::write(&space, file).expect("a file");
    let (space, model) = (space.to_string_lossy().into_owned(), model.to_string_lossy().into_owned());
    let out = text(tune(&at, "--detach", &["--space", &space]));
    assert!(out.contains("job 1 goes on"), "{out}");
    let mut watch = roundtable();
    watch.args(["watch", "1", "--json", "--coordinator", &hosts, "--model-out", &model]);
    let told = report(watch);
    let trials = told["trials"].as_array().expect("trials");
    let done = trials.iter().filter(|trial| trial["state"] == "done").count();
    let promoted: usize = told["order"]
        .as_array()
        .expect("an order")
        .iter()
        .map(|o| o["promoted"].as_array().map_or(0, Vec::len))
        .sum();
    assert!(done >= 2 && done == promoted && trials.len() == 6, "{told:#}");
    assert!(told["best_trial"]["metric"].as_f64() > Some(0.5));
    let mut evaluate = roundtable();
    evaluate.args(["evaluate", &model, "letters/validate_letters.txt", "--json"]);
    assert_eq!(report(evaluate)["error"], told["refit"]["error"]);
    let mut jobs = roundtable();
    jobs.args(["jobs", "--coordinator", &hosts]);
    assert!(text(jobs).contains("tune"), "it is listed");
}

#[test]
fn a_trial_that_fails_is_a_row_and_wrong_wishes_are_told_at_once() {
    let nodes = nodes(1);
    let coordinator = Coordinator::start("2", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let told = report(tune(
        &at,
        "--grid eta=1e-3,1e6 --set optimizer=sgd --set weight_decay=1 --set epochs=2 --json",
        &[],
    ));
    assert_eq!((&told["best"], &told["trials"][1]["state"]), (&1.into(), &"failed".into()));
    assert!(told["trials"][1]["reason"].as_str().is_some_and(|reason| reason.contains("diverged")), "{told:#}");
    // A time limit for a trial, which all are above.
    let slow = "--grid h=64,128 --set epochs=100000 --trial-timeout 50ms";
    let err = fails(tune(&at, slow, &[]), 1);
    assert!(err.contains("no trial succeeded, 2 failed; the first: it took longer than 0.05 s"), "{err}");
    for (words, expected) in [
        ("--grid etta=1", "there is no parameter 'etta'; choose from h, eta"),
        ("--grid h=0", "h: it is 0, but must be units"),
        ("--uniform eta=0.1..0.2", "a grid needs a list of values"),
        ("--uniform eta=0.1..0.2 --search random", "needs a number of trials, or a time limit"),
        ("", "the number of parameters of the space is 0"),
        ("--grid h=4 --folds 1", "folds is 1"),
        ("--grid h=4 --metric beauty", "there is no metric 'beauty'"),
        ("--model forest --grid max_depth=4 --model-out x.onnx", "a forest is written as .safetensors"),
        ("--space no.toml", "cannot read the space no.toml"),
        ("--grid h", "NAME=V,V"),
    ] {
        let err = fails(tune(&at, words, &[]), 2);
        assert!(err.contains(expected), "{words}: {err}");
    }
    // A limit for all.
    let limited = "--uniform eta=0.001..0.01 --search random --max-time 500ms --set epochs=1 --json";
    let told = report(tune(&at, limited, &[]));
    assert!(told["trials"].as_array().is_some_and(|trials| !trials.is_empty()));
}

#[test]
fn whatever_dies_each_trial_ends_once_and_the_result_is_the_same() {
    let nodes = nodes(3);
    let leader = Coordinator::start("3", &addresses(&nodes), &[]);
    let at = [leader.server.address];
    let grid = "--grid h=8,16,24,32,48,64 --grid eta=1e-3,3e-3,1e-2 --set epochs=3 --folds 2";
    let expected = report(tune(&at, grid, &["--json"]));
    let (list, store) = (leader.path("compute_nodes.txt"), leader.path("store"));
    let (list, store) = (list.to_string_lossy().into_owned(), store.to_string_lossy().into_owned());
    let standby = ["coordinator", "0", "3", "--nodes", &list, "--store", &store, "--standby", "--no-gossip"];
    let standby = Server::start(&standby);
    let both = [at[0], standby.address];
    let run = leader.path("run.json").to_string_lossy().into_owned();
    let mut command = tune(&both, grid, &["--run-out", &run]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = Process { child: child.expect("the client starts") };
    let mut out = BufReader::new(process.child.stdout.take().expect("it is piped"));
    let mut trials = 0;
    let mut until = |wanted: usize| {
        let mut line = String::new();
        while trials < wanted {
            line.clear();
            assert!(out.read_line(&mut line).expect("text") > 0, "it ends after {trials} trials");
            trials += usize::from(line.starts_with("trial "));
        }
    };
    until(3);
    nodes[0].process.signal("KILL");
    until(6);
    leader.server.process.signal("KILL");
    until(18);
    std::io::copy(&mut out, &mut std::io::sink()).expect("text");
    assert!(process.wait().success());
    let told: Value = serde_json::from_slice(&std::fs::read(&run).expect("the run")).expect("JSON");
    let values = |report: &Value| -> Vec<(u64, String)> {
        let trials = report["trials"].as_array().expect("trials").iter();
        trials.map(|trial| (trial["number"].as_u64().expect("a number"), trial["folds"].to_string())).collect()
    };
    assert_eq!(values(&told), values(&expected));
    assert_eq!(told["sha256"], expected["sha256"]);
    let mut ends: Vec<u64> = told["order"]
        .as_array()
        .expect("an order")
        .iter()
        .filter_map(|outcome| outcome["trial"].as_u64())
        .collect();
    ends.sort_unstable();
    assert!(ends.into_iter().eq(1..=18), "each trial ends once: {}", told["order"]);
}

#[test]
fn a_cancelled_tuning_goes_on_where_it_was() {
    let nodes = nodes(1);
    let coordinator = Coordinator::start("3", &addresses(&nodes), &[]);
    let at = [coordinator.server.address];
    let hosts = at[0].to_string();
    let grid = "--grid h=8,16,24,32 --grid eta=1e-3,3e-3,1e-2 --set epochs=4 --detach";
    text(tune(&at, grid, &[]));
    let say = |words: &[&str]| {
        let mut command = roundtable();
        command.args(words).args(["--coordinator", &hosts]);
        text(command)
    };
    let closed = || {
        let job: Value = serde_json::from_str(&say(&["job", "1", "--json"])).expect("JSON");
        job["rounds_closed"].as_array().map_or(0, Vec::len)
    };
    wait_until("some trials have ended", || closed() >= 2);
    say(&["cancel", "1"]);
    let before = closed();
    say(&["resume", "1"]);
    let told: Value = serde_json::from_str(&say(&["watch", "1", "--json"])).expect("JSON");
    assert_eq!(told["trials"].as_array().map(Vec::len), Some(12));
    assert_eq!(told["order"].as_array().map(Vec::len), Some(12), "none ended twice; {before} before");
}
