//! The page of a run: it stands for any report, whatever numbers and strings are in it, and it is never too large.

#[path = "support/runs.rs"]
mod runs;

use proptest::prelude::*;
use roundtable::client::{Confusion, NodeLine, Report, RoundLine, Span};
use roundtable::report::{self, Page, Run};
use runs::{DEMO, Size, full, old};
use std::path::Path;
use std::process::{Command, Output};

/// The most bytes of a page.
const LARGEST: usize = 2_000_000;

fn run(name: &str, report: Report) -> Run {
    Run { name: name.to_owned(), report }
}

/// The page of runs, which is well-formed, has unique ids, needs no network and no scripts, and is not too large.
fn checked(runs: &[Run]) -> Page {
    let page = report::page(runs);
    assert!(page.html.len() < LARGEST, "{} bytes", page.html.len());
    let documents = page.pictures.iter().map(|picture| &picture.svg).chain([&page.html]);
    for text in documents {
        let options = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: u32::MAX, ..Default::default() };
        let document = match roxmltree::Document::parse_with_options(text, options) {
            Ok(document) => document,
            Err(e) => panic!("{e}\n{text}"),
        };
        let mut ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "an id is there twice");
        for node in document.descendants() {
            assert!(!matches!(node.tag_name().name(), "script" | "link" | "iframe" | "object"), "{node:?}");
            for attribute in node.attributes() {
                let (name, value) = (attribute.name(), attribute.value());
                assert!(!matches!(name, "href" | "src") && !name.starts_with("on"), "{node:?}");
                assert!(!value.contains("NaN") && !value.contains("inf"), "{name}=\"{value}\"");
            }
        }
    }
    page
}

/// The texts of all elements of this name.
fn texts(svg: &str, element: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).expect("it is well-formed");
    let elements = document.descendants().filter(|node| node.tag_name().name() == element);
    elements.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

fn svg<'a>(page: &'a Page, name: &str) -> &'a str {
    let picture = page.pictures.iter().find(|picture| picture.name == name);
    &picture.unwrap_or_else(|| panic!("there is no picture {name}")).svg
}

#[test]
fn a_run_with_everything() {
    let page = checked(&[run("run", full(DEMO, 1))]);
    let names: Vec<&str> = page.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["error", "loss", "timeline", "confusion"]);
    let titles = texts(svg(&page, "timeline"), "title");
    assert!(titles.iter().any(|title| title.starts_with("round 1, task 0: ")), "{titles:?}");
    let words = texts(svg(&page, "timeline"), "text");
    for word in ["10.0.0.1:9091", "done", "refused", "delayed by load", "seconds since the job came"] {
        assert!(words.iter().any(|text| text == word), "{word}: {words:?}");
    }
    assert!(texts(svg(&page, "confusion"), "title").iter().any(|title| title.starts_with("A known as A: ")));
    for words in
        ["Final validation error", "Best round", "SHA-256", "most often taken for", "learning rate", "0.0001"]
    {
        assert!(page.html.contains(words), "{words}");
    }
}

#[test]
fn a_run_of_before_has_what_it_has() {
    let page = checked(&[run("run", old(15, 3))]);
    let names: Vec<&str> = page.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["error"]);
    assert!(page.html.contains("was not noted in this run"), "it says why there is no timeline");
}

#[test]
fn runs_are_compared() {
    let small = Size { rounds: 9, nodes: 2, ..DEMO };
    let page = checked(&[run("one", full(DEMO, 1)), run("two", full(small, 2)), run("before", old(12, 3))]);
    let names: Vec<&str> = page.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["error", "loss", "timeline-1", "confusion-1", "timeline-2", "confusion-2"]);
    let words = texts(svg(&page, "error"), "text");
    assert!(["one", "two", "before"].iter().all(|name| words.iter().any(|word| word == name)), "{words:?}");
}

#[test]
fn large_runs_stay_readable_and_small() {
    let many_rounds = Size { rounds: 2_000, tasks: 8, ..DEMO };
    let many_nodes = Size { rounds: 40, tasks: 600, nodes: 300, slots: 1, classes: 60 };
    let many_slots = Size { rounds: 300, tasks: 64, nodes: 4, slots: 8, classes: 1_000 };
    for size in [many_rounds, many_nodes, many_slots] {
        let report = full(size, 3);
        let spans: usize = report.rounds.iter().map(|round| round.spans.len()).sum();
        assert!(spans > 15_000, "{spans} are not many");
        let page = checked(&[run("large", report)]);
        let marks = svg(&page, "timeline").matches("<rect").count();
        assert!(marks < 5_000, "{marks} marks");
        assert_eq!(page.pictures.len(), if size.classes <= 60 { 4 } else { 3 });
    }
    let six: Vec<Run> = (0..6).map(|seed| run(&format!("run {seed}"), full(many_nodes, seed))).collect();
    let page = report::page(&six);
    assert!(page.html.len() < 2 * LARGEST, "six large runs: {} bytes", page.html.len());
}

