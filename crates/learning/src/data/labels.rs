//! Owns the last column of a text while it is read: labels, each kept once, or values.

use std::collections::BTreeMap;

use super::MAX_CLASSES;

/// A field has at most this many bytes.
pub(super) const MAX_FIELD: usize = 256;

/// What stands after the features of each row.
#[derive(Debug)]
pub(super) enum Last {
    Nothing,
    Labels(Labels),
    Values(Vec<f32>),
}

/// Labels as numbers in the order of their appearance, each kept once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Labels {
    index: BTreeMap<Vec<u8>, u32>,
    /// The label and the first line that has it.
    pub(super) names: Vec<(String, u64)>,
    /// Row -> place in `names`.
    pub(super) rows: Vec<u32>,
}

impl Labels {
    /// Takes the next row's label, or says what was expected instead.
    pub(super) fn push(&mut self, field: &[u8], line: u64) -> Result<(), &'static str> {
        let label = field.trim_ascii();
        if let Some(&known) = self.index.get(label) {
            self.rows.push(known);
            return Ok(());
        }
        if label.is_empty() {
            return Err("a label");
        }
        if label.len() > MAX_FIELD {
            return Err("a label of at most 256 bytes");
        }
        let text = std::str::from_utf8(label).map_err(|_| "a label in UTF-8")?;
        if self.names.len() == MAX_CLASSES {
            return Err("one of at most 65536 different labels");
        }
        let number = self.names.len() as u32;
        self.index.insert(label.to_vec(), number);
        self.names.push((text.to_owned(), line));
        self.rows.push(number);
        Ok(())
    }
}
