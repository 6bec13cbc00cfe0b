//! Owns a learner's change as JSON: how it is read, and what fits a model.

use super::refusal::Refusal;
use crate::model::Model;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// Lists inside lists.
const DEEPEST: usize = 8;

/// A part of a model that is learnt.
pub(super) struct Tensor {
    /// As in its files.
    pub(super) name: String,
    /// Sizes, the outermost first.
    pub(super) shape: Vec<usize>,
}

/// What is learnt of a model, in the order in which changes are given: each layer's weights (outputs x inputs), then its
/// biases (outputs).
pub(super) fn tensors(model: &Model) -> impl Iterator<Item = Tensor> {
    model.weights.layers().iter().enumerate().flat_map(|(layer, matrix)| {
        let (inputs, outputs) = (matrix.nrows() - 1, matrix.ncols());
        let weight = Tensor { name: format!("layers.{layer}.weight"), shape: vec![outputs, inputs] };
        [weight, Tensor { name: format!("layers.{layer}.bias"), shape: vec![outputs] }]
    })
}

/// The body of `POST /`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// After minus before, in the order of [`tensors`].
    pub(super) parameters: Vec<Numbers>,
    /// The version that it started from.
    #[serde(default)]
    pub(super) update: Option<u64>,
    /// The learner's own name for it.
    #[serde(default)]
    pub(super) id: Option<String>,
    /// From how many rows it was learnt.
    #[serde(default)]
    pub(super) rows: Option<u64>,
}

/// Numbers in lists, row by row.
#[derive(Debug)]
pub(super) struct Numbers(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        de::DeserializeSeed::deserialize(Into { numbers: &mut numbers, depth: 0 }, deserializer)?;
        Ok(Self(numbers))
    }
}

/// Where numbers are collected.
struct Into<'n> {
    numbers: &'n mut Vec<f32>,
    depth: usize,
}

impl<'de> de::DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.depth == 0 { "a list of numbers" } else { "a number or a list of numbers" })
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        if self.depth == 0 {
            return Err(E::invalid_type(de::Unexpected::Float(value), &self));
        }
        // One that is too large is told later, by its place.
        self.numbers.push(value as f32);
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(E::invalid_value(de::Unexpected::Other("null (which some programs write for NaN)"), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == DEEPEST {
            return Err(de::Error::custom("the lists of parameters are too deep"));
        }
        while list.next_element_seed(Into { numbers: self.numbers, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }
}

impl Change {
    /// Reads a body that is to fit a model.
    pub(super) fn read(body: &[u8], model: &Model) -> Result<Self, Refusal> {
        let change: Self = serde_json::from_slice(body).map_err(|e| unreadable(&e, body))?;
        change.check(model)?;
        Ok(change)
    }

    fn check(&self, model: &Model) -> Result<(), Refusal> {
        let expected: Vec<Tensor> = tensors(model).collect();
        if self.parameters.len() != expected.len() {
            let names: Vec<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
            return Err(wrong(format!(
                "parameters has {} lists, but the model has {}: {}",
                self.parameters.len(),
                expected.len(),
                names.join(", ")
            )));
        }
        for (place, (Numbers(numbers), Tensor { name, shape })) in
            self.parameters.iter().zip(&expected).enumerate()
        {
            if numbers.len() != shape.iter().product::<usize>() {
                let got = numbers.len();
                return Err(wrong(format!(
                    "parameters[{place}] has {got} numbers, but {name} has the shape {shape:?}"
                )));
            }
            if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
                let what = "is beyond what 32 bits hold";
                return Err(wrong(format!("number {at} (from 0) of parameters[{place}], {name}, {what}")));
            }
        }
        Ok(())
    }
}

/// The body is JSON of something else.
fn wrong(what: String) -> Refusal {
    let advice = "give the change (after minus before) of each tensor of GET / in its order, each as a list of numbers, \
                  row by row";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, what, advice)
}

fn unreadable(error: &serde_json::Error, body: &[u8]) -> Refusal {
    let said = error.to_string();
    let no_number = ["NaN", "Infinity"].into_iter().find(|word| is_near(word.as_bytes(), error, body));
    if let Some(word) = no_number {
        let (line, column) = (error.line(), error.column());
        return wrong(format!("there is {word} among the numbers, at line {line} column {column}"));
    }
    match error.classify() {
        serde_json::error::Category::Data => wrong(format!("the body does not say a change: {said}")),
        _ if said.starts_with("number out of range") => wrong(said),
        _ => {
            let advice = "send {\"parameters\": [[...], ...], \"update\": n} as GET /openapi.json has it";
            Refusal::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {said}"), advice)
        }
    }
}

