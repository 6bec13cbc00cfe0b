//! Models as files and what is done with them: `predict` and `evaluate` on every format, and what they refuse.

mod support;

use roundtable::data::Scaling;
use roundtable::ingest;
use roundtable::model::files::{self, FORMATS};
use roundtable::model::{Activation, Answers, Form, Init, Mlp, Model, Output, Shape, measure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use support::{Coordinator, Server, finish, roundtable, texts};

/// What a command did.
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(args: &[&str]) -> Told {
    let mut command = roundtable();
    command.args(args);
    let output = finish(command);
    let (out, err) = texts(&output);
    Told { code: output.status.code(), out, err }
}

/// What a command prints that succeeds.
fn prints(args: &[&str]) -> String {
    let told = run(args);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{args:?}");
    told.out
}

/// A command fails with exit code 2, prints nothing, and says these words.
fn fails(args: &[&str], words: &[&str]) {
    let told = run(args);
    assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{args:?}: {}", told.err);
    assert!(told.err.starts_with("error: "), "{}", told.err);
    for word in words {
        assert!(told.err.contains(word), "{args:?} does not say {word:?}: {}", told.err);
    }
}

fn write(directory: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("a file can be written");
    path.to_string_lossy().into_owned()
}

/// Writes a model in each format.
fn files_of(model: &Model, directory: &Path, name: &str) -> Vec<String> {
    let file = |extension: &str| {
        let bytes = files::write(model, extension).expect("any format holds it");
        write(directory, &format!("{name}.{extension}"), bytes)
    };
    FORMATS.iter().map(|format| file(format.extension)).collect()
}

fn letters() -> Vec<String> {
    (0..26).map(|letter| letter.to_string()).collect()
}

/// A model for the letters that knows nothing of them.
fn untrained() -> Model {
    let weights = Mlp::init_by(&Shape::new([16, 8, 26]).expect("a shape"), 3, Init::He);
    let inputs = Scaling::new(vec![7.0; 16], vec![2.5; 16]);
    let form = Form { activation: Activation::Relu, inputs, output: Output::Classes(letters()) };
    Model { weights, form, notes: BTreeMap::new() }
}

#[test]
fn every_format_gives_the_same_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = std::fs::read_to_string("letters/validate_letters.txt").expect("the letters");
    let features: Vec<&str> = text.lines().filter_map(|line| line.rsplit_once(',')).map(|(row, _)| row).collect();
    let rows = write(directory.path(), "rows.csv", features.join("\n"));
    let files = files_of(&untrained(), directory.path(), "m");
    let of_all = |more: &[&str]| {
        let mut all: Vec<String> =
            files.iter().map(|file| prints(&[&["predict", file, &rows], more].concat())).collect();
        all.dedup();
        assert_eq!(all.len(), 1, "{more:?}");
        all.remove(0)
    };
    let (labels, proba) = (of_all(&[]), of_all(&["--proba"]));
    let (header, lines) = proba.split_once('\n').expect("a header");
    assert_eq!(header, letters().join(","));
    assert_eq!((labels.lines().count(), lines.lines().count()), (3500, 3500));
    for (label, line) in labels.lines().zip(lines.lines()) {
        let row: Vec<f64> = line.split(',').map(|number| number.parse().expect("a number")).collect();
        assert_eq!(row.len(), 26);
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 26.0 * 0.5e-6, "{line}");
        let most = row.iter().copied().fold(0.0, f64::max);
        let place = letters().iter().position(|letter| letter == label).expect("a letter");
        assert!(row[place] >= most, "{label}: {line}");
    }
}

