//! Owns the page of a tuning: the best trial, how it was found, all trials, and the order of results with what followed from each.

use super::figure::{Figure, WIDTH};
use super::numbers::{measure, sane, seconds};
use super::scale::Scale;
use super::svg::{Canvas, clip, escape};
use super::tables::{Cell, nodes_of, table};
use super::{Page, html, parallel};
use crate::client::tuning::{Outcome, TuningReport};
use crate::jobs::tuning::{Trial, TrialState, described, find_metric};
use std::fmt::Write;

const HEIGHT: f64 = 300.0;
/// Left, right, top and bottom.
const FRAME: (f64, f64, f64, f64) = (70.0, 1004.0, 24.0, 250.0);
/// The most dots.
const DOTS: usize = 3_000;

/// Makes the page of a tuning.
pub fn tuned(name: &str, report: &TuningReport) -> Page {
    let title = escape(&format!("{}: {}", clip(name, 80), clip(&report.dataset, 80)));
    let figures: Vec<Figure> = parallel::figure(report).into_iter().chain(progress(report)).collect();
    let shown: String = figures.iter().map(|figure| html::framed(figure, "")).collect();
    let shown = if figures.is_empty() { "<p class=\"card\">No trial succeeded.</p>\n".to_owned() } else { shown };
    let mut body = headline(report, &title);
    // Writing to a string cannot fail.
    let _ = write!(body, "<h2>Trials</h2>\n{shown}<div class=\"card\">{}</div>\n", trials(report));
    let _ = writeln!(body, "<details><summary>The order of results</summary>{}</details>", order(&report.order));
    let _ = writeln!(body, "<h2>Nodes</h2>\n<div class=\"card\">{}</div>", nodes_of(&report.nodes));
    let _ = writeln!(body, "<h2>Configuration</h2>\n<div class=\"card\">{}</div>", configuration(report));
    let pictures = figures.iter().map(Figure::picture).collect();
    Page { html: html::document(&title, &body), pictures }
}

fn headline(report: &TuningReport, title: &str) -> String {
    let count = |state: TrialState| report.trials.iter().filter(|trial| trial.state == state).count();
    let metric = &report.tuning.metric;
    let (value, more) = match report.best_trial.as_ref().and_then(|best| Some((best, best.metric?))) {
        Some((best, value)) if best.folds.len() > 1 => {
            (measure(value), format!("± {} over {} folds", measure(best.std), best.folds.len()))
        }
        Some((_, value)) => (measure(value), "on the validation rows".to_owned()),
        None => ("–".to_owned(), String::new()),
    };
    let refit = report.refit.as_ref().map(|measured| measure(measured.error));
    let ended = format!(
        "{} done, {} stopped, {} failed",
        count(TrialState::Done),
        count(TrialState::Stopped),
        count(TrialState::Failed)
    );
    let figures = [
        (format!("Best {metric}"), value, more),
        ("Best trial".to_owned(), report.best.to_string(), format!("of {}", report.trials.len())),
        ("Trials".to_owned(), report.trials.len().to_string(), ended),
        ("Time".to_owned(), seconds(report.wall_s), "from start to result".to_owned()),
        (
            "Validation error".to_owned(),
            refit.unwrap_or_else(|| "–".to_owned()),
            if report.refit.is_some() { "learnt from all rows" } else { "no model was wanted" }.to_owned(),
        ),
        ("Nodes".to_owned(), report.nodes.len().to_string(), clip(&report.dataset, 60)),
    ];
    let mut html = format!("<header>\n<h1>{title}</h1>\n<dl class=\"figures\">\n");
    for (name, value, more) in figures {
        let more = if more.is_empty() { String::new() } else { format!("<small>{}</small>", escape(&more)) };
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}{more}</dd></div>", escape(&name), escape(&value));
    }
    let best = report.best_trial.as_ref().map(|best| described(&best.configuration)).unwrap_or_default();
    let best = escape(&clip(&best, 600));
    let _ = writeln!(html, "<div class=\"wide\"><dt>The best configuration</dt><dd>{best}</dd></div>");
    html.push_str("</dl>\n</header>\n");
    html
}

