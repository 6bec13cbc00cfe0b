//! Owns reading a model's file for a command: the end of its name says the format.

use crate::data::Dataset;
use crate::model::forest::Forest;
use crate::model::{self, Measured, Model, ModelError, Output, files};
use anyhow::{Context, ensure};
use ndarray::{Array2, ArrayView2};
use std::path::Path;

/// The largest file that is read, in bytes; the largest model takes half a gibibyte.
const LARGEST: u64 = 1 << 30;

/// A model that takes rows.
pub(super) enum Learner {
    Mlp(Model),
    Forest(Forest),
}

/// Reads a model.
pub(super) fn read(path: &Path) -> anyhow::Result<Learner> {
    let shown = path.display();
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    // Before anything is read, so that a wrong name is not told as a wrong file.
    let known = || {
        files::find(extension)
            .with_context(|| format!("{shown} is not a model; `client --model-out` writes one"))
            .map(|_| ())
    };
    let bytes = bytes(path, known)?;
    let learner = if Forest::is_file(&bytes) {
        Forest::from_safetensors(&bytes).map(|(forest, _)| Learner::Forest(forest))
    } else {
        files::read(&bytes, extension).map(Learner::Mlp)
    };
    learner.with_context(|| format!("cannot use {shown} as a model; `client --model-out` writes one"))
}

/// Reads the bytes of a model's file, if it is a regular file of a possible size, and its name passes `check`.
pub(super) fn bytes(path: &Path, check: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let of_file = std::fs::metadata(path).with_context(|| format!("cannot read the model {shown}"))?;
    // Before opening, which would wait for a pipe's writer.
    ensure!(!of_file.is_dir(), "cannot read the model {shown}: it is a directory");
    ensure!(of_file.is_file(), "cannot read the model {shown}: it is not a regular file");
    check()?;
    let size = of_file.len();
    ensure!(size <= LARGEST, "the model {shown} has {size} bytes; the most that is read is {LARGEST}");
    std::fs::read(path).with_context(|| format!("cannot read the model {shown}"))
}

impl Learner {
    /// The names of its classes in the order of its outputs, numbers if it has none; none if it tells values.
    pub(super) fn classes(&self) -> Option<Vec<String>> {
        let (names, classes) = match self {
            Self::Forest(forest) => (forest.names(), forest.classes()),
            Self::Mlp(model) => match &model.form.output {
                Output::Classes(names) => (&names[..], model.weights.outputs()),
                Output::Value { .. } => return None,
            },
        };
        match names {
            [] => Some((0..classes).map(|class| class.to_string()).collect()),
            names => Some(names.to_vec()),
        }
    }

    /// How many features a row has.
    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Mlp(model) => model.weights.inputs(),
            Self::Forest(forest) => forest.columns(),
        }
    }

    /// As [`model::measure`].
    pub(super) fn measure(&self, data: &Dataset) -> Result<Measured, ModelError> {
        match self {
            Self::Mlp(model) => model::measure(model, data),
            Self::Forest(forest) => forest.measure(data),
        }
    }

    /// As [`model::predict`].
    pub(super) fn predict(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Mlp(model) => model::predict(model, rows),
            Self::Forest(forest) => forest.predict(rows),
        }
    }

    /// As [`model::probabilities`].
    pub(super) fn probabilities(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, ModelError> {
        match self {
            Self::Mlp(model) => model::probabilities(model, rows),
            Self::Forest(forest) => forest.probabilities(rows),
        }
    }

    /// As [`model::values`].
    pub(super) fn values(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::Mlp(model) => model::values(model, rows),
            Self::Forest(_) => Err(ModelError::TargetsDiffer { model: "classes", data: "values" }),
        }
    }
}
