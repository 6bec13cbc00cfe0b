//! Owns the tuning of random forests: settings are scikit-learn's, steps are trees. A rung grows all of its trees anew: the first
//! ones are those of the rung before, since each tree's random numbers are its own.

use super::super::metric::Score;
use super::super::stock::Stock;
use super::{Fit, Fitted, Learner, LearnerRow, ParameterRow, Settings, Size, Takes, Trouble, Wanted};
use crate::jobs::JobError;
use crate::jobs::tuning::Setting;
use crate::model::ModelError;
use crate::model::forest::{Forest, ForestSettings, MAX_TREES, MaxFeatures};
use std::collections::BTreeMap;

const fn parameter(name: &'static str, about: &'static str) -> ParameterRow {
    ParameterRow { name, alias: "", about }
}

pub(super) const ROW: LearnerRow = LearnerRow {
    name: "forest",
    about: "a random forest, with scikit-learn's names and defaults; for labels",
    parameters: &[
        parameter("n_estimators", "how many trees [default: 100]"),
        parameter("max_depth", "how deep they grow, or none [default: none]"),
        parameter("ccp_alpha", "branches that lower the impurity by less for a leaf are cut off [default: 0]"),
        parameter(
            "max_features",
            "features looked at for a split: sqrt, log2, all, a number or a share [default: sqrt]",
        ),
        parameter("min_samples_split", "nodes of fewer rows are leaves [default: 2]"),
        parameter("min_samples_leaf", "no leaf has fewer rows [default: 1]"),
        parameter("bootstrap", "whether each tree draws its rows with replacement [default: true]"),
    ],
    takes: Takes::Classes,
    make,
};

fn make(settings: &Settings<'_>) -> Result<Box<dyn Learner>, JobError> {
    let usual = ForestSettings::default();
    let share = |share: f64| (share > 0.0 && share <= 1.0).then_some(MaxFeatures::Share(share));
    let features =
        settings.any("max_features", "sqrt, log2, all, a whole number above 0 or a share up to 1", |setting| {
            match setting {
                Setting::Text(text) => match text.as_str() {
                    "sqrt" => Some(MaxFeatures::Sqrt),
                    "log2" => Some(MaxFeatures::Log2),
                    "all" | "none" => Some(MaxFeatures::All),
                    _ => None,
                },
                Setting::Whole(count) => {
                    u32::try_from(*count).ok().filter(|count| *count > 0).map(MaxFeatures::Count)
                }
                Setting::Number(number) => share(*number),
                Setting::Switch(_) => None,
            }
        })?;
    let settings = ForestSettings {
        n_estimators: settings.whole("n_estimators", 1..=MAX_TREES)?.unwrap_or(usual.n_estimators),
        max_depth: settings.whole_or("max_depth", "none", 1..=u32::MAX)?.unwrap_or(usual.max_depth),
        ccp_alpha: settings.number("ccp_alpha")?.unwrap_or(usual.ccp_alpha),
        max_features: features.unwrap_or(usual.max_features),
        min_samples_split: settings.whole("min_samples_split", 2..=u32::MAX)?.unwrap_or(usual.min_samples_split),
        min_samples_leaf: settings.whole("min_samples_leaf", 1..=u32::MAX)?.unwrap_or(usual.min_samples_leaf),
        bootstrap: settings.switch("bootstrap")?.unwrap_or(usual.bootstrap),
    };
    settings.check()?;
    Ok(Box::new(Trees(settings)))
}

struct Trees(ForestSettings);

impl Trees {
    fn fitted(&self, stock: &Stock, fit: &Fit<'_>) -> Result<Fitted, ModelError> {
        let told = ModelError::Encoding;
        let (binned, cut) = (stock.binned().map_err(told)?, stock.cut(fit.fold).map_err(told)?);
        let trees = fit.ends.last().copied().unwrap_or(self.0.n_estimators);
        let settings = ForestSettings { n_estimators: trees, ..self.0.clone() };
        let forest = Forest::fit(&binned, &cut.learnt_rows(), &settings, fit.seed, fit.keep_going)?;
        if let Some(rows) = cut.measured_rows() {
            let (error, loss) = forest.error_on_binned(&binned, rows)?;
            let score = Score { error, loss };
            return Ok(Fitted { score, training_error: None, bytes: Vec::new(), model: None });
        }
        let measured = forest.measure(&*cut.held_out().map_err(told)?)?;
        let score = Score { error: measured.error, loss: measured.loss };
        let Wanted::Model(names) = fit.wanted else {
            return Ok(Fitted { score, training_error: None, bytes: Vec::new(), model: None });
        };
        let forest = forest.with_names(names.to_vec())?;
        let notes = BTreeMap::from([("validation_error".to_owned(), measured.error.to_string())]);
        let (bytes, digest) = (forest.to_safetensors(&notes)?, forest.digest());
        Ok(Fitted { score, training_error: None, bytes, model: Some((measured, digest)) })
    }
}

impl Learner for Trees {
    fn steps(&self) -> u32 {
        self.0.n_estimators
    }

    fn cost(&self, size: &Size) -> f64 {
        let rows = size.rows as f64;
        let looked_at = self.0.max_features.of(size.columns) as f64;
        // Each level of a tree looks at all rows; unlimited trees of labels are about 1.5 times as deep as they must be.
        let depth = 1.5 * rows.max(2.0).log2();
        let depth = self.0.max_depth.map_or(depth, |most| depth.min(f64::from(most)));
        // Deeper levels have fewer rows that are not in leaves yet, but cost as much by their many nodes.
        8.0 * rows * (looked_at + 1.0) * depth * f64::from(self.0.n_estimators)
    }

    fn bytes(&self, size: &Size) -> usize {
        // At most a leaf for each row, a few classes each; in practice far fewer.
        (size.rows as usize).saturating_mul(16).saturating_mul(self.0.n_estimators as usize)
    }

    fn fit(&self, stock: Option<&Stock>, fit: &Fit<'_>) -> Result<Fitted, Trouble> {
        let stock = stock.ok_or_else(|| Trouble::Failed("there are no rows to learn from".to_owned()))?;
        self.fitted(stock, fit).map_err(|e| match e {
            ModelError::InterruptedInTree { .. } => Trouble::Stopped,
            other => Trouble::Failed(other.to_string()),
        })
    }
}
