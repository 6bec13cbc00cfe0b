//! Owns the tuning of networks: settings as those of training, steps are epochs, and each rung goes on from the weights of the
//! one before.

use super::super::metric::Score;
use super::super::stock::{Cut, Stock};
use super::{Fit, Fitted, Learner, LearnerRow, ParameterRow, Settings, Size, Takes, Trouble, Wanted};
use crate::jobs::JobError;
use crate::model::{self, Form, Init, Learned, Learning, Method, Mlp, Model, ModelError, Output, Place, Shape};
use crate::model::{Activation, OPTIMIZERS, OptimizerSettings, SCHEDULES, Schedule};
use std::collections::BTreeMap;

const fn parameter(name: &'static str, alias: &'static str, about: &'static str) -> ParameterRow {
    ParameterRow { name, alias, about }
}

pub(super) const ROW: LearnerRow = LearnerRow {
    name: "mlp",
    about: "our network, as `client` trains it with --optimizer",
    parameters: &[
        parameter("h", "hidden", "units of the hidden layers: 64, or 256x128 for two [default: 64]"),
        parameter("eta", "", "the learning rate [default: 0.001]"),
        parameter("epochs", "", "passes over the rows [default: 10]"),
        parameter("batch_size", "", "rows of a step, or full [default: 64]"),
        parameter("optimizer", "", "sgd, momentum, nesterov, adam, adamw [default: adam]"),
        parameter("activation", "", "relu, tanh, gelu [default: relu]"),
        parameter("init", "", "small, he, glorot [default: as suits the activation]"),
        parameter("standardize", "", "whether features are standardised [default: false]"),
        parameter("shuffle", "", "whether each epoch has a new order [default: true]"),
        parameter("schedule", "", "constant, cosine, one-cycle [default: constant]"),
        parameter("warmup", "", "the share in which the rate grows to its height [default: 0]"),
        parameter("momentum", "", "of momentum and nesterov [default: 0.9]"),
        parameter("beta1", "", "of adam and adamw [default: 0.9]"),
        parameter("beta2", "", "of adam and adamw [default: 0.999]"),
        parameter("epsilon", "", "of adam and adamw [default: 1e-8]"),
        parameter("weight_decay", "", "the L2 penalty; decoupled with adamw [default: 0]"),
        parameter("clip_norm", "", "gradients with a greater norm are scaled down to this [default: none]"),
        parameter("dropout", "", "the share of hidden units left out of a row's step [default: 0]"),
        parameter("label_smoothing", "", "the share of a label's weight that all classes get [default: 0]"),
    ],
    takes: Takes::Rows,
    make,
};

struct Network {
    hidden: Vec<usize>,
    activation: Activation,
    init: Init,
    standardize: bool,
    learning: Learning,
}

fn make(settings: &Settings<'_>) -> Result<Box<dyn Learner>, JobError> {
    let names = |rows: &mut dyn Iterator<Item = &'static str>| rows.map(|name| (name, name)).collect::<Vec<_>>();
    let optimizers = names(&mut OPTIMIZERS.iter().map(|row| row.name));
    let schedules = names(&mut SCHEDULES.iter().map(|row| row.name));
    let customary = OptimizerSettings::named(settings.one_of("optimizer", &optimizers)?.unwrap_or("adam"));
    let activation = settings.one_of("activation", &Activation::ALL)?.unwrap_or_default();
    let init = settings.one_of("init", &[("small", Init::Small), ("he", Init::He), ("glorot", Init::Glorot)])?;
    let hidden =
        settings.any("h", "units from 1 to 65536 of up to 16 layers, such as 64 or 256x128", |setting| {
            let units = |word: &str| word.trim().parse().ok().filter(|units| (1..=65_536).contains(units));
            let layers: Option<Vec<usize>> = setting.to_string().split('x').map(units).collect();
            layers.filter(|layers| layers.len() <= 16)
        })?;
    let learning = Learning {
        epochs: settings.whole("epochs", 1..=1_000_000)?.unwrap_or(10),
        eta: settings.number("eta")?.unwrap_or(1e-3),
        method: Method {
            batch_size: settings.whole_or("batch_size", "full", 1..=1 << 24)?.unwrap_or(Some(64)),
            shuffle: settings.switch("shuffle")?.unwrap_or(true),
            schedule: Schedule {
                name: settings.one_of("schedule", &schedules)?.unwrap_or("constant").to_owned(),
                warmup: settings.number("warmup")?.unwrap_or(0.0),
            },
            optimizer: OptimizerSettings {
                momentum: settings.number("momentum")?.unwrap_or(customary.momentum),
                beta1: settings.number("beta1")?.unwrap_or(customary.beta1),
                beta2: settings.number("beta2")?.unwrap_or(customary.beta2),
                epsilon: settings.number("epsilon")?.unwrap_or(customary.epsilon),
                ..customary
            },
            weight_decay: settings.number("weight_decay")?.unwrap_or(0.0),
            clip_norm: settings.number("clip_norm")?,
            dropout: settings.number("dropout")?.unwrap_or(0.0),
            label_smoothing: settings.number("label_smoothing")?.unwrap_or(0.0),
            proximal: 0.0,
        },
    };
    learning.check()?;
    Ok(Box::new(Network {
        hidden: hidden.unwrap_or_else(|| vec![64]),
        activation,
        init: init.unwrap_or(match activation {
            Activation::Tanh => Init::Glorot,
            Activation::Relu | Activation::Gelu => Init::He,
        }),
        standardize: settings.switch("standardize")?.unwrap_or(false),
        learning,
    }))
}

