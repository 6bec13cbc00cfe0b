//! Owns how well a model does on labelled rows: errors, loss, who is taken for whom, and whether its probabilities hold.

use super::error::ModelError;
use super::form::{Model, Output};
use super::kernels::BLOCK;
use super::loss::LogProduct;
use super::predict::{each_block, greatest, network, softmax};
use crate::data::{Dataset, Targets};
use serde::{Deserialize, Serialize};

/// The bins of the calibration error: Guo et al. 2017, "On Calibration of Modern Neural Networks".
const BINS: usize = 15;

/// How well a model does on some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How many rows there were.
    pub rows: u64,
    /// The share of the rows that are given a wrong class, from 0 to 1; for values the root of the mean squared error, in
    /// the values' own unit.
    #[serde(with = "crate::types::exact")]
    pub error: f64,
    /// The mean over the rows of minus the natural logarithm of the right class' probability; for values of half the
    /// squared standardised error. Not finite if outputs have left the range of numbers.
    #[serde(with = "crate::types::exact")]
    pub loss: f64,
    /// What else there is to say.
    pub answers: Answers,
}

/// What else there is to say of the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answers {
    /// Of classes.
    Classes {
        /// How often rows of one class were given another or their own, by right and said; none of these is 0.
        confusion: Vec<Confused>,
        /// The mean difference between how sure the model is and how often it is right, in 15 bins of equal width by how
        /// sure it is; from 0 to 1.
        #[serde(with = "crate::types::exact")]
        calibration_error: f64,
    },
    /// Of values, in their own unit.
    Values {
        /// The mean absolute error.
        #[serde(with = "crate::types::exact")]
        mean_absolute_error: f64,
        /// The share of the values' variance that is explained, 1 at best; none if the values are all the same.
        #[serde(with = "crate::types::exact::option")]
        r_squared: Option<f64>,
    },
}

/// Rows of one class that were given one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// The class that they are of.
    pub right: u32,
    /// The class that the model gave them.
    pub said: u32,
    /// How many rows.
    pub rows: u64,
}

impl Measured {
    /// Rows and rightly answered rows of each of `classes` classes; all 0 for values.
    pub fn recalls(&self, classes: usize) -> Vec<(u64, u64)> {
        let mut recalls = vec![(0, 0); classes];
        let Answers::Classes { confusion, .. } = &self.answers else { return recalls };
        for &Confused { right, said, rows } in confusion {
            if let Some((all, found)) = recalls.get_mut(right as usize) {
                *all += rows;
                *found += if right == said { rows } else { 0 };
            }
        }
        recalls
    }
}

/// Takes all rows through the model once, and compares. The same on every machine.
///
/// # Errors
/// The model's parts do not fit together; the data has other features, classes or targets than the model.
pub fn measure(model: &Model, data: &Dataset) -> Result<Measured, ModelError> {
    model.check()?;
    let differs = |what, model, data| Err(ModelError::DataDiffers { what, model, data });
    let weights = &model.weights;
    if weights.inputs() != data.columns() {
        return differs("features", weights.inputs(), data.columns());
    }
    match (&model.form.output, data.targets()) {
        (Output::Classes(_), Targets::Classes { labels, classes }) if *classes == weights.outputs() => {
            measure_classes(model, data, labels)
        }
        (Output::Classes(_), Targets::Classes { classes, .. }) => differs("classes", weights.outputs(), *classes),
        (&Output::Value { mean, deviation }, Targets::Values(values)) => {
            measure_values(model, data, values, (mean, deviation))
        }
        (Output::Classes(_), _) => Err(ModelError::TargetsDiffer { model: "classes", data: "values" }),
        (Output::Value { .. }, _) => Err(ModelError::TargetsDiffer { model: "values", data: "classes" }),
    }
}

fn measure_classes(model: &Model, data: &Dataset, labels: &[u32]) -> Result<Measured, ModelError> {
    let rows = labels.len();
    let mut said = Said::new(rows);
    let mut scratch = vec![0.0; model.weights.outputs()];
    // A row's loss is `ln sum - (logit - most)`; one logarithm is taken for all rows.
    let (mut sums, mut distances) = (LogProduct::ONE, 0.0);
    each_block(
        &mut network(model),
        model.form.inputs.as_ref(),
        rows,
        data.columns(),
        |row| data.row(row),
        |first, done| {
            for (row, &label) in labels[first..rows.min(first + BLOCK)].iter().enumerate() {
                let outputs = done.logits(row);
                let (most, sum) = softmax(outputs, &mut scratch);
                sums.multiply(sum);
                distances += f64::from(most) - f64::from(outputs[label as usize]);
                said.add(label, greatest(outputs), 1.0 / sum);
            }
            // At most 32 factors, each from 1 to 65,536: far from overflow.
            sums.settle();
            Ok(())
        },
    )?;
    Ok(said.measured((sums.ln() + distances) / rows as f64))
}

