//! Times a full-batch training step on the first shard of letters/, on one thread, as `benches/peers` time others'.
//!
//! `cargo run --release --example step` prints a line of JSON for each size, number type and CPU path, with the best
//! and the median samples per second over runs of 75 steps from the first weights. `table.py` reads them.

use roundtable::data::{Classes, Dataset};
use roundtable::ingest;
use roundtable::model::{GradientDescent, Mlp, Path, Real, Shape, error_rate, train_on};
use std::time::{Duration, Instant};

const EPOCHS: u32 = 75;
const SECONDS: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = ingest::load_shard(std::path::Path::new("letters/train_letters1.txt"), &Classes::integers(26)?)?;
    for hidden in [24, 256] {
        let model = Mlp::init(&Shape::new([data.columns(), hidden, data.classes()])?, 1);
        // The portable path is for processors without fused multiply-add, and there is little point in timing it here.
        for path in Path::available().into_iter().filter(|path| path.name() != "portable") {
            time(path, &model, &data, "float32")?;
            time(path, &model.cast::<f64>()?, &data, "float64")?;
        }
    }
    Ok(())
}

fn time<T: Real>(
    path: Path,
    first: &Mlp<T>,
    data: &Dataset,
    numbers: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    // Of a rule below any change of the loss there is none: all steps are done.
    let how = GradientDescent::new(1e-4, EPOCHS, 0.0)?;
    let samples = f64::from(EPOCHS) * data.rows() as f64;
    let mut rates = Vec::new();
    let mut error = 1.0;
    let end = Instant::now() + SECONDS;
    while Instant::now() < end || rates.len() < 3 {
        let mut model = first.clone();
        let start = Instant::now();
        train_on(path, &mut model, data, &how, &|| true)?;
        rates.push(samples / start.elapsed().as_secs_f64());
        error = error_rate(&model, data)?;
    }
    rates.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "system": format!("ours, {}", path.name()),
        "work": format!("step {} {numbers}", first.shape()),
        "heap": "default",
        "samples_per_s": rates[rates.len() - 1],
        "median": rates[rates.len() / 2],
        "error": error,
    });
    println!("{line}");
    Ok(())
}
