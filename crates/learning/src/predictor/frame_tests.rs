//! Owns the tests of how pictures get a network's size and numbers.

use super::*;

fn frame(text: &str, height: usize, width: usize) -> Frame {
    let card = Card::from_toml(text).unwrap();
    let colour = card.colour.unwrap_or(Colour::Rgb);
    Frame::new(&card, height, width, card.layout.unwrap_or(Layout::Nchw), colour).unwrap()
}

/// A picture in which each gray byte is 10 times its row and its column.
fn picture(width: usize, height: usize) -> Picture {
    let bytes = (0..height).flat_map(|y| (0..width).map(move |x| (y * 10 + x) as u8)).collect();
    Picture { width, height, bytes }
}

#[test]
fn the_centre_is_cut_out_as_in_torchvision() {
    let frame = frame("colour = \"gray\"\nshorter-side = 4", 3, 3);
    // Same size: the window alone. Of an odd rest, half is rounded to the even number: (9 - 3) / 2 = 3, 1 / 2 = 0.
    assert_eq!(frame.cut(&picture(9, 4)).0, [3, 4, 5, 13, 14, 15, 23, 24, 25]);
    assert_eq!(frame.cut(&picture(4, 9)).0, [30, 31, 32, 40, 41, 42, 50, 51, 52]);
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(middle), [0, 0, 1, 2, 2, 2, 3, 4]);
    // 20 x 10 becomes 8 x 4, of which three columns of the middle remain.
    let (across, down, ..) = frame.sides(20, 10);
    assert_eq!((across.whole, across.first, across.count), (8, 2, 3));
    assert_eq!((down.whole, down.first, down.count), (4, 0, 3));
}

#[test]
fn the_centre_is_resized_as_in_efficientnet() {
    let frame = frame("resize = \"centre-crop\"\ncrop = 0.875\nfilter = \"bicubic\"", 224, 224);
    let (across, down, left, top) = frame.sides(451, 300);
    assert_eq!((across.skip, across.length, across.whole), (94, 262, 224));
    assert_eq!((down.skip, down.length, down.whole, left, top), (19, 262, 224, 0, 0));
    let wide = self::frame("resize = \"centre-crop\"\ncrop = 1.0", 100, 200).sides(300, 300);
    assert_eq!((wide.0.length, wide.1.length, wide.1.skip), (300, 150, 75));
}

#[test]
fn what_is_fitted_has_black_bars() {
    let fit = frame("resize = \"fit\"\ncolour = \"gray\"", 4, 4);
    assert_eq!(fit.cut(&picture(2, 1)).0[..4], [0; 4]);
    let white = Picture { width: 8, height: 4, bytes: vec![255; 32] };
    assert_eq!(fit.cut(&white).0, [[0; 4], [255; 4], [255; 4], [0; 4]].concat());
    let stretched = frame("resize = \"stretch\"\ncolour = \"gray\"", 4, 4).cut(&white);
    assert_eq!(stretched.0, [255; 16]);
}

#[test]
fn bytes_become_numbers_in_the_networks_order() {
    let prepared = Prepared(vec![0, 1, 2, 255, 254, 253]);
    let numbers = |text: &str| {
        let frame = frame(&format!("{text}\nshorter-side = 2\n"), 1, 2);
        let mut to = [0.0; 6];
        assert!(frame.fill(&prepared, &mut to));
        assert!(!frame.fill(&Prepared(vec![0; 3]), &mut to));
        to
    };
    let raw = "range = \"0-255\"\nmean = [0]\nstd = [1]\n";
    assert_eq!(numbers(raw), [0.0, 255.0, 1.0, 254.0, 2.0, 253.0]);
    assert_eq!(numbers(&format!("{raw}colour = \"bgr\"")), [2.0, 253.0, 1.0, 254.0, 0.0, 255.0]);
    assert_eq!(numbers(&format!("{raw}layout = \"nhwc\"")), [0.0, 1.0, 2.0, 255.0, 254.0, 253.0]);
    let bgr = numbers(&format!("{raw}layout = \"nhwc\"\ncolour = \"bgr\""));
    assert_eq!(bgr, [2.0, 1.0, 0.0, 253.0, 254.0, 255.0]);
    let lite0 = numbers("range = \"0-255\"\nmean = [127]\nstd = [128]");
    assert_eq!((lite0[0], lite0[1]), (-127.0 / 128.0, 1.0));
    // What is not said is ImageNet's.
    let usual = numbers("");
    assert_eq!((usual[0], usual[1]), ((-0.485 / 0.229) as f32, (0.515 / 0.229) as f32));
    assert_eq!(usual[3], ((254.0 / 255.0 - 0.456) / 0.224) as f32);
    let turned = numbers("colour = \"bgr\"");
    assert_eq!((turned[0], turned[5]), (((2.0 / 255.0 - 0.406) / 0.225) as f32, (0.515 / 0.229) as f32));
}

#[test]
fn extreme_proportions_take_no_memory() {
    for resize in ["shorter-side", "centre-crop", "stretch", "fit"] {
        let frame = frame(&format!("resize = \"{resize}\"\nfilter = \"bicubic\""), 224, 224);
        for (width, height) in [(32_768, 1), (1, 32_768), (1, 1)] {
            let white = Picture { width, height, bytes: vec![200; width * height * 3] };
            let Prepared(bytes) = frame.cut(&white);
            assert_eq!(bytes.len(), 224 * 224 * 3);
            assert!(bytes.contains(&200));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let card = Card::from_toml("shorter-side = 100").unwrap();
    let says = Frame::new(&card, 99, 224, Layout::Nchw, Colour::Rgb).unwrap_err().to_string();
    assert_eq!(says, "`shorter-side` is 100, but the network takes 99 x 224 pixels");
    let card = Card::from_toml("mean = [1, 2, 3]").unwrap();
    let says = Frame::new(&card, 9, 9, Layout::Nchw, Colour::Gray).unwrap_err().to_string();
    assert_eq!(says, "`mean` has 3 numbers, but the network has 1 channels");
    let card = Card::from_toml("mean = [1e38]\nstd = [1e-37]").unwrap();
    assert!(Frame::new(&card, 9, 9, Layout::Nchw, Colour::Gray).unwrap_err().to_string().contains("not finite"));
}
