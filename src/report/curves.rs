//! Owns the curves: error and loss against rounds and against seconds.

use super::Run;
use super::figure::{Figure, WIDTH};
use super::numbers::{measure as measured, sane, seconds};
use super::scale::Scale;
use super::svg::{Canvas, clip};
use crate::client::{Report, RoundLine};

const HEIGHT: f64 = 330.0;
/// Top and bottom of the plots.
const FRAME: (f64, f64) = (34.0, 286.0);
/// Left and right edge of each plot; the names of the curves stand to the right.
const PANELS: [(f64, f64); 2] = [(50.0, 392.0), (570.0, 912.0)];
/// How far apart names must be.
const NAME_HEIGHT: f64 = 15.0;
/// Above so many points a curve has no dots, and above that no places to point at.
const DOTS: usize = 40;
const HITS: usize = 150;

/// What is measured.
struct Measure {
    name: &'static str,
    validation: fn(&RoundLine) -> Option<f64>,
    training: fn(&RoundLine) -> Option<f64>,
}

const MEASURES: [Measure; 2] = [
    Measure {
        name: "error",
        validation: |round| Some(round.validation_error),
        training: |round| Some(round.training_error),
    },
    Measure { name: "loss", validation: |round| round.validation_loss, training: |round| round.training_loss },
];

/// A value of a round, with both of its places on the x axes.
#[derive(Clone, Copy)]
struct Point {
    round: f64,
    second: f64,
    value: Option<f64>,
}

struct Curve {
    /// At the end of the line.
    label: Option<String>,
    /// In what a pointer shows.
    what: String,
    colour: usize,
    dashed: bool,
    points: Vec<Point>,
    /// The round whose model was kept, if it is not the last.
    best: Option<usize>,
}

/// The figures that there are values for.
pub(super) fn figures(runs: &[Run]) -> Vec<Figure> {
    MEASURES.iter().filter_map(|measure| figure(measure, runs)).collect()
}

/// When each round ended, in seconds.
pub(super) fn ends(rounds: &[RoundLine]) -> Vec<f64> {
    let sum = |sum: &mut f64, round: &RoundLine| {
        *sum += sane(round.wall_s).filter(|wall| *wall > 0.0).unwrap_or(0.0);
        Some(*sum)
    };
    rounds.iter().scan(0.0, sum).collect()
}

fn figure(measure: &Measure, runs: &[Run]) -> Option<Figure> {
    let curves: Vec<Curve> =
        runs.iter().enumerate().flat_map(|(place, run)| of_run(measure, run, place, runs.len())).collect();
    let values = || curves.iter().flat_map(|curve| &curve.points).filter_map(|point| point.value);
    values().next()?;
    let y = Scale::fitted(values(), (FRAME.1, FRAME.0));
    let mut canvas = Canvas::default();
    for (panel, is_rounds) in PANELS.into_iter().zip([true, false]) {
        draw_panel(&mut canvas, measure, &curves, &y, panel, is_rounds);
    }
    let scale = if y.is_log() { " The scale is logarithmic." } else { "" };
    Some(Figure {
        name: measure.name.to_owned(),
        title: format!("{} against rounds and against seconds", capital(measure.name)),
        caption: format!("{}{scale}", caption(measure, runs)),
        size: (WIDTH, HEIGHT),
        drawing: canvas.finish(),
    })
}

