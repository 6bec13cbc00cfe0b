//! Owns how a message's text becomes rows of a job.

use crate::data::shared::Blob;
use crate::data::{self, Classes, Dataset};
use crate::ledger::{CorpusRef, JobOrder, MaterialRef};
use std::sync::Arc;

/// What rows of a job must be.
pub(super) struct Reader {
    /// None: the last column is a value.
    classes: Option<Classes>,
    columns: usize,
}

/// Rows of one message or several.
pub(super) struct Rows {
    pub(super) blob: Arc<Blob>,
    pub(super) count: u64,
}

impl Reader {
    /// For a job that learns from rows; says why there are none otherwise.
    pub(super) fn of(order: &JobOrder) -> Result<Self, String> {
        let MaterialRef::Rows(CorpusRef { columns, classes, .. }) = &order.corpus else {
            return Err("the job does not learn from rows".to_owned());
        };
        let of_values = classes.is_empty();
        let classes = (!of_values).then(|| Classes::in_order(classes)).transpose().map_err(|e| e.to_string())?;
        Ok(Self { classes, columns: *columns })
    }

    /// Reads messages, one after the other.
    ///
    /// # Errors
    /// One of them is not what the job's rows are; says what is wrong.
    pub(super) fn read<'t>(&self, texts: impl IntoIterator<Item = &'t [u8]>) -> Result<Rows, String> {
        let mut all = Vec::new();
        for text in texts {
            all.extend_from_slice(text);
            if !text.ends_with(b"\n") {
                all.push(b'\n');
            }
        }
        let data = self.parse(&all).map_err(|e| e.to_string())?;
        if data.columns() != self.columns {
            return Err(format!("it has {} features in a row, not {}", data.columns(), self.columns));
        }
        Ok(Rows { count: data.rows() as u64, blob: Arc::new(Blob::new(data::encode(&data))) })
    }

    fn parse(&self, text: &[u8]) -> Result<Dataset, data::DataError> {
        match &self.classes {
            Some(classes) => data::parse_table("the message", text)?.into_dataset(classes),
            None => data::parse_values("the message", text),
        }
    }
}
