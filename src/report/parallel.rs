//! Owns the parallel coordinates of trials: an axis for each parameter and one for the metric, a line for each trial.

use super::figure::{Figure, WIDTH};
use super::numbers::{measure, sane};
use super::scale::Scale;
use super::svg::{Canvas, clip};
use crate::client::tuning::TuningReport;
use crate::jobs::tuning::{Setting, Trial, described, find_metric};

const HEIGHT: f64 = 400.0;
/// Left, right, top and bottom.
const FRAME: (f64, f64, f64, f64) = (70.0, 960.0, 48.0, 360.0);
/// The most parameters that have an axis.
const MOST_AXES: usize = 10;
/// The most lines: those of the best.
const MOST_LINES: usize = 1_500;
/// An axis of no more values than this has a place for each.
const MOST_PLACES: usize = 12;
/// How strongly lines are drawn, from the best fifth to the worst.
const SHADES: usize = 5;

/// Where the values of a parameter lie.
enum Axis {
    /// Each value has a place, in order.
    Places(Vec<Setting>),
    /// A scale for numbers.
    Numbers(Scale),
}

impl Axis {
    fn of(trials: &[&Trial], name: &str) -> Self {
        let mut values: Vec<Setting> =
            trials.iter().filter_map(|trial| trial.configuration.get(name).cloned()).collect();
        values.sort_by(|a, b| match (a.number(), b.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            // Words such as none stand above numbers.
            (a, b) if a.is_some() || b.is_some() => b.is_some().cmp(&a.is_some()),
            _ => a.to_string().cmp(&b.to_string()),
        });
        values.dedup();
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.number().and_then(sane)).collect();
        match numbers {
            Some(numbers) if values.len() > MOST_PLACES => {
                Self::Numbers(Scale::fitted(numbers.into_iter(), (FRAME.3, FRAME.2)))
            }
            _ => {
                values.truncate(50);
                Self::Places(values)
            }
        }
    }

    fn at(&self, value: &Setting) -> Option<f64> {
        let (bottom, top) = (FRAME.3, FRAME.2);
        match self {
            Axis::Places(places) => {
                let place = places.iter().position(|known| known == value)?;
                let share = if places.len() > 1 { place as f64 / (places.len() - 1) as f64 } else { 0.5 };
                Some(bottom + share * (top - bottom))
            }
            Axis::Numbers(scale) => value.number().and_then(sane).map(|number| scale.at(number)),
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Axis::Places(places) => {
                let named = |value: &Setting| Some((self.at(value)?, clip(&value.to_string(), 12)));
                places.iter().filter_map(named).collect()
            }
            Axis::Numbers(scale) => {
                scale.ticks(6.0).into_iter().map(|(value, name)| (scale.at(value), name)).collect()
            }
        }
    }
}

/// The figure, if a trial has succeeded.
pub(super) fn figure(report: &TuningReport) -> Option<Figure> {
    let good: Vec<&Trial> = report.trials.iter().filter(|trial| trial.metric.and_then(sane).is_some()).collect();
    if good.is_empty() {
        return None;
    }
    let drawn = &good[..good.len().min(MOST_LINES)];
    let names: Vec<&str> =
        report.tuning.space.iter().map(|parameter| parameter.name.as_str()).take(MOST_AXES).collect();
    let axes: Vec<(&str, Axis)> = names.iter().map(|name| (*name, Axis::of(drawn, name))).collect();
    let metric = Scale::fitted(drawn.iter().filter_map(|trial| trial.metric), (FRAME.3, FRAME.2));
    let mut canvas = Canvas::default();
    let x = |place: usize| FRAME.0 + (FRAME.1 - FRAME.0) * place as f64 / axes.len() as f64;
    for (place, (name, axis)) in axes.iter().enumerate() {
        draw_axis(&mut canvas, x(place), name, &axis.ticks());
    }
    let ticks = metric.ticks(6.0).into_iter().map(|(value, name)| (metric.at(value), name));
    draw_axis(&mut canvas, FRAME.1, &report.tuning.metric, &ticks.collect::<Vec<_>>());
    // The best last, so that it lies above the others.
    for (place, trial) in drawn.iter().enumerate().rev() {
        let Some(value) = trial.metric.and_then(sane) else { continue };
        let of =
            |(at, (name, axis)): (usize, &(&str, Axis))| Some((x(at), axis.at(trial.configuration.get(*name)?)?));
        let mut points: Vec<(f64, f64)> = axes.iter().enumerate().filter_map(of).collect();
        points.push((FRAME.1, metric.at(value)));
        let shade = place * SHADES / drawn.len();
        let class = if place == 0 { "curve c1".to_owned() } else { format!("curve c0 thin shade{shade}") };
        let title = format!(
            "trial {}: {}; {} {}",
            trial.number,
            described(&trial.configuration),
            report.tuning.metric,
            measure(value)
        );
        canvas.titled_path(&class, &points, &title);
    }
    Some(Figure {
        name: "parallel".to_owned(),
        title: format!("Trials: parameters and {}", report.tuning.metric),
        caption: caption(report, good.len(), drawn.len()),
        size: (WIDTH, HEIGHT),
        drawing: canvas.finish(),
    })
}

fn caption(report: &TuningReport, good: usize, drawn: usize) -> String {
    let more = find_metric(&report.tuning.metric).is_some_and(|metric| metric.more_is_better);
    let better = if more { "more is better" } else { "less is better" };
    let mut caption =
        format!("Each line is a trial; the thick one is the best ({better}), the others are the paler the worse.");
    if drawn < good {
        caption.push_str(&format!(" Only the best {drawn} of {good} are drawn."));
    }
    if report.tuning.space.len() > MOST_AXES {
        caption.push_str(&format!(" Only the first {MOST_AXES} parameters have an axis."));
    }
    match report.trials.len() - good {
        0 => caption,
        failed => format!("{caption} {failed} that failed are left out."),
    }
}

fn draw_axis(canvas: &mut Canvas, x: f64, name: &str, ticks: &[(f64, String)]) {
    canvas.line("axis", (x, FRAME.2), (x, FRAME.3));
    canvas.text("b m", (x, FRAME.2 - 16.0), &clip(name, 18));
    for (y, name) in ticks {
        canvas.line("axis", (x - 4.0, *y), (x, *y));
        canvas.text("mute e", (x - 7.0, y + 4.0), name);
    }
}
