//! Owns the page of a run: a report in, HTML and SVG out. Nothing here touches files, the clock or the network.

mod confusion;
mod curves;
mod figure;
mod html;
mod numbers;
mod parallel;
mod scale;
mod shared;
mod simulation;
mod style;
mod svg;
mod tables;
mod tally;
mod timeline;
mod tuning;

use crate::client::Report;
use figure::Figure;
pub use shared::shared;
pub use simulation::{Simulated, simulated};
use tally::Tally;
pub use tuning::tuned;

/// The most runs on one page: each has a colour of its own.
pub const MOST_RUNS: usize = style::SERIES.len();

/// The most bars and ticks in all timelines of a page, so that a page stays below 2 MB.
const MARKS: usize = 3_600;

/// A run and what to call it.
#[derive(Clone, Debug)]
pub struct Run {
    /// As plots and tables name it.
    pub name: String,
    /// What is known of it.
    pub report: Report,
}

/// A picture of its own, for files.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it shows, as file names have it: `error`, `timeline`, `timeline-2`.
    pub name: String,
    /// An SVG document.
    pub svg: String,
}

/// A page and its pictures.
#[derive(Clone, Debug)]
pub struct Page {
    /// An HTML document that needs nothing else: no scripts, no fonts, no network.
    pub html: String,
    /// The pictures in it, as documents of their own.
    pub pictures: Vec<Picture>,
}

/// What the page says of one run below the plots that all share.
struct Part<'a> {
    run: &'a Run,
    timeline: Option<Figure>,
    confusion: Option<Figure>,
    tally: Option<Tally>,
}

/// Makes the page of a run, or one page on which several are compared.
pub fn page(runs: &[Run]) -> Page {
    let shared: Vec<Figure> = curves::figures(runs);
    let parts: Vec<Part<'_>> = runs.iter().enumerate().map(|(place, run)| part(run, place, runs.len())).collect();
    let html = html::page(runs, &shared, &parts);
    let own = parts.iter().flat_map(|part| part.timeline.iter().chain(&part.confusion));
    let pictures = shared.iter().chain(own).map(Figure::picture).collect();
    Page { html, pictures }
}

fn part(run: &Run, place: usize, runs: usize) -> Part<'_> {
    let suffix = if runs > 1 { format!("-{}", place + 1) } else { String::new() };
    let tally = run.report.confusion.as_ref().and_then(Tally::of);
    Part {
        run,
        timeline: timeline::figure(&run.report, format!("timeline{suffix}"), MARKS / runs.max(1)),
        confusion: tally.as_ref().and_then(|tally| confusion::figure(tally, format!("confusion{suffix}"))),
        tally,
    }
}
