//! Owns the changes of a round for folds that need all of them at once, and the ways through them block by block.

use super::FoldSettings;
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;
use crate::model::shape::Shape;

/// Parameters that are looked at in all changes before the next ones are: 32 changes of them fit in an L1 cache.
pub(super) const BLOCK: usize = 128;

/// Changes in the order in which they came, each as one row of numbers.
pub(super) struct Changes {
    settings: FoldSettings,
    shape: Option<Shape>,
    held: Vec<Vec<f32>>,
    rows: Vec<u64>,
}

/// The bytes of so many changes and of their fold.
pub(super) fn bytes(parameters: usize, replicas: usize) -> usize {
    // At the end the changes are gone, and the fold is there twice.
    let each = replicas.max(2).saturating_mul(size_of::<f32>()).saturating_add(size_of::<f64>());
    parameters.saturating_mul(each)
}

impl Changes {
    /// None yet, for a fold with settings that have been checked.
    pub(super) fn new(settings: &FoldSettings) -> Self {
        Self { settings: settings.clone(), shape: None, held: Vec::new(), rows: Vec::new() }
    }

    /// As [`super::Fold::add`].
    pub(super) fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        if rows == 0 {
            return Err(ModelError::NoRows);
        }
        let right = change.shape();
        match &self.shape {
            Some(left) if *left != right => return Err(ModelError::ShapesDiffer { left: left.clone(), right }),
            _ => {}
        }
        let mut values = Vec::with_capacity(right.parameters());
        change.layers().iter().for_each(|layer| values.extend(layer));
        self.shape = Some(right);
        self.held.push(values);
        self.rows.push(rows);
        Ok(())
    }

    /// The settings that it was made with.
    pub(super) fn settings(&self) -> &FoldSettings {
        &self.settings
    }

    /// How many changes there are.
    pub(super) fn replicas(&self) -> usize {
        self.held.len()
    }

    /// The rows that each change was learnt from.
    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Zeros for the fold, a number for each parameter.
    ///
    /// # Errors
    /// There are no changes, or too few for the settings.
    pub(super) fn zeros(&self) -> Result<Vec<f64>, ModelError> {
        let shape = self.shape.as_ref().ok_or(ModelError::NothingToAverage)?;
        self.settings.enough(self.replicas())?;
        Ok(vec![0.0; shape.parameters()])
    }

    /// Goes through `fold`, made by [`Changes::zeros`], in blocks: calls `visit` with a block and with the same place of
    /// each change.
    pub(super) fn for_each_block(&self, fold: &mut [f64], mut visit: impl FnMut(&mut [f64], &[&[f32]])) {
        let mut changes = Vec::with_capacity(self.replicas());
        for (start, block) in (0..).step_by(BLOCK).zip(fold.chunks_mut(BLOCK)) {
            changes.clear();
            changes.extend(self.held.iter().map(|change| &change[start..start + block.len()]));
            visit(block, &changes);
        }
    }

    /// The fold as a change of a model.
    pub(super) fn into_model(self, fold: Vec<f64>) -> Result<Mlp<f64>, ModelError> {
        let shape = self.shape.ok_or(ModelError::NothingToAverage)?;
        drop(self.held);
        let mut model = Mlp::zeros(&shape);
        model.layers_mut().iter_mut().flatten().zip(fold).for_each(|(to, from)| *to = from);
        model.check_finite()?;
        Ok(model)
    }
}

/// The square of the Euclidean distance of two equally long rows.
///
/// Eight sums side by side, as processors like it; their order is fixed.
pub(super) fn squared_distance<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            let difference = a.into() - b.into();
            *sum += difference * difference;
        }
    }
    for (sum, (&a, &b)) in sums.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        let difference = a.into() - b.into();
        *sum += difference * difference;
    }
    sums.iter().sum()
}
