//! Owns the writing of SVG: elements, coordinates, and text that cannot break out of its place.

use std::fmt::Write;

/// Text as XML and HTML may have it: the five marks as entities, and no character that XML forbids.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            // Those that turn the direction of text would garble what stands beside it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// At most so many characters, with a sign that some are missing.
pub(super) fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Like `clip`, but the end stays: of addresses and paths it tells more.
pub(super) fn clip_start(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(length - most.saturating_sub(1)).collect();
    format!("…{kept}")
}

/// About how wide a text is, in pixels: fonts differ, so that is all that can be known.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

/// A coordinate: a tenth of a pixel is enough.
pub(super) fn px(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e5, 1e5) } else { 0.0 };
    let text = format!("{value:.1}");
    let short = text.strip_suffix(".0").unwrap_or(&text);
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// A drawing under way.
#[derive(Default)]
pub(super) struct Canvas {
    text: String,
}

impl Canvas {
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Adds what is already SVG.
    pub(super) fn raw(&mut self, svg: &str) {
        self.text.push_str(svg);
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = ((px(from.0), px(from.1)), (px(to.0), px(to.1)));
        self.add(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"));
    }

    /// A rectangle; `fill` is a class, or `url(#id)` for a pattern. `title` is what a pointer over it shows.
    pub(super) fn rect(&mut self, fill: &str, at: (f64, f64), size: (f64, f64), title: Option<&str>) {
        let look = if fill.starts_with("url(") { "fill" } else { "class" };
        let (x, y, w, h) = (px(at.0), px(at.1), px(size.0.max(0.0)), px(size.1.max(0.0)));
        let start = format!("<rect {look}=\"{fill}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"");
        self.titled(&start, "rect", title);
    }

    pub(super) fn circle(&mut self, class: &str, at: (f64, f64), radius: f64, title: Option<&str>) {
        let (x, y, r) = (px(at.0), px(at.1), px(radius));
        self.titled(&format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\""), "circle", title);
    }

    /// A path through points; each inner list is a stroke of its own.
    pub(super) fn path(&mut self, class: &str, strokes: &[Vec<(f64, f64)>]) {
        let mut d = String::new();
        for stroke in strokes {
            for (place, point) in stroke.iter().enumerate() {
                let letter = if place == 0 { 'M' } else { 'L' };
                let _ = write!(d, "{letter}{} {}", px(point.0), px(point.1));
            }
        }
        if !d.is_empty() {
            self.add(format_args!("<path class=\"{class}\" d=\"{d}\"/>\n"));
        }
    }

    /// A path through points, with what a pointer over it shows.
    pub(super) fn titled_path(&mut self, class: &str, points: &[(f64, f64)], title: &str) {
        let mut d = String::new();
        for (place, point) in points.iter().enumerate() {
            let letter = if place == 0 { 'M' } else { 'L' };
            let _ = write!(d, "{letter}{} {}", px(point.0), px(point.1));
        }
        self.titled(&format!("<path class=\"{class}\" d=\"{d}\""), "path", Some(title));
    }

    pub(super) fn text(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y, text) = (px(at.0), px(at.1), escape(text));
        self.add(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>\n"));
    }

    /// Text that is read upwards.
    pub(super) fn upwards(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y, text) = (px(at.0), px(at.1), escape(text));
        self.add(format_args!(
            "<text class=\"{class}\" transform=\"translate({x} {y})rotate(-90)\">{text}</text>\n"
        ));
    }

    fn titled(&mut self, start: &str, element: &str, title: Option<&str>) {
        match title {
            Some(title) => {
                let title = escape(title);
                self.add(format_args!("{start}><title>{title}</title></{element}>\n"));
            }
            None => self.add(format_args!("{start}/>\n")),
        }
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
    }
}