#[test]
fn nothing_is_no_reason_to_fail() {
    let mut report = old(0, 0);
    checked(&[run("", report.clone())]);
    report.rounds = old(1, 1).rounds;
    checked(&[run("one", report.clone())]);
    report.confusion = Some(Confusion { classes: Vec::new(), counts: Vec::new() });
    checked(&[run("empty", report)]);
    checked(&[]);
}

#[test]
fn strings_stay_where_they_belong() {
    let hostile = "</title></svg><script>alert('1')</script>\u{0}\u{b}\u{202e}\u{ffff}]]>&lt;\"' onload=x";
    let mut report = full(DEMO, 1);
    report.weights_sha256 = hostile.to_owned();
    report.config.dataset = hostile.to_owned();
    report.config.coordinator = hostile.repeat(1_000);
    for node in &mut report.nodes {
        (node.address, node.state, node.software) = (hostile.to_owned(), hostile.to_owned(), hostile.to_owned());
    }
    report.rounds[0].spans[0].outcome = hostile.to_owned();
    if let Some(confusion) = &mut report.confusion {
        confusion.classes.iter_mut().for_each(|name| *name = hostile.to_owned());
    }
    let page = checked(&[run(hostile, report)]);
    assert!(!page.html.contains("<script") && page.html.contains("&lt;script&gt;"));
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..1.0f64,
        2 => prop::num::f64::ANY,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -0.0]),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let outcome = prop_oneof![
        prop::sample::select(vec!["done", "refused", "lost", "abandoned", "failed"]).prop_map(str::to_owned),
        any::<String>(),
    ];
    let node = prop_oneof![0..4usize, any::<usize>()];
    let times = (number(), number(), number());
    (node, any::<i32>(), any::<i32>(), times, outcome, any::<bool>()).prop_map(
        |(node, round, task, (start_s, end_s, busy_s), outcome, delayed)| Span {
            node,
            round,
            task,
            start_s,
            end_s,
            busy_s,
            outcome,
            delayed,
        },
    )
}

fn round() -> impl Strategy<Value = RoundLine> {
    let losses = (prop::option::of(number()), prop::option::of(number()));
    (any::<i32>(), number(), number(), losses, number(), prop::collection::vec(span(), 0..9)).prop_map(
        |(round, validation_error, training_error, (validation_loss, training_loss), wall_s, spans)| RoundLine {
            left_out: vec![],
            round,
            validation_error,
            training_error,
            validation_loss,
            training_loss,
            wall_s,
            spans,
        },
    )
}

fn node() -> impl Strategy<Value = NodeLine> {
    let counts = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>());
    (any::<String>(), any::<String>(), counts, number()).prop_map(|(address, state, counts, busy_s)| NodeLine {
        software: address.clone(),
        address,
        state,
        tasks: counts.0,
        refusals: counts.1,
        delays: counts.2,
        failures: counts.3,
        busy_s,
        bytes_sent: counts.4,
        bytes_received: counts.5,
    })
}

fn confusion() -> impl Strategy<Value = Confusion> {
    let class = || prop_oneof![0..9u32, any::<u32>()];
    let counts = prop::collection::vec((class(), class(), any::<u64>()), 0..99);
    (prop::collection::vec(any::<String>(), 0..99), counts)
        .prop_map(|(classes, counts)| Confusion { classes, counts })
}

prop_compose! {
    fn any_report()(
        numbers in (number(), number(), number(), any::<u64>()),
        texts in (any::<String>(), any::<String>(), any::<String>()),
        best_round in any::<i32>(),
        hidden in prop::collection::vec(any::<usize>(), 0..99),
        rounds in prop::collection::vec(round(), 0..9),
        nodes in prop::collection::vec(node(), 0..5),
        confusion in prop::option::of(confusion()),
    ) -> Report {
        let mut report = Report { rounds, nodes, confusion, best_round, ..old(0, 0) };
        (report.validation_error, report.wall_s, report.config.training.eta, report.config.training.seed) = numbers;
        (report.weights_sha256, report.config.dataset, report.config.coordinator) = texts;
        (report.config.training.hidden, report.bytes_sent, report.bytes_received) = (hidden, report.config.training.seed, u64::MAX);
        report
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_report_has_a_page(name in any::<String>(), reports in prop::collection::vec(any_report(), 1..4)) {
        let runs: Vec<Run> = reports.into_iter().map(|report| run(&name, report)).collect();
        checked(&runs);
    }
}

fn roundtable(args: &[&str], directory: &Path) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_roundtable"))
        .arg("report")
        .args(args)
        .current_dir(directory)
        .output()
        .expect("the program starts");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

fn directory_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory for the test");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("the file can be written");
    }
    directory
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is JSON")
}

