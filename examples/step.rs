//! Times training on one thread, as `benches/peers` time others': full-batch steps and steps of 64 rows with Adam.
//!
//! `cargo run --release --example step` prints a line of JSON for each size, number type and CPU path, with the best
//! and the median samples per second over runs from the first weights. `table.py` reads them. With the argument
//! `widths` it times many widths of the hidden layer instead.

use roundtable::data::{Classes, Dataset, Part, Scaling};
use roundtable::ingest;
use roundtable::model::{
    Form, GradientDescent, Init, Learning, Method, Mlp, OptimizerSettings, Path, Place, Real, Schedule, Shape,
    error_rate, learn_on, train_on,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// Full-batch steps of a run.
const STEPS: u32 = 75;
/// How long runs are repeated.
const SECONDS: Duration = Duration::from_secs(3);
const WIDTHS: [usize; 7] = [16, 24, 32, 64, 128, 256, 512];

fn main() -> Result<(), Failure> {
    let letters = ingest::load_shard(std::path::Path::new("letters/train_letters1.txt"), &Classes::integers(26)?)?;
    let letters = Arc::new(letters);
    // The portable path is for processors without fused multiply-add, and there is little point in timing it here.
    let paths: Vec<_> = Path::available().into_iter().filter(|path| path.name() != "portable").collect();
    if std::env::args().nth(1).as_deref() == Some("widths") {
        let path = Path::detect();
        for hidden in WIDTHS {
            let model = Mlp::init(&Shape::new([16, hidden, 26])?, 1);
            full_batch(path, &model, &letters, "float32")?;
            mini_batches(path, &[16, hidden, 26], &letters)?;
        }
        return Ok(());
    }
    for hidden in [24, 256] {
        let model = Mlp::init(&Shape::new([16, hidden, 26])?, 1);
        for &path in &paths {
            full_batch(path, &model, &letters, "float32")?;
            full_batch(path, &model.cast::<f64>()?, &letters, "float64")?;
        }
    }
    let images = Arc::new(images()?);
    for &path in &paths {
        mini_batches(path, &[16, 256, 26], &letters)?;
        mini_batches(path, &[784, 256, 10], &images)?;
    }
    Ok(())
}

/// Rows like those of small pictures: 784 features from 0 to 255, most of them 0, in ten classes.
fn images() -> Result<Dataset, Failure> {
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 1009;
    let features = ndarray::Array2::from_shape_fn((2048, 784), |(i, j)| match noise(i * 784 + j) {
        x if x < 750 && (i + j) % 10 != 0 => 0.0,
        x => (x % 256) as f32,
    });
    Ok(Dataset::new(features, (0..2048).map(|i| i % 10).collect(), 10)?)
}

/// Times runs of a number of samples from the same weights; `run` says the error at its end.
fn time(
    path: Path,
    work: &str,
    samples: f64,
    mut run: impl FnMut() -> Result<(Duration, f64), Failure>,
) -> Result<(), Failure> {
    let mut rates = Vec::new();
    let mut error = 1.0;
    let end = Instant::now() + SECONDS;
    while Instant::now() < end || rates.len() < 3 {
        let (taken, now) = run()?;
        rates.push(samples / taken.as_secs_f64());
        error = now;
    }
    rates.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "system": format!("ours, {}", path.name()),
        "work": work,
        "heap": "default",
        "samples_per_s": rates[rates.len() - 1],
        "median": rates[rates.len() / 2],
        "error": error,
    });
    println!("{line}");
    Ok(())
}

fn full_batch<T: Real>(path: Path, first: &Mlp<T>, data: &Dataset, numbers: &str) -> Result<(), Failure> {
    // Of a rule below any change of the loss there is none: all steps are done.
    let how = GradientDescent::new(1e-4, STEPS, 0.0)?;
    let samples = f64::from(STEPS) * data.rows() as f64;
    time(path, &format!("step {} {numbers}", first.shape()), samples, || {
        let mut model = first.clone();
        let start = Instant::now();
        train_on(path, &mut model, data, &how, &|| true)?;
        Ok((start.elapsed(), error_rate(&model, data)?))
    })
}

fn mini_batches(path: Path, sizes: &[usize], data: &Arc<Dataset>) -> Result<(), Failure> {
    let first = Mlp::init_by(&Shape::new(sizes)?, 1, Init::He);
    let form = Form { inputs: Scaling::of([&**data]), ..Form::default() };
    let method = Method {
        batch_size: Some(64),
        shuffle: true,
        schedule: Schedule::named("constant"),
        optimizer: OptimizerSettings::named("adam"),
        weight_decay: 0.0,
        clip_norm: None,
        dropout: 0.0,
        label_smoothing: 0.0,
        proximal: 0.0,
    };
    let how = Learning { epochs: 5, eta: 1e-3, method };
    let place = Place { from: 0.0, to: 1.0, seed: 1, stream: 0 };
    let part = Part::whole(data.clone());
    let samples = f64::from(how.epochs) * data.rows() as f64;
    time(path, &format!("step {} float32 batch 64 adam", first.shape()), samples, || {
        let mut model = first.clone();
        let start = Instant::now();
        let learned = learn_on(path, &mut model, &form, &part, &how, &place, &|| true)?;
        Ok((start.elapsed(), learned.error))
    })
}
