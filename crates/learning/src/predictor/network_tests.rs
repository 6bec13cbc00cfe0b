//! Owns the tests of networks as predictors: small ONNX graphs, made here.

use super::super::{Answer, load as load_any, pictures};
use super::*;
use crate::graph::tests::onnx;
use image::ImageEncoder;
use proptest::prelude::*;

const ON: KeepGoing<'static> = &|| true;

/// The mean of each channel, then three outputs that are 10 times the channels, as logits or through a softmax.
fn colours(softmax: bool) -> Vec<u8> {
    let mut graph = onnx::Model::new(&[0, 3, 8, 8]);
    graph.node("GlobalAveragePool", &["x"], "p", &[]).node("Flatten", &["p"], "f", &[]);
    graph.floats("w", &[3, 3], &[10.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0, 10.0]);
    graph.node("Gemm", &["f", "w"], "y", &[]);
    match softmax {
        true => graph.node("Softmax", &["y"], "s", &[]).node("Identity", &["s"], "z", &[]).file("z"),
        false => graph.file("y"),
    }
}

/// `y = 2 a + 3 b`
fn sum() -> Vec<u8> {
    onnx::Model::new(&[0, 2]).floats("w", &[2, 1], &[2.0, 3.0]).node("MatMul", &["x", "w"], "y", &[]).file("y")
}

const CARD: &str = "labels = [\"red\", \"green\", \"blue\"]\nmean = [0]\nstd = [1]\n";

fn loaded(file: &[u8], card: &str) -> Result<Box<dyn Predictor>, PredictorError> {
    let card = Card::from_toml(card)?;
    load_any("net.onnx", file, Some(&card), &Limits::default())
}

fn refused(file: &[u8], card: &str) -> String {
    loaded(file, card).err().map(|e| e.to_string()).unwrap_or_default()
}

/// A picture of one colour.
fn png(colour: [u8; 3], (width, height): (u32, u32)) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels = colour.repeat((width * height) as usize);
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.write_image(&pixels, width, height, image::ExtendedColorType::Rgb8).unwrap();
    file
}

fn softmax(logits: [f64; 3]) -> [f64; 3] {
    let e = logits.map(f64::exp);
    e.map(|x| x / e.iter().sum::<f64>())
}

#[test]
fn pictures_get_answers_each_of_its_own() {
    let files = [png([255, 0, 51], (20, 9)), png([0, 102, 255], (8, 30)), png([0, 255, 0], (1, 1))];
    let batch = [&files[0][..], b"no picture", &files[1], &files[2][..40], &files[2]];
    for softmax_inside in [false, true] {
        let network = loaded(&colours(softmax_inside), CARD).unwrap();
        assert_eq!((network.takes(), network.gives()), (Kind::Pictures, Gives::Classes(3)));
        assert!(network.cost() > 0.0 && network.bytes() > 36);
        let results = pictures(&*network, &batch, 2, ON).unwrap();
        let first = |result: &Result<Answer, BadInput>| match result {
            Ok(Answer::Classes(classes)) => (classes[0], classes[1]),
            other => panic!("{other:?}"),
        };
        let right = softmax([10.0, 0.0, 2.0]);
        let ((best, p), (second, q)) = first(&results[0]);
        assert_eq!((best, second), (0, 2));
        assert!((f64::from(p) - right[0]).abs() < 1e-6 && (f64::from(q) - right[2]).abs() < 1e-6, "{p} {q}");
        assert_eq!(first(&results[2]).0.0, 2);
        assert_eq!(first(&results[4]).0.0, 1);
        assert!(results[1].as_ref().unwrap_err().to_string().starts_with("not a picture"));
        assert!(results[3].as_ref().unwrap_err().to_string().starts_with("a PNG that cannot be decoded"));
        let alone = pictures(&*network, &[&files[1]], 2, ON).unwrap();
        assert_eq!(alone[0], results[2], "alone or among others");
        assert_eq!(pictures(&*network, &batch, 2, &|| false), Err(PredictorError::Stopped));
        let many: Vec<&[u8]> = (0..19).map(|i| &files[i % 3][..]).collect();
        let many = pictures(&*network, &many, 2, ON).unwrap();
        assert!((0..19).all(|i| many[i] == results[[0, 2, 4][i % 3]]));
    }
}

