//! Owns pictures: from the bytes of a JPEG or PNG file to bytes of colour, upright, within limits.
//!
//! - The orientation that a camera noted (EXIF) is applied.
//! - Gray becomes equal red, green and blue; palettes, 16 bits and CMYK become red, green and blue of 8 bits.
//! - Transparency is dropped, as those who train networks do: what is hidden under it shows.
//! - Colour profiles and gamma are ignored: numbers are taken to be sRGB.
//! - Of an animated PNG the first picture counts.

use super::error::BadInput;
use super::jpeg;
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{DynamicImage, ImageDecoder, ImageError, metadata::Orientation};
use std::io::Cursor;

/// The longest side of a picture, in pixels.
const LONGEST: u32 = 32_768;
/// Scans of a JPEG: encoders make about ten.
const MAX_SCANS: usize = 100;

/// A picture, one byte a value, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

/// Decodes to three bytes a pixel, or to one if `gray`. `limit` is the bytes that it may have as the file holds it.
pub(super) fn decode(bytes: &[u8], gray: bool, limit: usize) -> Result<Picture, BadInput> {
    let (picture, orientation) = match bytes {
        [0xFF, 0xD8, 0xFF, ..] => {
            let found = jpeg::walk(bytes);
            if found.scans > MAX_SCANS {
                return Err(bad(format!("a JPEG of {} scans; at most {MAX_SCANS} are decoded", found.scans)));
            }
            let whole = read(JpegDecoder::new(Cursor::new(bytes)), "JPEG", limit);
            match found.ended {
                true => whole?,
                // If even its header is wrong, that is the better news.
                false => {
                    return Err(whole.err().unwrap_or_else(|| bad("a JPEG that is cut off: its end is missing")));
                }
            }
        }
        [0x89, b'P', b'N', b'G', ..] => read(PngDecoder::new(Cursor::new(bytes)), "PNG", limit)?,
        [] => return Err(bad("an empty file; JPEG and PNG are read")),
        _ => {
            return Err(bad(format!("not a picture: it begins with {}; JPEG and PNG are read", beginning(bytes))));
        }
    };
    Ok(upright(picture, orientation, gray))
}

fn bad(reason: impl Into<String>) -> BadInput {
    BadInput(reason.into())
}

/// The first bytes, as hexadecimal numbers.
fn beginning(bytes: &[u8]) -> String {
    bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn read(
    decoder: Result<impl ImageDecoder, ImageError>,
    format: &str,
    limit: usize,
) -> Result<(DynamicImage, Orientation), BadInput> {
    let wrong = |e: ImageError| bad(format!("a {format} that cannot be decoded: {}", cause(&e)));
    let mut decoder = decoder.map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(bad(format!("a {format} of {width} x {height} pixels")));
    }
    let longest = width.max(height);
    if longest > LONGEST {
        return Err(bad(format!("a {format} of {width} x {height} pixels; at most {LONGEST} a side are decoded")));
    }
    let size = decoder.total_bytes();
    if size > limit as u64 {
        let whole = format!("a {format} of {width} x {height} pixels takes {size} bytes");
        return Err(bad(format!("{whole}; at most {limit} are decoded")));
    }
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some((limit as u64).saturating_mul(2));
    decoder.set_limits(limits).map_err(wrong)?;
    // What is wrong with notes about a picture is not wrong with the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).map_err(wrong)?, orientation))
}

/// What the decoder said, without what we say already, on one line and not too long.
fn cause(error: &ImageError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let said = source.unwrap_or_else(|| error.to_string());
    said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn upright(mut picture: DynamicImage, orientation: Orientation, gray: bool) -> Picture {
    // With the fewest bytes a pixel that there may be.
    picture = match picture {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => picture,
        other if other.color().has_color() => DynamicImage::ImageRgb8(other.into_rgb8()),
        other => DynamicImage::ImageLuma8(other.into_luma8()),
    };
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bytes = match (picture, gray) {
        (DynamicImage::ImageLuma8(picture), true) => picture.into_raw(),
        (DynamicImage::ImageLuma8(picture), false) => picture.iter().flat_map(|&x| [x; 3]).collect(),
        (other, true) => other.into_rgb8().as_chunks().0.iter().map(luminance).collect(),
        (other, false) => other.into_rgb8().into_raw(),
    };
    Picture { width, height, bytes }
}

/// ITU-R 601-2, as Pillow rounds it.
fn luminance(&[red, green, blue]: &[u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
