//! What a browser, a learner that only looks, or Prometheus asks, and what those get who ask for too much.

use crate::client::{Answer, ask, connect, get, post, read, send};
use crate::served::{Served, wait_until};
use roundtable::coordinator::Config;
use roundtable::http::Limits;
use roundtable::types::Digest;
use roundtable::{model, policy};
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// The value of a sample, by the beginning of its line.
fn sample(answer: &Answer, name: &str) -> f64 {
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
fn without_a_job_all_is_told_but_a_model() {
    let served = Served::start(false, Limits::default());
    let at = served.at();
    for path in ["/", "/latest.npz", "/latest.onnx?newer-than=3&timeout=0.1"] {
        let answer = get(at, path);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.error(), "no job has a model yet");
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    assert_eq!(post(at, "/", &json!({"parameters": []})).status, 503);
    assert_eq!(get(at, "/healthz").json(), json!({"status": "ok"}));
    assert_eq!(get(at, "/readyz").json(), json!({"status": "leads"}));
    assert_eq!(get(at, "/models").json(), json!({"jobs": []}));
    assert_eq!(get(at, "/openapi.json").json()["openapi"], "3.1.0");
    for path in
        ["/models/1", "/models/1/0.npz", "/?job=1", "/models/one", "/nothing", "/models/1/0.exe", "/latest.zip"]
    {
        let answer = get(at, path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        answer.error();
    }
    for path in
        ["/?job=x", "/?jobs=1", "/?newer-than=-1", "/?newer-than=1&timeout=31", "/?newer-than=1&timeout=NaN"]
    {
        let answer = get(at, path);
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        answer.error();
    }
    let answer = ask(at, "DELETE", "/", &[], b"");
    assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET, HEAD, POST"));
    answer.error();
    let answer = ask(at, "POST", "/models/1/0.npz", &[], b"x");
    assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET, HEAD"));
    let head = ask(at, "HEAD", "/healthz", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "15");
    for garbage in ["\r\n\r\n\r\n", "GET\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = connect(at);
        stream.write_all(garbage.as_bytes()).expect("it is sent");
        stream.shutdown(std::net::Shutdown::Write).expect("it ends");
        // Answered or hung up on, but not for ever.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(get(at, "/healthz").status, 200);
}

#[test]
fn the_model_of_a_job_that_has_ended_is_served_in_every_format() {
    let served = Served::start(true, Limits::default());
    let at = served.at();
    served.train(1);
    let newest = get(at, "/");
    let told = newest.json();
    assert_eq!(
        (&told["job"], &told["state"], &told["takes_updates"]),
        (&json!("1"), &json!("done"), &json!(false))
    );
    let shapes: Vec<_> =
        told["tensors"].as_array().expect("a list").iter().map(|tensor| &tensor["shape"]).collect();
    assert_eq!(shapes, [&json!([12, 16]), &json!([12]), &json!([26, 12]), &json!([26])]);
    assert_eq!(told["tensors"][3]["name"], "layers.1.bias");
    let url = told["model"].as_str().expect("a URL");
    let update = told["update"].as_u64().expect("a number");
    let path = url.strip_prefix(&format!("http://{at}")).expect("it is here");
    assert_eq!(path, format!("/models/1/{update}.safetensors"));

    let file = get(at, path);
    assert_eq!(json!(Digest::of(&file.body).to_string()), told["digest"]);
    assert_eq!(file.headers["roundtable-update"], update.to_string());
    let expected = model::files::read(&file.body, "safetensors").expect("a model");
    for format in model::files::FORMATS {
        let extension = format.extension;
        let by_number = get(at, &format!("/models/1/{update}.{extension}"));
        let latest = get(at, &format!("/latest.{extension}"));
        assert_eq!(by_number.body, latest.body, "{extension}");
        let model = model::files::read(&latest.body, extension).expect("a model");
        assert_eq!(model.weights, expected.weights, "{extension}");
        assert_eq!(latest.headers["etag"], format!("\"{}\"", Digest::of(&latest.body)));
        let disposition = &latest.headers["content-disposition"];
        assert!(disposition.ends_with(&format!("\"1-{update}.{extension}\"")), "{disposition}");
        let tags = [latest.headers["etag"].clone(), "*".into(), format!("\"a\", W/{}", latest.headers["etag"])];
        for tag in tags {
            let known = ask(at, "GET", &format!("/latest.{extension}"), &[("If-None-Match", &tag)], b"");
            assert_eq!((known.status, known.body.len()), (304, 0), "{tag}");
            assert_eq!(known.headers["etag"], latest.headers["etag"]);
        }
        let other = ask(at, "GET", &format!("/latest.{extension}"), &[("If-None-Match", "\"a\"")], b"");
        assert_eq!((other.status, &other.body), (200, &latest.body));
    }
    let known = ask(at, "GET", "/", &[("If-None-Match", &newest.headers["etag"])], b"");
    assert_eq!(known.status, 304);

    let models = get(at, "/models").json();
    assert_eq!(models["jobs"][0], get(at, "/models/1").json());
    assert_eq!(models["jobs"][0]["versions"][0]["update"], update);
    let missing = get(at, &format!("/models/1/{}.npz", update + 1));
    assert_eq!(missing.status, 404);
    assert!(missing.error().ends_with(&format!("keeps the newest only: {update}")), "{}", missing.error());
    // Nothing newer comes of it: nobody is to wait for that.
    let begin = Instant::now();
    assert_eq!(get(at, "/?newer-than=1000").json()["state"], "done");
    assert_eq!(get(at, "/latest.npz?newer-than=1000").status, 204);
    assert!(begin.elapsed() < Duration::from_secs(20));
    let answer = post(at, "/", &json!({"parameters": [[1.0]]}));
    assert_eq!((answer.status, answer.error().as_str()), (410, "job 1 has ended"));

    served.train(2);
    assert_eq!(get(at, "/").json()["job"], "2", "the newest job answers");
    assert_eq!(get(at, "/?job=1").json()["digest"], told["digest"]);
    let odd = ask(at, "GET", "/", &[("Host", "a b\"c")], b"");
    assert!(odd.status == 400 || odd.json()["model"].as_str().is_some_and(|url| !url.contains('"')), "{odd:?}");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let served = Served::start(true, Limits::default());
    let at = served.at();
    served.train(1);
    get(at, "/");
    get(at, "/nothing");
    ask(at, "BREW", "/", &[], b"");
    let answer = get(at, "/metrics");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let (mut family, mut kind, mut seen) = (String::new(), String::new(), std::collections::BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, about) = help.split_once(' ').expect("name and text");
            assert!(about.ends_with('.') && seen.insert(format!("# {name}")), "{line}");
            family = name.to_owned();
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, of) = of.split_once(' ').expect("name and kind");
            assert_eq!(name, family);
            assert_eq!(name.ends_with("_total"), of == "counter", "{line}");
            kind = of.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("series and value");
            let name = series.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
            assert!(seen.insert(series.to_owned()), "{line} is there twice");
        }
    }
    assert_eq!(sample(&answer, "roundtable_jobs{state=\"done\"}"), 1.0);
    assert_eq!(sample(&answer, "roundtable_nodes{state=\"ready\"}"), 1.0);
    assert_eq!(sample(&answer, "roundtable_tasks_total{outcome=\"done\"}"), 22.0);
    assert_eq!(sample(&answer, "roundtable_leads"), 1.0);
    let count = "roundtable_http_requests_total";
    assert_eq!(sample(&answer, &format!("{count}{{method=\"GET\",route=\"/\",status=\"200\"}}")), 1.0);
    assert_eq!(sample(&answer, &format!("{count}{{method=\"GET\",route=\"other\",status=\"404\"}}")), 1.0);
    assert_eq!(sample(&answer, &format!("{count}{{method=\"other\",route=\"/\",status=\"405\"}}")), 1.0);
    let time = "roundtable_http_request_duration_seconds";
    assert_eq!(sample(&answer, &format!("{time}_bucket{{method=\"GET\",route=\"/\",le=\"+Inf\"}}")), 1.0);
    assert_eq!(sample(&answer, &format!("{time}_count{{method=\"GET\",route=\"/\"}}")), 1.0);
    if cfg!(target_os = "linux") {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let start = sample(&answer, "process_start_time_seconds");
        assert!((now.as_secs_f64() - start - 300.0).abs() < 320.0, "{start}");
        assert!(sample(&answer, "process_resident_memory_bytes") > 1e6);
        assert!(sample(&answer, "process_cpu_seconds_total") > 0.0);
        assert!(sample(&answer, "process_open_fds") > 3.0);
    }
}

