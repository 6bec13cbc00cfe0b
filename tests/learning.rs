//! Learning by mini-batches with real processes: what it comes to, when it ends, and what leaves the system.

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../examples/replay.rs"]
mod replay;
mod support;

use serde_json::Value;
use std::path::Path;
use support::{Coordinator, Server, finish, sha, texts, total};

/// Small enough to be done often, with something of everything.
const JOB: &str = "letters 3 1 24,12 0.01 --optimizer adamw --batch-size 50 --standardize --replicas-per-round 5 \
                   --schedule one-cycle --warmup 0.1 --dropout 0.1 --label-smoothing 0.1 --weight-decay 0.01 \
                   --clip-norm 5 --proximal 0.01 --activation gelu --fold trimmed-mean --outer nesterov";

fn cluster(policy: &str, loads: &[&str]) -> (Vec<Server>, Coordinator) {
    let nodes: Vec<Server> = loads.iter().map(|load| Server::node(load, &[])).collect();
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let coordinator = Coordinator::start(policy, &addresses, &[]);
    (nodes, coordinator)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn rounds(report: &Value) -> &Vec<Value> {
    report["rounds"].as_array().expect("a list of rounds")
}

/// What `evaluate --json` says of a model.
fn evaluate(model: &Path, rows: &Path) -> Value {
    let mut command = support::roundtable();
    command.arg("evaluate").args([model, rows]).arg("--json");
    let output = finish(command);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

#[test]
fn the_weights_do_not_depend_on_nodes_policies_or_load() {
    let reference = {
        let (_nodes, coordinator) = cluster("round-robin", &["0"]);
        coordinator.train(JOB, &[])
    };
    for (policy, loads) in [("random", &["0", "0.4"][..]), ("load-balancing", &["0.3", "0", "0.5", "0"])] {
        let (_nodes, coordinator) = cluster(policy, loads);
        let report = coordinator.train(JOB, &[]);
        assert_eq!(sha(&report), sha(&reference), "{policy} on {loads:?}");
        assert_eq!(total(&report, "tasks"), 15, "every part counts once: {report}");
    }
    let (_nodes, coordinator) = cluster("random", &["0"]);
    assert_ne!(sha(&coordinator.train(JOB, &["--seed", "2"])), sha(&reference), "the seed matters");
}

#[test]
fn a_recipe_reaches_its_target_and_the_run_is_told_in_full() {
    let (_nodes, coordinator) = cluster("load-balancing", &["0", "0"]);
    let run = coordinator.path("run.json");
    let models = ["safetensors", "onnx", "npz"].map(|end| coordinator.path(&format!("letters.{end}")));
    let mut told = None;
    for model in &models {
        let out = [run.to_string_lossy(), model.to_string_lossy()];
        let more = ["--target-error", "0.06", "--run-out", &out[0], "--model-out", &out[1]];
        told = Some(coordinator.train("letters --recipe letters-fast", &more));
    }
    let report = told.expect("a report");
    let error = number(&report["validation_error"]);
    assert!(error <= 0.06, "{error}");
    let rounds = rounds(&report);
    let best = report["best_round"].as_u64().expect("a round") as usize;
    assert_eq!(best, rounds.len(), "it ends with the round that reaches the target");
    assert!((best as f64) < number(&report["config"]["rounds"]), "and not later: {best}");
    for round in rounds {
        assert!(number(&round["validation_loss"]) > 0.0 && number(&round["training_loss"]) > 0.0, "{round}");
        let done = |span: &&Value| span["outcome"] == "done" && number(&span["end_s"]) >= number(&span["start_s"]);
        let spans = round["spans"].as_array().expect("a list").iter().filter(done).count();
        assert!(spans >= 1, "{round}");
    }
    let confused = report["confusion"]["counts"].as_array().expect("a list");
    let wrong: f64 = confused.iter().filter(|c| c[0] != c[1]).map(|c| number(&c[2])).sum();
    assert_eq!(confused.iter().map(|c| number(&c[2])).sum::<f64>(), 3500.0);
    assert!((wrong / 3500.0 - error).abs() < 1e-9, "{wrong} wrong, {error} reported");
    // The file says what standard output said.
    let written: Value = serde_json::from_slice(&std::fs::read(&run).expect("the run")).expect("JSON");
    assert_eq!(written["weights_sha256"], report["weights_sha256"]);
    for model in &models {
        let measured = evaluate(model, &support::root().join("letters/validate_letters.txt"));
        assert!((number(&measured["error"]) - error).abs() < 1e-9, "{}: {measured}", model.display());
    }
}

#[test]
fn values_are_learnt_predicted_and_measured() {
    let (_nodes, coordinator) = cluster("random", &["0", "0"]);
    let data = coordinator.path("plane");
    std::fs::create_dir(&data).expect("a directory");
    // Far from 0 and 1, so that it takes the standardising of values: y = 500 + 30 a - 20 b.
    let row = |i: u32| {
        let (a, b) = (f64::from(i * 37 % 101) / 10.0, f64::from(i * 53 % 97) / 10.0);
        (format!("{a},{b}"), 500.0 + 30.0 * a - 20.0 * b)
    };
    let rows = |from: u32, to: u32| (from..to).map(row).map(|(x, y)| format!("{x},{y}\n")).collect::<String>();
    for (name, text) in
        [("train1.csv", rows(0, 300)), ("train2.csv", rows(300, 800)), ("valid.csv", rows(800, 900))]
    {
        std::fs::write(data.join(name), text).expect("the data can be written");
    }
    let model = coordinator.path("plane.onnx");
    let job = format!("{} 6 10 16 0.02 --values --optimizer adam --batch-size 32 --standardize", data.display());
    let report = coordinator.train(&job, &["--model-out", &model.to_string_lossy()]);
    let error = number(&report["validation_error"]);
    // The values' deviation is about 104.
    assert!(error < 6.0, "{error}");
    assert!(report["confusion"].is_null());
    assert!(
        (number(&evaluate(&model, &data.join("valid.csv"))["root_mean_squared_error"]) - error).abs()
            < 1e-3 * error
    );
    let features = coordinator.path("rows.csv");
    std::fs::write(&features, (800..810).map(|i| row(i).0 + "\n").collect::<String>()).expect("the rows");
    let mut predict = support::roundtable();
    predict.arg("predict").args([&model, &features]);
    let (out, err) = texts(&finish(predict));
    let predicted: Vec<f64> = out.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(predicted.len(), 10, "{err}");
    for (i, y) in predicted.iter().enumerate() {
        assert!((y - row(800 + i as u32).1).abs() < 40.0, "{y} is far from {}", row(800 + i as u32).1);
    }
}

/// An IDX file: unsigned bytes of these sizes.
fn idx(path: &Path, sizes: &[u32], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(bytes);
    std::fs::write(path, file).expect("the file can be written");
}

#[test]
fn pictures_in_one_file_are_cut_into_replicas() {
    let (_nodes, coordinator) = cluster("load-balancing", &["0", "0"]);
    let data = coordinator.path("pictures");
    std::fs::create_dir(&data).expect("a directory");
    // Class c lights row c of four.
    for (name, count) in [("train", 400_u32), ("t10k", 40)] {
        let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 4) as u8).collect();
        let light = |label: u8, at: usize| if at / 4 == label as usize { 200 + at as u8 } else { at as u8 };
        let pixels: Vec<u8> = labels.iter().flat_map(|&label| (0..16).map(move |at| light(label, at))).collect();
        idx(&data.join(format!("{name}-images-idx3-ubyte")), &[count, 4, 4], &pixels);
        idx(&data.join(format!("{name}-labels-idx1-ubyte")), &[count], &labels);
    }
    let job = format!(
        "{} 4 2 8 0.02 --optimizer adam --batch-size 16 --standardize --replicas-per-round 2",
        data.display()
    );
    let report = coordinator.train(&job, &[]);
    assert_eq!(number(&report["validation_error"]), 0.0, "{report}");
    assert_eq!(total(&report, "tasks"), 8);
}