impl Network {
    fn shape(&self, columns: usize, classes: usize) -> Result<Shape, ModelError> {
        Shape::new([&[columns], self.hidden.as_slice(), &[classes.max(1)]].concat())
    }

    /// The model before its first step.
    fn first(&self, stock: &Stock, cut: &Cut, seed: u64) -> Result<Model, ModelError> {
        let shape = self.shape(stock.columns(), stock.classes())?;
        let output = match cut.values() {
            None => Output::Classes(Vec::new()),
            Some((mean, deviation)) => Output::Value { mean, deviation },
        };
        let inputs = if self.standardize { cut.scaling().cloned() } else { None };
        let form = Form { activation: self.activation, inputs, output };
        Ok(Model { weights: Mlp::init_by(&shape, seed, self.init), form, notes: BTreeMap::new() })
    }

    fn learn(&self, model: &mut Model, cut: &Cut, fit: &Fit<'_>) -> Result<Learned, ModelError> {
        let mut learned = Learned { loss: 0.0, error: 0.0, steps: 0 };
        let share = |steps: u32| f64::from(steps) / f64::from(fit.steps);
        for (rung, &end) in fit.ends.iter().enumerate().skip(fit.first) {
            let begin = rung.checked_sub(1).and_then(|before| fit.ends.get(before)).copied().unwrap_or(0);
            let how = Learning { epochs: end.saturating_sub(begin), ..self.learning.clone() };
            let stream = u64::from(fit.fold.map_or(0, |fold| fold + 1)) << 32 | rung as u64;
            let place = Place { from: share(begin), to: share(end), seed: fit.seed, stream };
            learned = model::learn(&mut model.weights, &model.form, cut.learnt(), &how, &place, fit.keep_going)?;
        }
        Ok(learned)
    }

    fn fitted(&self, stock: &Stock, fit: &Fit<'_>) -> Result<Fitted, ModelError> {
        let cut = stock.cut(fit.fold).map_err(ModelError::Encoding)?;
        let mut model = self.first(stock, &cut, fit.seed)?;
        if let Some(start) = fit.start.filter(|_| fit.first > 0) {
            let (weights, _) = Mlp::from_safetensors(start.bytes())?;
            if weights.shape() != model.weights.shape() {
                return Err(ModelError::ShapesDiffer { left: weights.shape(), right: model.weights.shape() });
            }
            model.weights = weights;
        }
        let learned = self.learn(&mut model, &cut, fit)?;
        let held_out = cut.held_out().map_err(ModelError::Encoding)?;
        let measured = model::measure(&model, &held_out)?;
        let score = Score { error: measured.error, loss: measured.loss };
        let (bytes, told) = match fit.wanted {
            Wanted::Score => (Vec::new(), None),
            Wanted::State => (model.weights.to_safetensors(None), None),
            Wanted::Model(names) => {
                let digest = model.weights.digest();
                if let Output::Classes(classes) = &mut model.form.output {
                    *classes = names.to_vec();
                }
                model.notes.insert("validation_error".to_owned(), measured.error.to_string());
                (model.to_safetensors(), Some((measured, digest)))
            }
        };
        Ok(Fitted { score, training_error: Some(learned.error), bytes, model: told })
    }
}

impl Learner for Network {
    fn check_for(&self, size: &Size) -> Result<(), JobError> {
        self.shape(size.columns, size.classes)?;
        if size.classes == 0 && self.learning.method.label_smoothing > 0.0 {
            return Err(JobError::Needs { what: "label smoothing", needs: "classes to learn, not values" });
        }
        Ok(())
    }

    fn steps(&self) -> u32 {
        self.learning.epochs
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn cost(&self, size: &Size) -> f64 {
        let parameters = self.shape(size.columns, size.classes).map_or(1, |shape| shape.parameters());
        // Forward, backward, gradient: two operations each for a weight and a row; and a step for each batch.
        let batch = self.learning.method.batch_size.map_or(1e9, f64::from);
        let of_row = 6.0 * parameters as f64 + 30.0 * parameters as f64 / batch + 2_000.0;
        of_row * size.rows as f64 * f64::from(self.learning.epochs)
    }

    fn bytes(&self, size: &Size) -> usize {
        self.shape(size.columns, size.classes).map_or(0, |shape| shape.parameters() * 4 + 4096)
    }

    fn fit(&self, stock: Option<&Stock>, fit: &Fit<'_>) -> Result<Fitted, Trouble> {
        let stock = stock.ok_or_else(|| Trouble::Failed("there are no rows to learn from".to_owned()))?;
        self.fitted(stock, fit).map_err(|e| match e {
            ModelError::Interrupted { .. } => Trouble::Stopped,
            other => Trouble::Failed(other.to_string()),
        })
    }
}
