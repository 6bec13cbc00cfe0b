//! Owns what can be wrong with a network's file or its use.

/// Why a network could not be read or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {0}")]
    Malformed(String),
    /// The file is one, but its graph as a whole cannot be run.
    #[error("this ONNX graph cannot be run: {0}")]
    Graph(String),
    /// One node is wrong, or asks for what is not there.
    #[error("node `{node}` ({operator}): {what}")]
    Node {
        /// Its name, or that of its first output.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong.
        what: String,
    },
    /// It needs more than the caller allows.
    #[error("the network needs {what}; the limit is {limit} bytes")]
    TooBig {
        /// What it needs, and how much.
        what: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The numbers given to a run are not what the network takes.
    #[error("{0}")]
    Input(String),
}

impl GraphError {
    pub(super) fn malformed(what: impl Into<String>) -> Self {
        GraphError::Malformed(what.into())
    }

    pub(super) fn graph(what: impl Into<String>) -> Self {
        GraphError::Graph(what.into())
    }
}