/// What a model has said of labelled rows.
pub(super) struct Said {
    bins: [Bin; BINS],
    /// Right and said in one number each, so that equal answers stand together when they are sorted.
    pairs: Vec<u64>,
}

impl Said {
    /// Nothing yet, of so many rows.
    pub(super) fn new(rows: usize) -> Self {
        Self { bins: [Bin::default(); BINS], pairs: Vec::with_capacity(rows) }
    }

    /// Adds a row of class `right` that was given the class `said`, of which the model is as sure as `probability`.
    pub(super) fn add(&mut self, right: u32, said: u32, probability: f64) {
        self.bins[bin_of(probability)].add(probability, said == right);
        self.pairs.push(u64::from(right) << 32 | u64::from(said));
    }

    /// What is measured, with this loss.
    pub(super) fn measured(mut self, loss: f64) -> Measured {
        let rows = self.pairs.len();
        self.pairs.sort_unstable();
        let confused = |equal: &[u64]| {
            let pair = equal[0];
            Confused { right: (pair >> 32) as u32, said: pair as u32, rows: equal.len() as u64 }
        };
        let confusion: Vec<Confused> = self.pairs.chunk_by(|a, b| a == b).map(confused).collect();
        let found: u64 = confusion.iter().filter(|pair| pair.right == pair.said).map(|pair| pair.rows).sum();
        let calibration_error = self.bins.iter().map(Bin::distance).sum::<f64>() / rows as f64;
        let answers = Answers::Classes { confusion, calibration_error };
        Measured { rows: rows as u64, error: (rows as u64 - found) as f64 / rows as f64, loss, answers }
    }
}

/// Answers that the model is about equally sure of.
#[derive(Clone, Copy, Default)]
struct Bin {
    /// The sum of the probabilities of what it said.
    sure: f64,
    right: u64,
}

impl Bin {
    fn add(&mut self, probability: f64, right: bool) {
        self.sure += probability;
        self.right += u64::from(right);
    }

    /// How far sureness and truth are apart, times the rows.
    fn distance(&self) -> f64 {
        (self.right as f64 - self.sure).abs()
    }
}

