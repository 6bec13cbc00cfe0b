//! Owns the lines of a text: their numbers, their ends, and how long they may be.

use std::io::{self, BufRead, ErrorKind, Read};

use memchr::memchr;

use super::{DataError, Place};

/// A line may have this many bytes; wider than the widest row with sixteen digits a field.
const MAX_LINE: usize = 1 << 24;

/// The lines of a text that are not blank, each with its number.
///
/// Lines are cut here and not by the `csv` crate because that counts them wrongly after CR LF and blank lines.
pub(super) struct Lines<'n, R> {
    name: &'n str,
    input: R,
    /// How much of the input's buffer the line is; 0 if it was too long for that and is in `line`.
    inside: usize,
    line: Vec<u8>,
    number: u64,
}

impl<'n, R: BufRead> Lines<'n, R> {
    pub(super) fn new(name: &'n str, input: R) -> Self {
        Self { name, input, inside: 0, line: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, without its end (LF or CR LF) and a byte order mark, and its number from
    /// 1; `None` at the end of the text.
    ///
    /// # Errors
    /// The text cannot be read on, or the line is longer than 16 MiB.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, DataError> {
        loop {
            self.input.consume(std::mem::take(&mut self.inside));
            self.number += 1;
            let end = match self.input.fill_buf() {
                Ok(buffer) => memchr(b'\n', &buffer[..buffer.len().min(MAX_LINE)]),
                Err(error) if error.kind() == ErrorKind::Interrupted => None,
                Err(error) => return Err(self.unreadable(&error)),
            };
            match end {
                Some(end) => self.inside = end + 1,
                None if self.gather()? => {}
                None => return Ok(None),
            }
            if !is_blank(self.bare()) {
                break;
            }
        }
        Ok(Some((self.number, self.bare())))
    }

    /// Copies a line that ends beyond the input's buffer; false at the end of the text.
    fn gather(&mut self) -> Result<bool, DataError> {
        self.line.clear();
        let read = (&mut self.input)
            .take(MAX_LINE as u64 + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| self.unreadable(&error))?;
        if read > MAX_LINE {
            let found = format!("more than {MAX_LINE} bytes without a line end");
            return Err(DataError::Line { place: self.place(), found, expected: "rows of text".into() });
        }
        Ok(read > 0)
    }

    /// The line without its end, and the first one without a byte order mark.
    fn bare(&mut self) -> &[u8] {
        let line = match self.inside {
            0 => self.line.as_slice(),
            // A buffer that is not empty is given again as it was.
            inside => self.input.fill_buf().ok().and_then(|buffer| buffer.get(..inside)).unwrap_or_default(),
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.number {
            1 => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line),
            _ => line,
        }
    }

    fn unreadable(&self, error: &io::Error) -> DataError {
        DataError::Read { place: self.place(), reason: error.to_string() }
    }

    fn place(&self) -> Place {
        Place { name: self.name.to_owned(), line: self.number, field: None }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
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
    fn lines_are_the_same_whatever_the_buffer_holds() {
        let text = "\u{feff}one\r\n\n\r\ntwo, which is longer\n \n3\n\nfour";
        for size in 1..text.len() + 2 {
            let mut lines = Lines::new("t", std::io::BufReader::with_capacity(size, text.as_bytes()));
            for expected in [(1, "one"), (4, "two, which is longer"), (6, "3"), (8, "four")] {
                let (number, line) = lines.next().unwrap().unwrap();
                assert_eq!((number, std::str::from_utf8(line).unwrap()), expected, "{size}");
            }
            assert!(lines.next().unwrap().is_none());
        }
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
