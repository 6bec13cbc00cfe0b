//! Owns what a model is besides its weights: how rows go in, what happens between the layers, what comes out.

use super::activation::Activation;
use super::error::ModelError;
use super::mlp::Mlp;
use crate::data::Scaling;
use std::collections::BTreeMap;

/// All of a model but its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// Between the layers.
    pub activation: Activation,
    /// Features are standardised by this before they go in; none: they go in as they are.
    pub inputs: Option<Scaling>,
    /// What the last layer's outputs mean.
    pub output: Output,
}

/// What the last layer's outputs mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A logit per class, and the names of the classes in the order of the outputs; empty if nobody told them.
    Classes(Vec<String>),
    /// One number `y`, which stands for the value `y * deviation + mean`.
    Value {
        /// The mean of the values learnt from; 0 if they were not standardised.
        mean: f64,
        /// Their deviation, above 0; 1 if they were not standardised.
        deviation: f64,
    },
}

impl Default for Form {
    /// As the original system has it: raw features, ReLU, classes without names.
    fn default() -> Self {
        Self { activation: Activation::Relu, inputs: None, output: Output::Classes(Vec::new()) }
    }
}

/// A model with all that is needed to use it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its weights.
    pub weights: Mlp<f32>,
    /// How they are used.
    pub form: Form,
    /// Anything worth telling: how it was trained, say. Never looked at by a program.
    pub notes: BTreeMap<String, String>,
}

impl Model {
    /// How many classes it tells apart; 0 if it says a value.
    pub fn classes(&self) -> usize {
        match self.form.output {
            Output::Classes(_) => self.weights.outputs(),
            Output::Value { .. } => 0,
        }
    }

    /// Fails unless the parts fit together, and says which do not.
    ///
    /// # Errors
    /// The names are not as many as the outputs, a value comes of more than one output, the scaling is of another
    /// number of features, or a mean or deviation is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        let unfit = |what: String| Err(ModelError::Form(what));
        let (inputs, outputs) = (self.weights.inputs(), self.weights.outputs());
        match self.form.inputs.as_ref().map(|scaling| scaling.mean().len()) {
            Some(features) if features != inputs => {
                return unfit(format!("features are standardised {features} at a time, but it takes {inputs}"));
            }
            _ => {}
        }
        match &self.form.output {
            Output::Classes(names) if !names.is_empty() && names.len() != outputs => {
                unfit(format!("it names {} classes for {outputs} outputs", names.len()))
            }
            Output::Classes(_) => Ok(()),
            Output::Value { .. } if outputs != 1 => unfit(format!("a value comes of 1 output, it has {outputs}")),
            &Output::Value { mean, deviation } => {
                let good = mean.is_finite() && deviation.is_finite() && deviation > 0.0;
                let what =
                    || format!("a value with mean {mean} and deviation {deviation}; finite, deviation above 0");
                if good { Ok(()) } else { unfit(what()) }
            }
        }
    }
}
