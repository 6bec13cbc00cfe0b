//! Owns models as those who ask see them: pictures or rows in, the best few classes or a value out.
//!
//! Everything between bytes and answers is here: a model's file, its card ([`Card`]), pictures, rows. The same model and
//! input give the same answer, whatever else is asked together with it.
//!
//! A predictor is a trait, a file each, and a row of [`PREDICTORS`].

mod answers;
mod card;
mod error;
mod forest;
mod frame;
mod idle;
mod jpeg;
mod mlp;
mod network;
mod of_rows;
mod peek;
mod picture;
mod resize;

pub use answers::{Answer, Answers};
pub use card::{Card, Colour, Filter, Layout, MAX_LABELS, MAX_SIDE, Outputs, Range, Resize};
pub use error::{BadInput, CardError, PredictorError};
pub use frame::Prepared;

use crate::data::Row;
use crate::model::files;
use crate::model::forest::Forest;
use std::fmt;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Files of pictures.
    Pictures,
    /// Rows of features.
    Rows {
        /// How many features a row has.
        columns: usize,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Pictures => f.write_str("pictures"),
            Kind::Rows { columns } => write!(f, "rows of {columns} features"),
        }
    }
}

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Probabilities of so many classes.
    Classes(usize),
    /// A value.
    Value,
}

impl Gives {
    /// How many classes an answer has if `top` are wanted: at least 1, at most all; 0 for values.
    pub fn top(self, top: usize) -> usize {
        match self {
            Gives::Classes(classes) => top.clamp(1, classes.max(1)),
            Gives::Value => 0,
        }
    }
}

/// Is asked now and then, between blocks of rows and between pictures; once it says no, the work ends with
/// [`PredictorError::Stopped`].
pub type KeepGoing<'a> = &'a dyn Fn() -> bool;

/// A model, loaded. Threads share it; each call works in memory of its own, on the thread that called.
pub trait Predictor: Send + Sync {
    /// What it takes.
    fn takes(&self) -> Kind;
    /// What it gives.
    fn gives(&self) -> Gives;
    /// The names of its classes in the order of its outputs: `0`, `1`.. if nobody named them; empty if it tells values.
    fn labels(&self) -> &[String];
    /// How much memory it takes while it is loaded, in bytes, roughly.
    fn bytes(&self) -> usize;
    /// Floating-point operations for one query, roughly: two for each multiplication with an addition.
    fn cost(&self) -> f64;
    /// Decodes the file of a picture and gives it the model's size, which may be done by another thread than the rest.
    ///
    /// # Errors
    /// It is no picture, damaged, cut off or too large; or the model takes no pictures.
    fn prepare(&self, picture: &[u8]) -> Result<Prepared, BadInput>;
    /// Answers for pictures that were prepared by this model; each with the `top` likeliest classes, or as many as there
    /// are.
    ///
    /// # Errors
    /// The model takes no pictures, one was prepared by another model, outputs that are not finite, or `keep_going` said
    /// no.
    fn pictures(
        &self,
        prepared: &[Prepared],
        top: usize,
        keep_going: KeepGoing<'_>,
    ) -> Result<Answers, PredictorError>;
    /// Answers for these rows, whose features lie one after the other.
    ///
    /// # Errors
    /// The model takes no rows, or rows of another width, outputs that are not finite, or `keep_going` said no.
    fn rows(&self, rows: Row<'_>, top: usize, keep_going: KeepGoing<'_>) -> Result<Answers, PredictorError>;
}

/// What loading and decoding may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a model that is loaded.
    pub model: usize,
    /// Bytes that one run of a network works in.
    pub working: usize,
    /// Bytes of a decoded picture; decoding one takes up to four times as much.
    pub picture: usize,
}

impl Default for Limits {
    /// 2 GiB for a model, 1 GiB for a run, 192 MiB for a picture: 64 million pixels of a photograph.
    fn default() -> Self {
        Self { model: 2 << 30, working: 1 << 30, picture: 192 << 20 }
    }
}

/// A model ready to be asked, or why there is none.
pub type Loaded = Result<Box<dyn Predictor>, PredictorError>;

/// A kind of files that hold models.
pub struct PredictorRow {
    /// How names of its files end, without the dot.
    pub ending: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Whether these bytes are this kind of it.
    is: fn(&[u8]) -> bool,
    load: fn(&[u8], Option<&Card>, &Limits) -> Loaded,
}

/// All kinds; of an ending the first whose bytes they are. To add one, write its file and add its row.
pub const PREDICTORS: &[PredictorRow] = &[
    PredictorRow {
        ending: "onnx",
        about: "a model of ours, as `client --model-out` writes it",
        is: peek::is_ours,
        load: |bytes, card, limits| mlp::load(bytes, "onnx", card, limits),
    },
    PredictorRow { ending: "onnx", about: "a network of others", is: |_| true, load: network::load },
    PredictorRow {
        ending: "safetensors",
        about: "a random forest of ours",
        is: Forest::is_file,
        load: forest::load,
    },
    PredictorRow {
        ending: "safetensors",
        about: "a model of ours, as `client --model-out` writes it",
        is: |_| true,
        load: |bytes, card, limits| mlp::load(bytes, "safetensors", card, limits),
    },
    PredictorRow {
        ending: "npz",
        about: "a model of ours, as `client --model-out` writes it",
        is: |_| true,
        load: |bytes, card, limits| mlp::load(bytes, "npz", card, limits),
    },
];

/// Whether a file of this name may be a model.
pub fn is_model(name: &str) -> bool {
    PREDICTORS.iter().any(|row| row.ending.eq_ignore_ascii_case(ending(name)))
}

/// The endings that models' names have, for messages: `.a, .b or .c`.
pub fn endings() -> String {
    files::known_extensions()
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Makes a predictor of a model file's bytes; its name tells the kind.
///
/// # Errors
/// No kind of this name's ending; the bytes are no model, or too large a one; the card is wrong or does not fit.
pub fn load(name: &str, bytes: &[u8], card: Option<&Card>, limits: &Limits) -> Loaded {
    if let Some(card) = card {
        card.check()?;
        if card.labels_file.is_some() {
            return Ok(card::wrong("labels-file", "has not been read yet".to_owned())?);
        }
    }
    let row = PREDICTORS.iter().find(|row| row.ending.eq_ignore_ascii_case(ending(name)) && (row.is)(bytes));
    match row {
        Some(row) => (row.load)(bytes, card, limits),
        None => Err(PredictorError::Ending { name: name.to_owned(), known: endings() }),
    }
}

/// Answers for files of pictures, each with its own result: a bad one does not spoil the others.
///
/// # Errors
/// As [`Predictor::pictures`].
pub fn pictures(
    predictor: &dyn Predictor,
    files: &[&[u8]],
    top: usize,
    keep_going: KeepGoing<'_>,
) -> Result<Vec<Result<Answer, BadInput>>, PredictorError> {
    let mut good = Vec::with_capacity(files.len());
    let mut results = Vec::with_capacity(files.len());
    for file in files {
        if !keep_going() {
            return Err(PredictorError::Stopped);
        }
        results.push(predictor.prepare(file).map(|prepared| good.push(prepared)));
    }
    let answers = predictor.pictures(&good, top, keep_going)?;
    let mut answers = answers.iter();
    let answer = |result: Result<(), BadInput>| {
        result.and_then(|()| answers.next().ok_or_else(|| BadInput("the model gave no answer".to_owned())))
    };
    Ok(results.into_iter().map(answer).collect())
}

#[cfg(test)]
mod tests;
