//! Owns the page: its sections and their order. It is well-formed XML too, so that tests can read it.

use super::figure::Figure;
use super::numbers::{measure, seconds};
use super::svg::{clip, escape};
use super::{Part, Run, confusion, style, tables};
use crate::client::Report;
use std::fmt::Write;

/// How many confused pairs are shown beside the matrix, and without one.
const PAIRS: (usize, usize) = (16, 40);

/// The whole document.
pub(super) fn page(runs: &[Run], shared: &[Figure], parts: &[Part<'_>]) -> String {
    let title = escape(&title(runs));
    let mut body = String::new();
    match parts {
        [part] => {
            body.push_str(&headline(&part.run.report, &title));
            body.push_str(&curves(shared));
            body.push_str(&of_run(part));
        }
        parts => {
            // Writing to a string cannot fail.
            let _ = writeln!(body, "<header><h1>{title}</h1></header>\n<h2>Result</h2>");
            let _ = writeln!(body, "<div class=\"card\">{}</div>", tables::comparison(parts));
            body.push_str(&curves(shared));
            for part in parts {
                let _ = write!(body, "<h2>{}</h2>\n{}", escape(&clip(&part.run.name, 120)), of_run(part));
            }
        }
    }
    document(&title, &body)
}

/// A document of this title, which is escaped, and body.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{title}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{body}\
         <footer>Written by roundtable {}.</footer>\n</main>\n</body>\n</html>\n",
        style::of_page(),
        env!("CARGO_PKG_VERSION")
    )
}

fn title(runs: &[Run]) -> String {
    match runs {
        [run] => format!("{}: {}", clip(&run.name, 80), clip(&run.report.config.dataset, 80)),
        runs => runs.iter().map(|run| clip(&run.name, 40)).collect::<Vec<_>>().join(", "),
    }
}

/// The figures that everybody asks for first.
fn headline(report: &Report, title: &str) -> String {
    let config = &report.config;
    let best = report.rounds.iter().find(|round| round.round == report.best_round);
    let best = match best {
        Some(round) if report.best_round > 0 => {
            (report.best_round.to_string(), format!("error {}", measure(round.validation_error)))
        }
        _ => ("–".to_owned(), "not noted".to_owned()),
    };
    let asked = format!("of {} asked for", config.training.rounds);
    let tasks: i128 = report.nodes.iter().map(|node| i128::from(node.tasks)).sum();
    let figures = [
        ("Final validation error", measure(report.validation_error), String::new()),
        ("Best round", best.0, best.1),
        ("Rounds", report.rounds.len().to_string(), asked),
        ("Time", seconds(report.wall_s), "from start to result".to_owned()),
        ("Data set", clip(&config.dataset, 60), format!("{} epochs in each round", config.training.epochs)),
        ("Nodes", report.nodes.len().to_string(), format!("{tasks} tasks done")),
    ];
    let mut html = format!("<header>\n<h1>{title}</h1>\n<dl class=\"figures\">\n");
    for (name, value, more) in figures {
        let more = if more.is_empty() { String::new() } else { format!("<small>{}</small>", escape(&more)) };
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}{more}</dd></div>", escape(&value));
    }
    let digest = escape(&clip(&report.weights_sha256, 128));
    let _ = writeln!(html, "<div class=\"wide\"><dt>SHA-256 of the weights</dt><dd>{digest}</dd></div>");
    html.push_str("</dl>\n</header>\n");
    html
}

fn curves(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return "<h2>Learning</h2>\n<p class=\"card\">No round was finished.</p>\n".to_owned();
    }
    let figures: String = figures.iter().map(|figure| framed(figure, "")).collect();
    format!("<h2>Learning</h2>\n{figures}")
}

pub(super) fn framed(figure: &Figure, class: &str) -> String {
    format!(
        "<figure{class}>\n<div class=\"scroll\">{}</div>\n<figcaption>{}</figcaption>\n</figure>\n",
        figure.inline(),
        escape(&figure.caption)
    )
}

/// What the page says of each run.
fn of_run(part: &Part<'_>) -> String {
    let report = &part.run.report;
    let timeline = part.timeline.as_ref().map_or_else(
        || "<p class=\"card sub\">When each task ran was not noted in this run.</p>\n".to_owned(),
        |figure| framed(figure, ""),
    );
    let nodes =
        if report.nodes.is_empty() { "<p>No node had a task.</p>".to_owned() } else { tables::nodes(report) };
    let mut html = format!("<h2>Nodes</h2>\n{timeline}<div class=\"card\">{nodes}</div>\n{}", mistakes(part));
    let _ = writeln!(html, "<h2>Configuration</h2>\n<div class=\"card\">{}</div>", tables::configuration(report));
    if !report.rounds.is_empty() {
        let _ = writeln!(
            html,
            "<details><summary>The rounds in numbers</summary>{}</details>",
            tables::rounds(report)
        );
    }
    html
}

/// What the model takes for what.
fn mistakes(part: &Part<'_>) -> String {
    let Some(tally) = &part.tally else { return String::new() };
    let classes = tables::classes(tally);
    match &part.confusion {
        Some(figure) => format!(
            "<h2>Mistakes</h2>\n<div class=\"sides\">\n{}<div class=\"card\">{}</div>\n</div>\n\
             <details><summary>Every class in numbers</summary>{classes}</details>\n",
            framed(figure, " class=\"narrow\""),
            tables::worst_pairs(tally, PAIRS.0)
        ),
        // Too many classes for a picture.
        None => format!(
            "<h2>Mistakes</h2>\n<p class=\"card\">{}</p>\n<div class=\"card\">{}</div>\n\
             <details><summary>Every class in numbers</summary>{classes}</details>\n",
            escape(&confusion::caption(tally)),
            tables::worst_pairs(tally, PAIRS.1)
        ),
    }
}
