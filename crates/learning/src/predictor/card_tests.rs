//! Owns the tests of cards.

use super::*;

const LITE0: &str = r#"
size = [224, 224]
layout = "nchw"
colour = "rgb"
range = "0-255"
mean = [127]
std = [128.0]
resize = "centre-crop"
crop = 0.875
filter = "bicubic"
labels-file = "labels.txt"
output = "logits"
"#;

#[test]
fn a_card_stands_beside_its_model() {
    let places = |model: &str| Card::places(Path::new(model)).map(|place| place.display().to_string());
    assert_eq!(places("net.v2.onnx"), ["net.v2.toml", "model.toml"]);
    let beside = Path::new("a.b").join("net.onnx");
    let right = ["net.toml", "model.toml"].map(|name| Path::new("a.b").join(name));
    assert_eq!(Card::places(&beside), right);
}

#[test]
fn a_card_is_read_and_travels_as_json() {
    let mut card = Card::from_toml(LITE0).unwrap();
    assert_eq!((card.size, card.mean.clone()), (Some([224, 224]), Some(vec![127.0])));
    assert_eq!((card.colour, card.filter), (Some(Colour::Rgb), Some(Filter::Bicubic)));
    assert_eq!(card.labels_file(), Some("labels.txt"));
    card.set_labels("\u{feff}cat\r\n dog \n\n\n").unwrap();
    assert_eq!((card.labels.clone(), card.labels_file()), (Some(vec!["cat".to_owned(), "dog".to_owned()]), None));
    let text = serde_json::to_string(&card).unwrap();
    assert_eq!(serde_json::from_str::<Card>(&text).unwrap(), card);
    assert_eq!(serde_json::to_string(&Card::default()).unwrap(), "{}");
    assert_eq!(Card::from_toml("").unwrap(), Card::default());
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let many = format!("labels = [{}]", "\"a\",".repeat(MAX_CLASSES + 1));
    for (text, says) in [
        (
            "size = [224, 224]\nsise = 1\n",
            "line 2: unknown field `sise`, expected one of `input`, `size`, `layout`",
        ),
        ("\n\nlayout = \"hwc\"", "line 3: unknown variant `hwc`, expected `nchw` or `nhwc`"),
        ("mean = 127", "line 1: invalid type: integer `127`, expected a sequence"),
        ("mean = [1", "line 1: "),
        ("size = [224]", "line 1: invalid length 1"),
        ("\nsize = [0, 224]", "line 2: `size` is [0, 224]; height and width must be from 1 to 1024"),
        ("size = [-1, 224]", "line 1: invalid value: integer `-1`"),
        (
            "colour = \"gray\"\nmean = [1, 2, 3]",
            "line 2: `mean` has 3 numbers; it must have 1, or 1: one a channel",
        ),
        ("mean = [nan]", "line 1: `mean` has NaN; its numbers must be finite"),
        ("std = [1, 0, 1]", "line 1: `std` has 0.0; its numbers must be finite and above 0"),
        ("std = [1e300]", "line 1: `std` has 1e300"),
        ("size = [9, 300]\nshorter-side = 256", "line 2: `shorter-side` is 256; it must be from 300 to 4096"),
        (
            "resize = \"fit\"\nshorter-side = 256",
            "line 2: `shorter-side` goes with resize = \"shorter-side\" only",
        ),
        ("crop = 0.5", "line 1: `crop` goes with resize = \"centre-crop\" only"),
        ("resize = \"centre-crop\"\ncrop = 0", "line 2: `crop` is 0; it must be from 0.01 to 1"),
        (
            "labels-file = \"../x\"",
            "line 1: `labels-file` is \"../x\"; it must be the name of a file beside the card",
        ),
        ("labels = [\"a\"]\nlabels-file = \"x\"", "line 2: `labels-file` and labels contradict each other"),
        ("labels = []", "line 1: `labels` are 0 of 0 bytes; from 1 to 65536"),
        (&many, "line 1: `labels` are 65537 of 65537 bytes"),
    ] {
        let found = Card::from_toml(text).unwrap_err().to_string();
        assert!(found.starts_with(says), "{found:?} does not begin with {says:?}");
    }
    assert!(Card::default().set_labels(" \n").is_err());
}

#[test]
fn cards_that_are_nonsense_panic_nowhere() {
    let bytes = LITE0.as_bytes();
    for place in 0..bytes.len() {
        let _ = Card::from_toml(std::str::from_utf8(&bytes[..place]).unwrap());
        for with in ["\"", "[", "=", "\n", "-", "9", "\u{0}"] {
            let text = format!("{}{with}{}", &LITE0[..place], &LITE0[place + 1..]);
            let _ = Card::from_toml(&text);
        }
    }
    let _ = Card::from_toml(&"[".repeat(100_000));
    let _ = Card::from_toml(&format!("labels = {}", "[".repeat(100_000)));
}
