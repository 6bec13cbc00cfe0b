//! Owns why a card, a picture or a query is of no use.

use super::Kind;
use crate::graph::GraphError;
use crate::model::ModelError;

/// What is wrong with a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// It is not the TOML that it should be; unknown keys are told with those that are known.
    #[error("line {line}: {reason}")]
    Text {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A setting that cannot be.
    #[error("{}`{key}` {reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Setting {
        /// The line, from 1, if the card came as text.
        line: Option<usize>,
        /// The setting's name.
        key: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

/// Why one input of many has no answer: the others have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Why a model cannot be used, or queries have no answers.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PredictorError {
    /// No model, by its name.
    #[error("{name}: a model file's name must end in {known}")]
    Ending {
        /// The file's name.
        name: String,
        /// The endings there are.
        known: String,
    },
    /// The card is wrong, or does not fit the model.
    #[error("the model's card: {0}")]
    Card(#[from] CardError),
    /// Not one of our own models, or a damaged one; or the rows do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network that cannot be read or run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A network that takes neither pictures nor rows.
    #[error(
        "the network's input `{name}` is batch x {sizes:?}; pictures of 1 or 3 channels, or rows, can be given to it"
    )]
    Input {
        /// The input's name.
        name: String,
        /// Its sizes without the batch.
        sizes: Vec<usize>,
    },
    /// A limit passed.
    #[error("{what} takes {bytes} bytes; the limit is {limit}")]
    TooBig {
        /// What takes them.
        what: &'static str,
        /// How many.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Pictures for a model of rows, or the other way round.
    #[error("the model takes {takes}, not {}", given)]
    Takes {
        /// What it takes.
        takes: Kind,
        /// `pictures` or `rows`.
        given: &'static str,
    },
    /// Features that do not make rows of the model's width.
    #[error("{features} features do not make rows of {columns}")]
    Rows {
        /// How many there are.
        features: usize,
        /// How many a row has.
        columns: usize,
    },
    /// A picture that was prepared for another model.
    #[error("query {query}: the picture was prepared for another model")]
    Foreign {
        /// Which, from 0.
        query: usize,
    },
    /// Outputs beyond the range of numbers.
    #[error("query {query}: the outputs are not finite numbers")]
    Outputs {
        /// Which, from 0.
        query: usize,
    },
    /// A feature that is no finite number.
    #[error("query {query}: a feature is {value}; features must be finite numbers")]
    Feature {
        /// Which, from 0.
        query: usize,
        /// What stands there.
        value: f32,
    },
    /// The caller wanted no more.
    #[error("stopped before the end")]
    Stopped,
}
