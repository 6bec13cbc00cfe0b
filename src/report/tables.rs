//! Owns tables: their cells, and those of a page: nodes, rounds, classes, configuration.

use super::curves::ends;
use super::numbers::{bytes, measure, percent, sane, seconds};
use super::svg::{clip, escape};
use super::tally::{Class, Tally};
use super::{Part, Run};
use crate::client::{NodeLine, Report};
use std::fmt::Write;

/// The most rows of a table; longer ones are cut, and say so.
const MOST_ROWS: usize = 300;
/// The most characters of a cell.
const CELL: usize = 160;

/// A cell.
pub(super) enum Cell {
    Text(String),
    Number(String),
    /// A number with a bar behind it, as a share of the cell.
    Bar(String, f64),
}

/// A table as HTML; the first cell of each row is its head.
pub(super) fn table(caption: &str, head: &[&str], rows: &[Vec<Cell>]) -> String {
    let number = |column: usize| rows.iter().any(|row| matches!(row.get(column), Some(Cell::Number(_))));
    let mut html = String::from("<div class=\"scroll\"><table>");
    let cut = rows.len().saturating_sub(MOST_ROWS);
    let missing = if cut > 0 { format!(" ({cut} more are not shown.)") } else { String::new() };
    // Writing to a string cannot fail.
    let _ = write!(html, "<caption>{}{missing}</caption><thead><tr>", escape(caption));
    for (column, name) in head.iter().enumerate() {
        let class = if number(column) { " class=\"n\"" } else { "" };
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows.iter().take(MOST_ROWS) {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let (open, close) = if column == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
            let _ = match cell {
                Cell::Text(text) => write!(html, "<{open}>{}</{close}>", escape(&clip(text, CELL))),
                Cell::Number(text) => write!(html, "<{open} class=\"n\">{}</{close}>", escape(text)),
                Cell::Bar(text, share) => {
                    let wide = if share.is_finite() { (100.0 * share).clamp(0.0, 100.0) } else { 0.0 };
                    let style = format!("background-size:{wide:.0}% 70%");
                    write!(html, "<{open} class=\"bar\" style=\"{style}\">{}</{close}>", escape(text))
                }
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn number(number: impl ToString) -> Cell {
    Cell::Number(number.to_string())
}

/// What each node did.
pub(super) fn nodes(report: &Report) -> String {
    nodes_of(&report.nodes)
}

/// What each of these nodes did.
pub(super) fn nodes_of(nodes: &[NodeLine]) -> String {
    let tasks: f64 = nodes.iter().map(|node| node.tasks as f64).sum();
    let row = |node: &NodeLine| {
        let share = node.tasks as f64;
        vec![
            text(&node.address),
            number(node.tasks),
            Cell::Bar(percent(share, tasks), share / tasks),
            number(node.refusals),
            number(node.delays),
            number(node.failures),
            number(seconds(node.busy_s)),
            number(bytes(node.bytes_sent as f64)),
            number(bytes(node.bytes_received as f64)),
            text(&node.state),
            text(&node.software),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let head = [
        "node",
        "tasks",
        "share",
        "refused",
        "delayed",
        "lost",
        "work",
        "sent to it",
        "had of it",
        "state",
        "software",
    ];
    table("What each node did. Work is without delays.", &head, &rows)
}

/// The rounds in numbers; of very many only each tenth, hundredth and so on, and the last.
pub(super) fn rounds(report: &Report) -> String {
    let each = super::scale::step(report.rounds.len() as f64, MOST_ROWS as f64 - 2.0).max(1.0) as usize;
    let ends = ends(&report.rounds);
    let last = report.rounds.len().saturating_sub(1);
    let optional = |value: Option<f64>| number(value.map_or_else(|| "–".to_owned(), measure));
    let shown = report.rounds.iter().zip(&ends).enumerate();
    let shown = shown.filter(|(place, _)| place.is_multiple_of(each) || *place == last);
    let row = |(_, (round, end)): (usize, (&crate::client::RoundLine, &f64))| {
        vec![
            number(round.round),
            number(measure(round.validation_error)),
            number(measure(round.training_error)),
            optional(round.validation_loss),
            optional(round.training_loss),
            number(seconds(round.wall_s)),
            number(seconds(*end)),
        ]
    };
    let rows: Vec<_> = shown.map(row).collect();
    let head =
        ["round", "validation error", "training error", "validation loss", "training loss", "took", "ended at"];
    let caption = if each > 1 { format!("Each {each}th round, and the last.") } else { "All rounds.".to_owned() };
    table(&caption, &head, &rows)
}

/// The pairs of classes that are confused most.
pub(super) fn worst_pairs(tally: &Tally, most: usize) -> String {
    let row = |&(right, said, rows): &(u32, u32, u64)| {
        let of = tally.classes.get(&right).map_or(1, |class| class.rows);
        let share = percent(rows as f64, of as f64);
        vec![text(tally.name(right)), text(tally.name(said)), number(rows), number(share)]
    };
    let rows: Vec<_> = tally.worst().iter().take(most).map(row).collect();
    table("The most frequent mistakes.", &["class", "taken for", "rows", "of the class"], &rows)
}

/// Every class, or, if there are many, the hardest.
pub(super) fn classes(tally: &Tally) -> String {
    let mut classes: Vec<&Class> =
        tally.classes.values().filter(|class| class.rows > 0 || class.said > 0).collect();
    let many = classes.len() > MOST_ROWS;
    if many {
        classes.sort_by(|a, b| a.recall().total_cmp(&b.recall()));
    }
    let row = |class: &&Class| {
        let mistaken = class.mistaken.map(|(said, rows)| format!("{} ({rows})", tally.name(said)));
        vec![
            text(&class.name),
            number(class.rows),
            Cell::Bar(percent(class.recall(), 1.0), class.recall()),
            Cell::Bar(percent(class.precision(), 1.0), class.precision()),
            text(mistaken.unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = classes.iter().map(row).collect();
    let caption = "Recall: the share of a class's rows that the model knows. Precision: the share of what it takes \
                   for the class that is right.";
    let caption = if many { format!("{caption} The hardest first.") } else { caption.to_owned() };
    table(&caption, &["class", "rows", "recall", "precision", "most often taken for"], &rows)
}

/// What was asked for, and what it cost this client.
pub(super) fn configuration(report: &Report) -> String {
    let config = &report.config;
    let hidden = config.training.hidden.iter().take(50).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let rows = [
        ("data set", config.dataset.clone()),
        ("coordinator", config.coordinator.clone()),
        ("rounds", config.training.rounds.to_string()),
        ("epochs in each round", config.training.epochs.to_string()),
        ("hidden units", if hidden.is_empty() { "none".to_owned() } else { hidden }),
        ("learning rate", sane(config.training.eta).map_or_else(|| "–".to_owned(), rate)),
        ("seed", config.training.seed.to_string()),
    ];
    let traffic = [
        ("sent by the client", bytes(report.bytes_sent as f64)),
        ("received by the client", bytes(report.bytes_received as f64)),
    ];
    let named = rows.into_iter().map(|(name, value)| (name.to_owned(), value));
    let rows = named.chain(settings(report)).chain(traffic.map(|(name, value)| (name.to_owned(), value)));
    let rows: Vec<_> = rows.map(|(name, value)| vec![text(name), text(value)]).collect();
    table("What was asked for.", &["setting", "value"], &rows)
}

/// All other settings of the training, each by its path in the request: `method optimizer name`.
fn settings(report: &Report) -> Vec<(String, String)> {
    fn walk(path: &str, value: &serde_json::Value, found: &mut Vec<(String, String)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    walk(format!("{path} {}", name.replace('_', " ")).trim_start(), value, found);
                }
            }
            serde_json::Value::String(value) => found.push((path.to_owned(), value.clone())),
            other => found.push((path.to_owned(), other.to_string())),
        }
    }
    let mut found = Vec::new();
    // What cannot be written as JSON is not shown.
    walk("", &serde_json::to_value(&report.config.training).unwrap_or_default(), &mut found);
    found.retain(|(name, _)| !["rounds", "epochs", "hidden", "eta", "seed"].contains(&name.as_str()));
    found
}

/// A learning rate as people write it.
fn rate(value: f64) -> String {
    if (1e-6..1e6).contains(&value.abs()) { value.to_string() } else { format!("{value:e}") }
}

/// Several runs, side by side.
pub(super) fn comparison(parts: &[Part<'_>]) -> String {
    let row = |Run { name, report }: &Run| {
        let config = &report.config;
        let hidden = config.training.hidden.iter().take(9).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        vec![
            text(name),
            number(measure(report.validation_error)),
            number(report.best_round),
            number(report.rounds.len()),
            number(seconds(report.wall_s)),
            number(report.nodes.len()),
            text(&config.dataset),
            number(config.training.epochs),
            text(hidden),
            number(sane(config.training.eta).map_or_else(|| "–".to_owned(), rate)),
            number(config.training.seed),
            text(clip(&report.weights_sha256, 13)),
        ]
    };
    let rows: Vec<_> = parts.iter().map(|part| row(part.run)).collect();
    let head = [
        "run",
        "error",
        "best round",
        "rounds",
        "took",
        "nodes",
        "data set",
        "epochs",
        "hidden",
        "rate",
        "seed",
        "weights",
    ];
    table("The runs side by side.", &head, &rows)
}
