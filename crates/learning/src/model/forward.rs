//! Owns a model made ready to answer: weights packed once, then rows taken forward a block at a time.

use super::error::ModelError;
use super::form::{Model, Output};
use super::kernels::{Aligned, BLOCK, Kernels, Network, Path, padded};
use super::predict::{gather, softmax};
use crate::data::{Row, Scaling};

/// A model and the memory in which it answers. One thread at a time uses it; answers depend on the row alone.
pub struct Forward {
    network: Network<f32>,
    block: Aligned<f32>,
    path: Path,
    scaling: Option<Scaling>,
    /// The mean and the deviation of what it tells, if that is a value.
    value: Option<(f64, f64)>,
    columns: usize,
    row: Vec<f32>,
}

impl Forward {
    /// Packs the model's weights.
    ///
    /// # Errors
    /// The model's parts do not fit together.
    pub fn new(model: &Model) -> Result<Self, ModelError> {
        model.check()?;
        let columns = model.weights.inputs();
        let value = match model.form.output {
            Output::Classes(_) => None,
            Output::Value { mean, deviation } => Some((mean, deviation)),
        };
        Ok(Self {
            network: Network::forward_only(&model.weights, model.form.activation),
            block: Aligned::zeros(BLOCK * padded::<f32>(columns)),
            path: Path::detect(),
            scaling: model.form.inputs.clone(),
            value,
            columns,
            row: vec![0.0; model.weights.outputs()],
        })
    }

    /// How many features a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows that go forward together; between two blocks is a good moment to stop.
    pub fn block(&self) -> usize {
        BLOCK
    }

    /// Shows the probability of each class for each of these rows, which lie one after the other, to `see`; the same
    /// on every machine, and however many rows come together.
    ///
    /// # Errors
    /// The features do not make rows of the model's width, the outputs for a row (counted from 0 here) leave the range
    /// of numbers, or the model tells values.
    pub fn probabilities(&mut self, rows: Row<'_>, mut see: impl FnMut(&[f32])) -> Result<(), ModelError> {
        if self.value.is_some() {
            return Err(ModelError::TargetsDiffer { model: "values", data: "classes" });
        }
        let mut to = std::mem::take(&mut self.row);
        let done = self.each(rows, |row, outputs| {
            to_probabilities(outputs, &mut to).ok_or(ModelError::Outputs { row })?;
            see(&to);
            Ok(())
        });
        self.row = to;
        done
    }

    /// Shows the value for each of these rows, which lie one after the other, to `see`.
    ///
    /// # Errors
    /// The features do not make rows of the model's width, a value leaves the range of numbers, or the model tells
    /// classes.
    pub fn values(&mut self, rows: Row<'_>, mut see: impl FnMut(f32)) -> Result<(), ModelError> {
        let Some((mean, deviation)) = self.value else {
            return Err(ModelError::TargetsDiffer { model: "classes", data: "values" });
        };
        self.each(rows, |row, outputs| {
            let value = (f64::from(outputs[0]) * deviation + mean) as f32;
            see(value);
            if value.is_finite() { Ok(()) } else { Err(ModelError::Outputs { row }) }
        })
    }

    /// Shows the outputs for each row to `see`.
    fn each(
        &mut self,
        rows: Row<'_>,
        mut see: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let (columns, step) = (self.columns, padded::<f32>(self.columns));
        if !rows.len().is_multiple_of(columns) {
            let data = rows.len() % columns;
            return Err(ModelError::DataDiffers { what: "features", model: columns, data });
        }
        let count = rows.len() / columns;
        for first in (0..count).step_by(BLOCK) {
            let here = BLOCK.min(count - first);
            for (row, to) in self.block.chunks_exact_mut(step).take(here).enumerate() {
                let range = (first + row) * columns..(first + row + 1) * columns;
                match rows {
                    Row::U8(bytes) => gather(&bytes[range], self.scaling.as_ref(), to),
                    Row::F32(floats) => gather(&floats[range], self.scaling.as_ref(), to),
                }
            }
            f32::forward(self.path, &mut self.network, &self.block, here);
            (0..here).try_for_each(|row| see(first + row, self.network.logits(row)))?;
        }
        Ok(())
    }
}

/// Writes the softmax of the outputs to `to`, the same on every machine; `None` if an output is not finite.
pub fn to_probabilities(outputs: &[f32], to: &mut [f32]) -> Option<()> {
    let (_, sum) = softmax(outputs, to);
    to.iter_mut().for_each(|e| *e = (f64::from(*e) / sum) as f32);
    sum.is_finite().then_some(())
}
