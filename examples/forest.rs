//! A random forest from a program of one's own, and how fast it grows on one thread.
//!
//! Run it where `letters/` is: `cargo run --release --example forest -- letters '{"n_estimators": 100}' 1 letters.safetensors`
//!
//! The first argument is a directory as for `client`, or one with raw little-endian arrays: `shape.json` says
//! `{"columns": 54, "classes": 7}`, `train.f32` and `held.f32` have rows, `train.u32` and `held.u32` their classes. The
//! second are settings by scikit-learn's names, the third is the seed; to the fourth the forest is written, if there is
//! one. One line of JSON tells seconds, bytes, error and loss.

use roundtable::data::{Dataset, Features, Targets};
use roundtable::ingest;
use roundtable::model::forest::{Binned, Forest, ForestSettings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, settings, seed, rest @ ..] = &arguments[..] else {
        return Err("give a directory, settings as JSON and a seed".into());
    };
    let settings: ForestSettings = serde_json::from_str(settings)?;
    let data = Data::read(Path::new(directory))?;

    // Features become the numbers of bins once; any number of fits on any rows may share them.
    let start = Instant::now();
    let binned = Binned::of(&data.learnt)?;
    let bin_s = start.elapsed().as_secs_f64();
    let rows: Vec<u32> = (0..binned.rows() as u32).collect();
    let start = Instant::now();
    let forest = Forest::fit(&binned, &rows, &settings, seed.parse()?, &|| true)?;
    let fit_s = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let measured = forest.measure(&data.held)?;
    let measure_s = start.elapsed().as_secs_f64();
    let document = serde_json::json!({
        "bin_s": bin_s, "fit_s": fit_s, "measure_s": measure_s, "error": measured.error, "loss": measured.loss,
        "leaves": forest.leaves(), "model_bytes": forest.bytes(), "binned_bytes": binned.bytes(),
        "digest": forest.digest().to_string(), "importances": forest.importances(),
    });
    println!("{document}");
    if let [model, ..] = rest {
        let notes = BTreeMap::from([("seed".to_owned(), seed.clone())]);
        let forest = if data.names.is_empty() { forest } else { forest.with_names(data.names)? };
        std::fs::write(model, forest.to_safetensors(&notes)?)?;
    }
    Ok(())
}

struct Data {
    learnt: Vec<Arc<Dataset>>,
    held: Dataset,
    /// Of the classes; empty if nobody told them.
    names: Vec<String>,
}

impl Data {
    fn read(directory: &Path) -> Result<Self, Box<dyn Error>> {
        if !directory.join("shape.json").exists() {
            let corpus = ingest::load_dir(directory)?;
            let names = corpus.labels().to_vec();
            let learnt = corpus.shards.into_iter().map(|shard| Arc::new(shard.data)).collect();
            return Ok(Self { learnt, held: corpus.validation.data, names });
        }
        #[derive(Deserialize)]
        struct Shape {
            columns: usize,
            classes: usize,
        }
        let Shape { columns, classes } = serde_json::from_slice(&std::fs::read(directory.join("shape.json"))?)?;
        let set = |name: &str| -> Result<Dataset, Box<dyn Error>> {
            let features = numbers(&directory.join(format!("{name}.f32")), f32::from_le_bytes)?;
            let labels = numbers(&directory.join(format!("{name}.u32")), u32::from_le_bytes)?;
            Ok(Dataset::of(Features::of_floats(features, columns)?, Targets::Classes { labels, classes })?)
        };
        Ok(Self { learnt: vec![Arc::new(set("train")?)], held: set("held")?, names: Vec::new() })
    }
}

/// The numbers of a file, without a second copy in memory.
fn numbers<T>(path: &Path, number: fn([u8; 4]) -> T) -> Result<Vec<T>, Box<dyn Error>> {
    let file = std::fs::File::open(path)?;
    let count = file.metadata()?.len() as usize / 4;
    let (mut file, mut all) = (BufReader::new(file), Vec::with_capacity(count));
    let mut bytes = [0; 4];
    for _ in 0..count {
        file.read_exact(&mut bytes)?;
        all.push(number(bytes));
    }
    Ok(all)
}
