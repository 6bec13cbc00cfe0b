//! How fast rten and tract run a network on one thread: images a second, best of the runs that fit into the seconds given.
//!
//! `runtimes rten|tract model.onnx channels height width batch seconds`

use std::error::Error;
use std::time::{Duration, Instant};

fn numbers(count: usize) -> Vec<f32> {
    let mut seed = 1_u32;
    let mut draw = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| draw()).collect()
}

/// The best time of the runs that fit into these seconds; at least one is made.
fn best(seconds: f64, mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while best == Duration::MAX || start.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        run()?;
        best = best.min(one.elapsed());
    }
    Ok(best)
}

fn rten(file: &str, shape: [usize; 4], seconds: f64) -> Result<Duration, Box<dyn Error>> {
    use rten::{ModelOptions, RunOptions, ThreadPool};
    use rten_tensor::NdTensor;
    use rten_tensor::prelude::*;
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(file)?;
    let pool = std::sync::Arc::new(ThreadPool::with_num_threads(1));
    let images = NdTensor::from_data(shape, numbers(shape.iter().product()));
    best(seconds, || {
        let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
        model.run_one(images.view().into(), Some(options))?;
        Ok(())
    })
}

fn tract(file: &str, shape: [usize; 4], seconds: f64) -> Result<Duration, Box<dyn Error>> {
    use tract_onnx::prelude::*;
    let fact = f32::fact(shape);
    let model = tract_onnx::onnx().model_for_path(file)?.with_input_fact(0, fact.into())?;
    let model = model.into_optimized()?.into_runnable()?;
    let (batch, channels, height, width) = (shape[0], shape[1], shape[2], shape[3]);
    let images = numbers(shape.iter().product());
    let images: Tensor = tract_ndarray::Array4::from_shape_vec((batch, channels, height, width), images)?.into();
    best(seconds, || {
        model.run(tvec!(images.clone().into()))?;
        Ok(())
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, runtime, file, channels, height, width, batch, seconds] = &arguments[..] else {
        return Err("give rten or tract, a model, channels, height, width, a batch size and seconds".into());
    };
    let shape = [batch.parse()?, channels.parse()?, height.parse()?, width.parse()?];
    let time = match &runtime[..] {
        "rten" => rten(file, shape, seconds.parse()?)?,
        "tract" => tract(file, shape, seconds.parse()?)?,
        other => return Err(format!("{other} is unknown").into()),
    };
    println!("{:.1} images/s", shape[0] as f64 / time.as_secs_f64());
    Ok(())
}
