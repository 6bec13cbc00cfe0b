//! Owns what an outer optimiser keeps between rounds, and its form as bytes.
//!
//! A line of JSON, `{"outer": name, "steps": n, "sizes": [features, ..., classes], "moments": [name, ...]}` (without steps if they are not counted), and then the numbers of
//! each moment, as little-endian doubles in the order of the layers and of their rows. JSON alone would not do: it is
//! not read back to the last bit.

use crate::model::error::ModelError;
use crate::model::mlp::Mlp;
use crate::model::shape::Shape;
use serde::{Deserialize, Serialize};

/// The longest first line that is read.
const MAX_HEADER: usize = 4096;

/// What an outer optimiser keeps between rounds, so that a job can be stored and go on elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct OuterState {
    /// The optimiser's name.
    pub outer: String,
    /// Rounds so far, of one that counts them; else 0.
    pub steps: u64,
    /// Its moments with their names, of the weights' shape; none before the first round.
    pub moments: Vec<(String, Mlp<f64>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    outer: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    steps: u64,
    sizes: Vec<usize>,
    moments: Vec<String>,
}

fn is_zero(steps: &u64) -> bool {
    *steps == 0
}

impl OuterState {
    /// The state as bytes; the same state gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sizes = self.moments.first().map(|(_, moment)| moment.shape().sizes().to_vec());
        let names = self.moments.iter().map(|(name, _)| name.clone());
        let header = Header {
            outer: self.outer.clone(),
            steps: self.steps,
            sizes: sizes.unwrap_or_default(),
            moments: names.collect(),
        };
        // Strings and numbers can always be written.
        let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
        bytes.push(b'\n');
        for value in self.moments.iter().flat_map(|(_, moment)| moment.layers()).flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Reads a state.
    ///
    /// # Errors
    /// Says what is wrong with the bytes: no header, sizes out of range, too few or too many numbers, one that is not
    /// finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let wrong = ModelError::OuterState;
        let end = bytes.iter().take(MAX_HEADER).position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| wrong(format!("it has no line in its first {MAX_HEADER} bytes")))?;
        let (header, numbers) = (&bytes[..end], &bytes[end + 1..]);
        let header: Header = serde_json::from_slice(header).map_err(|e| wrong(format!("its first line: {e}")))?;
        let shape = if header.moments.is_empty() { None } else { Some(Shape::new(header.sizes)?) };
        let length = shape.as_ref().map_or(0, Shape::parameters);
        let expected = header.moments.len() * length * size_of::<f64>();
        if numbers.len() != expected {
            return Err(wrong(format!("{} bytes follow its first line, not {expected}", numbers.len())));
        }
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|&eight| f64::from_le_bytes(eight));
        let mut moments = Vec::new();
        for (name, shape) in header.moments.into_iter().zip(shape.iter().cycle()) {
            let mut moment = Mlp::zeros(shape);
            let values = moment.layers_mut().iter_mut().flatten();
            values.zip(&mut numbers).for_each(|(to, from)| *to = from);
            moment.check_finite()?;
            moments.push((name, moment));
        }
        Ok(Self { outer: header.outer, steps: header.steps, moments })
    }
}