#[test]
fn evaluate_tells_what_measure_finds() {
    let directory = tempfile::tempdir().expect("a directory");
    let csv = "letters/validate_letters.txt";
    let rows = ingest::load_labelled(Path::new(csv), &letters()).expect("the letters");
    let measured = measure(&untrained(), &rows).expect("it fits");
    let Answers::Classes { confusion, calibration_error } = &measured.answers else { panic!("classes") };
    for file in files_of(&untrained(), directory.path(), "m") {
        let document: Value = serde_json::from_str(&prints(&["evaluate", &file, csv, "--json"])).expect("JSON");
        assert_eq!(document["rows"], 3500);
        let number = |name: &str| document[name].as_f64().expect("a number");
        assert_eq!(
            [number("error"), number("loss"), number("calibration_error")],
            [measured.error, measured.loss, *calibration_error]
        );
        assert_eq!(document["classes"].as_array().expect("a list").len(), 26);
        assert_eq!(document["classes"][25]["label"], "25");
        assert_eq!(document["confusion"].as_array().expect("a list").len(), confusion.len());
        let text = prints(&["evaluate", &file, csv]);
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        has(&format!("error              {:.4}", measured.error));
        has("label  rows  right  recall");
        let worst = confusion.iter().filter(|pair| pair.right != pair.said).map(|pair| pair.rows).max();
        let pairs: Vec<&str> = text.lines().filter(|line| line.contains(" -> ")).collect();
        assert_eq!(pairs.len(), 11, "a head and ten pairs: {text}");
        assert_eq!(pairs[1].split_whitespace().nth(3), worst.map(|rows| rows.to_string()).as_deref());
    }
}

#[test]
fn a_trained_model_has_the_error_that_the_client_tells() {
    let node = Server::node("0", &[]);
    let coordinator = Coordinator::start("2", &[node.address], &[]);
    let path = coordinator.path("m.safetensors").to_string_lossy().into_owned();
    let report = coordinator.train("letters 2 20 12 0.0001", &["--model-out", &path]);
    let told = prints(&["evaluate", &path, "letters/validate_letters.txt", "--json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["error"], report["validation_error"]);
}

#[test]
fn values_are_told_and_measured() {
    let directory = tempfile::tempdir().expect("a directory");
    // `2 x - y`, by one layer: standardised features, and a value in tens above 5.
    let weights = Mlp::new(vec![ndarray::array![[0.0_f32], [0.4], [-0.1]]]).expect("a model");
    let form = Form {
        activation: Activation::Tanh,
        inputs: Scaling::new(vec![3.0, 1.0], vec![2.0, 1.0]),
        output: Output::Value { mean: 5.0, deviation: 10.0 },
    };
    let model = Model { weights, form, notes: BTreeMap::new() };
    let rows = write(directory.path(), "rows.csv", "3,1\n5,1\n3,2\n");
    let labelled = write(directory.path(), "labelled.csv", "x,y,value\n3,1,5\n5,1,9\n3,2,6\n");
    let words = write(directory.path(), "words.csv", "3,1,5\n5,1,nine\n");
    for file in files_of(&model, directory.path(), "m") {
        let values = prints(&["predict", &file, &rows]);
        let values: Vec<f64> = values.lines().map(|line| line.parse().expect("a number")).collect();
        assert!(
            values.iter().zip([5.0, 9.0, 4.0]).all(|(found, right)| (found - right).abs() < 1e-5),
            "{values:?}"
        );
        let document: Value =
            serde_json::from_str(&prints(&["evaluate", &file, &labelled, "--json"])).expect("JSON");
        let near = |name: &str, right: f64| {
            let found = document[name].as_f64().expect("a number");
            assert!((found - right).abs() < 1e-5, "{name}: {found}");
        };
        near("root_mean_squared_error", (4.0_f64 / 3.0).sqrt());
        near("mean_absolute_error", 2.0 / 3.0);
        near("r_squared", 1.0 - 4.0 / (26.0 / 3.0));
        let text = prints(&["evaluate", &file, &labelled]);
        assert!(text.contains("root mean squared error  1.154701\n"), "{text}");
        assert!(text.contains("R squared                  0.5385\n"), "{text}");
        fails(&["predict", &file, &rows, "--proba"], &["tells values", "leave out --proba"]);
        fails(&["evaluate", &file, &words], &["words.csv:2:3", "nine"]);
    }
}

#[test]
fn labels_may_be_any_text() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = ["a,b", "say \"no\"", "Größe 🦀", "two\nlines"].map(str::to_owned).to_vec();
    let mut model = untrained();
    model.weights = Mlp::init_by(&Shape::new([2, 4]).expect("a shape"), 1, Init::He);
    model.form.inputs = None;
    model.form.output = Output::Classes(names.clone());
    let rows = write(directory.path(), "rows.csv", "1,2\n");
    let labelled = write(directory.path(), "labelled.csv", "1,2,\"a,b\"\n2,1,Größe 🦀\n");
    for file in files_of(&model, directory.path(), "m") {
        let proba = prints(&["predict", &file, &rows, "--proba"]);
        let mut reader = csv::Reader::from_reader(proba.as_bytes());
        assert_eq!(reader.headers().expect("a header").iter().collect::<Vec<_>>(), names);
        assert_eq!(reader.records().count(), 1);
        let text = prints(&["evaluate", &file, &labelled]);
        assert!(text.contains("two\\nlines"), "{text}");
        let document: Value =
            serde_json::from_str(&prints(&["evaluate", &file, &labelled, "--json"])).expect("JSON");
        assert_eq!(
            document["classes"][3],
            serde_json::json!({"label": "two\nlines", "rows": 0, "right": 0, "recall": null})
        );
    }
}

#[test]
fn models_without_names_have_numbers() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut model = untrained();
    model.weights = Mlp::init_by(&Shape::new([2, 3]).expect("a shape"), 1, Init::He);
    model.form = Form::default();
    let rows = write(directory.path(), "rows.csv", "1,2\n");
    let labelled = write(directory.path(), "labelled.csv", "1,2,0\n2,1,2\n");
    for file in files_of(&model, directory.path(), "m") {
        assert!(prints(&["predict", &file, &rows, "--proba"]).starts_with("0,1,2\n"));
        assert!(prints(&["evaluate", &file, &labelled]).contains("\nlabel  rows  right  recall\n"));
    }
}

