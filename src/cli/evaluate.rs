//! Owns `roundtable evaluate`.

use super::{Failure, Run, model_file, output, table};
use crate::ingest;
use crate::model::{Answers, Confused, Measured};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How many confused pairs are shown.
const WORST: usize = 10;

/// Measure a model on labelled rows: error, calibration, recall, confusions
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable evaluate letters.safetensors letters/validate_letters.txt
  roundtable evaluate letters.onnx letters/validate_letters.txt --json")]
pub(super) struct Evaluate {
    /// The model, as `client --model-out` writes it: .safetensors, .onnx or .npz; or a random forest: .safetensors
    model: PathBuf,
    /// The rows, comma-separated; the last column is the label, or the value if the model tells values
    csv: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl Run for Evaluate {
    fn run(self) -> Result<(), Failure> {
        let model = model_file::read(&self.model).map_err(Failure::Input)?;
        let classes = model.classes().unwrap_or_default();
        let data = match classes.len() {
            0 => ingest::load_values(&self.csv),
            _ => ingest::load_labelled(&self.csv, &classes),
        };
        let data = data.map_err(Failure::input)?;
        let shown = self.csv.display().to_string();
        let in_file = |e| Failure::Input(anyhow::Error::new(e).context(format!("cannot measure with {shown}")));
        let measured = model.measure(&data).map_err(in_file)?;
        if self.json {
            let document = serde_json::to_string_pretty(&document(&measured, &classes)).map_err(Failure::run)?;
            return output::line(&document);
        }
        output::lines(text(&measured, &classes))
    }
}

/// A label, and how its rows fared.
struct Recall<'a> {
    label: &'a str,
    rows: u64,
    found: u64,
}

impl Recall<'_> {
    /// The share of the label's rows that were given it; none without rows.
    fn share(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.found as f64 / self.rows as f64)
    }
}

fn recalls<'a>(measured: &Measured, classes: &'a [String]) -> Vec<Recall<'a>> {
    let recall = |(label, (rows, found)): (&'a String, _)| Recall { label, rows, found };
    classes.iter().zip(measured.recalls(classes.len())).map(recall).collect()
}

/// The wrong answers that were given most often, and the share of their label's rows that they are.
fn worst(confusion: &[Confused], recalls: &[Recall<'_>]) -> Vec<(Confused, f64)> {
    let mut wrong: Vec<Confused> = confusion.iter().filter(|pair| pair.right != pair.said).copied().collect();
    // Of equals, the first by label.
    wrong.sort_by_key(|pair| std::cmp::Reverse(pair.rows));
    wrong.truncate(WORST);
    wrong.into_iter().map(|pair| (pair, pair.rows as f64 / recalls[pair.right as usize].rows as f64)).collect()
}

fn text(measured: &Measured, classes: &[String]) -> Vec<String> {
    let Measured { rows, error, loss, answers } = measured;
    let number = |name: &str, value: String| vec![name.to_owned(), value];
    let mut lines = vec![vec![String::new(); 2], number("rows", rows.to_string())];
    match answers {
        Answers::Values { mean_absolute_error, r_squared } => {
            lines.push(number("root mean squared error", format!("{error:.6}")));
            lines.push(number("mean absolute error", format!("{mean_absolute_error:.6}")));
            let r_squared = r_squared.map_or_else(String::new, |r_squared| format!("{r_squared:.4}"));
            lines.push(number("R squared", r_squared));
            lines.push(number("loss", format!("{loss:.4}")));
            table::lay_out(&lines).split_off(1)
        }
        Answers::Classes { confusion, calibration_error } => {
            lines.push(number("error", format!("{error:.4}")));
            lines.push(number("loss", format!("{loss:.4}")));
            lines.push(number("calibration error", format!("{calibration_error:.4}")));
            let mut lines = table::lay_out(&lines).split_off(1);
            let recalls = recalls(measured, classes);
            lines.push(String::new());
            lines.extend(table::lay_out(&recall_rows(&recalls)));
            let worst = worst(confusion, &recalls);
            if !worst.is_empty() {
                lines.push(String::new());
                lines.extend(table::lay_out(&worst_rows(&worst, classes)));
            }
            lines
        }
    }
}

fn recall_rows(recalls: &[Recall<'_>]) -> Vec<Vec<String>> {
    let mut rows = vec![["label", "rows", "right", "recall"].map(str::to_owned).to_vec()];
    rows.extend(recalls.iter().map(|recall| {
        let share = recall.share().map_or_else(String::new, percent);
        vec![one_line(recall.label), recall.rows.to_string(), recall.found.to_string(), share]
    }));
    rows
}

fn worst_rows(worst: &[(Confused, f64)], classes: &[String]) -> Vec<Vec<String>> {
    let label = |class: u32| one_line(&classes[class as usize]);
    let mut rows = vec![["right -> said", "rows", "of its label"].map(str::to_owned).to_vec()];
    rows.extend(worst.iter().map(|(pair, share)| {
        vec![format!("{} -> {}", label(pair.right), label(pair.said)), pair.rows.to_string(), percent(*share)]
    }));
    rows
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A label that would break the table's lines is shown as a program writes it.
fn one_line(label: &str) -> String {
    if label.chars().any(char::is_control) { label.escape_debug().to_string() } else { label.to_owned() }
}

fn document(measured: &Measured, classes: &[String]) -> Value {
    let Measured { rows, error, loss, answers } = measured;
    match answers {
        Answers::Values { mean_absolute_error, r_squared } => json!({
            "rows": rows,
            "root_mean_squared_error": error,
            "mean_absolute_error": mean_absolute_error,
            "r_squared": r_squared,
            "loss": loss,
        }),
        Answers::Classes { confusion, calibration_error } => {
            let recalls = recalls(measured, classes);
            let of_class = |recall: &Recall<'_>| json!({"label": recall.label, "rows": recall.rows, "right": recall.found, "recall": recall.share()});
            let label = |class: u32| classes[class as usize].as_str();
            let pair =
                |pair: &Confused| json!({"right": label(pair.right), "said": label(pair.said), "rows": pair.rows});
            json!({
                "rows": rows,
                "error": error,
                "loss": loss,
                "calibration_error": calibration_error,
                "classes": recalls.iter().map(of_class).collect::<Vec<_>>(),
                "confusion": confusion.iter().map(pair).collect::<Vec<_>>(),
            })
        }
    }
}
