//! Owns what models of rows have in common: what a card may say of them.

use super::PredictorError;
use super::card::{Card, wrong};

/// Fails if the card is about pictures.
pub(super) fn check(card: Option<&Card>) -> Result<(), PredictorError> {
    match card.and_then(Card::about_pictures) {
        Some(key) => Ok(wrong(key, "is about pictures, but the model takes rows".to_owned())?),
        None => Ok(()),
    }
}

/// The names of so many classes: the card's, the model's own, or numbers.
pub(super) fn labels(own: &[String], classes: usize, card: Option<&Card>) -> Result<Vec<String>, PredictorError> {
    check(card)?;
    let names = card.and_then(|card| card.labels.as_deref()).unwrap_or(own);
    match names.len() {
        0 => Ok((0..classes).map(|class| class.to_string()).collect()),
        count if count == classes => Ok(names.to_vec()),
        count => Ok(wrong("labels", format!("are {count}, but the model has {classes} classes"))?),
    }
}