#[test]
fn the_command_writes_files_and_names_them() {
    let directory = directory_with(&[("run.json", &json(&full(DEMO, 1))), ("b.json", &json(&old(3, 1)))]);
    let (code, out, err) = roundtable(&["run.json"], directory.path());
    let written = ["run.html", "run-error.svg", "run-loss.svg", "run-timeline.svg", "run-confusion.svg"];
    assert_eq!((code, out.lines().collect::<Vec<_>>(), err.as_str()), (Some(0), written.to_vec(), ""));
    assert!(written.iter().all(|name| directory.path().join(name).is_file()));
    let (code, out, _) = roundtable(&["run.json", "b.json", "--out", "new/place"], directory.path());
    assert_eq!((code, out.lines().next()), (Some(0), Some("new/place/run-vs-b.html")));
    assert!(directory.path().join("new/place/run-vs-b-error.svg").is_file());
    let (code, out, _) = roundtable(&["b.json", "b.json"], directory.path());
    assert_eq!((code, out.lines().next()), (Some(0), Some("b-and-1-more.html")));
}

#[test]
fn what_is_no_run_is_told() {
    let run = json(&old(3, 1));
    let files = [
        ("empty.json", " \n"),
        ("text.json", "letters: 11 shards\n"),
        ("cut.json", &run[..run.len() / 2]),
        ("other.json", "{\n  \"name\": 1\n}"),
        ("list.json", "[1, 2]"),
        ("wrong.json", "{\n\n\"validation_error\": \"low\"}"),
        ("own.html", &run),
        ("file", ""),
        ("run.json", &run),
    ];
    let directory = directory_with(&files);
    let how = "roundtable client ... --run-out run.json";
    let cases: &[(&[&str], &[&str])] = &[
        (&["nowhere.json"], &["cannot read nowhere.json", "No such file", how]),
        (&["."], &["cannot read .", "directory", how]),
        (&["empty.json"], &["empty.json is empty", how]),
        (&["text.json"], &["text.json:1: this is not JSON", how]),
        (&["cut.json"], &["cut.json:", "this is not JSON", how]),
        (&["other.json"], &["other.json:3: this is not the JSON of a run", "missing field", how]),
        (&["list.json"], &["list.json:1: this is not the JSON of a run", how]),
        (&["wrong.json"], &["wrong.json:3: this is not the JSON of a run", "\"low\"", how]),
        (&["run.json", "text.json"], &["text.json:1: "]),
        (&["own.html"], &["own.html would be overwritten", "--out"]),
        (&["run.json", "--out", "file"], &["--out file", "File exists"]),
        (&["run.json"; 7], &["7 runs are too many", "at most 6"]),
        (&[], &["RUN.json", "Usage: "]),
    ];
    for (args, words) in cases {
        let (code, out, err) = roundtable(args, directory.path());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        for word in *words {
            assert!(err.contains(word), "{args:?}: '{word}' is not said: {err}");
        }
    }
    assert_eq!(std::fs::read_to_string(directory.path().join("own.html")).ok(), Some(run));
}

/// Writes pages to look at: `cargo test --test report -- --ignored`.
#[test]
#[ignore = "it is for eyes"]
fn samples() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    let many = Size { rounds: 600, tasks: 40, nodes: 12, slots: 3, classes: 48 };
    let mut unlucky = full(Size { rounds: 8, nodes: 5, slots: 2, classes: 3, ..DEMO }, 8);
    unlucky.rounds[3].validation_error = f64::NAN;
    if let Some(confusion) = &mut unlucky.confusion {
        confusion.classes = ["Iris-setosa", "Iris-versicolor", "Iris-virginica"].map(str::to_owned).to_vec();
    }
    let samples = [
        ("full", vec![run("full", full(DEMO, 1))]),
        ("old", vec![run("old", old(15, 3))]),
        ("large", vec![run("large", full(many, 2))]),
        ("unlucky", vec![run("unlucky", unlucky.clone())]),
        (
            "several",
            vec![
                run("average", full(DEMO, 1)),
                run("letters-fast", full(Size { rounds: 9, ..DEMO }, 2)),
                run("unlucky", unlucky),
            ],
        ),
    ];
    std::fs::create_dir_all(&out).expect("the directory can be made");
    for (name, runs) in samples {
        let page = checked(&runs);
        std::fs::write(out.join(format!("{name}.html")), &page.html).expect("the page can be written");
        for picture in &page.pictures {
            let path = out.join(format!("{name}-{}.svg", picture.name));
            std::fs::write(path, &picture.svg).expect("the picture can be written");
        }
    }
    println!("{}", out.display());
}
