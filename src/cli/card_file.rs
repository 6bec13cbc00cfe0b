//! Owns finding and reading a model's card: `<model>.toml` or `model.toml` beside it, and the file with its labels.

use crate::predictor::{Card, MAX_LABELS};
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest card, in bytes: room for all the labels that there may be.
const LONGEST: u64 = 2 * MAX_LABELS as u64;

/// Reads the card at `given`, or the one beside the model; `None` if there is none. Its labels are read.
pub(super) fn read(model: &Path, given: Option<&Path>) -> anyhow::Result<Option<Card>> {
    let Some(path) = given.map(Path::to_owned).or_else(|| beside(model)) else { return Ok(None) };
    let mut card = Card::from_toml(&text(&path)?).with_context(|| format!("the card {}", path.display()))?;
    if let Some(name) = card.labels_file() {
        let labels = path.with_file_name(name);
        card.set_labels(&text(&labels)?).with_context(|| format!("the labels {}", labels.display()))?;
    }
    Ok(Some(card))
}

/// The card that stands beside a model.
fn beside(model: &Path) -> Option<PathBuf> {
    Card::places(model).into_iter().find(|path| path.is_file())
}

fn text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let of_file = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    ensure!(of_file.is_file(), "cannot read {shown}: it is not a regular file");
    ensure!(of_file.len() <= LONGEST, "{shown} has {} bytes; the most that is read is {LONGEST}", of_file.len());
    fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_of_the_models_name_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("net.v2.onnx");
        assert_eq!(read(&model, None).unwrap(), None);
        fs::write(dir.path().join("model.toml"), "crop = 0.5\n").unwrap();
        let error = format!("{:#}", read(&model, None).unwrap_err());
        assert!(error.contains("model.toml: line 1: `crop` goes with"), "{error}");
        fs::write(dir.path().join("net.v2.toml"), "labels-file = \"names.txt\"\n").unwrap();
        assert!(format!("{:#}", read(&model, None).unwrap_err()).contains("names.txt"));
        fs::write(dir.path().join("names.txt"), "cat\ndog\n").unwrap();
        let card = read(&model, None).unwrap().unwrap();
        assert_eq!((card.labels, card.labels_file), (Some(vec!["cat".to_owned(), "dog".to_owned()]), None));
        assert!(read(&model, Some(dir.path())).is_err());
    }
}