/// Whether an error is about this word.
fn is_near(word: &[u8], error: &serde_json::Error, body: &[u8]) -> bool {
    let line = body.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let from = error.column().saturating_sub(2).min(line.len());
    let to = (from + word.len() + 2).min(line.len());
    line[from..to].windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Form, Mlp, Shape};
    use axum::response::IntoResponse;
    use proptest::prelude::*;

    fn model() -> Model {
        let weights = Mlp::init(&Shape::new([3, 2]).unwrap(), 1);
        Model { weights, form: Form::default(), notes: Default::default() }
    }

    fn read(body: &str) -> Result<Change, (u16, String)> {
        let told = |refusal: Refusal| (refusal.clone().into_response().status().as_u16(), format!("{refusal:?}"));
        Change::read(body.as_bytes(), &model()).map_err(told)
    }

    #[test]
    fn lists_are_read_row_by_row_however_they_are_nested() {
        let flat = read(r#"{"parameters": [[1, 2, 3, 4.5, -5, 6e-1], [7, 8]], "update": 3}"#).unwrap();
        let nested =
            read(r#"{"parameters": [[[1, 2, 3], [4.5, -5, 0.6]], [[7], [8]]], "id": "a", "rows": 4}"#).unwrap();
        for change in [&flat, &nested] {
            assert_eq!(change.parameters[0].0, [1.0, 2.0, 3.0, 4.5, -5.0, 0.6]);
            assert_eq!(change.parameters[1].0, [7.0, 8.0]);
        }
        assert_eq!((flat.update, flat.id, flat.rows), (Some(3), None, None));
        assert_eq!((nested.update, nested.id.as_deref(), nested.rows), (None, Some("a"), Some(4)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            (
                r#"{"parameters": [[1,2,3,4,5,6]]}"#,
                422,
                "has 1 lists, but the model has 2: layers.0.weight, layers",
            ),
            (r#"{"parameters": [[1,2,3,4,5], [7,8]]}"#, 422, "parameters[0] has 5 numbers, but layers.0.weight"),
            (
                r#"{"parameters": [[1,2,3,4,5,6], [7,1e39]]}"#,
                422,
                "number 1 (from 0) of parameters[1], layers.0.bias",
            ),
            (r#"{"parameters": [[1,2,3,4,5,1e999], [7,8]]}"#, 422, "number out of range"),
            (r#"{"parameters": [[1,2,3,NaN,5,6], [7,8]]}"#, 422, "there is NaN among the numbers, at line 1"),
            ("{\"parameters\":\n [[1,2,3, -Infinity,5,6], [7,8]]}", 422, "there is Infinity among"),
            (r#"{"parameters": [[1,2,3,null,5,6], [7,8]]}"#, 422, "null"),
            (r#"{"parameters": [1,2]}"#, 422, "a list of numbers"),
            (r#"{"parameters": [["1"],[2]]}"#, 422, "invalid type"),
            (r#"{"parameters": [[[[[[[[[[1]]]]]]]]]]}"#, 422, "too deep"),
            (r#"{"weights": []}"#, 422, "unknown field `weights`"),
            (r#"{}"#, 422, "missing field `parameters`"),
            (r#"{"parameters": [[], []], "update": -1}"#, 422, "integer `-1`"),
            (r#"{"parameters": [[1,2"#, 400, "no JSON"),
            ("", 400, "no JSON"),
        ];
        for (body, status, part) in cases {
            let (is, says) = read(body).unwrap_err();
            assert!(is == status && says.contains(part), "{body}: {is} {says}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60, to: u8) {
            let _ = Change::read(&body, &model());
            let mut near = br#"{"parameters": [[1,2,3,NaN,5,6], [7,8]], "id": "x"}"#.to_vec();
            let length = near.len();
            near[cut % length] = to;
            let _ = Change::read(&near, &model());
            let _ = Change::read(&near[..cut.min(length)], &model());
        }
    }
}
