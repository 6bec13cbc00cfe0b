//! Owns standard output: lines go out at once, and a reader that has gone away ends the command quietly.

use super::Failure;
use std::io::{self, Write};
use std::path::Path;

/// Prints a line.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    lines([text])
}

/// Prints lines.
pub(super) fn lines<T: std::fmt::Display>(texts: impl IntoIterator<Item = T>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let all = texts.into_iter().try_for_each(|text| writeln!(out, "{text}")).and_then(|()| out.flush());
    match all {
        // The reader has had enough, as `head` does: that is no failure of ours.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::NobodyReads),
        other => other.map_err(|e| Failure::run(anyhow::anyhow!(e).context("cannot print"))),
    }
}

/// Finds out whether a file can be written, and leaves things as they are.
pub(super) fn can_write(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    if is_new { std::fs::remove_file(path) } else { Ok(()) }
}
