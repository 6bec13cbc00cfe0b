//! Owns the tests of pictures: what is read, how it comes out, and what strangers may send.

use super::*;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn png(bytes: &[u8], size: (u32, u32), colour: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    PngEncoder::new(&mut file).write_image(bytes, size.0, size.1, colour).unwrap();
    file
}

fn jpeg(bytes: &[u8], size: (u32, u32), colour: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 95).write_image(bytes, size.0, size.1, colour).unwrap();
    file
}

/// 40 x 24 pixels that go slowly from colour to colour.
fn gradient() -> Vec<u8> {
    (0..24_u32)
        .flat_map(|y| (0..40_u32).flat_map(move |x| [x * 6, y * 10, 255 - x * 3].map(|v| v as u8)))
        .collect()
}

/// The JPEG with a note of this orientation.
fn turned(file: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xFF, 0xE1], &length, &exif, &file[2..]].concat()
}

fn reason(file: &[u8]) -> String {
    decode(file, false, LIMIT).unwrap_err().to_string()
}

#[test]
fn all_kinds_of_png_become_colours() {
    let all = gradient();
    let whole = decode(&png(&all, (40, 24), ExtendedColorType::Rgb8), false, LIMIT).unwrap();
    assert_eq!(whole, Picture { width: 40, height: 24, bytes: all.clone() });
    let with_alpha: Vec<u8> = all.as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, r]).collect();
    let dropped = decode(&png(&with_alpha, (40, 24), ExtendedColorType::Rgba8), false, LIMIT).unwrap();
    assert_eq!(dropped, whole);
    let wide: Vec<u8> = all.iter().flat_map(|&x| (u16::from(x) * 257).to_ne_bytes()).collect();
    assert_eq!(decode(&png(&wide, (40, 24), ExtendedColorType::Rgb16), false, LIMIT).unwrap(), whole);
    let gray = decode(&png(&[0, 9, 255, 7], (2, 2), ExtendedColorType::L8), false, LIMIT).unwrap();
    assert_eq!(gray.bytes, [0, 0, 0, 9, 9, 9, 255, 255, 255, 7, 7, 7]);
    let gray = decode(&png(&[0, 1, 9, 2, 255, 3, 7, 4], (2, 2), ExtendedColorType::La8), true, LIMIT).unwrap();
    assert_eq!(gray.bytes, [0, 9, 255, 7]);
    let luminance = decode(&png(&[255, 0, 0, 10, 20, 30], (2, 1), ExtendedColorType::Rgb8), true, LIMIT).unwrap();
    assert_eq!(luminance.bytes, [76, 18]);
}

#[test]
fn jpegs_come_out_near_and_upright() {
    let all = gradient();
    let file = jpeg(&all, (40, 24), ExtendedColorType::Rgb8);
    let plain = decode(&file, false, LIMIT).unwrap();
    assert_eq!((plain.width, plain.height), (40, 24));
    let far = plain.bytes.iter().zip(&all).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(far < Some(24), "{far:?}");
    let at = |picture: &Picture, x: usize, y: usize| picture.bytes[(y * picture.width + x) * 3..][..3].to_vec();
    let half = decode(&turned(&file, 3), false, LIMIT).unwrap();
    assert_eq!(at(&half, 0, 0), at(&plain, 39, 23));
    let quarter = decode(&turned(&file, 6), false, LIMIT).unwrap();
    assert_eq!((quarter.width, quarter.height), (24, 40));
    assert_eq!(at(&quarter, 23, 0), at(&plain, 0, 0), "turned to the right: the first pixel comes to the right");
    assert_eq!(decode(&turned(&file, 99), false, LIMIT).unwrap(), plain);
    let gray = jpeg(&[128; 64], (8, 8), ExtendedColorType::L8);
    assert_eq!(decode(&gray, true, LIMIT).unwrap().bytes, [128; 64]);
    assert_eq!(decode(&gray, false, LIMIT).unwrap().bytes, [128; 192]);
}

#[test]
fn what_is_wrong_is_told() {
    let all = gradient();
    let good = jpeg(&all, (40, 24), ExtendedColorType::Rgb8);
    assert_eq!(reason(&[]), "an empty file; JPEG and PNG are read");
    assert_eq!(reason(b"GIF89a.."), "not a picture: it begins with 47 49 46 38; JPEG and PNG are read");
    assert_eq!(reason(&good[..good.len() - 2]), "a JPEG that is cut off: its end is missing");
    assert_eq!(reason(&good[..good.len() / 2 + 300]), "a JPEG that is cut off: its end is missing");
    assert!(reason(&good[..40]).starts_with("a JPEG that cannot be decoded: "), "{}", reason(&good[..40]));
    let many = [&good[..good.len() - 2], &[0xFF, 0xDA, 0, 2].repeat(200), &[0xFF, 0xD9]].concat();
    assert_eq!(reason(&many), "a JPEG of 201 scans; at most 100 are decoded");
    let good = png(&all, (40, 24), ExtendedColorType::Rgb8);
    assert!(reason(&good[..good.len() / 2]).starts_with("a PNG that cannot be decoded: "));
    let small = decode(&good, false, 40 * 24 * 3 - 1).unwrap_err().to_string();
    assert_eq!(small, "a PNG of 40 x 24 pixels takes 2880 bytes; at most 2879 are decoded");
}

/// A small file that claims to be a large picture.
#[test]
fn claims_are_not_believed() {
    let mut file = jpeg(&gradient(), (40, 24), ExtendedColorType::Rgb8);
    let frame = file.windows(2).position(|two| two == [0xFF, 0xC0]).unwrap();
    file[frame + 5..frame + 9].fill(0xFF);
    assert_eq!(reason(&file), "a JPEG of 65535 x 65535 pixels; at most 32768 a side are decoded");
    file[frame + 5..frame + 9].copy_from_slice(&[0x70, 0, 0x70, 0]);
    assert!(
        reason(&file).starts_with("a JPEG of 28672 x 28672 pixels takes 2466250752 bytes"),
        "{}",
        reason(&file)
    );
    file[frame + 5..frame + 9].fill(0);
    assert!(decode(&file, false, LIMIT).is_err());
    let mut file = png(&gradient(), (40, 24), ExtendedColorType::Rgb8);
    file[16..24].fill(0x7F);
    assert!(decode(&file, false, LIMIT).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_files_panic_nowhere(
        kind in 0usize..5,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let all = gradient();
        let mut file = match kind {
            0 => png(&all, (40, 24), ExtendedColorType::Rgb8),
            1 => png(&all, (20, 36), ExtendedColorType::Rgba8),
            2 => jpeg(&all, (40, 24), ExtendedColorType::Rgb8),
            3 => turned(&jpeg(&all, (40, 24), ExtendedColorType::Rgb8), 6),
            _ => jpeg(&all, (120, 24), ExtendedColorType::L8),
        };
        for (place, byte) in flips {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if cut {
            file.truncate(length.index(file.len() + 1));
        }
        for gray in [false, true] {
            if let Ok(picture) = decode(&file, gray, LIMIT) {
                let channels = if gray { 1 } else { 3 };
                prop_assert_eq!(picture.bytes.len(), picture.width * picture.height * channels);
            }
        }
    }
}