#[test]
fn one_that_stands_by_names_the_leader() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = Config {
        store: directory.path().to_string_lossy().into_owned(),
        ..Config::new(policy::find("round-robin").expect("it is there"), Vec::new())
    };
    let leads = Served::with(config.clone(), Limits::default());
    let standby = Served::with(Config { standby: true, ..config }, Limits::default());
    let leader = leads.coordinator.address().to_string();
    wait_until("the standby knows who leads", || get(standby.at(), "/").json()["leader"] == json!(leader));
    for path in ["/", "/readyz", "/models", "/latest.npz", "/?newer-than=1"] {
        let answer = get(standby.at(), path);
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.error(), format!("this coordinator stands by; {leader} leads"));
    }
    assert_eq!(get(standby.at(), "/healthz").status, 200);
    assert_eq!(sample(&get(standby.at(), "/metrics"), "roundtable_leads"), 0.0);
    drop(leads);
    wait_until("the standby leads", || get(standby.at(), "/readyz").status == 200);
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn a_thousand_wait_for_the_first_model_without_a_thread_each() {
    let served = Served::start(true, Limits::default());
    let at = served.at();
    let before = threads();
    let waiting: Vec<_> = (0..1000).map(|_| send(at, "GET", "/?newer-than=0", &[], b"")).collect();
    // Other tests run beside this one.
    assert!(threads() < before + 200, "{before} threads before, {} now", threads());
    served.train(1);
    for stream in waiting {
        assert_eq!(read(stream, "GET").json()["job"], "1");
    }
}

