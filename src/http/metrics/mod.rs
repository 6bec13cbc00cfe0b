//! Owns the metrics: what is counted of requests, and all that a scrape finds, as Prometheus reads it.

mod process;
mod text;

use super::App;
use super::health::PATIENCE;
use super::models::state;
use super::refusal::Refusal;
use crate::coordinator::{Census, CountedJob};
use crate::jobs::StreamFigures;
use axum::extract::State as Shared;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use text::{Kind, Text};

/// Upper bounds of the times of requests, in seconds. A long poll takes up to 30.
const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What is counted of requests.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Requests>);

#[derive(Clone, Default)]
struct Requests {
    counts: BTreeMap<(&'static str, &'static str, u16), u64>,
    times: BTreeMap<(&'static str, &'static str), Times>,
}

#[derive(Clone, Default)]
struct Times {
    within: [u64; BOUNDS.len()],
    all: u64,
    seconds: f64,
}

impl Metrics {
    /// Counts a request that was answered.
    pub(super) fn note(&self, method: &Method, route: &'static str, status: StatusCode, time: Duration) {
        // Any other word can be a method; each would be a series.
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            _ => "other",
        };
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.counts.entry((method, route, status.as_u16())).or_default() += 1;
        let times = requests.times.entry((method, route)).or_default();
        let seconds = time.as_secs_f64();
        times.all += 1;
        times.seconds += seconds;
        BOUNDS
            .iter()
            .zip(&mut times.within)
            .filter(|(bound, _)| seconds <= **bound)
            .for_each(|(_, count)| *count += 1);
    }
}

/// `GET /metrics`
pub(super) async fn scrape(Shared(app): Shared<Arc<App>>) -> Result<Response, Refusal> {
    let census = app.front.census(PATIENCE).await.ok_or_else(|| {
        let what = format!("the event loop did not answer in {PATIENCE:?}");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what, "see the coordinator's log")
    })?;
    let leads = app.shown.borrow().leads;
    let requests = app.metrics.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut text = Text::default();
    write_cluster(&mut text, leads, &census);
    write_streams(&mut text, &census);
    write_requests(&mut text, &requests);
    process::write(&mut text);
    let format = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, format)], text.finish()).into_response())
}

fn write_cluster(text: &mut Text, leads: bool, census: &Census) {
    text.family("roundtable_build_info", Kind::Gauge, "The version that runs; always 1.");
    text.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("roundtable_leads", Kind::Gauge, "1 if this coordinator leads, 0 if it stands by.");
    text.sample("", &[], f64::from(u8::from(leads)));
    text.family("roundtable_jobs", Kind::Gauge, "Jobs that are remembered, by how they stand.");
    let mut jobs = BTreeMap::from(["running", "done", "failed", "cancelled"].map(|word| (word, 0_u32)));
    for job in &census.jobs {
        *jobs.entry(state(&job.state)).or_default() += 1;
    }
    jobs.iter().for_each(|(word, count)| text.sample("", &[("state", word)], f64::from(*count)));
    text.family(
        "roundtable_nodes",
        Kind::Gauge,
        "Compute nodes: known ones; of these, those that answer (ready); and those at a task (busy).",
    );
    let nodes = [("known", census.nodes.known), ("ready", census.nodes.ready), ("busy", census.nodes.busy)];
    nodes.iter().for_each(|(word, count)| text.sample("", &[("state", word)], *count as f64));
    text.family("roundtable_tasks_total", Kind::Counter, "Attempts at tasks that have ended, by how.");
    let tasks = census.tasks;
    let tasks =
        [("done", tasks.done), ("refused", tasks.refused), ("impossible", tasks.impossible), ("lost", tasks.lost)];
    tasks.iter().for_each(|(word, count)| text.sample("", &[("outcome", word)], *count as f64));
}

/// What a job that learns from a stream has done: name, kind, meaning, and where it stands.
type StreamFamily = (&'static str, Kind, &'static str, fn(&StreamFigures) -> f64);

const STREAMS: &[StreamFamily] = &[
    ("roundtable_model_version", Kind::Gauge, "The newest version of the job's model.", |it| it.version as f64),
    ("roundtable_updates_total", Kind::Counter, "Changes that were applied to the job's model.", |it| {
        it.updates as f64
    }),
    (
        "roundtable_stale_updates_total",
        Kind::Counter,
        "Changes that were too stale to be applied to the job's model.",
        |it| it.stale as f64,
    ),
    ("roundtable_batches_total", Kind::Counter, "Mini-batches whose change is in the job's model.", |it| {
        it.batches as f64
    }),
    ("roundtable_rows_total", Kind::Counter, "Rows whose change is in the job's model.", |it| it.rows as f64),
    ("roundtable_queue_rows", Kind::Gauge, "Rows that wait in the job's queue.", |it| it.waiting as f64),
    ("roundtable_staleness_mean", Kind::Gauge, "The mean number of versions that changes came late by.", |it| {
        it.mean_staleness
    }),
];

fn write_streams(text: &mut Text, census: &Census) {
    for (name, kind, about, read) in STREAMS {
        text.family(name, *kind, about);
        for CountedJob { job, stream, .. } in &census.jobs {
            if let Some(figures) = stream {
                text.sample("", &[("job", &job.to_string())], read(figures));
            }
        }
    }
}

fn write_requests(text: &mut Text, requests: &Requests) {
    text.family("roundtable_http_requests_total", Kind::Counter, "HTTP requests that were answered.");
    for ((method, route, status), count) in &requests.counts {
        let labels = [("method", *method), ("route", *route), ("status", &status.to_string())];
        text.sample("", &labels, *count as f64);
    }
    let about = "Time from a request's head to the head of its answer, in seconds.";
    text.family("roundtable_http_request_duration_seconds", Kind::Histogram, about);
    for ((method, route), times) in &requests.times {
        let labels = [("method", *method), ("route", *route)];
        let with = |bound: &str, text: &mut Text, count: u64| {
            text.sample("_bucket", &[labels[0], labels[1], ("le", bound)], count as f64);
        };
        BOUNDS.iter().zip(&times.within).for_each(|(bound, count)| with(&bound.to_string(), text, *count));
        with("+Inf", text, times.all);
        text.sample("_sum", &labels, times.seconds);
        text.sample("_count", &labels, times.all as f64);
    }
}
