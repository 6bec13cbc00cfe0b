//! Writes a model in another format; the ends of the names say which.
//!
//! `cargo run --release --example convert -- letters.safetensors letters.onnx`

use roundtable::model::files;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &names[..] else {
        return Err("give two files, such as letters.safetensors letters.onnx".into());
    };
    let model = files::read(&std::fs::read(from)?, &extension(from))?;
    std::fs::write(to, files::write(&model, &extension(to))?)?;
    Ok(())
}

/// The end of a file's name.
fn extension(name: &str) -> String {
    Path::new(name).extension().unwrap_or_default().to_string_lossy().into_owned()
}
