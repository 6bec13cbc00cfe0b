//! Owns the text form of data: one row a line, numbers first, the label last.
//!
//! Fields are separated by commas; by semicolons if the first line has none of those, by tabs if it has neither.
//! Fields may be quoted as in CSV, but not run over a line's end. Blank lines are skipped, CR LF and a byte order
//! mark are taken off, the last line needs no end.
//!
//! The first line is a **header** if none of its feature fields is a number and at least one is a word. So a row
//! with one mistyped number is reported and not taken for a header.

use std::io::BufRead;

use memchr::memchr;

use super::features::Growing;
use super::labels::{Labels, Last, MAX_FIELD};
use super::lines::Lines;
use super::number::{NotANumber, number};
use super::quick::small_integers;
use super::quoted::Quoted;
use super::{Classes, DataError, Dataset, Features, Place, Targets};

/// A row has at most this many features.
pub const MAX_COLUMNS: usize = 65_536;

/// The rows of one text, before the job's classes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    name: String,
    features: Features,
    labels: Labels,
}

impl Table {
    pub(super) fn new(name: &str, features: Features, labels: Labels) -> Self {
        Self { name: name.to_owned(), features, labels }
    }

    /// The name that the text was read under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows there are; at least one.
    pub fn rows(&self) -> usize {
        self.features.rows()
    }

    /// How many features a row has; at least one.
    pub fn columns(&self) -> usize {
        self.features.columns()
    }

    /// The different labels in the order of their first lines, with those lines' numbers.
    pub fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        self.labels.names.iter().map(|(name, line)| (name.as_str(), *line))
    }

    /// The features alone.
    pub fn into_features(self) -> Features {
        self.features
    }

    /// The rows, with each label turned into its number among `classes`.
    ///
    /// # Errors
    /// A label that is none of the classes, with the first line that has it.
    pub fn into_dataset(self, classes: &Classes) -> Result<Dataset, DataError> {
        let Self { name, features, labels } = self;
        let mut numbers = Vec::with_capacity(labels.names.len());
        for (label, line) in labels.names {
            let Some(class) = classes.lookup(&label) else {
                let place = Place { name, line, field: None };
                return Err(DataError::UnknownLabel { place, label, known: classes.describe() });
            };
            numbers.push(class);
        }
        let labels = labels.rows.iter().filter_map(|&row| numbers.get(row as usize).copied()).collect();
        Dataset::of(features, Targets::Classes { labels, classes: classes.len() })
    }
}

/// Reads labelled rows; `name` is what errors call the text.
///
/// # Errors
/// Every error names the line, and the field if there is one: a field that is no finite 32-bit float, rows of
/// different lengths, a missing label or one that is not UTF-8, limits passed (65,536 features and labels, 256
/// bytes a field, 16 MiB a line), no rows, a reader that fails.
pub fn parse_table(name: &str, input: impl BufRead) -> Result<Table, DataError> {
    let sheet = Sheet::read(name, input, Last::Labels(Labels::default()), 0)?;
    let Last::Labels(labels) = sheet.last else { return Err(DataError::Labels { rows: 0, labels: 0 }) };
    Ok(Table::new(name, sheet.features.finish(sheet.columns)?, labels))
}

/// Reads rows whose last column is a number that is to be learnt; `name` is what errors call the text.
///
/// # Errors
/// As for [`parse_table`]; a value that is no finite 32-bit float.
pub fn parse_values(name: &str, input: impl BufRead) -> Result<Dataset, DataError> {
    let sheet = Sheet::read(name, input, Last::Values(Vec::new()), 0)?;
    let Last::Values(values) = sheet.last else { return Err(DataError::Labels { rows: 0, labels: 0 }) };
    Dataset::of(sheet.features.finish(sheet.columns)?, Targets::Values(values))
}

/// Reads rows of `columns` features that have no label; `name` is what errors call the text.
///
/// # Errors
/// As for [`parse_table`]; a row with one field too many is told that the last looks like a label.
pub fn parse_rows(name: &str, input: impl BufRead, columns: usize) -> Result<Features, DataError> {
    Sheet::read(name, input, Last::Nothing, columns)?.features.finish(columns)
}

/// The rows read so far.
struct Sheet<'n> {
    name: &'n str,
    columns: usize,
    features: Growing,
    last: Last,
}

impl<'n> Sheet<'n> {
    /// Reads rows of `columns` features and nothing more, or rows with a last column, as wide as the first.
    fn read(name: &'n str, input: impl BufRead, last: Last, columns: usize) -> Result<Self, DataError> {
        let mut lines = Lines::new(name, input);
        let mut sheet = Self { name, columns, features: Growing::U8(Vec::new()), last };
        let mut separator = None;
        let mut quoted = None;
        while let Some((line, text)) = lines.next()? {
            let first = separator.is_none();
            let separator = *separator.get_or_insert_with(|| separator_of(text));
            if !first && sheet.quick(line, text, separator) {
                continue;
            }
            if memchr(b'"', text).is_some() {
                let record =
                    quoted.get_or_insert_with(|| Quoted::new(separator)).fields(text).ok_or_else(|| {
                        sheet.refuse_line(
                            line,
                            "a quote that does not end".into(),
                            "the closing quote in the same line",
                        )
                    })?;
                sheet.take(line, record.iter(), first)?;
            } else {
                sheet.take(line, text.split(|&byte| byte == separator), first)?;
            }
        }
        if sheet.features.len() == 0 {
            return Err(DataError::NoRows { name: name.to_owned(), header: separator.is_some() });
        }
        Ok(sheet)
    }

