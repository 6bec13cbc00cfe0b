//! Learners who need only HTTP: what they send is in the model once, or they are told why not.

use crate::client::{Answer, ask, connect, get, post, read};
use crate::served::{Served, wait_until};
use roundtable::coordinator::Config;
use roundtable::http::Limits;
use roundtable::model::{Model, files};
use roundtable::policy;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// Tensors of the job's model: 16 features, 12 hidden units, 26 classes.
const SIZES: [usize; 4] = [12 * 16, 12, 26 * 12, 26];

/// A change that adds 1 to each bias: they begin at 0, and so count the changes that are in a model.
fn counted(more: &Value) -> Value {
    let tensor = |(place, size): (usize, &usize)| vec![json!(place % 2); *size];
    let mut change = json!({"parameters": SIZES.iter().enumerate().map(tensor).collect::<Vec<_>>()});
    change.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    change
}

fn model(at: SocketAddr) -> (u64, Model) {
    let answer = get(at, "/latest.safetensors");
    let update = answer.headers["roundtable-update"].parse().expect("a number");
    (update, files::read(&answer.body, "safetensors").expect("a model"))
}

fn biases(model: &Model) -> Vec<f32> {
    let mut all: Vec<f32> = model.weights.layers().iter().flat_map(|layer| layer.row(0).to_vec()).collect();
    all.dedup();
    all
}

fn update(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["update"].as_u64().expect("a number")
}

fn begin(limits: Limits, more: &Value) -> Served {
    let served = Served::start(true, limits);
    served.stream(more);
    wait_until("there is a first version", || get(served.at(), "/").status == 200);
    served
}

#[test]
fn a_learner_posts_a_change_and_finds_it_in_the_next_version() {
    let served = begin(Limits::default(), &json!({}));
    let at = served.at();
    let told = get(at, "/").json();
    assert_eq!((&told["update"], &told["takes_updates"]), (&json!(0), &json!(true)));
    let (number, before) = model(at);
    assert_eq!((number, biases(&before)), (0, vec![0.0]));

    assert_eq!(update(&post(at, "/", &counted(&json!({"update": 0, "rows": 10})))), 1);
    let next = get(at, "/?newer-than=0");
    assert_eq!(next.json()["update"], 1);
    let (number, after) = model(at);
    assert_eq!((number, biases(&after)), (1, vec![1.0]));
    let weights = |model: &Model| model.weights.layers()[0].slice(ndarray::s![1.., ..]).to_owned();
    assert_eq!(weights(&after), weights(&before), "their change was 0");
    let old = get(at, "/models/1/0.safetensors");
    assert_eq!(files::read(&old.body, "safetensors").expect("a model").weights, before.weights, "it is kept");

    // One element of a weight matrix of outputs x inputs.
    let mut single = counted(&json!({}));
    for tensor in single["parameters"].as_array_mut().expect("a list") {
        tensor.as_array_mut().expect("a list").fill(json!(0));
    }
    single["parameters"][0][16 + 3] = json!(0.5);
    assert_eq!(update(&post(at, "/", &single)), 2);
    wait_until("it is shown", || model(at).0 == 2);
    let moved = &model(at).1.weights.layers()[0] - &after.weights.layers()[0];
    let at_one: Vec<_> = moved.indexed_iter().filter(|(_, value)| **value != 0.0).map(|(at, _)| at).collect();
    assert_eq!(at_one, [(1 + 3, 1)], "input 3, output 1");

    let text = get(at, "/metrics").text();
    assert!(text.contains("roundtable_updates_total{job=\"1\"} 2\n"), "{text}");
    assert!(text.contains("roundtable_rows_total{job=\"1\"} 10\n"), "{text}");
}

