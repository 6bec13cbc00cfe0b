//! Owns `roundtable predict`.

use super::{Failure, Run, model_file, output};
use crate::ingest;
use anyhow::anyhow;
use clap::Args;
use std::path::PathBuf;

/// Print what a model says of each row of a file: label, value or probabilities
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable predict letters.safetensors unlabelled.csv
  roundtable predict letters.onnx unlabelled.csv --proba > probabilities.csv")]
pub(super) struct Predict {
    /// The model, as `client --model-out` writes it: .safetensors, .onnx or .npz; or a random forest: .safetensors
    model: PathBuf,
    /// The rows: features only, comma-separated, as in training but without the label
    csv: PathBuf,
    /// Print the probability of each label, as CSV: a line with the labels, then a line for each row
    #[arg(long)]
    proba: bool,
}

impl Run for Predict {
    fn run(self) -> Result<(), Failure> {
        let model = model_file::read(&self.model).map_err(Failure::Input)?;
        let classes = model.classes();
        if self.proba && classes.is_none() {
            let shown = self.model.display();
            return Err(Failure::input(anyhow!(
                "{shown} tells values, which have no probabilities; leave out --proba"
            )));
        }
        let rows = ingest::load_rows(&self.csv, model.columns()).map_err(Failure::input)?;
        let Some(classes) = classes else {
            let values = model.values(rows.view()).map_err(Failure::input)?;
            return output::lines(values.iter().map(f32::to_string));
        };
        if self.proba {
            let probabilities = model.probabilities(rows.view()).map_err(Failure::input)?;
            let head = header(&classes).map_err(Failure::run)?;
            let line = |row: ndarray::ArrayView1<'_, f32>| {
                row.iter().map(|probability| format!("{probability:.6}")).collect::<Vec<_>>().join(",")
            };
            return output::lines(std::iter::once(head).chain(probabilities.rows().into_iter().map(line)));
        }
        let predicted = model.predict(rows.view()).map_err(Failure::input)?;
        output::lines(predicted.iter().map(|&class| classes[class as usize].as_str()))
    }
}

/// A line of CSV; labels that have commas, quotes or line breaks are quoted.
fn header(labels: &[String]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(labels)?;
    let mut text = String::from_utf8(writer.into_inner()?)?;
    text.pop();
    Ok(text)
}
