//! Owns what a file says of its model besides the weights: one JSON text, under the name `roundtable` in each format.

use super::super::activation::Activation;
use super::super::error::ModelError;
use super::super::form::{Form, Model, Output};
use super::super::mlp::Mlp;
use super::arrays::wrong;
use crate::data::Scaling;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest text that is written or read: enough for the names of 65,536 classes.
pub(in crate::model) const MAX_TEXT: usize = 4 << 20;

/// The text's form. What is not known here might change what the model means, so it is refused.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(default)]
    activation: Activation,
    /// The names of the classes, in the order of the outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    /// Only if the output is a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<ValueScaling>,
    /// Only in formats whose arrays are not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<InputScaling>,
    #[serde(default)]
    notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueScaling {
    mean: f64,
    deviation: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputScaling {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

/// The text for a model, with or without the scaling of its inputs. The same model gives the same text.
pub(super) fn write(model: &Model, with_inputs: bool) -> String {
    let Model { form, notes, .. } = model;
    let mut description =
        Description { activation: form.activation, notes: notes.clone(), ..Description::default() };
    match &form.output {
        Output::Classes(names) => description.classes = names.clone(),
        &Output::Value { mean, deviation } => description.value = Some(ValueScaling { mean, deviation }),
    }
    let inputs = |scaling: &Scaling| InputScaling {
        mean: scaling.mean().to_vec(),
        deviation: scaling.deviation().to_vec(),
    };
    description.inputs = form.inputs.as_ref().filter(|_| with_inputs).map(inputs);
    // Strings and numbers always have a JSON form.
    serde_json::to_string(&description).unwrap_or_default()
}

/// Reads a text: a model's form with the scaling of its inputs, if the text has it, and its notes.
pub(super) fn read(text: &str) -> Result<(Form, BTreeMap<String, String>), ModelError> {
    if text.len() > MAX_TEXT {
        return Err(wrong(format!("its description has {} bytes; at most {MAX_TEXT} are read", text.len())));
    }
    let Description { activation, classes, value, inputs, notes } = serde_json::from_str(text)
        .map_err(|e| wrong(format!("its description (`roundtable`): {e}; was it written by a newer version?")))?;
    let output = match value {
        None => Output::Classes(classes),
        Some(_) if !classes.is_empty() => {
            return Err(wrong("its description has classes and a value; one of them"));
        }
        Some(ValueScaling { mean, deviation }) => Output::Value { mean, deviation },
    };
    let scaling = |InputScaling { mean, deviation }| {
        Scaling::new(mean, deviation)
            .ok_or_else(|| wrong("its description: `inputs` must be equally long and finite, deviations above 0"))
    };
    Ok((Form { activation, inputs: inputs.map(scaling).transpose()?, output }, notes))
}

/// The model of these parts, which must fit together.
pub(super) fn join(weights: Mlp<f32>, form: Form, notes: BTreeMap<String, String>) -> Result<Model, ModelError> {
    let model = Model { weights, form, notes };
    model.check()?;
    Ok(model)
}
