//! Owns a small network of pictures and pictures for it.

use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};
use std::fs;
use std::path::Path;

/// A directory with a network that tells the strongest colour, its card, a red and a blue picture, and no picture.
pub fn gallery() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/colours.onnx");
    fs::copy(network, at("colours.onnx")).unwrap();
    fs::write(at("names.txt"), "red\ngreen\nblue\n").unwrap();
    fs::write(at("colours.toml"), "labels-file = \"names.txt\"\nmean = [0]\nstd = [1]\n").unwrap();
    let file = |name| fs::File::create(at(name)).unwrap();
    let (red, blue) = ([255, 0, 0].repeat(20 * 30), [0, 0, 255].repeat(20 * 30));
    PngEncoder::new(file("red.png")).write_image(&red, 20, 30, ExtendedColorType::Rgb8).unwrap();
    JpegEncoder::new(file("blue.jpg")).write_image(&blue, 20, 30, ExtendedColorType::Rgb8).unwrap();
    fs::write(at("no.png"), "<html>").unwrap();
    dir
}
