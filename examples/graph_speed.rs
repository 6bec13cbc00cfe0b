//! How fast a network runs on one thread: images a second, best of the runs that fit into the seconds given.
//!
//! `cargo run --release --example graph_speed -- model.onnx 8 5`
//!
//! With a fourth argument, a file of raw little-endian floats goes in and the outputs are written to standard output.

use roundtable::graph::{Limits, Network, Scratch};
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, batch, seconds, rest @ ..] = &arguments[..] else {
        return Err("give a model, a batch size and seconds".into());
    };
    let (batch, seconds): (usize, f64) = (batch.parse()?, seconds.parse()?);
    let limits = Limits { weights: 4 << 30, working: 2 << 30 };
    let start = Instant::now();
    let network = Network::read(&std::fs::read(file)?, &limits)?;
    let read = start.elapsed();
    let mut scratch = Scratch::new();
    if let [input] = rest {
        let bytes = std::fs::read(input)?;
        let input: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let out = network.run(batch, &input, &mut scratch)?;
        let bytes: Vec<u8> = out.iter().flat_map(|x| x.to_le_bytes()).collect();
        return Ok(std::io::stdout().write_all(&bytes)?);
    }
    let features: usize = network.input().dims.iter().flatten().product();
    let mut seed = 1_u32;
    let mut draw = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let input: Vec<f32> = (0..batch * features).map(|_| draw()).collect();
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed().as_secs_f64() < seconds {
        let run = Instant::now();
        network.run(batch, &input, &mut scratch)?;
        best = best.min(run.elapsed());
    }
    println!(
        "{:.1} images/s, batch {batch}; read in {:.0} ms, {} KiB of weights, {} KiB for a run",
        batch as f64 / best.as_secs_f64(),
        1e3 * read.as_secs_f64(),
        network.bytes() >> 10,
        network.working_bytes(batch) >> 10
    );
    Ok(())
}