#[test]
fn a_change_with_a_name_counts_once() {
    let served = begin(Limits::default(), &json!({}));
    let at = served.at();
    assert_eq!(update(&post(at, "/", &counted(&json!({"id": "a"})))), 1);
    assert_eq!(update(&post(at, "/", &counted(&json!({"id": "b"})))), 2);
    assert_eq!(update(&post(at, "/", &counted(&json!({"id": "a"})))), 1);
    let by_header = |key: &str, change: &Value| {
        let headers = [("Content-Type", "application/json; charset=utf-8"), ("Idempotency-Key", key)];
        ask(at, "POST", "/", &headers, change.to_string().as_bytes())
    };
    assert_eq!(update(&by_header("b", &counted(&json!({})))), 2);
    assert_eq!(by_header("c", &counted(&json!({"id": "d"}))).status, 422);
    assert_eq!(update(&by_header("c", &counted(&json!({"id": "c"})))), 3);
    assert_eq!(post(at, "/", &counted(&json!({"id": ""}))).status, 422);
    assert_eq!(post(at, "/", &counted(&json!({"id": "x".repeat(201)}))).status, 422);
    assert_eq!(update(&post(at, "/", &counted(&json!({})))), 4);
    assert_eq!(update(&post(at, "/", &counted(&json!({})))), 5);
    wait_until("it is shown", || model(at).0 == 5);
    assert_eq!(biases(&model(at).1), [5.0]);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let staleness = json!({"staleness": {"rule": "constant", "bound": 1}});
    let served = begin(Limits { body_time: Duration::from_millis(300), ..Limits::default() }, &staleness);
    let at = served.at();
    let refused = |answer: Answer, status: u16, part: &str| {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.error().contains(part), "{}", answer.error());
    };
    let json_type = [("Content-Type", "application/json")];
    refused(post(at, "/", &json!({"parameters": [[1]]})), 422, "1 lists, but the model has 4");
    refused(
        post(at, "/", &json!({"parameters": [[1], [], [], []]})),
        422,
        "layers.0.weight has the shape [12, 16]",
    );
    let text = counted(&json!({})).to_string();
    let nan = text.replacen("[1,", "[NaN,", 1);
    refused(ask(at, "POST", "/", &json_type, nan.as_bytes()), 422, "NaN");
    refused(ask(at, "POST", "/", &json_type, b"{"), 400, "no JSON");
    refused(ask(at, "POST", "/", &[], text.as_bytes()), 415, "none");
    refused(ask(at, "POST", "/", &[("Content-Type", "text/plain")], text.as_bytes()), 415, "text/plain");
    refused(post(at, "/", &counted(&json!({"update": 7}))), 409, "there is no version 7");
    refused(post(at, "/?job=9", &counted(&json!({}))), 404, "no job 9");
    refused(ask(at, "POST", "/", &json_type, &vec![b' '; 1 << 20]), 413, "for a model of 542 parameters");
    // Without a length, in pieces.
    let mut stream = connect(at);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes()).expect("it is sent");
    let _ = stream.write_all(chunk.as_bytes());
    refused(read(stream, "POST"), 413, "more than");
    let mut slow = connect(at);
    slow.write_all(format!("{head}Content-Length: 5000\r\n\r\n{{").as_bytes()).expect("it is sent");
    refused(read(slow, "POST"), 408, "did not come");

    for version in 1..=2 {
        assert_eq!(update(&post(at, "/", &counted(&json!({})))), version);
    }
    refused(post(at, "/", &counted(&json!({"update": 0}))), 409, "too old");
    assert_eq!(update(&post(at, "/", &counted(&json!({"update": 1})))), 3);
    wait_until("it is shown", || model(at).0 == 3);
    assert_eq!(biases(&model(at).1), [3.0], "nothing else is in it");

    served.train(1);
    refused(post(at, "/?job=2", &counted(&json!({}))), 410, "has ended");
    assert_eq!(get(at, "/").json()["job"], "2");
    assert_eq!(update(&post(at, "/?job=1", &counted(&json!({})))), 4);
}

#[test]
fn many_at_once_are_all_in_it_once() {
    let served = begin(Limits::default(), &json!({}));
    let at = served.at();
    let (learners, each) = (40, 10);
    let mut versions: Vec<u64> = std::thread::scope(|scope| {
        let learn = |learner: usize| {
            move || {
                let name = |place: usize| json!({"id": format!("{learner}/{place}")});
                // Each is sent twice, as by one who has lost the answer.
                let twice = |place: usize| {
                    let first = update(&post(at, "/", &counted(&name(place))));
                    assert_eq!(update(&post(at, "/", &counted(&name(place)))), first);
                    first
                };
                (0..each).map(twice).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..learners).map(|learner| scope.spawn(learn(learner))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    versions.sort_unstable();
    let all = (learners * each) as u64;
    assert_eq!(versions, (1..=all).collect::<Vec<_>>());
    wait_until("it is shown", || model(at).0 == all);
    assert_eq!(biases(&model(at).1), [all as f32]);
}

#[test]
fn another_coordinator_goes_on_and_knows_the_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config {
        store: directory.path().to_string_lossy().into_owned(),
        ..Config::new(policy::find("round-robin").expect("it is there"), Vec::new())
    };
    let first = Served::with(config.clone(), Limits::default());
    first.stream(&json!({}));
    wait_until("there is a first version", || get(first.at(), "/").status == 200);
    assert_eq!(update(&post(first.at(), "/", &counted(&json!({"id": "a"})))), 1);
    assert_eq!(update(&post(first.at(), "/", &counted(&json!({"id": "b"})))), 2);
    let standby = Served::with(Config { standby: true, ..config }, Limits::default());
    assert_eq!(post(standby.at(), "/", &counted(&json!({}))).status, 503);
    drop(first);
    let at = standby.at();
    wait_until("the standby has the job", || get(at, "/").status == 200);
    assert_eq!(get(at, "/").json()["update"], 2);
    assert_eq!(update(&post(at, "/", &counted(&json!({"id": "b"})))), 2);
    assert_eq!(update(&post(at, "/", &counted(&json!({"id": "c"})))), 3);
    wait_until("it is shown", || model(at).0 == 3);
    assert_eq!(biases(&model(at).1), [3.0]);
}

#[test]
fn a_job_of_outside_learners_ends_and_its_last_model_stays() {
    let served = begin(Limits::default(), &json!({"source": {"updates": {"updates": 3}}}));
    let at = served.at();
    for version in 1..=3 {
        assert_eq!(update(&post(at, "/", &counted(&json!({})))), version);
    }
    wait_until("it ends", || get(at, "/").json()["state"] == "done");
    let told = get(at, "/").json();
    assert_eq!((&told["update"], &told["takes_updates"]), (&json!(3), &json!(false)));
    assert_eq!(biases(&model(at).1), [3.0]);
    assert!(matches!(post(at, "/", &counted(&json!({}))).status, 409 | 410));
}
