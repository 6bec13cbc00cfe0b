//! Owns numbers as people read them, and which numbers can be drawn at all.

/// What cannot be drawn: values without a place on any axis, and those so large that arithmetic overflows.
pub(super) fn sane(value: f64) -> Option<f64> {
    (value.is_finite() && value.abs() <= 1e100).then_some(value)
}

/// An error or a loss, as the client prints it.
pub(super) fn measure(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        size if size >= 1e6 || (size > 0.0 && size < 1e-4) => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

/// A time in seconds, with its unit.
pub(super) fn seconds(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        size if size >= 1e7 => format!("{value:.3e} s"),
        size if size >= 100.0 => format!("{value:.1} s"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2} s"),
        size if size >= 1e-3 => format!("{:.1} ms", value * 1e3),
        _ => format!("{:.0} µs", value * 1e6),
    }
}

/// A part of a whole, in percent; nothing is no part of nothing.
pub(super) fn percent(part: f64, whole: f64) -> String {
    let share = 100.0 * part / whole;
    match share {
        _ if !share.is_finite() => "–".to_owned(),
        share if share.abs() >= 1e6 => format!("{share:.1e} %"),
        share if share > 0.0 && share < 0.95 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// Bytes with a unit.
pub(super) fn bytes(value: f64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, size)| value.abs() >= *size as f64);
    unit.map_or_else(|| format!("{value:.0} B"), |(name, size)| format!("{:.1} {name}", value / size as f64))
}

/// A number and its noun.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
