//! `roundtable predict-locally`: pictures and rows from the command line, each bad one with its reason.

mod support;

use ndarray::array;
use roundtable::model::{Form, Mlp, Model, Output, files};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::gallery::gallery;
use support::{finish, texts};

/// Runs the command with these files of a directory; returns its exit code and what it printed.
fn predict(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundtable"));
    command.arg("predict-locally").args(args).current_dir(dir);
    let output = finish(command);
    let (out, err) = texts(&output);
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code(), out, err)
}

#[test]
fn pictures_are_answered_and_bad_ones_told() {
    let dir = gallery();
    let (code, out, err) = predict(dir.path(), &["colours.onnx", "red.png", "blue.jpg", "--top", "1"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(lines[0], "red.png  red 0.9999");
    assert!(lines[1].starts_with("blue.jpg  blue 0.99"), "{out}");
    let all = ["colours.onnx", "red.png", "no.png", "gone.png", "blue.jpg", "--json", "--batch-size", "3"];
    let (code, out, err) = predict(dir.path(), &all);
    assert_eq!(code, Some(2));
    assert!(err.contains("error: 2 of 4 pictures could not be used"), "{err}");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines[0]["top"][0]["label"].as_str(), lines[0]["top"][0]["class"].as_u64()),
        (Some("red"), Some(0))
    );
    assert!(lines[1]["error"].as_str().unwrap().starts_with("not a picture: it begins with 3c 68 74 6d"), "{out}");
    assert!(lines[2]["error"].as_str().unwrap().starts_with("cannot read the file"), "{out}");
    assert_eq!(lines[3]["top"].as_array().map(Vec::len), Some(3));
}

#[test]
fn cards_are_found_or_given() {
    let dir = gallery();
    fs::write(dir.path().join("other.toml"), "labels = [\"r\", \"g\", \"b\"]\n").unwrap();
    let (code, out, err) = predict(dir.path(), &["colours.onnx", "red.png", "--card", "other.toml", "--top", "1"]);
    assert_eq!((code, out.starts_with("red.png  r 1.0000")), (Some(0), true), "{out}{err}");
    fs::write(dir.path().join("colours.toml"), "mean = [0]\ncolor = \"rgb\"\n").unwrap();
    let (code, _, err) = predict(dir.path(), &["colours.onnx", "red.png"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("the card colours.toml: line 2: unknown field `color`, expected one of"), "{err}");
    let (code, _, err) = predict(dir.path(), &["red.png", "red.png"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("its name must end in .safetensors, .onnx or .npz"), "{err}");
}

#[test]
fn rows_are_answered_with_and_without_labels() {
    let dir = tempfile::tempdir().unwrap();
    let weights = Mlp::new(vec![array![[0.0_f32, 1.0], [2.0, 0.0]]]).unwrap();
    let output = Output::Classes(vec!["high".to_owned(), "low".to_owned()]);
    let model = Model { weights, form: Form { output, ..Form::default() }, notes: BTreeMap::new() };
    fs::write(dir.path().join("m.npz"), files::write(&model, "npz").unwrap()).unwrap();
    fs::write(dir.path().join("plain.csv"), "3\n-3\n").unwrap();
    fs::write(dir.path().join("labelled.csv"), "3,high\n-3,low\n-2,high\n0.25,low\n").unwrap();
    fs::write(dir.path().join("odd.csv"), "3,odd\n").unwrap();
    let (code, out, err) = predict(dir.path(), &["m.npz", "plain.csv"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "plain.csv:1  high 0.9933, low 0.0067\nplain.csv:2  low 0.9991, high 0.0009\n"),
        "{err}"
    );
    let (code, out, _) = predict(dir.path(), &["m.npz", "labelled.csv", "--json", "--top", "1"]);
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[1]["row"].as_u64(), lines[1]["top"][0]["label"].as_str()), (Some(2), Some("low")));
    assert_eq!((lines[4]["rows"].as_u64(), lines[4]["error"].as_f64()), (Some(4), Some(0.25)));
    let (code, _, err) = predict(dir.path(), &["m.npz", "odd.csv"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("odd.csv:1: the label \"odd\" is unknown"), "{err}");
    let (code, out, _) = predict(dir.path(), &["m.npz", "labelled.csv", "--bench", "1"]);
    assert_eq!(code, Some(0));
    assert!(out.contains(" rows/s at best, "), "{out}");
}
