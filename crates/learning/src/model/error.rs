//! Owns what can be wrong with a model, its encoding, or the wish to train it.

use super::shape::{MAX_LAYERS, MAX_PARAMETERS, MAX_UNITS, Shape};

/// Why a model could not be made, read, folded or trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Too few or too many layers.
    #[error("a model has from 2 to {} layer sizes, not {sizes}", MAX_LAYERS + 1)]
    Layers {
        /// Sizes given.
        sizes: usize,
    },
    /// A layer with no or too many units.
    #[error("layer size {layer} is {size}; it must be from 1 to {MAX_UNITS}")]
    Units {
        /// Which size, from 0: features.
        layer: usize,
        /// The size.
        size: usize,
    },
    /// Too many weights and biases.
    #[error("the model would have {parameters} weights and biases; at most {MAX_PARAMETERS} are allowed")]
    TooBig {
        /// How many there would be.
        parameters: usize,
    },
    /// A layer's outputs are not the next one's inputs.
    #[error("layer {layer} takes {inputs} inputs, but the layer before has {outputs} outputs")]
    Chain {
        /// Which layer, from 0.
        layer: usize,
        /// Inputs it takes.
        inputs: usize,
        /// Outputs of the layer before.
        outputs: usize,
    },
    /// A matrix without a row for the bias or without rows for inputs.
    #[error(
        "the matrix of layer {layer} has {rows} rows; it must have one for the bias and one or more for inputs"
    )]
    Rows {
        /// Which layer, from 0.
        layer: usize,
        /// Rows it has.
        rows: usize,
    },
    /// Two models that should have one shape have two.
    #[error("the shapes differ: {left} and {right}")]
    ShapesDiffer {
        /// One of them.
        left: Shape,
        /// The other.
        right: Shape,
    },
    /// The data does not fit the model.
    #[error("the model takes {model} {what}, the data has {data}")]
    DataDiffers {
        /// `features` or `classes`.
        what: &'static str,
        /// What the model takes.
        model: usize,
        /// What the data has.
        data: usize,
    },
    /// NaN or infinity among the weights.
    #[error("{place} is {value}; weights must be finite numbers")]
    NotFinite {
        /// Which weight.
        place: String,
        /// What stands there.
        value: f64,
    },
    /// A list of lists whose rows are not equally long.
    #[error("{matrix}[{row}] has {length} numbers, {matrix}[0] has {expected}")]
    Ragged {
        /// `V` or `W`.
        matrix: &'static str,
        /// Which row, from 0.
        row: usize,
        /// Its length.
        length: usize,
        /// The length of row 0.
        expected: usize,
    },
    /// A model with another number of layers than the original's two.
    #[error("the original's calls carry one hidden layer; this model has {hidden}")]
    NotTheOriginals {
        /// Hidden layers it has.
        hidden: usize,
    },
    /// Outputs beyond the range of numbers.
    #[error("the outputs for row {row} are not finite numbers; the weights or the features are too large")]
    Outputs {
        /// The row, from 0.
        row: usize,
    },
    /// Weights and form that do not fit together.
    #[error("not a model: its parts do not fit together: {0}")]
    Form(String),
    /// A model that a file format cannot hold, or no format at all.
    #[error("{0}")]
    Format(String),
    /// Bytes that are no model.
    #[error("not a model: {0}")]
    Encoding(String),
    /// A setting out of range.
    #[error("{field} is {value}; it must be {range}")]
    Setting {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A name that is in no table.
    #[error("there is no {what} {name:?}; known are {known}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Classes where the model gives values, or the other way round.
    #[error("the model gives {model}, the data has {data}")]
    TargetsDiffer {
        /// `classes` or `values`.
        model: &'static str,
        /// `classes` or `values`.
        data: &'static str,
    },
    /// Nothing was added to a mean.
    #[error("a mean of no changes: no shard has answered")]
    NothingToAverage,
    /// A change from no rows has no weight.
    #[error("a change that comes of 0 rows cannot be averaged")]
    NoRows,
    /// A table has no row of this name.
    #[error("there is no {what} '{name}'; choose from {choices}")]
    UnknownName {
        /// What the table holds.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        choices: String,
    },
    /// A fold needs more changes than there are.
    #[error("{settings} needs at least {least} replicas, not {replicas}")]
    TooFewReplicas {
        /// The fold and its numbers.
        settings: String,
        /// How many it needs.
        least: usize,
        /// How many there are.
        replicas: usize,
    },
    /// The step between two rounds left the range of numbers.
    #[error("the step between rounds diverged: {place} would be {value} after {outer}; try a smaller rate")]
    OuterDiverged {
        /// The outer optimiser.
        outer: &'static str,
        /// Which weight, and of what.
        place: String,
        /// What would stand there.
        value: f64,
    },
    /// A state that the outer optimiser cannot go on from.
    #[error("the state of the outer optimiser cannot be used: {0}")]
    OuterState(String),
    /// `keep_going` said no.
    #[error("training was interrupted in epoch {epoch}")]
    Interrupted {
        /// The epoch, from 1.
        epoch: u32,
    },
    /// `keep_going` said no while a forest grew.
    #[error("training was interrupted in tree {tree}")]
    InterruptedInTree {
        /// The tree, from 1.
        tree: u32,
    },
    /// The weights or the loss left the range of numbers.
    #[error("training diverged in epoch {epoch}: weights or loss are no longer finite; try a smaller eta")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
    },
}
