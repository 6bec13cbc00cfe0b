//! Owns scales: from values to pixels, linear or logarithmic, with ticks at round numbers.

/// Values on one side, pixels on the other.
pub(super) struct Scale {
    /// The ends, in values; their logarithms if `log`.
    low: f64,
    high: f64,
    pixels: (f64, f64),
    log: bool,
}

impl Scale {
    /// From the first value to the last, exactly.
    pub(super) fn linear(low: f64, high: f64, pixels: (f64, f64)) -> Self {
        // Something must lie between the ends.
        let high = if high - low > low.abs().max(high.abs()) * 1e-12 { high } else { low + low.abs().max(1.0) };
        Self { low, high, pixels, log: false }
    }

    /// With room for all values: logarithmic if they lie more than a decade apart, from 0 if that is near.
    pub(super) fn fitted(values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return Self::linear(0.0, 1.0, pixels);
        }
        if low > 0.0 && high / low > 10.0 {
            return Self { low: low.log10() - 0.04, high: high.log10() + 0.04, pixels, log: true };
        }
        let low = if low > 0.0 && low < 0.5 * high { 0.0 } else { low };
        let step = step((high - low).max(high.abs() * 1e-3), 5.0);
        let (floor, ceiling) = ((low / step).floor() * step, (high / step).ceil() * step);
        // A curve that touches the frame is hard to see.
        let floor = if low > 0.0 && floor == low { low - step / 2.0 } else { floor };
        Self::linear(floor, if ceiling == high { high + step / 4.0 } else { ceiling }, pixels)
    }

    pub(super) fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value lies; what is outside lies at the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let share = if share.is_finite() { share } else { 0.0 };
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// Round values with their names, about so many.
    pub(super) fn ticks(&self, about: f64) -> Vec<(f64, String)> {
        if self.log { self.log_ticks(about) } else { self.linear_ticks(about, f64::MIN_POSITIVE) }
    }

    /// The same for things that are counted.
    pub(super) fn whole_ticks(&self, about: f64) -> Vec<(f64, String)> {
        self.linear_ticks(about, 1.0)
    }

    fn linear_ticks(&self, about: f64, least: f64) -> Vec<(f64, String)> {
        let step = step(self.high - self.low, about).max(least);
        let first = (self.low / step - 1e-9).ceil();
        let values = (0..50).map(|n| (first + f64::from(n)) * step);
        let values = values.take_while(|value| *value <= self.high + step * 1e-9);
        values.map(|value| (value, label(value, step))).collect()
    }

    fn log_ticks(&self, about: f64) -> Vec<(f64, String)> {
        let decades = self.high - self.low;
        let each = (decades / about).ceil().max(1.0);
        let within: &[f64] = match decades {
            d if d < 1.6 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            d if d < 3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let first = (self.low / each).floor() * each;
        let powers = (0..50).map(|n| first + f64::from(n) * each).take_while(|power| *power <= self.high);
        let values = powers.flat_map(|power| within.iter().map(move |of| (of * 10f64.powf(power), power)));
        let inside = values.filter(|(value, _)| (self.low..=self.high).contains(&value.log10()));
        inside.map(|(value, power)| (value, label(value, 10f64.powf(power)))).collect()
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts a range into about so many parts.
pub(super) fn step(range: f64, about: f64) -> f64 {
    let rough = (range / about).max(1e-300);
    let power = 10f64.powf(rough.log10().floor());
    let factor = match rough / power {
        f if f <= 1.0 => 1.0,
        f if f <= 2.0 => 2.0,
        f if f <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// A tick's name, with as many decimals as its step needs.
fn label(value: f64, step: f64) -> String {
    if value != 0.0 && (value.abs() >= 1e6 || step < 1e-5) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let decimals = (-(step * 1.0001).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: &Scale, about: f64) -> Vec<String> {
        scale.ticks(about).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(names(&Scale::linear(0.0, 1.0, (0.0, 100.0)), 5.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(names(&Scale::linear(0.0, 3.47, (0.0, 100.0)), 5.0), ["0", "1", "2", "3"]);
        assert_eq!(names(&Scale::linear(-1.0, 1.0, (0.0, 100.0)), 2.0), ["-1", "0", "1"]);
        let rounds = Scale::linear(1.0, 3.0, (0.0, 100.0)).whole_ticks(8.0);
        assert_eq!(rounds.len(), 3, "there is no round 1.5");
    }

    #[test]
    fn a_decade_apart_is_logarithmic() {
        let scale = Scale::fitted([0.02, 0.5].into_iter(), (100.0, 0.0));
        assert!(scale.is_log());
        assert_eq!(names(&scale, 5.0), ["0.02", "0.03", "0.05", "0.07", "0.1", "0.2", "0.3", "0.5"]);
        assert!(!Scale::fitted([0.2, 0.5].into_iter(), (100.0, 0.0)).is_log());
        assert!(!Scale::fitted([0.0, 0.5].into_iter(), (100.0, 0.0)).is_log(), "zero has no logarithm");
    }

    #[test]
    fn every_range_has_a_scale() {
        for (low, high) in
            [(0.0, 0.0), (5.0, 5.0), (-1e100, 1e100), (1e-300, 1e100), (1e100, 1e100), (0.0, 1e-320)]
        {
            let scale = Scale::fitted([low, high].into_iter(), (0.0, 100.0));
            assert!(scale.ticks(5.0).len() <= 250, "{low} {high}");
            for value in [low, high, 0.0] {
                assert!((0.0..=100.0).contains(&scale.at(value)), "{low} {high} {value}");
            }
        }
        assert_eq!(Scale::fitted(std::iter::empty(), (0.0, 9.0)).at(1.0), 9.0);
    }
}
