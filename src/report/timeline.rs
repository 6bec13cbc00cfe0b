//! Owns the timeline: a lane for each node, its tasks as bars, what it refused as ticks.

mod marks;

use super::curves::ends;
use super::figure::{Figure, WIDTH};
use super::numbers::{counted, percent, sane, seconds};
use super::scale::{Scale, step};
use super::svg::{Canvas, clip_start, width};
use crate::client::{Report, Span};
use marks::{Kind, Mark};
use std::collections::BTreeMap;

/// More nodes than that are in the table only.
const MOST_LANES: usize = 40;
/// Left and right end of time.
const TIME: (f64, f64) = (168.0, 964.0);
const TOP: f64 = 62.0;
/// A lane with its gap; above its bars there is room for ticks.
const LANE: f64 = 38.0;
const TICK: f64 = 8.0;
const BAR: f64 = 20.0;

/// A node and its marks.
struct Lane {
    name: String,
    busy: f64,
    /// How many spans of each kind.
    outcomes: [usize; Kind::ALL.len()],
    marks: Vec<Mark>,
}

/// The timeline, if anybody noted what nodes did; `most` is how many marks it may have.
pub(super) fn figure(report: &Report, name: String, most: usize) -> Option<Figure> {
    let mut of_node: BTreeMap<usize, Vec<&Span>> = BTreeMap::new();
    for span in report.rounds.iter().flat_map(|round| &round.spans) {
        if sane(span.start_s).is_some() && sane(span.end_s).is_some() {
            of_node.entry(span.node).or_default().push(span);
        }
    }
    let last = of_node.values().flatten().map(|span| span.end_s.max(span.start_s)).fold(0.0, f64::max);
    let first = of_node.values().flatten().map(|span| span.start_s).fold(0.0, f64::min);
    if of_node.is_empty() {
        return None;
    }
    let boundaries = ends(&report.rounds);
    let last = last.max(boundaries.last().copied().unwrap_or(0.0));
    // Nodes that had nothing to do are seen, too.
    for node in 0..report.nodes.len().min(MOST_LANES) {
        of_node.entry(node).or_default();
    }
    let x = Scale::linear(first, last, TIME);
    let nodes = of_node.len();
    let lanes: Vec<_> = of_node.into_iter().take(MOST_LANES).collect();
    let hidden = nodes - lanes.len();
    let spans: Vec<&[&Span]> = lanes.iter().map(|(_, spans)| spans.as_slice()).collect();
    let marks = marks::merged(&spans, &x, most);
    let lanes: Vec<Lane> =
        lanes.iter().zip(marks).map(|((node, spans), marks)| lane(report, *node, spans, marks)).collect();
    let height = TOP + LANE * lanes.len() as f64 + 44.0;
    let hatch = format!("{name}-hatch");
    let mut canvas = Canvas::default();
    canvas.raw(&pattern(&hatch));
    draw_legend(&mut canvas, &lanes, &hatch);
    for (place, lane) in lanes.iter().enumerate() {
        draw_lane(&mut canvas, lane, TOP + LANE * place as f64, last - first, &hatch, &x);
    }
    draw_rounds(&mut canvas, report, &boundaries, &x, height - 44.0);
    draw_seconds(&mut canvas, &x, height - 44.0);
    let caption = caption(&lanes, last - first, hidden);
    let title = "What each node did, and when".to_owned();
    Some(Figure { name, title, caption, size: (WIDTH, height), drawing: canvas.finish() })
}

fn lane(report: &Report, node: usize, spans: &[&Span], marks: Vec<Mark>) -> Lane {
    let name = report
        .nodes
        .get(node)
        .map_or_else(|| format!("node {}", node.saturating_add(1)), |line| line.address.clone());
    let busy = spans.iter().filter_map(|span| sane(span.busy_s)).map(|busy| busy.max(0.0)).sum();
    let mut outcomes = [0; Kind::ALL.len()];
    spans.iter().for_each(|span| outcomes[Kind::of(&span.outcome) as usize] += 1);
    Lane { name, busy, outcomes, marks }
}

fn pattern(id: &str) -> String {
    format!(
        "<defs><pattern id=\"{id}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect class=\"wait\" width=\"6\" height=\"6\"/>\
         <line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern></defs>\n"
    )
}

/// Says what the marks mean; only those that occur.
fn draw_legend(canvas: &mut Canvas, lanes: &[Lane], hatch: &str) {
    let mut left = TIME.0;
    for kind in Kind::ALL {
        if !lanes.iter().flat_map(|lane| &lane.marks).any(|mark| mark.kind == kind) {
            continue;
        }
        let (fill, words) = (kind.fill(hatch), kind.words());
        if kind == Kind::Refused {
            canvas.line("refused", (left + 6.0, 8.0), (left + 6.0, 8.0 + TICK + 2.0));
        } else {
            canvas.rect(&fill, (left, 7.0), (12.0, 12.0), None);
        }
        canvas.text("", (left + 17.0, 17.0), words);
        left += 17.0 + width(words, 12.0) + 18.0;
    }
}