/// The bin of a probability; each takes its upper bound, not its lower. NaN falls in the first.
fn bin_of(probability: f64) -> usize {
    ((probability * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

fn measure_values(
    model: &Model,
    data: &Dataset,
    values: &[f32],
    (mean, deviation): (f64, f64),
) -> Result<Measured, ModelError> {
    let rows = values.len();
    let (mut squares, mut absolutes, mut losses) = (0.0, 0.0, 0.0);
    each_block(
        &mut network(model),
        model.form.inputs.as_ref(),
        rows,
        data.columns(),
        |row| data.row(row),
        |first, done| {
            for (row, &value) in values[first..rows.min(first + BLOCK)].iter().enumerate() {
                let output = f64::from(done.logits(row)[0]);
                let standardised = output - (f64::from(value) - mean) / deviation;
                let error = output * deviation + mean - f64::from(value);
                squares += error * error;
                absolutes += error.abs();
                losses += 0.5 * standardised * standardised;
            }
            Ok(())
        },
    )?;
    let center = values.iter().map(|&value| f64::from(value)).sum::<f64>() / rows as f64;
    let spread: f64 = values.iter().map(|&value| (f64::from(value) - center) * (f64::from(value) - center)).sum();
    Ok(Measured {
        rows: rows as u64,
        error: (squares / rows as f64).sqrt(),
        loss: losses / rows as f64,
        answers: Answers::Values {
            mean_absolute_error: absolutes / rows as f64,
            r_squared: (spread > 0.0).then(|| 1.0 - squares / spread),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Scaling;
    use crate::model::{Form, Init, Mlp, Shape, error_rate, probabilities};
    use ndarray::{Array2, array};
    use std::collections::BTreeMap;

    fn model(shape: &[usize], form: Form) -> Model {
        let weights = Mlp::init_by(&Shape::new(shape).unwrap(), 5, Init::He);
        Model { weights, form, notes: BTreeMap::new() }
    }

    fn features(rows: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, 4), |(row, column)| ((row * 37 + column * 11) % 19) as f32 - 6.0)
    }

    #[test]
    fn classes_are_measured_as_the_probabilities_say() {
        let inputs = Scaling::new(vec![1.0, 2.0, 3.0, 4.0], vec![2.0; 4]);
        for form in [Form::default(), Form { inputs, ..Form::default() }] {
            let model = model(&[4, 8, 3], form);
            let labels: Vec<u32> = (0..501).map(|row| row * row % 3).collect();
            let data = Dataset::new(features(501), labels.clone(), 3).unwrap();
            let measured = measure(&model, &data).unwrap();
            let all = probabilities(&model, data.features().to_array().view()).unwrap();
            let (mut loss, mut bins, mut counts) = (0.0, [[0.0; 2]; 15], BTreeMap::new());
            for (row, &label) in all.rows().into_iter().zip(&labels) {
                loss -= f64::from(row[label as usize]).ln();
                let said = greatest(&row.to_vec());
                let sure = f64::from(row[said as usize]);
                let bin = &mut bins[(0..15).position(|bin| sure <= (bin + 1) as f64 / 15.0).unwrap_or(14)];
                *bin = [bin[0] + sure, bin[1] + f64::from(u8::from(said == label))];
                *counts.entry((label, said)).or_insert(0) += 1;
            }
            let Answers::Classes { confusion, calibration_error } = &measured.answers else { panic!("classes") };
            assert!((measured.loss - loss / 501.0).abs() < 1e-5, "{} {}", measured.loss, loss / 501.0);
            let right: f64 = bins.iter().map(|[sure, right]| (sure - right).abs()).sum::<f64>() / 501.0;
            assert!((calibration_error - right).abs() < 1e-6, "{calibration_error} {right}");
            let counted: Vec<_> =
                counts.into_iter().map(|((right, said), rows)| Confused { right, said, rows }).collect();
            assert_eq!(*confusion, counted);
            let wrong: u64 = confusion.iter().filter(|pair| pair.right != pair.said).map(|pair| pair.rows).sum();
            assert_eq!(measured.error, wrong as f64 / 501.0);
            let recalls = measured.recalls(3);
            assert_eq!(recalls.iter().map(|(all, _)| all).sum::<u64>(), 501);
            assert_eq!(recalls.iter().map(|(_, found)| found).sum::<u64>(), 501 - wrong);
            if model.form == Form::default() {
                assert_eq!(measured.error, error_rate(&model.weights, &data).unwrap());
            }
            let text = serde_json::to_string(&measured).unwrap();
            assert_eq!(serde_json::from_str::<Measured>(&text).unwrap(), measured);
        }
    }

    #[test]
    fn bins_take_their_upper_bound() {
        let cases = [(0.0, 0), (0.01, 0), (0.2, 2), (0.2001, 3), (0.5, 7), (0.999, 14), (1.0, 14), (f64::NAN, 0)];
        for (probability, bin) in cases {
            assert_eq!(bin_of(probability), bin, "{probability}");
        }
    }

    #[test]
    fn values_are_measured_in_their_unit() {
        let output = Output::Value { mean: 10.0, deviation: 2.0 };
        let weights = Mlp::new(vec![array![[1.0_f32], [3.0]]]).unwrap();
        let model = Model { weights, form: Form { output, ..Form::default() }, notes: BTreeMap::new() };
        // It says 12 and 18.
        let data = Dataset::regression(array![[0.0], [1.0]], vec![13.0, 16.0]).unwrap();
        let measured = measure(&model, &data).unwrap();
        assert_eq!(measured.error, 2.5_f64.sqrt());
        assert_eq!(measured.loss, (0.125 + 0.5) / 2.0);
        let answers = Answers::Values { mean_absolute_error: 1.5, r_squared: Some(1.0 - 5.0 / 4.5) };
        assert_eq!(measured.answers, answers);
        let flat = Dataset::regression(array![[0.0], [1.0]], vec![13.0, 13.0]).unwrap();
        let measured = measure(&model, &flat).unwrap();
        assert!(matches!(measured.answers, Answers::Values { r_squared: None, .. }));
        assert_eq!(measured.recalls(2), [(0, 0); 2]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let says = |model: &Model, data: &Dataset| measure(model, data).unwrap_err().to_string();
        let classes = Dataset::new(features(2), vec![0, 1], 2).unwrap();
        let values = Dataset::regression(features(2), vec![0.0, 1.0]).unwrap();
        let of_classes = model(&[4, 3], Form::default());
        let output = Output::Value { mean: 0.0, deviation: 1.0 };
        let of_values = model(&[4, 1], Form { output, ..Form::default() });
        assert_eq!(says(&of_classes, &classes), "the model takes 3 classes, the data has 2");
        assert_eq!(says(&of_classes, &values), "the model gives classes, the data has values");
        assert_eq!(says(&of_values, &classes), "the model gives values, the data has classes");
        let narrow = model(&[3, 3], Form::default());
        assert_eq!(says(&narrow, &classes), "the model takes 3 features, the data has 4");
        let unnamed = Form { output: Output::Classes(vec!["A".into()]), ..Form::default() };
        assert!(says(&model(&[4, 3], unnamed), &classes).contains("1 classes for 3 outputs"));
    }

    #[test]
    fn outputs_out_of_range_panic_nowhere() {
        let weights = Mlp::new(vec![array![[0.0_f32, 0.0], [3e38, 1.0]]]).unwrap();
        let model = Model { weights, form: Form::default(), notes: BTreeMap::new() };
        let data = Dataset::new(array![[3e38], [1.0]], vec![1, 1], 2).unwrap();
        let measured = measure(&model, &data).unwrap();
        assert!(!measured.loss.is_finite());
        assert_eq!(measured.error, 1.0);
    }
}
