//! Owns what is drawn of spans: which row they take, and which are too narrow to stand alone.

use crate::client::Span;
use crate::report::numbers::{sane, seconds};
use crate::report::scale::Scale;
use crate::report::svg::clip;

/// Tasks at the same time lie in rows; more than that share the last.
const MOST_ROWS: usize = 4;
/// Neighbours nearer than this, in pixels, are one.
const NARROW: f64 = 0.5;

/// A part of a span that is not worth a mark of its own.
const WAITING: f64 = 0.2;

/// How a mark looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Done,
    /// Work has not begun: simulated load.
    Delayed,
    /// Work has not begun, or its result is on its way.
    Waiting,
    Refused,
    Lost,
    Abandoned,
    Failed,
    Other,
}

impl Kind {
    pub(super) const ALL: [Kind; 8] = [
        Kind::Done,
        Kind::Delayed,
        Kind::Waiting,
        Kind::Refused,
        Kind::Lost,
        Kind::Abandoned,
        Kind::Failed,
        Kind::Other,
    ];

    /// That of a span as a whole.
    pub(super) fn of(outcome: &str) -> Self {
        match outcome {
            "done" => Self::Done,
            "refused" => Self::Refused,
            "lost" => Self::Lost,
            "abandoned" => Self::Abandoned,
            "failed" => Self::Failed,
            _ => Self::Other,
        }
    }

    /// A class of the style sheet, or the pattern.
    pub(super) fn fill(self, hatch: &str) -> String {
        match self {
            Self::Delayed => format!("url(#{hatch})"),
            Self::Waiting => "wait".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Delayed => "delayed by load",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// Something to draw: a span, a part of one, or several that are too narrow.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) row: usize,
    /// How many rows its lane has.
    pub(super) rows: usize,
    spans: u64,
    rounds: (i32, i32),
    task: i32,
    outcome: String,
    busy: f64,
    /// Of the whole span, also if this is a part of it.
    whole: (f64, f64),
}

impl Mark {
    /// What a pointer over it shows.
    pub(super) fn title(&self) -> String {
        let (start, end) = (seconds(self.whole.0), seconds(self.whole.1));
        let rounds = match self.rounds {
            (first, last) if first == last => format!("round {first}"),
            (first, last) => format!("rounds {first} to {last}"),
        };
        let delayed = match self.kind {
            Kind::Delayed => ", delayed by load",
            Kind::Waiting => ", of that waiting",
            _ => "",
        };
        let outcome = &self.outcome;
        if self.spans > 1 {
            return format!("{} tasks {outcome}{delayed}, {rounds}, {start} to {end}", self.spans);
        }
        let busy =
            if self.kind == Kind::Refused { String::new() } else { format!(", {} of work", seconds(self.busy)) };
        format!("{rounds}, task {}: {outcome}{delayed}, {start} to {end}{busy}", self.task)
    }
}

/// The marks of each lane, merged until there are no more of them than that.
pub(super) fn merged(lanes: &[&[&Span]], x: &Scale, most: usize) -> Vec<Vec<Mark>> {
    let all: Vec<Vec<Mark>> = lanes.iter().map(|spans| of_lane(spans)).collect();
    let mut narrow = NARROW;
    loop {
        let lanes: Vec<Vec<Mark>> = all.iter().map(|marks| merge(marks, x, narrow)).collect();
        // Wider than any plot there is nothing left to merge.
        if lanes.iter().map(Vec::len).sum::<usize>() <= most || narrow > 4096.0 {
            return lanes;
        }
        narrow *= 1.5;
    }
}

fn of_lane(spans: &[&Span]) -> Vec<Mark> {
    let mut spans: Vec<&Span> = spans.to_vec();
    spans.sort_by(|a, b| a.start_s.total_cmp(&b.start_s).then(a.end_s.total_cmp(&b.end_s)));
    let mut free = [f64::NEG_INFINITY; MOST_ROWS];
    let mut marks = Vec::new();
    for span in spans {
        let (start, end) = (span.start_s, span.end_s.max(span.start_s));
        let kind = Kind::of(&span.outcome);
        // Ticks have a place of their own.
        let row = if kind == Kind::Refused {
            0
        } else {
            free.iter().position(|free| *free <= start).unwrap_or(MOST_ROWS - 1)
        };
        if kind != Kind::Refused {
            free[row] = free[row].max(end);
        }
        let busy = sane(span.busy_s).unwrap_or(0.0).clamp(0.0, end - start);
        let mark = Mark {
            kind,
            start,
            end,
            row,
            rows: 1,
            spans: 1,
            rounds: (span.round, span.round),
            task: span.task,
            outcome: clip(&span.outcome, 24),
            busy,
            whole: (start, end),
        };
        // Nodes of the original system do not say how long they worked.
        let waits = kind == Kind::Done && busy > 0.0 && end - start - busy > WAITING * (end - start);
        match (kind, span.delayed) {
            (Kind::Done, true) => halves(&mut marks, mark, Kind::Delayed),
            _ if waits => halves(&mut marks, mark, Kind::Waiting),
            _ => marks.push(mark),
        }
    }
    let rows = marks.iter().map(|mark| mark.row + 1).max().unwrap_or(1);
    marks.iter_mut().for_each(|mark| mark.rows = rows);
    marks
}

/// The waiting and the work: nobody noted their order, but work that has not begun is what tasks wait for.
fn halves(marks: &mut Vec<Mark>, mark: Mark, waiting: Kind) {
    let begin = mark.end - mark.busy;
    marks.push(Mark { kind: waiting, end: begin, ..mark.clone() });
    marks.push(Mark { start: begin, ..mark });
}

/// Merges marks of the same look that follow each other closely, if both are narrow.
fn merge(marks: &[Mark], x: &Scale, narrow: f64) -> Vec<Mark> {
    let mut sorted: Vec<&Mark> = marks.iter().collect();
    sorted.sort_by(|a, b| (a.kind, a.row).cmp(&(b.kind, b.row)).then(a.start.total_cmp(&b.start)));
    let mut merged: Vec<Mark> = Vec::new();
    for mark in sorted {
        let from = x.at(mark.start);
        // A tick is as wide as its line, however long the refusal took.
        let wide = if mark.kind == Kind::Refused { 0.0 } else { x.at(mark.end) - from };
        match merged.last_mut() {
            Some(before)
                if (before.kind, before.row) == (mark.kind, mark.row)
                    && wide < narrow
                    && from - x.at(before.end) < narrow
                    && x.at(before.end) - x.at(before.start) < 4.0 * narrow
                    && from - x.at(before.start) < 4.0 * narrow =>
            {
                before.end = before.end.max(mark.end);
                before.whole = (before.whole.0.min(mark.whole.0), before.whole.1.max(mark.whole.1));
                before.rounds = (before.rounds.0.min(mark.rounds.0), before.rounds.1.max(mark.rounds.1));
                before.spans += mark.spans;
                before.busy += mark.busy;
                if before.outcome != mark.outcome {
                    before.outcome = "of several outcomes".to_owned();
                }
            }
            _ => merged.push(mark.clone()),
        }
    }
    // Done first: what is rare and narrow must not be covered.
    merged.sort_by(|a, b| a.kind.cmp(&b.kind).then(a.start.total_cmp(&b.start)));
    merged
}
