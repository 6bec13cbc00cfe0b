//! Owns what happens between a network's layers.

use serde::{Deserialize, Serialize};

/// The function that hidden units apply to their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`: Hendrycks and Gimpel 2016, the tanh form.
    Gelu,
}

impl Activation {
    /// All of them, by name.
    pub const ALL: [(&'static str, Activation); 3] =
        [("relu", Activation::Relu), ("tanh", Activation::Tanh), ("gelu", Activation::Gelu)];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, activation)| *activation == self).map_or("", |(name, _)| name)
    }

    /// The activation of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }
}