    /// Takes a row of bytes and a plain label; false if it is none, and then nothing is taken.
    fn quick(&mut self, line: u64, text: &[u8], separator: u8) -> bool {
        let (Growing::U8(bytes), Last::Labels(labels)) = (&mut self.features, &mut self.last) else {
            return false;
        };
        let before = bytes.len();
        let taken = small_integers(text, separator, self.columns, bytes)
            .filter(|rest| !rest.contains(&separator) && !rest.contains(&b'"'))
            .is_some_and(|label| labels.push(label, line).is_ok());
        if !taken {
            bytes.truncate(before);
        }
        taken
    }

    fn take<'t, F>(&mut self, line: u64, fields: F, first: bool) -> Result<(), DataError>
    where
        F: Iterator<Item = &'t [u8]> + Clone,
    {
        if first {
            self.set_width(line, fields.clone().count())?;
            if is_header(fields.clone().take(self.columns)) {
                return Ok(());
            }
        }
        self.row(line, fields, first)
    }

    /// Whether something stands after the features.
    fn more(&self) -> bool {
        !matches!(self.last, Last::Nothing)
    }

    fn set_width(&mut self, line: u64, found: usize) -> Result<(), DataError> {
        if self.more() {
            self.columns = found.saturating_sub(1);
            if found == 1 {
                let expected = "one or more numbers and a label, separated by commas";
                return Err(self.refuse_line(line, "a single field".into(), expected));
            }
            if self.columns > MAX_COLUMNS {
                let found = format!("{} features", self.columns);
                return Err(self.refuse_line(line, found, "at most 65536"));
            }
        }
        self.check_width(line, found)
    }

    fn check_width(&self, line: u64, found: usize) -> Result<(), DataError> {
        let expected = self.columns + usize::from(self.more());
        if found == expected {
            return Ok(());
        }
        let what = match (self.more(), found) {
            (true, _) => format!("{expected} fields, as in the lines above"),
            (false, _) if expected.checked_add(1) == Some(found) => {
                format!("{expected} features and nothing else; the last looks like a label, remove it")
            }
            (false, _) => format!("{expected} features"),
        };
        let fields = if found == 1 { "field" } else { "fields" };
        Err(self.refuse_line(line, format!("{found} {fields}"), &what))
    }

    fn row<'t, F>(&mut self, line: u64, fields: F, first: bool) -> Result<(), DataError>
    where
        F: Iterator<Item = &'t [u8]> + Clone,
    {
        let mut rest = fields.clone();
        let before = self.features.len();
        for field in rest.by_ref().take(self.columns) {
            match number(field) {
                Ok(value) => self.features.push(value),
                Err(why) => {
                    // A row that is too short has its label where a number should be: that is the better news.
                    self.check_width(line, fields.count())?;
                    let index = self.features.len() - before;
                    return Err(self.refuse_field(line, index, field, expectation(why, field, first)));
                }
            }
        }
        let last = if self.more() { rest.next() } else { None };
        let whole = self.features.len() - before == self.columns && last.is_some() == self.more();
        if !whole || rest.next().is_some() {
            return self.check_width(line, fields.count());
        }
        match last.map(|last| (last, self.take_last(line, last, first))) {
            Some((last, Err(expected))) => Err(self.refuse_field(line, self.columns, last, expected)),
            _ => Ok(()),
        }
    }

    fn take_last(&mut self, line: u64, field: &[u8], first: bool) -> Result<(), &'static str> {
        match &mut self.last {
            Last::Nothing => Ok(()),
            Last::Labels(labels) => labels.push(field, line),
            Last::Values(values) => {
                values.push(number(field).map_err(|why| expectation(why, field, first))?);
                Ok(())
            }
        }
    }

    fn refuse_line(&self, line: u64, found: String, expected: &str) -> DataError {
        let place = Place { name: self.name.to_owned(), line, field: None };
        DataError::Line { place, found, expected: expected.to_owned() }
    }

    /// `index` counts from 0.
    fn refuse_field(&self, line: u64, index: usize, field: &[u8], expected: &'static str) -> DataError {
        let place = Place { name: self.name.to_owned(), line, field: Some(index + 1) };
        let field = field.trim_ascii();
        let mut found = String::from_utf8_lossy(field.get(..40).unwrap_or(field)).into_owned();
        if field.len() > 40 {
            found.push('…');
        }
        DataError::Field { place, found, expected }
    }
}

fn expectation(why: NotANumber, field: &[u8], first: bool) -> &'static str {
    match why {
        _ if field.trim_ascii().len() > MAX_FIELD => "a number of at most 256 bytes",
        NotANumber::Malformed if first => "a number, or a header line that has no numbers at all",
        NotANumber::Malformed => "a number",
        NotANumber::NotFinite => "a number that is finite",
        NotANumber::Overflow => "a number that a 32-bit float can hold (up to 3.4e38)",
    }
}

/// The separator that the first line has.
fn separator_of(text: &[u8]) -> u8 {
    [b',', b';', b'\t'].into_iter().find(|separator| text.contains(separator)).unwrap_or(b',')
}

/// Whether the feature fields of a first line are names of columns.
fn is_header<'t>(fields: impl Iterator<Item = &'t [u8]>) -> bool {
    let mut words = 0;
    for field in fields {
        let field = field.trim_ascii();
        match number(field) {
            Err(NotANumber::Malformed) if field.is_empty() => {}
            Err(NotANumber::Malformed) if std::str::from_utf8(field).is_ok() => words += 1,
            _ => return false,
        }
    }
    words > 0
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