/// The metric of each result against time, and the best so far.
fn progress(report: &TuningReport) -> Option<Figure> {
    let more_is_better = find_metric(&report.tuning.metric).is_some_and(|metric| metric.more_is_better);
    let mut points: Vec<(f64, f64, &Outcome)> = Vec::new();
    for outcome in &report.order {
        let at = sane(outcome.at_s).zip(outcome.metric.and_then(sane));
        points.extend(at.map(|(second, value)| (second, value, outcome)));
    }
    let last = points.last()?.0;
    let (left, right, top, bottom) = FRAME;
    let x = Scale::linear(0.0, last, (left, right));
    let y = Scale::fitted(points.iter().map(|point| point.1), (bottom, top));
    let mut canvas = Canvas::default();
    for (value, name) in y.ticks(5.0) {
        canvas.line("grid", (left, y.at(value)), (right, y.at(value)));
        canvas.text("mute e", (left - 7.0, y.at(value) + 4.0), &name);
    }
    canvas.line("axis", (left, bottom), (right, bottom));
    for (value, name) in x.ticks(10.0) {
        canvas.line("axis", (x.at(value), bottom), (x.at(value), bottom + 4.0));
        canvas.text("mute m", (x.at(value), bottom + 18.0), &name);
    }
    canvas.text("mute m", ((left + right) / 2.0, bottom + 38.0), "seconds since the job came");
    let furthest = |outcome: &Outcome| outcome.share;
    let mut best: Option<(f64, f64)> = None;
    let mut steps = Vec::new();
    for &(second, value, outcome) in &points {
        let is_better = best.is_none_or(|(share, known)| match furthest(outcome).total_cmp(&share) {
            std::cmp::Ordering::Equal => {
                if more_is_better {
                    value > known
                } else {
                    value < known
                }
            }
            further => further.is_gt(),
        });
        if is_better {
            steps.extend(best.map(|(_, known)| (x.at(second), y.at(known))));
            steps.push((x.at(second), y.at(value)));
            best = Some((furthest(outcome), value));
        }
    }
    steps.extend(best.map(|(_, known)| (right, y.at(known))));
    for (second, value, outcome) in points.iter().take(DOTS) {
        let title = format!("trial {}: {} at {}", outcome.trial, measure(*value), seconds(*second));
        let radius = if outcome.share < 1.0 { 2.0 } else { 3.0 };
        canvas.circle("t0 dot", (x.at(*second), y.at(*value)), radius, Some(&title));
    }
    canvas.path("curve c1", &[steps]);
    let scale = if y.is_log() { " The scale is logarithmic." } else { "" };
    Some(Figure {
        name: "progress".to_owned(),
        title: format!("{} against seconds", report.tuning.metric),
        caption: format!(
            "A dot is a trial at its end, a small one at the end of an earlier rung; the line is the best so far of those \
             that came furthest.{scale}"
        ),
        size: (WIDTH, HEIGHT),
        drawing: canvas.finish(),
    })
}

/// All trials, the best first.
fn trials(report: &TuningReport) -> String {
    let names: Vec<&str> = report.tuning.space.iter().map(|parameter| parameter.name.as_str()).collect();
    let value = |value: Option<f64>| Cell::Number(value.map_or_else(|| "–".to_owned(), measure));
    let row = |trial: &Trial| {
        let mut row = vec![Cell::Text(trial.number.to_string())];
        let setting = |name: &&str| trial.configuration.get(*name).map_or_else(String::new, ToString::to_string);
        row.extend(names.iter().map(|name| Cell::Text(setting(name))));
        row.push(value(trial.metric));
        row.push(value(trial.metric.map(|_| trial.std)));
        row.push(Cell::Number(format!("{:.0} %", 100.0 * sane(trial.share).unwrap_or(0.0))));
        row.push(Cell::Number(seconds(trial.seconds)));
        row.push(Cell::Text(trial.nodes.join(" ")));
        row.push(Cell::Text(match &trial.reason {
            Some(reason) => format!("failed: {reason}"),
            None => trial.state.name().to_owned(),
        }));
        row
    };
    let rows: Vec<_> = report.trials.iter().map(row).collect();
    let mut head = vec!["trial"];
    head.extend(&names);
    head.extend([report.tuning.metric.as_str(), "std", "done", "work", "nodes", "state"]);
    table("All trials, the best first.", &head, &rows)
}

/// What came when, and what followed from it.
fn order(order: &[Outcome]) -> String {
    let row = |(place, outcome): (usize, &Outcome)| {
        let promoted: Vec<String> = outcome.promoted.iter().map(u32::to_string).collect();
        vec![
            Cell::Text((place + 1).to_string()),
            Cell::Number(outcome.trial.to_string()),
            Cell::Number(format!("{:.0} %", 100.0 * sane(outcome.share).unwrap_or(0.0))),
            Cell::Number(outcome.metric.map_or_else(|| "–".to_owned(), measure)),
            Cell::Text(outcome.state.name().to_owned()),
            Cell::Text(promoted.join(" ")),
            Cell::Number(seconds(outcome.at_s)),
        ]
    };
    let rows: Vec<_> = order.iter().enumerate().map(row).collect();
    let head = ["result", "trial", "done", "metric", "state", "goes on because of it", "at"];
    table("Decisions follow from the order of results; this is it.", &head, &rows)
}

fn configuration(report: &TuningReport) -> String {
    let tuning = &report.tuning;
    let text = |name: &str, value: String| vec![Cell::Text(name.to_owned()), Cell::Text(value)];
    let or_none = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    let search = &tuning.search;
    let mut rows = vec![
        text("model", tuning.model.clone()),
        text("set by all", or_none(described(&tuning.base))),
        text("search", search.name.clone()),
        text("metric", tuning.metric.clone()),
        text(
            "folds",
            if tuning.folds == 0 { "none: validation rows".to_owned() } else { tuning.folds.to_string() },
        ),
        text("seed", tuning.seed.to_string()),
    ];
    let limits = [("time limit", tuning.max_time_s), ("limit of a fold of a trial", tuning.trial_timeout_s)];
    rows.extend(limits.into_iter().filter_map(|(name, limit)| Some(text(name, seconds(limit?)))));
    for parameter in &tuning.space {
        // Numbers and names can be written.
        let domain = serde_json::to_string(&parameter.domain).unwrap_or_default();
        rows.push(text(&parameter.name, domain));
    }
    table("What was asked for.", &["setting", "value"], &rows)
}