fn of_run(measure: &Measure, run: &Run, place: usize, runs: usize) -> Vec<Curve> {
    let report = &run.report;
    let ends = ends(&report.rounds);
    let alone = runs == 1;
    let curve = |what: &str, of: fn(&RoundLine) -> Option<f64>, dashed: bool| {
        let point = |(round, end): (&RoundLine, &f64)| Point {
            round: f64::from(round.round),
            second: *end,
            value: of(round).and_then(sane),
        };
        let points: Vec<Point> = report.rounds.iter().zip(&ends).map(point).collect();
        let last = points.iter().rev().find_map(|point| point.value)?;
        let label = match (alone, dashed) {
            (true, _) => Some(format!("{what} {}", measured(last))),
            (false, false) => Some(clip(&run.name, 18)),
            (false, true) => None,
        };
        let what = if alone { what.to_owned() } else { format!("{}, {what}", clip(&run.name, 40)) };
        let colour = if alone { usize::from(dashed) } else { place };
        let best = if dashed { None } else { kept(report) };
        Some(Curve { label, what, colour, dashed, points, best })
    };
    let both = [curve("validation", measure.validation, false), curve("training", measure.training, true)];
    both.into_iter().flatten().collect()
}

/// The place of the round whose model was kept, if it is not the last.
fn kept(report: &Report) -> Option<usize> {
    let place = report.rounds.iter().position(|round| round.round == report.best_round)?;
    (place + 1 < report.rounds.len()).then_some(place)
}

fn draw_panel(
    canvas: &mut Canvas,
    measure: &Measure,
    curves: &[Curve],
    y: &Scale,
    panel: (f64, f64),
    is_rounds: bool,
) {
    let at = |point: &Point| if is_rounds { point.round } else { point.second };
    let places = || curves.iter().flat_map(|curve| &curve.points).map(at);
    let (first, last) = places().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let first = if is_rounds && first.is_finite() { first.min(1.0) } else { 0.0 };
    let x = Scale::linear(first, last, panel);
    let ticks = if is_rounds { x.whole_ticks(8.0) } else { x.ticks(6.0) };
    let unit = if is_rounds { "round" } else { "seconds" };
    draw_frame(
        canvas,
        &format!("{} against {unit}{}", capital(measure.name), if is_rounds { "s" } else { "" }),
        y,
        panel,
    );
    for (value, name) in ticks {
        canvas.line("axis", (x.at(value), FRAME.1), (x.at(value), FRAME.1 + 4.0));
        canvas.text("mute m", (x.at(value), FRAME.1 + 18.0), &name);
    }
    canvas.text("mute m", ((panel.0 + panel.1) / 2.0, FRAME.1 + 36.0), unit);
    for curve in curves {
        draw_curve(canvas, curve, |point| (x.at(at(point)), y.at(point.value.unwrap_or(0.0))));
    }
    draw_names(canvas, curves, y, |point| x.at(at(point)), panel.1);
}

fn draw_frame(canvas: &mut Canvas, title: &str, y: &Scale, panel: (f64, f64)) {
    canvas.text("b", (panel.0, 16.0), title);
    for (value, name) in y.ticks(5.0) {
        canvas.line("grid", (panel.0, y.at(value)), (panel.1, y.at(value)));
        canvas.text("mute e", (panel.0 - 7.0, y.at(value) + 4.0), &name);
    }
    canvas.line("axis", (panel.0, FRAME.1), (panel.1, FRAME.1));
}

fn draw_curve(canvas: &mut Canvas, curve: &Curve, place: impl Fn(&Point) -> (f64, f64)) {
    let colour = curve.colour;
    let mut strokes: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for point in &curve.points {
        match (point.value, strokes.last_mut()) {
            (Some(_), Some(stroke)) => stroke.push(place(point)),
            // A value that is missing is a gap.
            _ => strokes.push(Vec::new()),
        }
    }
    // A value with gaps on both sides would not be seen.
    let alone: Vec<(f64, f64)> = strokes.iter().filter(|stroke| stroke.len() == 1).flatten().copied().collect();
    let thinned: Vec<_> = strokes.iter().map(|stroke| thin(stroke)).filter(|stroke| stroke.len() > 1).collect();
    canvas.path(&format!("curve c{colour}{}", if curve.dashed { " dashed" } else { "" }), &thinned);
    let dotted = curve.points.len() <= DOTS;
    for at in alone.iter().take(if dotted { 0 } else { HITS }) {
        canvas.circle(&format!("dot t{colour}"), *at, 2.2, None);
    }
    if let Some(best) = curve.best.and_then(|best| curve.points.get(best)).filter(|best| best.value.is_some()) {
        canvas.circle(&format!("ring c{colour}"), place(best), 5.5, None);
    }
    if curve.points.len() > HITS {
        return;
    }
    for point in curve.points.iter().filter(|point| point.value.is_some()) {
        let value = point.value.map(measured).unwrap_or_default();
        let title = format!("{}, round {}, {}: {value}", curve.what, point.round, seconds(point.second));
        if dotted {
            canvas.circle(&format!("dot t{colour}"), place(point), 2.2, None);
        }
        canvas.circle("hit", place(point), 6.0, Some(&title));
    }
}