#[test]
fn the_card_says_what_the_graph_does_not() {
    let file = colours(false);
    let red = png([255, 0, 0], (8, 8));
    let best = |card: &str| {
        let network = loaded(&file, card).unwrap();
        let answers = network.pictures(&[network.prepare(&red).unwrap()], 1, ON).unwrap();
        (answers.classes()[0], answers.numbers()[0])
    };
    assert_eq!(best(CARD).0, 0);
    assert_eq!(best(&format!("{CARD}colour = \"bgr\"\n")).0, 2);
    let (class, logit) = best(&format!("{CARD}output = \"probabilities\"\n"));
    assert_eq!((class, logit), (0, 10.0));
    assert_eq!(loaded(&file, "").unwrap().labels(), ["0", "1", "2"]);
    assert!(load_any("net.onnx", &file, None, &Limits::default()).is_ok());
    for (card, says) in [
        ("input = \"image\"", "`input` is \"image\", but the network's input is \"x\""),
        ("size = [8, 9]", "`size` is [8, 9], but the network takes 8 x 8 pixels"),
        ("layout = \"nhwc\"", "`layout` does not fit: the network's input is 3 x 8 x 8"),
        ("colour = \"gray\"", "`colour` does not fit: the network's input is 3 x 8 x 8"),
        ("labels = [\"a\"]", "`labels` are 1, but the network has 3 outputs"),
        ("shorter-side = 7", "`shorter-side` is 7; it must be from 8 to 4096"),
    ] {
        assert_eq!(refused(&file, card), format!("the model's card: {says}"));
    }
    let says = refused(&sum(), "size = [8, 8]");
    assert_eq!(says, "the model's card: `size` is about pictures, but the network takes rows");
}

#[test]
fn rows_go_through_networks_too() {
    let network = loaded(&sum(), "").unwrap();
    assert_eq!((network.takes(), network.gives()), (Kind::Rows { columns: 2 }, Gives::Value));
    let answers = network.rows(Row::F32(&[1.0, 10.0, 0.5, -1.0]), 3, ON).unwrap();
    assert_eq!(answers.numbers(), [32.0, -2.0]);
    assert_eq!(network.rows(Row::U8(&[1, 10]), 3, ON).unwrap().numbers(), [32.0]);
    assert_eq!(
        network.rows(Row::U8(&[1, 10, 3]), 3, ON).unwrap_err().to_string(),
        "3 features do not make rows of 2"
    );
    let far = network.rows(Row::F32(&[0.0, 0.0, 3e38, 3e38]), 1, ON);
    assert_eq!(far, Err(PredictorError::Outputs { query: 1 }));
    let both = pictures(&*network, &[b"x"], 1, ON);
    assert!(matches!(both, Err(PredictorError::Takes { given: "pictures", .. })), "{both:?}");
    let other = loaded(&colours(false), "").unwrap();
    assert!(matches!(other.rows(Row::U8(&[1]), 1, ON), Err(PredictorError::Takes { given: "rows", .. })));
    let foreign = [loaded(&colours(false), CARD).unwrap().prepare(&png([0; 3], (9, 9))).unwrap()];
    let mut wide = onnx::Model::new(&[0, 3, 9, 9]);
    let wide = wide.node("GlobalAveragePool", &["x"], "p", &[]).node("Flatten", &["p"], "y", &[]).file("y");
    assert_eq!(loaded(&wide, "").unwrap().pictures(&foreign, 1, ON), Err(PredictorError::Foreign { query: 0 }));
}

#[test]
fn networks_that_cannot_be_used_say_why() {
    assert!(refused(b"", "").contains("ONNX"), "{}", refused(b"", ""));
    let small = Limits { model: 10, ..Limits::default() };
    assert!(load_any("n.onnx", &colours(false), None, &small).is_err());
    let odd = onnx::Model::new(&[0, 5, 8, 8]).node("Flatten", &["x"], "y", &[]).file("y");
    assert_eq!(refused(&odd, ""), "the model's card: `layout` does not fit: the network's input is 5 x 8 x 8");
}

proptest! {
    #[test]
    fn damaged_networks_panic_nowhere(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        length in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = colours(true);
        for (place, byte) in flips {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(length) = length {
            file.truncate(length.index(file.len()));
        }
        if let Ok(network) = loaded(&file, "") && network.takes() == Kind::Pictures {
            let _ = pictures(&*network, &[&png([1, 2, 3], (4, 4))], 3, ON);
        }
    }
}
