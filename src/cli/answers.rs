//! Owns how answers are written for people and programs: one JSON document, or CSV.

use crate::jobs::inference::{Answers, Line, Output, Said};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Writes a JSON document, an answer a line.
pub(super) fn write_json(job: &str, output: &Output, out: &mut impl Write) -> io::Result<()> {
    let header = &output.header;
    let model = json!({ "name": header.model, "sha256": header.model_sha256.to_string() });
    write!(out, "{{\n\"job\": {},\n\"model\": {model},\n\"answers\": [", Value::from(job))?;
    for (place, line) in output.lines().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(out, "{comma}\n{}", document(output, &line))?;
    }
    writeln!(out, "\n]}}")
}

/// A number as short as it can be without being another `f32`.
pub(super) fn short(number: f32) -> Value {
    number.to_string().parse::<f64>().ok().map_or(Value::Null, Value::from)
}

fn document(output: &Output, line: &Line) -> Value {
    let mut told = Map::new();
    told.insert("input".to_owned(), line.input.into());
    if let Some(row) = line.row {
        told.insert("row".to_owned(), row.into());
    }
    match line.said {
        Said::Error(why) => told.insert("error".to_owned(), why.into()),
        Said::Value(value) => told.insert("value".to_owned(), short(value)),
        Said::Classes(classes, numbers) => {
            let best = classes.iter().zip(numbers).map(|(&class, &probability)| {
                json!({ "label": output.label(class), "class": class, "probability": short(probability) })
            });
            told.insert("labels".to_owned(), best.collect())
        }
    };
    told.insert("node".to_owned(), line.node.into());
    Value::Object(told)
}

/// What went wrong with writing, whoever wraps it.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Writes CSV: input, row, error, node, then label and probability for each of the likeliest, or the value.
pub(super) fn write_csv(output: &Output, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let Answers { top, .. } = output.answers;
    let mut head: Vec<String> = ["input", "row", "error", "node"].map(str::to_owned).to_vec();
    match top {
        0 => head.push("value".to_owned()),
        top => head.extend((1..=top).flat_map(|place| [format!("label{place}"), format!("probability{place}")])),
    }
    writer.write_record(&head).map_err(plain)?;
    for line in output.lines() {
        let row = line.row.map_or_else(String::new, |row| row.to_string());
        let error = if let Said::Error(why) = line.said { why } else { "" };
        let mut fields = vec![line.input.to_owned(), row, error.to_owned(), line.node.to_owned()];
        match line.said {
            Said::Error(_) => {}
            Said::Value(value) => fields.push(value.to_string()),
            Said::Classes(classes, numbers) => {
                for (&class, number) in classes.iter().zip(numbers) {
                    fields.extend([output.label(class).to_owned(), number.to_string()]);
                }
            }
        }
        fields.resize(head.len(), String::new());
        writer.write_record(&fields).map_err(plain)?;
    }
    writer.flush()
}
