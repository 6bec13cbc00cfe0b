//! Owns what a client asks of an inference job, and what the coordinator makes of it once it has seen the model.

use crate::jobs::JobError;
use crate::predictor::Card;
use serde::{Deserialize, Serialize};

/// The most queries of a batch.
pub const MOST_IN_BATCH: u32 = 1 << 20;
/// The best classes of a query that are told if nothing else was said: of a picture, and of a row.
const USUAL_TOP: [u32; 2] = [5, 1];
/// Queries of a batch if nothing else was said: of pictures, and of rows.
const USUAL_BATCH: [u32; 2] = [8, 16_384];

/// What a client asks for: the parameters of a request of kind "infer".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceOrder {
    /// The model's name in the store.
    pub model: String,
    /// Queries of a batch, at most 1,048,576; without it as was set for the model, or 8 pictures, or 16,384 rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Batches may grow up to this, and shrink to `batch_size`, so that they take `latency_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_batch: Option<u32>,
    /// Seconds that a batch is to take on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_s: Option<f64>,
    /// Only so many of the queries, from the first on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many of the best classes of a query are told; without it 5 of a picture and 1 of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<u32>,
}

impl InferenceOrder {
    /// Says what is wrong with it, if anything is.
    ///
    /// # Errors
    /// A number out of its range, or one that makes no sense without another.
    pub fn check(&self) -> Result<(), JobError> {
        let sizes = [("batch_size", self.batch_size), ("largest_batch", self.largest_batch)];
        for (field, size) in sizes {
            within(field, size.map(u64::from), 1, u64::from(MOST_IN_BATCH))?;
        }
        within("count", self.count, 1, u64::MAX)?;
        within("top", self.top.map(u64::from), 1, u64::from(u32::MAX))?;
        if let Some(seconds) = self.latency_s.filter(|seconds| !(*seconds > 0.0 && *seconds <= 3600.0)) {
            let range = "above 0 and at most 3600".to_owned();
            return Err(JobError::Range { field: "latency_s", value: seconds.to_string(), range });
        }
        match (self.batch_size, self.largest_batch) {
            (_, Some(_)) if self.latency_s.is_none() => {
                Err(JobError::Needs { what: "largest_batch", needs: "latency_s" })
            }
            (_, None) if self.latency_s.is_some() => {
                Err(JobError::Needs { what: "latency_s", needs: "largest_batch, up to which batches may grow" })
            }
            (Some(least), Some(most)) if least > most => {
                let range = format!("at least batch_size, which is {least}");
                Err(JobError::Range { field: "largest_batch", value: most.to_string(), range })
            }
            _ => Ok(()),
        }
    }

    /// What is to be done, for a model of which this is known.
    pub fn with(self, known: ModelFacts, set_for_model: Option<u32>) -> InferenceRequest {
        let of_rows = usize::from(known.takes_rows);
        let outputs = known.labels.len().max(1);
        let top = self.top.unwrap_or(USUAL_TOP[of_rows]).min(u32::try_from(outputs).unwrap_or(u32::MAX));
        let least = self.batch_size.or(set_for_model).unwrap_or(USUAL_BATCH[of_rows]);
        InferenceRequest {
            model: self.model,
            batches: Batches {
                least,
                most: self.largest_batch.unwrap_or(least).max(least),
                latency_s: self.latency_s,
            },
            count: self.count,
            top: if known.labels.is_empty() { 0 } else { top },
            labels: known.labels,
            card: known.card,
            cost: known.cost,
        }
    }
}

fn within(field: &'static str, value: Option<u64>, least: u64, most: u64) -> Result<(), JobError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            let range =
                if most == u64::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
            Err(JobError::Range { field, value: value.to_string(), range })
        }
        _ => Ok(()),
    }
}

/// What is known of a model once it was loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// Whether a query is a row, and not a picture.
    pub takes_rows: bool,
    /// The labels in the order of the outputs; none if it tells values.
    pub labels: Vec<String>,
    /// How pictures become inputs, if the model has a card; its labels are not needed.
    pub card: Option<Card>,
    /// Floating-point operations of a query.
    pub cost: f64,
}

/// What is to be done: the parameters of the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceRequest {
    /// The model's name in the store.
    pub model: String,
    /// How large batches are.
    pub batches: Batches,
    /// Only so many of the queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many of the best classes are told; 0: values are.
    pub top: u32,
    /// The labels in the order of the outputs.
    pub labels: Vec<String>,
    /// How pictures become inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// Floating-point operations of a query.
    pub cost: f64,
}

/// How large batches are: between two bounds, so that each takes about so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batches {
    /// Queries of the smallest.
    pub least: u32,
    /// Queries of the largest.
    pub most: u32,
    /// Seconds that one is to take; without it all have `least` queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_s: Option<f64>,
}

impl Batches {
    /// All of one size.
    pub fn of(queries: u32) -> Self {
        Self { least: queries, most: queries, latency_s: None }
    }

    /// Queries of the next batch, where a query has lately taken `query_s` seconds.
    pub fn next(&self, query_s: Option<f64>) -> u32 {
        match (self.latency_s, query_s) {
            (Some(target), Some(query_s)) if query_s > 0.0 => {
                ((target / query_s) as u32).clamp(self.least, self.most)
            }
            _ => self.least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> InferenceOrder {
        serde_json::from_str(text).expect("an order")
    }

    fn facts(labels: usize, takes_rows: bool) -> ModelFacts {
        let labels = (0..labels).map(|label| label.to_string()).collect();
        ModelFacts { takes_rows, labels, card: None, cost: 1.0 }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (r#"{"model": "m", "batch_size": 0}"#, "batch_size is 0, but must be from 1 to 1048576"),
            (r#"{"model": "m", "count": 0}"#, "count is 0, but must be at least 1"),
            (r#"{"model": "m", "largest_batch": 9}"#, "largest_batch needs latency_s"),
            (r#"{"model": "m", "latency_s": 1}"#, "latency_s needs largest_batch, up to which batches may grow"),
            (
                r#"{"model": "m", "latency_s": -1, "largest_batch": 4}"#,
                "latency_s is -1, but must be above 0 and at most 3600",
            ),
            (
                r#"{"model": "m", "latency_s": 1, "batch_size": 9, "largest_batch": 4}"#,
                "largest_batch is 4, but must be at least batch_size, which is 9",
            ),
        ] {
            assert_eq!(order(text).check().expect_err(text).to_string(), message);
        }
        assert!(serde_json::from_str::<InferenceOrder>(r#"{"model": "m", "bach_size": 1}"#).is_err());
    }

    #[test]
    fn what_was_not_said_is_as_usual_or_as_set_for_the_model() {
        let usual = order(r#"{"model": "m"}"#);
        usual.check().expect("good");
        let pictures = usual.clone().with(facts(1000, false), None);
        assert_eq!((pictures.top, pictures.batches), (5, Batches::of(8)));
        assert_eq!(usual.clone().with(facts(3, false), Some(2)).top, 3);
        assert_eq!(usual.clone().with(facts(3, false), Some(2)).batches, Batches::of(2));
        assert_eq!(usual.clone().with(facts(26, true), None).batches, Batches::of(16_384));
        assert_eq!(usual.with(facts(0, true), None).top, 0, "values have no classes");
    }

    #[test]
    fn batches_follow_the_latency_within_their_bounds() {
        let batches = Batches { least: 2, most: 32, latency_s: Some(0.1) };
        assert_eq!([None, Some(0.01), Some(0.0001), Some(9.0)].map(|query| batches.next(query)), [2, 10, 32, 2]);
    }
}
