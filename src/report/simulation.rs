//! Owns the page of simulated runs: what they took, how long tasks waited, how busy the nodes were.

use super::figure::{Figure, WIDTH};
use super::html;
use super::numbers::{percent, seconds};
use super::scale::Scale;
use super::svg::{Canvas, clip, escape, width};
use super::tables::{Cell, table};
use super::{MOST_RUNS, Page};
use crate::sim::{Summary, quantile};

/// A simulated run and what to call it.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// As plots and tables name it.
    pub name: String,
    /// What it came to.
    pub summary: Summary,
}

const HEIGHT: f64 = 330.0;
/// Left, right, top and bottom of a plot.
const FRAME: (f64, f64, f64, f64) = (56.0, 1004.0, 40.0, 286.0);
/// A curve has at most so many points.
const POINTS: usize = 400;

/// Makes the page of simulated runs on one cluster; only the first [`MOST_RUNS`] are drawn. `about` says what was
/// simulated.
pub fn simulated(about: &str, runs: &[Simulated]) -> Page {
    let drawn = &runs[..runs.len().min(MOST_RUNS)];
    let figures = [waits(drawn), utilisation(drawn)];
    let shown = figures.iter().map(|figure| html::framed(figure, ""));
    let title = "Simulated cluster";
    let body = format!(
        "<header><h1>{title}</h1><p class=\"sub\">{}</p></header>\n<h2>Result</h2>\n<div class=\"card\">{}</div>\n{}",
        escape(about),
        numbers(runs),
        shown.collect::<String>()
    );
    let pictures = figures.iter().map(Figure::picture).collect();
    Page { html: html::document(title, &body), pictures }
}

fn numbers(runs: &[Simulated]) -> String {
    let row = |Simulated { name, summary }: &Simulated| {
        let time = |time: std::time::Duration| Cell::Number(seconds(time.as_secs_f64()));
        let makespan = summary.makespan.map_or(Cell::Text("never ended".to_owned()), time);
        let stretch = summary.stretch().map_or("–".to_owned(), |stretch| format!("{stretch:.2}"));
        vec![
            Cell::Text(name.clone()),
            makespan,
            time(summary.lower_bound),
            Cell::Number(stretch),
            Cell::Number(percent(summary.utilisation(), 1.0)),
            time(quantile(&summary.rounds, 0.5)),
            time(quantile(&summary.rounds, 0.99)),
            time(quantile(&summary.waits, 0.5)),
            time(quantile(&summary.waits, 0.99)),
            Cell::Number(summary.copies.to_string()),
            Cell::Number(summary.refused.to_string()),
        ]
    };
    let head = [
        "Run",
        "Makespan",
        "Lower bound",
        "Times that",
        "Busy",
        "Round, p50",
        "p99",
        "Task waits, p50",
        "p99",
        "Copies",
        "Refused",
    ];
    let rows: Vec<Vec<Cell>> = runs.iter().map(row).collect();
    table("All times are virtual.", &head, &rows)
}

/// The share of tasks that waited no longer than so long.
fn waits(runs: &[Simulated]) -> Figure {
    let curve = |run: &Simulated| {
        let waits = &run.summary.waits;
        let last = waits.len().saturating_sub(1);
        let places = (0..=POINTS.min(last)).map(|at| at * last / POINTS.min(last).max(1));
        let point =
            |place: usize| Some((waits.get(place)?.as_secs_f64(), (place + 1) as f64 / waits.len() as f64));
        places.filter_map(point).collect()
    };
    let caption =
        "The share of tasks that were first sent to a node within so many seconds of the start of their round.";
    plot("waits", "How long tasks waited for a node", caption, "seconds", runs, &curve)
}

/// The share of slots at work.
fn utilisation(runs: &[Simulated]) -> Figure {
    let curve = |run: &Simulated| {
        let parts = &run.summary.utilisation_over_time;
        let whole = run.summary.makespan.unwrap_or(run.summary.virtual_time).as_secs_f64();
        let at = |place: usize| (place as f64 + 0.5) / parts.len() as f64 * whole;
        parts.iter().enumerate().map(|(place, share)| (at(place), *share)).collect()
    };
    let caption =
        "The share of all slots that were at work, simulated delays not counted, from the request to the result.";
    plot("utilisation", "How busy the nodes were", caption, "seconds since the job came", runs, &curve)
}

fn plot(
    name: &str,
    title: &str,
    caption: &str,
    unit: &str,
    runs: &[Simulated],
    curve: &dyn Fn(&Simulated) -> Vec<(f64, f64)>,
) -> Figure {
    let (left, right, top, bottom) = FRAME;
    let curves: Vec<Vec<(f64, f64)>> = runs.iter().map(curve).collect();
    let last = curves.iter().flatten().map(|point| point.0).fold(0.0, f64::max);
    let (x, y) = (Scale::linear(0.0, last, (left, right)), Scale::linear(0.0, 1.0, (bottom, top)));
    let mut canvas = Canvas::default();
    for (value, _) in y.ticks(5.0) {
        canvas.line("grid", (left, y.at(value)), (right, y.at(value)));
        canvas.text("mute e", (left - 7.0, y.at(value) + 4.0), &percent(value, 1.0));
    }
    canvas.line("axis", (left, bottom), (right, bottom));
    for (value, name) in x.ticks(10.0) {
        canvas.line("axis", (x.at(value), bottom), (x.at(value), bottom + 4.0));
        canvas.text("mute m", (x.at(value), bottom + 18.0), &name);
    }
    canvas.text("mute m", ((left + right) / 2.0, bottom + 36.0), unit);
    let mut at = left;
    for (place, (run, points)) in runs.iter().zip(&curves).enumerate() {
        let points = points.iter().map(|&(seconds, share)| (x.at(seconds), y.at(share))).collect();
        canvas.path(&format!("curve c{place}"), &[points]);
        let name = clip(&run.name, 24);
        canvas.line(&format!("curve c{place}"), (at, 14.0), (at + 18.0, 14.0));
        canvas.text(&format!("t{place} b"), (at + 24.0, 18.0), &name);
        at += 24.0 + width(&name, 12.0) + 22.0;
    }
    Figure {
        name: name.to_owned(),
        title: title.to_owned(),
        caption: caption.to_owned(),
        size: (WIDTH, HEIGHT),
        drawing: canvas.finish(),
    }
}
