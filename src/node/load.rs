//! Owns the simulated load of a node: by chance, a task is delayed, or refused where the policy lets nodes refuse.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Draws the fate of each task that arrives.
pub struct Load {
    probability: f64,
    delay: Duration,
    rng: Mutex<ChaCha8Rng>,
}

/// What the load does to a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It starts at once.
    Start,
    /// It starts after this time.
    Delay(Duration),
    /// It is refused.
    Refuse,
}

impl Load {
    /// `probability` is that of a delay, and, independently, of a refusal.
    pub fn new(probability: f64, delay: Duration, seed: u64) -> Self {
        Self { probability, delay, rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// The fate of the next task. Two numbers are drawn for every task, so that the n-th task's fate depends on the
    /// seed and on n alone.
    pub fn next(&self, may_refuse: bool) -> Fate {
        let (refuse, delay) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            (rng.random::<f64>() < self.probability, rng.random::<f64>() < self.probability)
        };
        match (refuse && may_refuse, delay) {
            (true, _) => Fate::Refuse,
            (false, true) => Fate::Delay(self.delay),
            (false, false) => Fate::Start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(load: &Load, may_refuse: bool) -> (f64, f64) {
        let fates: Vec<Fate> = (0..20_000).map(|_| load.next(may_refuse)).collect();
        let share = |fate: Fate| fates.iter().filter(|&&f| f == fate).count() as f64 / fates.len() as f64;
        (share(Fate::Refuse), share(Fate::Delay(Duration::from_secs(3))))
    }

    #[test]
    fn refuses_and_delays_as_often_as_asked() {
        let load = Load::new(0.3, Duration::from_secs(3), 1);
        let (refused, delayed) = shares(&load, true);
        assert!((refused - 0.3).abs() < 0.02 && (delayed - 0.7 * 0.3).abs() < 0.02, "{refused} {delayed}");
        let (refused, delayed) = shares(&load, false);
        assert!(refused == 0.0 && (delayed - 0.3).abs() < 0.02, "{refused} {delayed}");
    }

    #[test]
    fn the_extremes_are_certain_and_the_seed_decides() {
        assert_eq!(shares(&Load::new(0.0, Duration::from_secs(3), 1), true), (0.0, 0.0));
        assert_eq!(shares(&Load::new(1.0, Duration::from_secs(3), 1), true), (1.0, 0.0));
        assert_eq!(shares(&Load::new(1.0, Duration::from_secs(3), 1), false), (0.0, 1.0));
        let fates = |seed| {
            let load = Load::new(0.5, Duration::ZERO, seed);
            (0..64).map(|_| load.next(true)).collect::<Vec<_>>()
        };
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
    }
}
