//! Owns the text that Prometheus scrapes.

use std::fmt::Write;

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text while it is written.
#[derive(Default)]
pub(super) struct Text {
    text: String,
    family: String,
}

impl Text {
    /// Begins a family. The names of counters end in `_total`; those of measures in their unit, one of the base units.
    pub(super) fn family(&mut self, name: &str, kind: Kind, about: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        name.clone_into(&mut self.family);
        // A string takes all that is written to it.
        let _ = writeln!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    /// Adds a sample of the family.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        for (place, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{name}=\"{value}\"", if place == 0 { "{" } else { "," });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "What.");
        text.sample("", &[], 1e9);
        text.sample("", &[("x", "a\"b\\c\nd"), ("y", "")], 0.5);
        let expected = "# HELP a_total What.\n# TYPE a_total counter\na_total 1000000000\n\
                        a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0.5\n";
        assert_eq!(text.finish(), expected);
    }
}
