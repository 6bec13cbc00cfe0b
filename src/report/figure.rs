//! Owns a figure: a drawing with its title, what it shows in words, and its two forms, in a page and as a file.

use super::svg::{escape, px};
use super::{Picture, style};

/// How wide figures are.
pub(super) const WIDTH: f64 = 1040.0;

/// A drawing with its words.
pub(super) struct Figure {
    /// As file names have it.
    pub(super) name: String,
    pub(super) title: String,
    /// What you see, in one or two sentences.
    pub(super) caption: String,
    pub(super) size: (f64, f64),
    /// The elements of the drawing.
    pub(super) drawing: String,
}

impl Figure {
    /// As part of a page, whose style it takes.
    pub(super) fn inline(&self) -> String {
        self.svg("", "")
    }

    /// As a document of its own.
    pub(super) fn picture(&self) -> Picture {
        let (width, height) = (px(self.size.0), px(self.size.1));
        let style = format!("<style>{}</style>\n", style::of_pictures());
        let size = format!(" xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\"");
        Picture { name: self.name.clone(), svg: self.svg(&size, &style) }
    }

    fn svg(&self, attributes: &str, style: &str) -> String {
        let (width, height) = (px(self.size.0), px(self.size.1));
        let (name, title, caption) = (escape(&self.name), escape(&self.title), escape(&self.caption));
        format!(
            "<svg{attributes} class=\"picture\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-labelledby=\"{name}-title {name}-desc\">\n<title id=\"{name}-title\">{title}</title>\n\
             <desc id=\"{name}-desc\">{caption}</desc>\n{style}\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
            self.drawing
        )
    }
}
