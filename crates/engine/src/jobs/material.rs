//! Owns what jobs work on: rows to learn from, or a model and the files that it is asked about.

use super::JobError;
use crate::data::shared::Blob;
use crate::data::{DataError, Dataset, Scaling};
use crate::model::{Activation, Form, Output};
use crate::types::Digest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a kind of job works on; see [`Material`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Rows to learn from.
    Rows,
    /// A model, and files to ask it about.
    Files,
}

/// What a job works on.
#[derive(Clone, Debug)]
pub enum Material {
    /// Rows to learn from.
    Rows(Corpus),
    /// A model, and files to ask it about.
    Files(Files),
}

impl From<Corpus> for Material {
    fn from(corpus: Corpus) -> Self {
        Self::Rows(corpus)
    }
}

impl Material {
    /// What it is called in messages.
    pub fn name(&self) -> &str {
        match self {
            Material::Rows(corpus) => &corpus.name,
            Material::Files(files) => &files.name,
        }
    }

    /// The rows.
    ///
    /// # Errors
    /// It has none.
    pub fn rows(self) -> Result<Corpus, JobError> {
        match self {
            Material::Rows(corpus) => Ok(corpus),
            Material::Files(_) => Err(JobError::Needs { what: "training", needs: "rows to learn from" }),
        }
    }

    /// The files.
    ///
    /// # Errors
    /// It has none.
    pub fn files(self) -> Result<Files, JobError> {
        match self {
            Material::Files(files) => Ok(files),
            Material::Rows(_) => Err(JobError::Needs { what: "inference", needs: "a model and files" }),
        }
    }
}

/// A model in the store, and the files that it is asked about. Only digests: nothing is held in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// The pattern that the files match.
    pub name: String,
    /// The model.
    pub model: Source,
    /// The files, in the order in which they are asked about.
    pub inputs: Vec<Source>,
}

/// A file in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name there.
    pub name: String,
    /// Its content; of rows, the data set that was made of it.
    pub digest: Digest,
    /// Rows of the data set; `None`: it is one picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// Rows to learn from: what is known of them without looking at them.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// The directory it came from, for messages.
    pub name: String,
    /// The training files, in their order.
    pub shards: Vec<Shard>,
    /// The rows that the result is measured on.
    pub validation: Shard,
    /// Features of each row.
    pub columns: usize,
    /// The labels, in class order; none if values are to be learnt.
    pub classes: Vec<String>,
}

impl Corpus {
    /// What a model that learns from it is besides its weights; moments are of the rows of the shards.
    ///
    /// # Errors
    /// A shard is no data set of these classes.
    pub fn form(&self, activation: Activation, standardize: bool) -> Result<Form, JobError> {
        let classes = self.classes.len();
        let decode = |shard: &Shard| {
            let wrong = |e: DataError| JobError::Data { shard: shard.name.clone(), reason: e.to_string() };
            shard.blob.dataset(classes).map_err(wrong)
        };
        let sets = match standardize {
            true => self.shards.iter().map(decode).collect::<Result<Vec<_>, _>>()?,
            false => Vec::new(),
        };
        let sets = || sets.iter().map(|set| -> &Dataset { set });
        let output = if classes > 0 {
            Output::Classes(self.classes.clone())
        } else {
            let (mean, deviation) = Scaling::of_values(sets()).unwrap_or((0.0, 1.0));
            Output::Value { mean, deviation }
        };
        Ok(Form { activation, inputs: Scaling::of(sets()), output })
    }
}

/// One file of rows.
#[derive(Clone, Debug)]
pub struct Shard {
    /// The file's name without its directory.
    pub name: String,
    /// Its rows as a data set; held, so that the store keeps it.
    pub blob: Arc<Blob>,
    /// Its rows.
    pub rows: u64,
}
