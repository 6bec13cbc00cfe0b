//! Owns the lines of a text: their numbers, their ends, and how long they may be.

use std::io::{BufRead, Read};

use super::{DataError, Place};

/// A line may have this many bytes; wider than the widest row with sixteen digits a field.
const MAX_LINE: usize = 1 << 24;

/// The lines of a text that are not blank, each with its number.
///
/// Lines are cut here and not by the `csv` crate because that counts them wrongly after CR LF and blank lines.
pub(super) struct Lines<'n, R> {
    name: &'n str,
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<'n, R: BufRead> Lines<'n, R> {
    pub(super) fn new(name: &'n str, input: R) -> Self {
        Self { name, input, line: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, without its end (LF or CR LF) and a byte order mark, and its number from
    /// 1; `None` at the end of the text.
    ///
    /// # Errors
    /// The text cannot be read on, or the line is longer than 16 MiB.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, DataError> {
        loop {
            self.line.clear();
            self.number += 1;
            let place = || Place { name: self.name.to_owned(), line: self.number, field: None };
            let mut input = (&mut self.input).take(MAX_LINE as u64 + 1);
            let read = input
                .read_until(b'\n', &mut self.line)
                .map_err(|error| DataError::Read { place: place(), reason: error.to_string() })?;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE {
                let found = format!("more than {MAX_LINE} bytes without a line end");
                return Err(DataError::Line { place: place(), found, expected: "rows of text".into() });
            }
            if !self.bare().trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, self.bare())))
    }

    fn bare(&self) -> &[u8] {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.number {
            1 => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            _ => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Lines::new("t", text);
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            found.push((number, String::from_utf8_lossy(line).into_owned()));
        }
        found
    }

    #[test]
    fn line_numbers_count_blank_lines_whatever_the_line_ends() {
        let expected = vec![(2, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())];
        assert_eq!(all(b"\na\n \t\nb\nc"), expected);
        assert_eq!(all(b"\r\na\r\n\r\nb\r\nc\r\n"), expected);
        assert_eq!(all(b"\xef\xbb\xbf\r\na\n\nb\r\nc\n\n\n"), expected);
        assert_eq!(all(b""), vec![]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::new("big", std::io::BufReader::new(std::io::repeat(b'1')));
        let error = lines.next().unwrap_err().to_string();
        assert!(error.starts_with("big:1: found more than 16777216 bytes"), "{error}");
        assert!(lines.line.capacity() <= 4 * MAX_LINE);
    }

    #[test]
    fn a_reader_that_fails_is_named_with_the_line() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        let mut lines = Lines::new("t", std::io::BufReader::new(b"1,2\n".chain(Broken)));
        assert!(lines.next().unwrap().is_some());
        assert_eq!(lines.next().unwrap_err().to_string(), "t:2: cannot read: the disk is gone");
    }
}