/// Of the points in each column of pixels, the first, the lowest, the highest and the last: it looks the same.
fn thin(stroke: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for column in stroke.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let extremes =
            [column.first(), column.iter().min_by(by_height), column.iter().max_by(by_height), column.last()];
        kept.extend(extremes.into_iter().flatten());
    }
    kept
}

/// Names at the ends of the curves, moved apart where they would overlap.
fn draw_names(canvas: &mut Canvas, curves: &[Curve], y: &Scale, x: impl Fn(&Point) -> f64, right: f64) {
    let mut names: Vec<(f64, &Curve, &str, &Point)> = Vec::new();
    for curve in curves {
        let Some(end) = curve.points.iter().rev().find(|point| point.value.is_some()) else { continue };
        let Some(label) = &curve.label else { continue };
        names.push((y.at(end.value.unwrap_or(0.0)), curve, label, end));
    }
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut heights: Vec<f64> = names.iter().map(|name| name.0).collect();
    spread(&mut heights, FRAME);
    for (height, (wanted, curve, label, end)) in heights.iter().zip(&names) {
        // What was moved, or ends early, is tied to its end; in a column of their own names cover no curve.
        if (height - wanted).abs() > 6.0 || right - x(end) > 12.0 {
            canvas.line(&format!("leader c{}", curve.colour), (x(end) + 4.0, *wanted), (right + 6.0, *height));
        }
        canvas.text(&format!("t{} b", curve.colour), (right + 9.0, height + 4.0), label);
    }
}

/// Moves ascending heights apart, within a frame as long as there is room.
fn spread(heights: &mut [f64], frame: (f64, f64)) {
    for place in 1..heights.len() {
        heights[place] = heights[place].max(heights[place - 1] + NAME_HEIGHT);
    }
    let mut most = frame.1;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - NAME_HEIGHT;
    }
}

fn caption(measure: &Measure, runs: &[Run]) -> String {
    let [run] = runs else {
        let what = measure.name;
        return format!(
            "Solid: the {what} on the validation rows; dashed: on the training rows, before averaging. \
             One colour for each run; a ring marks the round whose model was kept, if it is not the last."
        );
    };
    let rounds = &run.report.rounds;
    let values =
        rounds.iter().filter_map(|round| Some((round.round, (measure.validation)(round).and_then(sane)?)));
    let values: Vec<(i32, f64)> = values.collect();
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return format!("The {} on the training rows, before averaging.", measure.name);
    };
    let way = match last.1.total_cmp(&first.1) {
        std::cmp::Ordering::Less => "fell",
        std::cmp::Ordering::Greater => "rose",
        std::cmp::Ordering::Equal => "stayed",
    };
    let lowest = values.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(last);
    let lowest = if lowest.1 < last.1 {
        format!("; it was lowest, {}, after round {}", measured(lowest.1), lowest.0)
    } else {
        String::new()
    };
    let ring = if kept(&run.report).is_some() { " The ring marks the round whose model was kept." } else { "" };
    format!(
        "The {} on the validation rows {way} from {} after round {} to {} after round {}{lowest}. \
         Dashed: on the training rows, as the nodes had it before averaging.{ring}",
        measure.name,
        measured(first.1),
        first.0,
        measured(last.1),
        last.0
    )
}

fn capital(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}