#[test]
fn what_waits_is_answered_when_the_server_ends() {
    let served = Served::start(false, Limits::default());
    let at = served.at();
    let waiting: Vec<_> = (0..5).map(|_| send(at, "GET", "/?newer-than=0", &[], b"")).collect();
    let idle = connect(at);
    wait_until("they wait", || sample(&get(at, "/metrics"), "process_open_fds") > 5.0);
    let begin = Instant::now();
    drop(served);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    for stream in waiting {
        let answer = read(stream, "GET");
        assert_eq!((answer.status, answer.error().as_str()), (503, "the coordinator is stopping"));
    }
    drop(idle);
}

#[test]
fn too_many_connections_and_slow_ones_are_turned_away() {
    let short = Duration::from_millis(300);
    let limits = Limits { max_connections: 2, head_time: short, ..Limits::default() };
    let served = Served::start(false, limits);
    let at = served.at();
    let mut slow: Vec<_> = (0..2).map(|_| connect(at)).collect();
    slow[0].write_all(b"GET / HTTP/1.1\r\nHost: ").expect("it is sent");
    let answer = get(at, "/healthz");
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"));
    assert_eq!(answer.error(), "there are too many connections");
    let begin = Instant::now();
    for stream in &mut slow {
        // Both end, whatever is said to them.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    wait_until("there is room again", || get(at, "/healthz").status == 200);
}
