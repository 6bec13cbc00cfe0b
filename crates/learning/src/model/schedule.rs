//! Owns the schedules: the learning rate over a job, as a factor of its height.

use super::error::ModelError;
use super::learning::Schedule;

/// A row of the table of schedules.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleEntry {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The factor, from 0 to 1, when this share of the schedule, from 0 to 1, is done.
    pub factor: fn(f64) -> f64,
}

/// All schedules.
pub const SCHEDULES: &[ScheduleEntry] = &[
    ScheduleEntry { name: "constant", about: "the rate stays", factor: |_| 1.0 },
    ScheduleEntry {
        name: "cosine",
        about: "half a cosine from the rate down to 0 (Loshchilov and Hutter 2017)",
        factor: half_cosine,
    },
    ScheduleEntry {
        name: "one-cycle",
        about: "up from 1/25 of the rate for 0.3 of the job, then down to nothing (Smith and Topin 2018)",
        factor: one_cycle,
    },
];

impl Schedule {
    /// The schedule of this name, without warm-up.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), warmup: 0.0 }
    }

    /// What gives the factor of the learning rate when a share of the job, from 0 to 1, is done.
    ///
    /// # Errors
    /// There is no schedule of this name.
    pub fn factor(&self) -> Result<impl Fn(f64) -> f64 + use<>, ModelError> {
        let found = SCHEDULES.iter().find(|entry| entry.name == self.name);
        let Some(entry) = found else {
            let known = SCHEDULES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
            return Err(ModelError::Unknown { what: "schedule", name: self.name.clone(), known });
        };
        let (factor, warmup) = (entry.factor, self.warmup);
        Ok(move |done: f64| match done < warmup {
            true => factor(0.0) * (done / warmup),
            false => factor((done - warmup) / (1.0 - warmup)),
        })
    }
}

/// `(1 + cos(pi x)) / 2` for `x` from 0 to 1: from 1 down to 0.
///
/// By `cos(pi x) = sin(pi (1/2 - x))` and its Taylor series, whose first term left out is below 1e-17; the system's
/// cosine has other last bits on other machines.
fn half_cosine(x: f64) -> f64 {
    let y = std::f64::consts::PI * (0.5 - x.clamp(0.0, 1.0));
    let series = (0..11).rev().fold(1.0, |sum, i| {
        let n = f64::from(2 * i + 2);
        1.0 - y * y / (n * (n + 1.0)) * sum
    });
    ((1.0 + y * series) / 2.0).clamp(0.0, 1.0)
}

/// The cosine form of `torch.optim.lr_scheduler.OneCycleLR` with its customary numbers.
fn one_cycle(x: f64) -> f64 {
    const RISE: f64 = 0.3;
    const FIRST: f64 = 1.0 / 25.0;
    const LAST: f64 = FIRST / 1e4;
    match x < RISE {
        true => 1.0 + (FIRST - 1.0) * half_cosine(x / RISE),
        false => LAST + (1.0 - LAST) * half_cosine((x - RISE) / (1.0 - RISE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(name: &str, warmup: f64) -> impl Fn(f64) -> f64 + use<> {
        Schedule { name: name.to_owned(), warmup }.factor().unwrap()
    }

    #[test]
    fn all_are_continuous_and_from_0_to_1() {
        for entry in SCHEDULES {
            for warmup in [0.0, 0.1, 0.9] {
                let factor = schedule(entry.name, warmup);
                for step in 0..=10_000 {
                    let at = f64::from(step) / 10_000.0;
                    let here = factor(at);
                    assert!((0.0..=1.0).contains(&here), "{} {warmup}: {here} at {at}", entry.name);
                    let change = (factor((at + 1e-4).min(1.0)) - here).abs();
                    assert!(change < 0.01, "{} {warmup}: {change} at {at}", entry.name);
                }
            }
        }
    }

    #[test]
    fn they_pass_through_the_points_of_their_definitions() {
        for (name, at, expected) in [
            ("constant", 0.7, 1.0),
            ("cosine", 0.0, 1.0),
            ("cosine", 0.5, 0.5),
            ("cosine", 1.0, 0.0),
            ("one-cycle", 0.0, 0.04),
            ("one-cycle", 0.15, 0.52),
            ("one-cycle", 0.3, 1.0),
            ("one-cycle", 1.0, 4e-6),
        ] {
            let here = schedule(name, 0.0)(at);
            assert!((here - expected).abs() < 1e-15, "{name} is {here} at {at}");
        }
        assert_eq!(schedule("cosine", 0.2)(0.1), 0.5);
        assert_eq!(schedule("cosine", 0.2)(0.2), 1.0);
        let says = Schedule::named("linear").factor().map(|_| ()).unwrap_err().to_string();
        assert_eq!(says, "there is no schedule \"linear\"; known are constant, cosine, one-cycle");
    }

    #[test]
    fn the_cosine_is_one() {
        for step in 0..=1000 {
            let x = f64::from(step) / 1000.0;
            let expected = (1.0 + (std::f64::consts::PI * x).cos()) / 2.0;
            assert!((half_cosine(x) - expected).abs() < 3e-16, "at {x}");
        }
    }
}