fn draw_lane(canvas: &mut Canvas, lane: &Lane, top: f64, whole: f64, hatch: &str, x: &Scale) {
    canvas.rect("lane", (TIME.0, top), (TIME.1 - TIME.0, LANE - 4.0), None);
    let middle = top + TICK + BAR / 2.0 + 5.0;
    canvas.text("e", (TIME.0 - 10.0, middle), &clip_start(&lane.name, 22));
    canvas.text("b", (TIME.1 + 14.0, middle), &percent(lane.busy, whole));
    for mark in &lane.marks {
        let (from, to) = (x.at(mark.start), x.at(mark.end));
        let title = mark.title();
        if mark.kind == Kind::Refused {
            // A line has no place for a pointer, so it is a thin bar.
            canvas.rect("refused", (from - 0.1, top + 1.0), (0.2, TICK), Some(&title));
            continue;
        }
        let height = BAR / mark.rows as f64;
        let at = (from, top + TICK + 2.0 + height * mark.row as f64);
        let gap = if mark.rows > 1 { 1.0 } else { 0.0 };
        // A hair between neighbours keeps them apart; nothing becomes invisible.
        let wide = (to - from - 0.5).max(0.7);
        canvas.rect(&mark.kind.fill(hatch), at, (wide, height - gap), Some(&title));
    }
}

/// Thin lines where rounds end; of very many only each tenth, twentieth and so on.
fn draw_rounds(canvas: &mut Canvas, report: &Report, boundaries: &[f64], x: &Scale, bottom: f64) {
    let rounds = boundaries.len() as f64;
    let each = step(rounds, 40.0).max(1.0) as usize;
    let mut free = TIME.0;
    canvas.text("mute e s", (TIME.0 - 10.0, TOP - 8.0), "end of round");
    canvas.text("mute s", (TIME.1 + 14.0, TOP - 8.0), "busy");
    for (place, end) in boundaries.iter().enumerate().filter(|(place, _)| (place + 1) % each == 0) {
        let at = x.at(*end);
        canvas.line("border", (at, TOP - 4.0), (at, bottom - 4.0));
        let name = report.rounds.get(place).map(|round| round.round.to_string()).unwrap_or_default();
        let wide = width(&name, 10.0);
        if at - wide / 2.0 >= free && at + wide / 2.0 < TIME.1 + 8.0 {
            canvas.text("mute m s", (at, TOP - 8.0), &name);
            free = at + wide / 2.0 + 5.0;
        }
    }
}

fn draw_seconds(canvas: &mut Canvas, x: &Scale, bottom: f64) {
    canvas.line("axis", (TIME.0, bottom), (TIME.1, bottom));
    for (value, name) in x.ticks(10.0) {
        canvas.line("axis", (x.at(value), bottom), (x.at(value), bottom + 4.0));
        canvas.text("mute m", (x.at(value), bottom + 18.0), &name);
    }
    canvas.text("mute m", ((TIME.0 + TIME.1) / 2.0, bottom + 36.0), "seconds since the job came");
}

fn caption(lanes: &[Lane], whole: f64, hidden: usize) -> String {
    let spans: usize = lanes.iter().map(|lane| lane.outcomes.iter().sum::<usize>()).sum();
    let drawn: usize = lanes.iter().map(|lane| lane.marks.len()).sum();
    let busy: f64 = lanes.iter().map(|lane| lane.busy).sum();
    let of = |kind: Kind| lanes.iter().map(|lane| lane.outcomes[kind as usize]).sum::<usize>();
    let outcomes = Kind::ALL.into_iter().filter(|kind| of(*kind) > 0);
    let outcomes: Vec<String> = outcomes.map(|kind| format!("{} {}", of(kind), kind.words())).collect();
    let mut text = format!(
        "Tasks on {} in {}: {}. On average a node worked for {} of that time; the share of each stands at its right.",
        counted(lanes.len() as u64, "node"),
        seconds(whole),
        outcomes.join(", "),
        percent(busy / lanes.len().max(1) as f64, whole)
    );
    let has = |kind: Kind| lanes.iter().flat_map(|lane| &lane.marks).any(|mark| mark.kind == kind);
    if has(Kind::Delayed) {
        text.push_str(" Hatched: a task that simulated load delays, before its work begins.");
    }
    if lanes.iter().any(|lane| lane.busy > whole) {
        text.push_str(" A share above 100 % is work at several tasks at once.");
    }
    if drawn < spans {
        text.push_str(" Neighbours too narrow to tell apart are drawn as one.");
    }
    if hidden > 0 {
        text.push_str(&format!(" {} more are not drawn.", counted(hidden as u64, "node")));
    }
    text
}
