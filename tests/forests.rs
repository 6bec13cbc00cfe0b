//! Random forests as files on real processes: all commands that take a model say the same of the same rows.

mod support;

use roundtable::ingest;
use roundtable::model::Answers;
use roundtable::model::forest::{Binned, Forest, ForestSettings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::{Coordinator, Server, finish, roundtable, texts};

/// A forest that has learnt the letters, whose classes are named by letters if `named`.
fn grown(named: bool) -> Forest {
    let corpus = ingest::load_dir(Path::new("letters")).expect("the letters");
    let sets: Vec<_> = corpus.shards.iter().map(|shard| Arc::new(shard.data.clone())).collect();
    let data = Binned::of(&sets).expect("alike");
    let rows: Vec<u32> = (0..data.rows() as u32).collect();
    let settings = ForestSettings { n_estimators: 12, ..ForestSettings::default() };
    let forest = Forest::fit(&data, &rows, &settings, 3, &|| true).expect("in range");
    if named { forest.with_names(corpus.labels().to_vec()).expect("26 names") } else { forest }
}

/// What a command prints that succeeds.
fn prints(args: &[&str]) -> String {
    let mut command = roundtable();
    command.args(args);
    let output = finish(command);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{args:?}: {err}");
    out
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_command_takes_a_forest() {
    let nodes = [Server::node("0", &[]), Server::node("0", &[])];
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let coordinator = Coordinator::start("2", &addresses, &[]);
    let path = |name: &str| coordinator.path(name).to_string_lossy().into_owned();
    let (file, rows, labelled) = (path("f.safetensors"), path("rows.csv"), "letters/validate_letters.txt");
    let forest = grown(true);
    let notes = BTreeMap::from([("seed".to_owned(), "3".to_owned())]);
    std::fs::write(&file, forest.to_safetensors(&notes).expect("not too long")).expect("a file");
    let text = std::fs::read_to_string(labelled).expect("the letters");
    let features: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(',')?.0)).collect();
    std::fs::write(&rows, features.join("\n")).expect("a file");

    let told = json(&prints(&["evaluate", &file, labelled, "--json"]));
    let held = ingest::load_labelled(Path::new(labelled), forest.names()).expect("the letters");
    let measured = forest.measure(&held).expect("they fit");
    assert_eq!(told["error"], measured.error);
    assert_eq!(told["loss"], measured.loss);
    assert!(measured.error < 0.08, "{}", measured.error);
    assert!(matches!(measured.answers, Answers::Classes { calibration_error, .. } if calibration_error < 0.3));

    let predicted = prints(&["predict", &file, &rows]);
    let said = forest.predict(held.to_array().view()).expect("they fit");
    assert!(predicted.lines().eq(said.iter().map(|&class| forest.names()[class as usize].as_str())));
    let probabilities = prints(&["predict", &file, &rows, "--proba"]);
    assert_eq!(probabilities.lines().count(), 3501);

    let local = prints(&["predict-locally", &file, labelled, "--top", "2", "--json"]);
    let first = json(local.lines().next().expect("a line"));
    assert_eq!(first["top"][0]["label"], predicted.lines().next().expect("a line"));
    let last = json(local.lines().last().expect("a line"));
    assert_eq!((&last["rows"], &last["error"]), (&3500.into(), &measured.error.into()));

    let at = coordinator.server.address.to_string();
    let say = |args: &[&str]| prints(&[args, &["--coordinator", &at]].concat());
    say(&["put", &file, "f.safetensors"]);
    say(&["put", &rows, "rows.csv"]);
    let out = path("out.csv");
    say(&["infer", "f.safetensors", "rows.csv", "--batch-size", "700", "--output", &out]);
    let out = std::fs::read_to_string(&out).expect("the output");
    assert!(out.lines().skip(1).map(|line| line.split(',').nth(4).expect("a label")).eq(predicted.lines()));
}

#[test]
fn forests_that_do_not_fit_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let bytes = grown(false).to_safetensors(&BTreeMap::new()).expect("not too long");
    let fails = |args: &[&str], words: &str| {
        let mut command = roundtable();
        command.args(args);
        let output = finish(command);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains(words), "{err}");
    };
    let (file, narrow) = (write("f.safetensors", &bytes), write("narrow.csv", b"1,2,3\n"));
    fails(&["predict", &file, &narrow], "features");
    fails(&["evaluate", &file, &narrow], "the model takes 16 features, the data has 2");
    fails(&["predict-locally", &file, &narrow], "features");
    let cut = write("cut.safetensors", &bytes[..bytes.len() - 9]);
    fails(&["evaluate", &cut, &narrow], "not a model");
    fails(&["predict-locally", &cut, &narrow], "not a model");
    // It is what its bytes are, whatever its name ends in.
    fails(&["predict", &write("f.onnx", &bytes), &narrow], "");
}
