//! Owns the form of a model in the original's calls: two lists of lists of doubles, `V` and `W`.

use super::error::ModelError;
use super::mlp::Mlp;
use ndarray::Array2;

/// A matrix as the original's calls carry it: a list of rows.
pub type Lists = Vec<Vec<f64>>;

impl Mlp<f64> {
    /// A model of one hidden layer from the original's `Weights`: `w` is (features + 1) x hidden, `v` is
    /// (hidden + 1) x classes, row 0 is the bias.
    ///
    /// # Errors
    /// Names what does not fit: rows of unequal length, nothing at all, sizes out of range or not chaining, a
    /// number that is not finite.
    pub fn from_seed(v: &[Vec<f64>], w: &[Vec<f64>]) -> Result<Self, ModelError> {
        Self::new(vec![matrix("W", 0, w)?, matrix("V", 1, v)?])
    }

    /// The model as the original's `Weights`, `(V, W)`.
    ///
    /// # Errors
    /// It has not exactly one hidden layer.
    pub fn to_seed(&self) -> Result<(Lists, Lists), ModelError> {
        match self.layers() {
            [w, v] => Ok((lists(v), lists(w))),
            other => Err(ModelError::NotTheOriginals { hidden: other.len().saturating_sub(1) }),
        }
    }
}

/// The matrix of these rows.
fn matrix(name: &'static str, layer: usize, rows: &[Vec<f64>]) -> Result<Array2<f64>, ModelError> {
    let expected = rows.first().map_or(0, Vec::len);
    if let Some(row) = rows.iter().position(|row| row.len() != expected) {
        return Err(ModelError::Ragged { matrix: name, row, length: rows[row].len(), expected });
    }
    Array2::from_shape_vec((rows.len(), expected), rows.concat())
        .map_err(|_| ModelError::Rows { layer, rows: rows.len() })
}

/// The rows of the matrix.
fn lists(matrix: &Array2<f64>) -> Lists {
    matrix.rows().into_iter().map(|row| row.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(rows: usize, columns: usize) -> Vec<Vec<f64>> {
        (0..rows).map(|i| (0..columns).map(|j| (i * columns + j) as f64 * 0.1).collect()).collect()
    }

    #[test]
    fn there_and_back() {
        let (v, w) = (grid(4, 5), grid(7, 3));
        let model = Mlp::from_seed(&v, &w).unwrap();
        assert_eq!(model.shape().sizes(), [6, 3, 5]);
        assert_eq!(model.to_seed().unwrap(), (v, w));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |v: &[Vec<f64>], w: &[Vec<f64>]| Mlp::from_seed(v, w).unwrap_err().to_string();
        let mut ragged = grid(4, 5);
        ragged[2].pop();
        assert_eq!(says(&ragged, &grid(7, 3)), "V[2] has 4 numbers, V[0] has 5");
        let mut nan = grid(7, 3);
        nan[6][1] = f64::NAN;
        assert_eq!(says(&grid(4, 5), &nan), "weight 5,1 of layer 0 is NaN; weights must be finite numbers");
        assert_eq!(says(&grid(5, 5), &grid(7, 3)), "layer 1 takes 4 inputs, but the layer before has 3 outputs");
        assert!(says(&[], &[]).contains("layer 0 has 0 rows"));
        assert!(says(&grid(4, 5), &[]).contains("layer 0 has 0 rows"));
        assert!(says(&[vec![], vec![]], &[vec![], vec![]]).contains("the layer before has 0 outputs"));
        assert!(says(&grid(1, 5), &grid(7, 3)).contains("layer 1 has 1 rows"));
    }

    #[test]
    fn other_depths_are_not_the_originals() {
        let deep = Mlp::<f64>::zeros(&crate::model::Shape::new([2, 3, 3, 2]).unwrap());
        assert!(deep.to_seed().unwrap_err().to_string().contains("has 2"));
    }
}
