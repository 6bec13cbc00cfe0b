//! Does a run again, in this process alone and one task after the other, and compares the weights: the same data, job
//! and seed give the same model, however many nodes there were.
//!
//! `cargo run --release --example replay -- run.json` takes the file that `roundtable client --run-out run.json` wrote,
//! and prints a line of JSON. Run it where the run's data set is.

use roundtable::client::Report;
use roundtable::data::shared::Blob;
use roundtable::ingest::{self, LastColumn, LoadedShard};
use roundtable::jobs::inference::Models;
use roundtable::jobs::{self, Corpus, Effect, Shard, TaskInput, Workbench};
use roundtable::types::Digest;
use roundtable::{data, model};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("give the file of a run, as `client --run-out` writes it")?;
    let again = again(Path::new(&path))?;
    println!("{again}");
    if again["same_weights"] == true { Ok(()) } else { Err("the weights differ".into()) }
}

/// Does the run of a file again: what it took, and whether its weights are the same.
pub fn again(path: &Path) -> Result<serde_json::Value, Box<dyn Error>> {
    let report: Report = serde_json::from_slice(&std::fs::read(path)?)?;
    let (start, kind) = (Instant::now(), jobs::find("train").ok_or("no such kind")?);
    let corpus = corpus(&report)?;
    let loaded = start.elapsed();
    let validation = corpus.validation.blob.clone();
    let shards: Vec<Arc<Blob>> = corpus.shards.iter().map(|shard| shard.blob.clone()).collect();
    let models = Models::new(0);
    let mut job = (kind.start)(&serde_json::to_string(&report.config.training)?, corpus.into())?;
    let mut weights = None;
    while weights.is_none() {
        let mut effects = Vec::new();
        for task in job.take_ready(usize::MAX) {
            let inputs: Vec<_> = task.inputs.iter().filter_map(|input| find(&shards, input)).collect();
            let output = (kind.run)(&task.parameters, &inputs, &Workbench::bare(&|| true, &models))?;
            effects.extend(job.complete(task.id, &output)?);
        }
        for effect in effects {
            match effect {
                // Nothing is kept here.
                Effect::Save => {}
                Effect::Evaluate { round, model, .. } => {
                    let measured = model::measure(&model, &*validation.dataset(model.classes())?)?;
                    weights = job.evaluated(round, &measured).into_iter().find_map(weights_of).or(weights);
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
    let same = weights.map(|digest| digest.to_string()).as_deref() == Some(&report.weights_sha256);
    let (seconds, loading) = (start.elapsed().as_secs_f64(), loaded.as_secs_f64());
    Ok(serde_json::json!({ "wall_s": seconds, "loading_s": loading, "same_weights": same }))
}

/// The data set as the coordinator has it.
fn corpus(report: &Report) -> Result<Corpus, Box<dyn Error>> {
    let of_values = report.confusion.is_none();
    let last = if of_values { LastColumn::Value } else { LastColumn::Label(None) };
    let loaded = ingest::load_dir_for(Path::new(&report.config.dataset), last)?;
    let shard = |shard: &LoadedShard| Shard {
        name: shard.name.clone(),
        blob: Arc::new(Blob::new(data::encode(&shard.data))),
        rows: shard.data.rows() as u64,
    };
    Ok(Corpus {
        name: report.config.dataset.clone(),
        shards: loaded.shards.iter().map(shard).collect(),
        validation: shard(&loaded.validation),
        columns: loaded.validation.data.columns(),
        classes: loaded.labels().to_vec(),
    })
}

fn find(shards: &[Arc<Blob>], input: &TaskInput) -> Option<Arc<Blob>> {
    match input {
        TaskInput::Made(blob) => Some(blob.clone()),
        TaskInput::Shard { digest, .. } => shards.iter().find(|blob| blob.digest() == *digest).cloned(),
    }
}

fn weights_of(effect: Effect) -> Option<Digest> {
    match effect {
        Effect::Finished { weights, .. } => Some(weights),
        _ => None,
    }
}
