//! Owns reading a model's file for a command: the end of its name says the format.

use crate::model::{Model, Output, files};
use anyhow::{Context, ensure};
use std::path::Path;

/// The largest file that is read, in bytes; the largest model takes half a gibibyte.
const LARGEST: u64 = 1 << 30;

/// Reads a model.
pub(super) fn read(path: &Path) -> anyhow::Result<Model> {
    let shown = path.display();
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    // Before anything is read, so that a wrong name is not told as a wrong file.
    let known = || {
        files::find(extension)
            .with_context(|| format!("{shown} is not a model; `client --model-out` writes one"))
            .map(|_| ())
    };
    let bytes = bytes(path, known)?;
    files::read(&bytes, extension)
        .with_context(|| format!("cannot use {shown} as a model; `client --model-out` writes one"))
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

/// The names of a model's classes in the order of its outputs, numbers if it has none; none if it tells values.
pub(super) fn classes(model: &Model) -> Option<Vec<String>> {
    match &model.form.output {
        Output::Classes(names) if names.is_empty() => {
            Some((0..model.weights.outputs()).map(|class| class.to_string()).collect())
        }
        Output::Classes(names) => Some(names.clone()),
        Output::Value { .. } => None,
    }
}
