//! Owns steps that go over elements: curves, factors and terms, two operands, moves.

use super::super::draft::{FILL, ScaleDraft};
use super::{Run, Step};
use crate::model::images::{self, Curve, Operator};

/// Bends each element.
pub(in super::super) struct Bend(pub Curve);

impl Step for Bend {
    fn run(&self, run: Run<'_>) {
        images::bend(run.path, self.0, run.out);
    }

    fn in_place(&self) -> bool {
        true
    }
}

/// Multiplies each channel and adds to it.
pub(in super::super) struct Scale {
    factors: Vec<f32>,
    terms: Vec<f32>,
    curve: Option<Curve>,
}

impl Scale {
    pub(in super::super) fn new(draft: ScaleDraft) -> Self {
        let ScaleDraft { mut factors, mut terms, curve } = draft;
        let step = images::step(factors.len());
        factors.resize(step, 0.0);
        terms.resize(step, 0.0);
        Self { factors, terms, curve }
    }
}

impl Step for Scale {
    fn run(&self, run: Run<'_>) {
        images::scale(run.path, run.inputs[0], &self.factors, &self.terms, run.out);
        if let Some(curve) = self.curve {
            images::bend(run.path, curve, run.out);
        }
    }

    fn bytes(&self) -> usize {
        8 * self.factors.len()
    }
}

/// Combines two values of the same sizes.
pub(in super::super) struct Combine(pub Operator);

impl Step for Combine {
    fn run(&self, run: Run<'_>) {
        images::combine(run.path, self.0, run.inputs[0], run.inputs[1], run.out);
    }
}

/// Combines each row of the first value with the second, which is one row.
pub(in super::super) struct CombineRows {
    pub operator: Operator,
    /// Whether the row stands on the left.
    pub turned: bool,
    pub step: usize,
    /// The row, if it is known.
    pub row: Option<Vec<f32>>,
}

impl Step for CombineRows {
    fn run(&self, run: Run<'_>) {
        let other = match &self.row {
            Some(row) => &row[..],
            None => run.inputs[1],
        };
        let other = &other[..self.step];
        for (from, to) in run.inputs[0].chunks_exact(self.step).zip(run.out.chunks_exact_mut(self.step)) {
            let (left, right) = if self.turned { (other, from) } else { (from, other) };
            images::combine(run.path, self.operator, left, right, to);
        }
    }

    fn bytes(&self) -> usize {
        self.row.as_ref().map_or(0, |row| 4 * row.len())
    }
}

/// Takes each element from the place that a map says.
pub(in super::super) struct Pick {
    pub map: Vec<u32>,
    pub fill: f32,
}

impl Step for Pick {
    fn run(&self, run: Run<'_>) {
        let from = run.inputs[0];
        for (to, &place) in run.out.iter_mut().zip(&self.map) {
            *to = if place == FILL { self.fill } else { from[place as usize] };
        }
    }

    fn bytes(&self) -> usize {
        4 * self.map.len()
    }
}

/// Writes what is known.
pub(in super::super) struct Constant(pub Vec<f32>);

impl Step for Constant {
    fn run(&self, run: Run<'_>) {
        run.out[..self.0.len()].copy_from_slice(&self.0);
    }

    fn bytes(&self) -> usize {
        4 * self.0.len()
    }
}
