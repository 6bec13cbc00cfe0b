//! Owns reading the lines of a text, some at a time, each with its number.

use super::{ClientError, Feed};
use crate::data::DataError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line, in bytes.
const LONGEST_LINE: u64 = 1 << 24;

/// A line, with its end.
pub(super) struct Line {
    /// Its number in the file, from 1.
    number: u64,
    text: Vec<u8>,
}

impl Line {
    /// Lines as one text.
    pub(super) fn text(lines: &[Line]) -> Vec<u8> {
        lines.iter().flat_map(|line| &line.text).copied().collect()
    }

    /// What is wrong with the text of lines, told with its place in the file.
    pub(super) fn placed(lines: &[Line], mut error: DataError) -> DataError {
        if let Some(place) = error.place_mut()
            && let Some(line) = usize::try_from(place.line).ok().and_then(|line| lines.get(line.checked_sub(1)?))
        {
            place.line = line.number;
        }
        error
    }
}

/// Some lines of a text.
pub(super) struct Cut {
    /// Those to learn from.
    pub(super) lines: Vec<Line>,
    /// Those kept back.
    pub(super) held: Vec<Line>,
}

/// Lines of a text, without its header.
pub(super) struct Lines {
    input: BufReader<File>,
    path: PathBuf,
    /// Lines read.
    read: u64,
    /// Rows read, to know which are kept back.
    rows: usize,
    header: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, ClientError> {
        let file = File::open(path).map_err(|e| unreadable(path, &e))?;
        Ok(Self {
            input: BufReader::with_capacity(1 << 20, file),
            path: path.to_owned(),
            read: 0,
            rows: 0,
            header: true,
        })
    }

    /// The next line that is not blank; `None` at the text's.
    fn next(&mut self) -> Result<Option<Line>, ClientError> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.input).take(LONGEST_LINE).read_until(b'\n', &mut line);
            if read.map_err(|e| unreadable(&self.path, &e))? == 0 {
                return Ok(None);
            }
            self.read += 1;
            if self.read == 1 && line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if std::mem::take(&mut self.header) && is_header(&line) {
                continue;
            }
            self.rows += 1;
            return Ok(Some(Line { number: self.read, text: line }));
        }
    }

    /// The next lines to learn from, so many at most, and those kept back in between; `None` at the end.
    pub(super) fn chunk(&mut self, feed: &Feed) -> Result<Option<Cut>, ClientError> {
        let (mut lines, mut held) = (Vec::with_capacity(feed.chunk), Vec::new());
        while lines.len() < feed.chunk {
            let Some(line) = self.next()? else { break };
            match feed.held_out.is_some_and(|each| self.rows.is_multiple_of(each)) {
                true => held.push(line),
                false => lines.push(line),
            }
        }
        Ok((!lines.is_empty() || !held.is_empty()).then_some(Cut { lines, held }))
    }

    /// What errors call the lines up to here.
    pub(super) fn name(&self) -> String {
        format!("{} (in the lines up to {})", self.path.display(), self.read)
    }
}

/// Whether a first line has words and no number before its last field, as [`data::parse_table`] has it.
fn is_header(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let separator = [',', ';', '\t'].into_iter().find(|&separator| text.contains(separator)).unwrap_or(',');
    let fields: Vec<&str> = text.trim_end().split(separator).map(|field| field.trim_matches([' ', '"'])).collect();
    let Some((_, features)) = fields.split_last() else { return false };
    features.iter().all(|field| field.parse::<f64>().is_err()) && features.iter().any(|field| !field.is_empty())
}

fn unreadable(path: &Path, error: &std::io::Error) -> ClientError {
    ClientError::Request(format!("cannot read {}: {error}", path.display()))
}
