//! Owns `roundtable predict`.

use super::{Failure, Run, output};
use crate::ingest;
use crate::model::{self, Mlp};
use anyhow::{Context, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};

/// The largest model file that is read, in bytes.
const LARGEST: u64 = 4 << 30;

/// Print the label that a model gives to each row of a file
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable predict letters.safetensors unlabelled.csv")]
pub(super) struct Predict {
    /// The model, as `client --model-out` writes it
    model: PathBuf,
    /// The rows: features only, comma-separated, as in training but without the label
    csv: PathBuf,
}

impl Run for Predict {
    fn run(self) -> Result<(), Failure> {
        let (model, classes) = read_model(&self.model).map_err(Failure::Input)?;
        let rows = ingest::load_rows(&self.csv, model.inputs()).map_err(Failure::input)?;
        let predicted = model::predict(&model, rows.view()).map_err(Failure::input)?;
        let numbers: Vec<String> = (0..model.outputs()).map(|class| class.to_string()).collect();
        let labels = classes.unwrap_or(numbers);
        output::lines(predicted.iter().map(|&class| labels[class as usize].as_str()))
    }
}

/// A model and the labels of its classes, if the file tells them.
fn read_model(path: &Path) -> anyhow::Result<(Mlp<f32>, Option<Vec<String>>)> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read the model {shown}"))?.len();
    if size > LARGEST {
        return Err(anyhow!("the model {shown} has {size} bytes; the most that is read is {LARGEST}"));
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the model {shown}"))?;
    let (model, metadata) = Mlp::from_safetensors(&bytes)
        .with_context(|| format!("cannot use {shown} as a model; `client --model-out` writes one"))?;
    let classes = metadata.map(|metadata| metadata.classes).filter(|classes| !classes.is_empty());
    if let Some(classes) = classes.as_ref().filter(|classes| classes.len() != model.outputs()) {
        let (labels, outputs) = (classes.len(), model.outputs());
        return Err(anyhow!("{shown} names {labels} labels for {outputs} outputs"));
    }
    Ok((model, classes))
}
