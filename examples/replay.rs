//! Does a run again, in this process alone and one task after the other, and compares the weights: the same data, job
//! and seed give the same model, however many nodes there were.
//!
//! `cargo run --release --example replay -- run.json` takes the file that `roundtable client --run-out run.json` wrote,
//! and prints a line of JSON. Run it where the run's data set is.

use roundtable::client::{self, Report};
use roundtable::data::shared::Blob;
use roundtable::ingest::{self, LastColumn};
use roundtable::jobs::{self, Corpus, TaskInput};
use roundtable::local;
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
    let start = Instant::now();
    let kind = jobs::find("train").filter(|_| report.config.stream.is_none());
    let kind =
        kind.ok_or("a run on a stream depends on which changes came when; only rounds can be done again")?;
    let corpus = corpus(&report)?;
    let loaded = start.elapsed();
    let shards: Vec<Arc<Blob>> = corpus.shards.iter().map(|shard| shard.blob.clone()).collect();
    let job = (kind.start)(&serde_json::to_string(&report.config.training)?, corpus.into())?;
    let clock = || start.elapsed().as_secs_f64();
    let find = |input: &TaskInput| shards.iter().find(|blob| blob.digest() == input.digest()).cloned();
    let around = local::Surroundings { find: &find, clock: &clock, keep_going: &|| true, told: &mut |_, _| () };
    let weights = local::run(kind, job, around)?.weights;
    let same = weights.to_string() == report.weights_sha256;
    let (seconds, loading) = (start.elapsed().as_secs_f64(), loaded.as_secs_f64());
    Ok(serde_json::json!({ "wall_s": seconds, "loading_s": loading, "same_weights": same }))
}

/// The data set as the coordinator has it.
fn corpus(report: &Report) -> Result<Corpus, Box<dyn Error>> {
    let of_values = report.confusion.is_none();
    let last = if of_values { LastColumn::Value } else { LastColumn::Label(None) };
    let loaded = ingest::load_dir_for(Path::new(&report.config.dataset), last)?;
    Ok(client::material(&loaded))
}
