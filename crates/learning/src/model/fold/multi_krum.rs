//! Owns multi-Krum: the mean of those changes of a round that are closest to others.

use super::changes::{self, BLOCK, Changes, squared_distance};
use super::{Fold, FoldRow, Order};
use crate::model::error::ModelError;
use crate::model::mlp::Mlp;

pub(super) const ROW: FoldRow = FoldRow {
    name: "multi-krum",
    about: "the mean of the changes closest to others (Blanchard et al. 2017)",
    by_rows: false,
    order: Order::Ties,
    least: |settings| 2 * settings.byzantine as usize + 3,
    withstands: |settings, _| settings.byzantine as usize,
    numbers: |settings| format!(" with byzantine {}", settings.byzantine),
    bytes: |parameters, replicas| {
        let distances = replicas.saturating_mul(replicas).saturating_mul(size_of::<f64>());
        changes::bytes(parameters, replicas).saturating_add(distances)
    },
    make: |settings| Box::new(MultiKrum(Changes::new(settings))),
};

/// The mean, whatever their rows, of the `m = n - f` changes with the lowest scores, of `n` changes of which `f`, the
/// setting `byzantine`, may be anything. A change's score is the sum of the squares of its distances to the `n - f - 2`
/// others that are closest to it. Of equal scores the change that came first is taken. Needs `n >= 2 f + 3`.
struct MultiKrum(Changes);

impl Fold for MultiKrum {
    fn add(&mut self, change: Mlp<f32>, rows: u64) -> Result<(), ModelError> {
        self.0.add(change, rows)
    }

    fn finish(self: Box<Self>) -> Result<Mlp<f64>, ModelError> {
        let changes = self.0;
        let mut fold = changes.zeros()?;
        let (replicas, bad) = (changes.replicas(), changes.settings().byzantine as usize);
        let scores = scores(&changes, &mut fold, replicas - bad - 2);
        let mut chosen: Vec<usize> = (0..replicas).collect();
        chosen.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        chosen.truncate(replicas - bad);
        // Summed in the order of the replicas, as all folds do.
        chosen.sort_unstable();
        changes.for_each_block(&mut fold, |fold, changes| {
            for &place in &chosen {
                fold.iter_mut().zip(changes[place]).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            fold.iter_mut().for_each(|sum| *sum /= chosen.len() as f64);
        });
        changes.into_model(fold)
    }
}

/// Each change's sum of squared distances to the `neighbours` others that are closest to it; leaves `zeros` as they are.
fn scores(changes: &Changes, zeros: &mut [f64], neighbours: usize) -> Vec<f64> {
    let replicas = changes.replicas();
    let mut squares = vec![0.0; replicas * replicas];
    let mut wide = vec![[0.0; BLOCK]; replicas];
    changes.for_each_block(zeros, |block, changes| {
        for (wide, change) in wide.iter_mut().zip(changes) {
            wide.iter_mut().zip(*change).for_each(|(to, &from)| *to = f64::from(from));
        }
        for a in 0..replicas {
            for b in 0..a {
                squares[a * replicas + b] += squared_distance(&wide[a][..block.len()], &wide[b][..block.len()]);
            }
        }
    });
    let score = |a: usize| {
        let others = (0..replicas).filter(|&b| b != a);
        let mut squares: Vec<f64> = others.map(|b| squares[a.max(b) * replicas + a.min(b)]).collect();
        squares.sort_by(f64::total_cmp);
        squares.iter().take(neighbours).sum()
    };
    (0..replicas).map(score).collect()
}
