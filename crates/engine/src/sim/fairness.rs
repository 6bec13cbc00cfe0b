//! Owns what is made of a shared cluster's run: the rates of jobs over time, and how far they are apart.

use super::shared::{PART, Shared, SharedSummary, SharedWork};
use std::time::Duration;

/// How fair a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fairness {
    /// The widest gap between the rates of jobs, for their weights, as a share of the highest.
    pub worst: f64,
    /// When that was.
    pub worst_at: Duration,
    /// How many moments were looked at.
    pub moments: usize,
}

/// The queries a second of a job in the `window` before each moment, every `step`.
pub fn rates(summary: &SharedSummary, job: usize, window: Duration, step: Duration) -> Vec<(f64, f64)> {
    let count = (summary.time.as_millis() / step.as_millis().max(1)) as u32;
    let at = |number: u32| step * number;
    (1..=count).map(|number| (at(number).as_secs_f64(), rate(summary, job, at(number), window))).collect()
}

fn rate(summary: &SharedSummary, job: usize, at: Duration, window: Duration) -> f64 {
    let Some(of) = summary.jobs.get(job) else { return 0.0 };
    let part = |time: Duration| (time.as_millis() / PART.as_millis()) as usize;
    let from = at.saturating_sub(window);
    let answers = of.answers.iter().take(part(at)).skip(part(from));
    answers.map(|count| f64::from(*count)).sum::<f64>() / at.saturating_sub(from).as_secs_f64().max(1e-9)
}

/// How far the inference jobs are apart that were there for all of the `window` before `at` and for as long after it, and had
/// come `settled` before `at`; `None` if that is fewer than two. One that is about to end has nothing left to share for.
pub fn gap(
    setup: &Shared,
    summary: &SharedSummary,
    at: Duration,
    window: Duration,
    settled: Duration,
) -> Option<f64> {
    let since = at.checked_sub(window.max(settled))?;
    let is_there = |&(place, job): &(usize, &super::SharedJob)| {
        let ended = summary.jobs.get(place).and_then(|of| of.ended);
        matches!(job.work, SharedWork::Inference { .. })
            && job.arrives <= since
            && ended.is_none_or(|ended| ended >= at + window)
    };
    let there = setup.jobs.iter().enumerate().filter(is_there);
    let rates: Vec<f64> = there.map(|(place, job)| rate(summary, place, at, window) / job.weight).collect();
    let (least, most) = rates.iter().fold((f64::INFINITY, 0.0f64), |(l, m), rate| (l.min(*rate), m.max(*rate)));
    (rates.len() > 1 && most > 0.0).then(|| 1.0 - least / most)
}

impl Fairness {
    /// The widest gap from `settled` after each arrival on, over all windows of this length.
    pub fn of(setup: &Shared, summary: &SharedSummary, window: Duration, settled: Duration) -> Self {
        let mut fairness = Self::default();
        let mut at = PART;
        while at <= summary.time {
            if let Some(gap) = gap(setup, summary, at, window, settled) {
                fairness.moments += 1;
                if gap > fairness.worst {
                    (fairness.worst, fairness.worst_at) = (gap, at);
                }
            }
            at += PART;
        }
        fairness
    }
}