#[test]
fn what_cannot_be_used_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let csv = "letters/validate_letters.txt";
    for file in files_of(&untrained(), directory, "m") {
        let extension = file.rsplit('.').next().expect("an ending");
        let bytes = std::fs::read(&file).expect("the model");
        let garbage: [(&str, Vec<u8>); 4] = [
            ("empty", Vec::new()),
            ("cut", bytes[..bytes.len() - 1].to_vec()),
            ("half", bytes[..bytes.len() / 2].to_vec()),
            ("text", b"this is no model at all\n".repeat(99)),
        ];
        for (name, bytes) in garbage {
            let file = write(directory, &format!("{name}.{extension}"), bytes);
            for command in ["predict", "evaluate"] {
                fails(&[command, &file, csv], &[name, "not a model", "--model-out"]);
            }
        }
        fails(&["evaluate", &file, "/nowhere.csv"], &["/nowhere.csv", "No such file"]);
        fails(
            &["evaluate", &file, &write(directory, "narrow.csv", "1,2,3\n")],
            &["narrow.csv", "16 features", "has 2"],
        );
        fails(
            &["evaluate", &file, &write(directory, "strange.csv", "1,2,é\n")],
            &["strange.csv:1", "é", "unknown"],
        );
    }
    let pt = write(directory, "m.pt", "");
    for name in [&pt, "README.md"] {
        fails(&["predict", name, csv], &["not a model", ".safetensors, .onnx or .npz"]);
    }
    fails(&["evaluate", "/nowhere.onnx", csv], &["/nowhere.onnx", "No such file"]);
    fails(&["evaluate", "letters", csv], &["letters", "directory"]);
}
