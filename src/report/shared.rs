//! Owns the pictures of a shared cluster: how many queries a second each job gets, over time.

use super::figure::{Figure, WIDTH};
use super::scale::Scale;
use super::svg::{Canvas, clip, width};
use super::{MOST_RUNS, Page, html};
use crate::sim::{PART, Shared, SharedSummary, SharedWork, rates};
use std::time::Duration;

/// Of one run.
const HEIGHT: f64 = 300.0;
const FRAME: (f64, f64, f64, f64) = (56.0, 1004.0, 44.0, 252.0);
/// Rates are means over so long.
const WINDOW: Duration = Duration::from_secs(2);
/// A curve has about so many points, those of all together at most so many.
const POINTS: usize = 240;
const ALL_POINTS: usize = 6_000;

/// Makes the page of runs of jobs that shared a cluster, one below the other; the first of its pictures has all of them.
pub fn shared(runs: &[(Shared, SharedSummary)]) -> Page {
    let mut canvas = Canvas::default();
    for (place, (setup, summary)) in runs.iter().enumerate() {
        draw(&mut canvas, setup, summary, place as f64 * HEIGHT);
    }
    let figure = Figure {
        name: "rates".to_owned(),
        title: "What jobs get of a shared cluster".to_owned(),
        caption: "Queries a second of each inference job, over the last two seconds; of each training job, tasks a second."
            .to_owned(),
        size: (WIDTH, HEIGHT * runs.len().max(1) as f64),
        drawing: canvas.finish(),
    };
    let title = "Shared cluster";
    let body = format!("<header><h1>{title}</h1></header>\n{}", html::framed(&figure, ""));
    Page { html: html::document(title, &body), pictures: vec![figure.picture()] }
}

fn draw(canvas: &mut Canvas, setup: &Shared, summary: &SharedSummary, down: f64) {
    let (left, right, top, bottom) = (FRAME.0, FRAME.1, FRAME.2 + down, FRAME.3 + down);
    let points = POINTS.min(ALL_POINTS / setup.jobs.len().max(1)).max(2);
    let step = PART * (summary.time.as_millis() / PART.as_millis() / points as u128).max(1) as u32;
    let curve = |(place, job): (usize, &crate::sim::SharedJob)| {
        let ended = summary.jobs.get(place).and_then(|of| of.ended).map_or(f64::INFINITY, |end| end.as_secs_f64());
        let is_there = |&(at, _): &(f64, f64)| at >= job.arrives.as_secs_f64() && at <= ended;
        rates(summary, place, WINDOW, step).into_iter().filter(is_there).collect()
    };
    let curves: Vec<Vec<(f64, f64)>> = setup.jobs.iter().enumerate().map(curve).collect();
    // A job that is alone for a moment must not make the others flat.
    let mut values: Vec<f64> = curves.iter().flatten().map(|point| point.1).collect();
    values.sort_by(f64::total_cmp);
    let usual = values.get(values.len().saturating_sub(1) * 98 / 100).copied().unwrap_or(1.0);
    let highest = if setup.jobs.len() > MOST_RUNS { 1.25 * usual } else { values.last().copied().unwrap_or(1.0) };
    let x = Scale::linear(0.0, summary.time.as_secs_f64(), (left, right));
    let y = Scale::linear(0.0, highest.max(1e-9), (bottom, top));
    for (value, name) in y.ticks(5.0) {
        canvas.line("grid", (left, y.at(value)), (right, y.at(value)));
        canvas.text("mute e", (left - 7.0, y.at(value) + 4.0), &name);
    }
    canvas.line("axis", (left, bottom), (right, bottom));
    for (value, name) in x.ticks(10.0) {
        canvas.line("axis", (x.at(value), bottom), (x.at(value), bottom + 4.0));
        canvas.text("mute m", (x.at(value), bottom + 18.0), &name);
    }
    canvas.text("mute m", ((left + right) / 2.0, bottom + 36.0), "seconds");
    for (place, points) in curves.iter().enumerate() {
        let points = points.iter().map(|&(at, rate)| (x.at(at), y.at(rate.min(highest)))).collect();
        canvas.path(&format!("curve c{}", place % MOST_RUNS), &[points]);
    }
    let mut at = left;
    for (name, colour) in names(setup) {
        if let Some(colour) = colour {
            canvas.line(&format!("curve c{colour}"), (at, down + 18.0), (at + 18.0, down + 18.0));
            at += 24.0;
        }
        let name = clip(&name, 60);
        canvas.text(&colour.map_or("b".to_owned(), |c| format!("t{c} b")), (at, down + 22.0), &name);
        at += width(&name, 12.0) + 22.0;
    }
}

/// What is told of the curves, with the colour of each that is named.
fn names(setup: &Shared) -> Vec<(String, Option<usize>)> {
    let nodes = format!("{} nodes, {}", setup.nodes.len(), setup.policy.name);
    if setup.jobs.len() > MOST_RUNS {
        return vec![(format!("{nodes}: {} jobs of different costs", setup.jobs.len()), None)];
    }
    let name = |(place, job): (usize, &crate::sim::SharedJob)| {
        let work = match job.work {
            SharedWork::Inference { batch, query_time, .. } => {
                format!("{query_time:.0?} a query, batches of {batch}")
            }
            SharedWork::Training { tasks, task_time, .. } => format!("training, {tasks} tasks of {task_time:.0?}"),
        };
        let weight = if job.weight == 1.0 { String::new() } else { format!(", weight {}", job.weight) };
        (format!("{}: {work}{weight}", place + 1), Some(place))
    };
    std::iter::once((nodes, None)).chain(setup.jobs.iter().enumerate().map(name)).collect()
}
