//! Owns the sizes of a model's layers, checked once.

use super::error::ModelError;

/// The most units a layer may have.
pub const MAX_UNITS: usize = 65_536;
/// The most weights and biases a model may have: half a gigabyte of `f32`.
pub const MAX_PARAMETERS: usize = 1 << 27;
/// The most layers of weights a model may have.
pub const MAX_LAYERS: usize = 64;

/// The sizes of a model's layers: features, hidden units of each hidden layer, classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Checks the sizes: at least two and at most [`MAX_LAYERS`] + 1, each from 1 to [`MAX_UNITS`], together at
    /// most [`MAX_PARAMETERS`] weights and biases.
    ///
    /// # Errors
    /// Names the first size that is out of range.
    pub fn new(sizes: impl Into<Vec<usize>>) -> Result<Self, ModelError> {
        let sizes = sizes.into();
        if !(2..=MAX_LAYERS + 1).contains(&sizes.len()) {
            return Err(ModelError::Layers { sizes: sizes.len() });
        }
        if let Some(layer) = sizes.iter().position(|size| !(1..=MAX_UNITS).contains(size)) {
            return Err(ModelError::Units { layer, size: sizes[layer] });
        }
        let shape = Self(sizes);
        // Cannot overflow: 64 layers of at most 2^33.
        let parameters = shape.parameters();
        if parameters > MAX_PARAMETERS {
            return Err(ModelError::TooBig { parameters });
        }
        Ok(shape)
    }

    /// A shape known to be within the limits, because a model has it.
    pub(super) fn of_checked(sizes: Vec<usize>) -> Self {
        Self(sizes)
    }

    /// The sizes, from features to classes.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// Rows and columns of each layer's matrix: (inputs + 1) x outputs.
    pub fn matrices(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.0.windows(2).map(|pair| (pair[0] + 1, pair[1]))
    }

    /// How many weights and biases there are.
    pub fn parameters(&self) -> usize {
        self.matrices().map(|(rows, columns)| rows.saturating_mul(columns)).sum()
    }
}

impl std::fmt::Display for Shape {
    /// `16-24-26`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if index == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!(Shape::new([16, 24, 26]).unwrap().parameters(), 17 * 24 + 25 * 26);
        assert_eq!(Shape::new([16, 24, 26]).unwrap().to_string(), "16-24-26");
        assert!(Shape::new([16, 26]).is_ok());
        for bad in [&[][..], &[16], &[16, 0, 26], &[16, 65_537, 26], &[65_536, 65_536], &[1; 66]] {
            let error = Shape::new(bad).unwrap_err().to_string();
            assert!(!error.is_empty(), "{bad:?}");
        }
    }
}
