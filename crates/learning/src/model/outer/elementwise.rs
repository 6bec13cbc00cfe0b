//! Owns what all outer optimisers have in common: they treat each weight alone, with moments of its own.

use super::{Outer, OuterRow, OuterState};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;
use crate::model::shape::Shape;
use ndarray::{Array2, Zip};

/// What an outer optimiser does with one weight that has `N` moments.
pub(super) trait Rule<const N: usize>: Send {
    /// The moments before the first round.
    fn first(&self) -> [f64; N];

    /// The moments after a round that would change the weight by `change`, and what is added to the weight; `step` rounds
    /// were before it, if the rule counts them, else 0.
    fn next(&self, step: u64, moments: [f64; N], change: f64) -> ([f64; N], f64);

    /// See [`Outer::adds`].
    fn adds(&self) -> Option<f64> {
        None
    }

    /// Whether what it does depends on how many rounds there were.
    fn counts(&self) -> bool {
        false
    }

    /// Whether moments could be those of a weight.
    fn fits(&self, _moments: [f64; N]) -> bool {
        true
    }
}

/// A rule at work on the weights of a model.
pub(super) struct Elementwise<R, const N: usize> {
    row: OuterRow,
    rule: R,
    /// Rounds so far, if the rule counts them.
    steps: u64,
    /// For each weight, once there was a round.
    moments: Option<(Shape, Vec<Array2<[f64; N]>>)>,
}

impl<R: Rule<N>, const N: usize> Elementwise<R, N> {
    pub(super) fn new(row: OuterRow, rule: R) -> Self {
        Self { row, rule, steps: 0, moments: None }
    }

    fn fresh(&self, shape: &Shape) -> Vec<Array2<[f64; N]>> {
        shape.matrices().map(|size| Array2::from_elem(size, self.rule.first())).collect()
    }
}

impl<R: Rule<N>, const N: usize> Outer for Elementwise<R, N> {
    fn step(&mut self, before: &Mlp<f32>, change: &Mlp<f64>) -> Result<Mlp<f32>, ModelError> {
        before.same_shape(change)?;
        let shape = before.shape();
        if let Some((left, _)) = &self.moments
            && *left != shape
        {
            return Err(ModelError::ShapesDiffer { left: left.clone(), right: shape });
        }
        let (step, known) = (self.steps, self.moments.is_some());
        let mut moments = self.moments.take().map_or_else(|| self.fresh(&shape), |(_, moments)| moments);
        let next = |m: &[f64; N], &x: &f32, &change: &f64| {
            let (moments, step) = self.rule.next(step, *m, change);
            // A moment that is lost makes the weight fail the check.
            if moments.iter().all(|m| m.is_finite()) { (f64::from(x) + step) as f32 } else { f32::NAN }
        };
        let layers = moments.iter().zip(before.layers()).zip(change.layers());
        let after = Mlp::new(layers.map(|((m, x), c)| Zip::from(m).and(x).and(c).map_collect(next)).collect());
        if after.is_ok() {
            // Computed again rather than kept: a step that fails changes nothing, and none needs the moments twice.
            for (moments, change) in moments.iter_mut().zip(change.layers()) {
                Zip::from(moments).and(change).for_each(|m, &change| *m = self.rule.next(step, *m, change).0);
            }
            self.steps += u64::from(self.rule.counts());
        }
        if known || after.is_ok() {
            self.moments = Some((shape, moments));
        }
        after.map_err(|e| match e {
            ModelError::NotFinite { place, value } => {
                ModelError::OuterDiverged { outer: self.row.name, place, value }
            }
            other => other,
        })
    }

    fn adds(&self) -> Option<f64> {
        self.rule.adds()
    }

    fn state(&self) -> OuterState {
        let moment = |place: usize, (shape, moments): &(Shape, Vec<Array2<[f64; N]>>)| {
            let mut moment = Mlp::zeros(shape);
            for (to, from) in moment.layers_mut().iter_mut().zip(moments) {
                Zip::from(to).and(from).for_each(|to, from| *to = from[place]);
            }
            moment
        };
        let names = self.row.moments.iter().take(N).enumerate();
        let moments = self
            .moments
            .iter()
            .flat_map(|all| names.clone().map(move |(place, name)| ((*name).to_owned(), moment(place, all))));
        OuterState { outer: self.row.name.to_owned(), steps: self.steps, moments: moments.collect() }
    }

    fn restore(&mut self, state: &OuterState) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::OuterState(what));
        if state.outer != self.row.name {
            return wrong(format!("it is of {}, not {}", state.outer, self.row.name));
        }
        if state.steps > 0 && !self.rule.counts() {
            return wrong(format!("it has made {} steps, which {} does not count", state.steps, self.row.name));
        }
        let Some((_, first)) = state.moments.first() else {
            (self.moments, self.steps) = (None, state.steps);
            return Ok(());
        };
        let names: Vec<&str> = state.moments.iter().map(|(name, _)| name.as_str()).collect();
        if names != self.row.moments {
            return wrong(format!("it has the moments {names:?}, not {:?}", self.row.moments));
        }
        let shape = first.shape();
        let mut all = self.fresh(&shape);
        for (place, (_, moment)) in state.moments.iter().enumerate() {
            first.same_shape(moment)?;
            for (to, from) in all.iter_mut().zip(moment.layers()) {
                Zip::from(to).and(from).for_each(|to, &from| to[place] = from);
            }
        }
        if let Some(bad) = all.iter().flatten().find(|moments| !self.rule.fits(**moments)) {
            return wrong(format!("no weight has the moments {bad:?}"));
        }
        (self.moments, self.steps) = (Some((shape, all)), state.steps);
        Ok(())
    }
}