#[test]
fn a_run_is_done_again_in_one_process_with_the_same_weights() {
    let (_nodes, coordinator) = cluster("load-balancing", &["0.2", "0"]);
    let run = coordinator.path("run.json");
    coordinator.train(JOB, &["--run-out", &run.to_string_lossy()]);
    let again = replay::again(&run).expect("it can be done again");
    assert_eq!(again["same_weights"], true, "{again}");
}

#[test]
fn settings_that_make_no_sense_are_told_by_name() {
    let (_nodes, coordinator) = cluster("random", &["0"]);
    for (job, words) in [
        ("letters 1 1 8 0.1 --fold multi-krum --byzantine 9", &["multi-krum", "21", "11"][..]),
        ("letters 1 1 8 0.1 --standardize", &["standardising needs an optimizer"]),
        ("letters 1 1 8 0.1 --optimizer adam --dropout 1", &["dropout is 1", "below 1"]),
        ("letters 1 1 8 0.1 --optimizer sgd --replicas-per-round 0", &["replicas per round is 0"]),
        ("letters 1 1 8 0.1 --dropout 0.1", &["--dropout needs --optimizer"]),
        ("letters 1 1 8", &["<ROUNDS> <EPOCHS> <H> <ETA>"]),
        ("letters --recipe letters-worst", &["letters-fast", "letters-best", "seed"]),
    ] {
        let output = finish(coordinator.client(job, &[]));
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{job}: {err}");
        for word in words {
            assert!(err.contains(word), "{job}: '{word}' is not said: {err}");
        }
    }
}
