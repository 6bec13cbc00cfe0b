//! Owns lines that have quotes: the `csv` crate takes them apart, one line at a time.

use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

/// Takes lines apart; kept from line to line, for making the reader costs more than a line.
pub(super) struct Quoted {
    reader: Reader<OneLine>,
    record: ByteRecord,
}

impl Quoted {
    pub(super) fn new(separator: u8) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(OneLine::default());
        Self { reader, record: ByteRecord::new() }
    }

    /// The fields of a line that has no line end; `None` if a quote is left open, after which no further line can
    /// be read.
    pub(super) fn fields(&mut self, line: &[u8]) -> Option<&ByteRecord> {
        let source = self.reader.get_mut();
        source.bytes.clear();
        source.bytes.extend_from_slice(line);
        source.bytes.push(b'\n');
        source.read = 0;
        let found = self.reader.read_byte_record(&mut self.record).is_ok_and(|found| found);
        (found && !self.reader.get_ref().exhausted).then_some(&self.record)
    }
}

/// Hands out one line, and notes if more is asked for: then the line's end did not end the record.
#[derive(Default)]
struct OneLine {
    bytes: Vec<u8>,
    read: usize,
    exhausted: bool,
}

impl Read for OneLine {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.bytes.get(self.read..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.read += count;
        self.exhausted |= count == 0;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(quoted: &mut Quoted, line: &str) -> Option<Vec<String>> {
        let record = quoted.fields(line.as_bytes())?;
        Some(record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect())
    }

    #[test]
    fn quotes_hold_separators_and_quotes() {
        let mut quoted = Quoted::new(b',');
        let long = format!("\"{}\",1", "x,".repeat(10_000));
        assert_eq!(fields(&mut quoted, &long).unwrap().len(), 2);
        for (line, expected) in [
            ("1,\"a,b\"", vec!["1", "a,b"]),
            ("\"say \"\"A\"\"\",2,3", vec!["say \"A\"", "2", "3"]),
            ("5\",6", vec!["5\"", "6"]),
            ("\"\"", vec![""]),
            ("\"a\"\r2,\"b\"", vec!["a\r2", "b"]),
        ] {
            assert_eq!(fields(&mut quoted, line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_quote_left_open_is_noticed() {
        for line in ["\"", "1,\"A", "x\"y,\"z", "\"a\"\"", "1,\"A\r"] {
            assert_eq!(fields(&mut Quoted::new(b','), line), None, "{line}");
        }
    }
}
