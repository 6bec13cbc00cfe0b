//! Owns answers of other people's networks: ONNX graphs that take pictures, or rows of numbers.

use super::card::{Card, Colour, Layout, Outputs, wrong};
use super::error::CardError;
use super::frame::Frame;
use super::idle::Idle;
use super::peek;
use super::{Answers, BadInput, Gives, KeepGoing, Kind, Limits, Loaded, Predictor, PredictorError, Prepared};
use crate::data::{MAX_COLUMNS, Row};
use crate::graph::{self, Network, Scratch};
use crate::model::to_probabilities;

/// Queries that go through the network at once, as many as the caller has.
const TOGETHER: usize = 8;

/// Reads an ONNX graph.
pub(super) fn load(bytes: &[u8], card: Option<&Card>, limits: &Limits) -> Loaded {
    let network = Network::read(bytes, &graph::Limits { weights: limits.model, working: limits.working })?;
    let card = card.cloned().unwrap_or_default();
    let input = network.input();
    if let Some(name) = card.input.as_ref().filter(|name| **name != input.name) {
        return Ok(wrong("input", format!("is {name:?}, but the network's input is {:?}", input.name))?);
    }
    let sizes: Vec<usize> = input.dims.iter().skip(1).copied().flatten().collect();
    let takes = match *sizes.as_slice() {
        [columns] if (1..=MAX_COLUMNS).contains(&columns) => match card.about_pictures() {
            None => Takes::Rows(columns),
            Some(key) => return Ok(wrong(key, "is about pictures, but the network takes rows".to_owned())?),
        },
        [a, b, c] => Takes::Pictures(frame(&card, [a, b, c])?),
        _ => return Err(PredictorError::Input { name: input.name.clone(), sizes }),
    };
    let outputs = network.output().dims.iter().skip(1).copied().flatten().product();
    let labels = labels(&card, outputs)?;
    let ready = match card.output {
        Some(said) => said == Outputs::Probabilities,
        None => peek::is_softmax(bytes, &network.output().name),
    };
    let idle = Idle::new(Scratch::new());
    Ok(Box::new(Theirs { network, takes, labels, outputs, ready, picture_limit: limits.picture, idle }))
}

/// How pictures become the input of these sizes.
fn frame(card: &Card, sizes: [usize; 3]) -> Result<Frame, CardError> {
    let [a, b, c] = sizes;
    let guess = if !matches!(a, 1 | 3) && matches!(c, 1 | 3) { Layout::Nhwc } else { Layout::Nchw };
    let layout = card.layout.unwrap_or(guess);
    let (channels, height, width) = if layout == Layout::Nchw { (a, b, c) } else { (c, a, b) };
    let usual = if channels == 1 { Colour::Gray } else { Colour::Rgb };
    let colour = card.colour.unwrap_or(usual);
    if colour.channels() != channels {
        let key = if card.colour.is_some() { "colour" } else { "layout" };
        return wrong(key, format!("does not fit: the network's input is {a} x {b} x {c}"));
    }
    if let Some(size) = card.size.filter(|&size| size != [height, width]) {
        return wrong("size", format!("is {size:?}, but the network takes {height} x {width} pixels"));
    }
    // The same bounds as for those that a card tells.
    Card { size: Some([height, width]), ..card.clone() }.check()?;
    Frame::new(card, height, width, layout, colour)
}

/// The names of the classes; none if the only output is a value.
fn labels(card: &Card, outputs: usize) -> Result<Vec<String>, CardError> {
    match &card.labels {
        None if outputs == 1 => Ok(Vec::new()),
        None => Ok((0..outputs).map(|class| class.to_string()).collect()),
        Some(labels) if labels.len() == outputs => Ok(labels.clone()),
        Some(labels) => wrong("labels", format!("are {}, but the network has {outputs} outputs", labels.len())),
    }
}

enum Takes {
    Pictures(Frame),
    Rows(usize),
}

/// Another's network, and what it works with.
struct Theirs {
    network: Network,
    takes: Takes,
    labels: Vec<String>,
    outputs: usize,
    /// Whether the outputs are probabilities already.
    ready: bool,
    picture_limit: usize,
    idle: Idle<Scratch>,
}

impl Theirs {
    /// How many numbers a query is.
    fn numbers(&self) -> usize {
        match &self.takes {
            Takes::Pictures(frame) => frame.len(),
            Takes::Rows(columns) => *columns,
        }
    }

    /// Answers for `count` queries, whose numbers `fill` writes.
    fn answer(
        &self,
        count: usize,
        top: usize,
        keep_going: KeepGoing<'_>,
        fill: impl Fn(usize, &mut [f32]) -> Result<(), PredictorError>,
    ) -> Result<Answers, PredictorError> {
        let mut answers = Answers::new(self.gives().top(top));
        answers.reserve(count);
        let numbers = self.numbers();
        let mut input = vec![0.0; numbers * count.min(TOGETHER)];
        let mut row = vec![0.0; self.outputs];
        let mut scratch = self.idle.take().unwrap_or_default();
        for first in (0..count).step_by(TOGETHER) {
            if !keep_going() {
                return Err(PredictorError::Stopped);
            }
            let here = TOGETHER.min(count - first);
            let input = &mut input[..here * numbers];
            for (query, to) in input.chunks_exact_mut(numbers).enumerate() {
                fill(first + query, to)?;
            }
            let outputs = self.network.run(here, input, &mut scratch)?;
            for (query, outputs) in outputs.chunks_exact(self.outputs).enumerate() {
                self.take(outputs, &mut row, &mut answers)
                    .ok_or(PredictorError::Outputs { query: first + query })?;
            }
        }
        self.idle.give(scratch);
        Ok(answers)
    }

    /// Adds the answer that these outputs are; `None` if they are not finite.
    fn take(&self, outputs: &[f32], row: &mut [f32], answers: &mut Answers) -> Option<()> {
        if !outputs.iter().all(|x| x.is_finite()) {
            return None;
        }
        match self.gives() {
            Gives::Value => answers.push_value(outputs[0]),
            Gives::Classes(_) if self.ready => answers.push_best(outputs),
            Gives::Classes(_) => {
                to_probabilities(outputs, row)?;
                answers.push_best(row);
            }
        }
        Some(())
    }
}

impl Predictor for Theirs {
    fn takes(&self) -> Kind {
        match self.takes {
            Takes::Pictures(_) => Kind::Pictures,
            Takes::Rows(columns) => Kind::Rows { columns },
        }
    }

    fn gives(&self) -> Gives {
        if self.labels.is_empty() { Gives::Value } else { Gives::Classes(self.outputs) }
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn bytes(&self) -> usize {
        self.network.bytes() + self.labels.iter().map(|label| label.len() + 24).sum::<usize>()
    }

    fn cost(&self) -> f64 {
        self.network.cost()
    }

    fn prepare(&self, picture: &[u8]) -> Result<Prepared, BadInput> {
        match &self.takes {
            Takes::Pictures(frame) => frame.prepare(picture, self.picture_limit),
            Takes::Rows(_) => Err(BadInput(format!("the model takes {}, not pictures", self.takes()))),
        }
    }

    fn pictures(
        &self,
        prepared: &[Prepared],
        top: usize,
        keep_going: KeepGoing<'_>,
    ) -> Result<Answers, PredictorError> {
        let Takes::Pictures(frame) = &self.takes else {
            return Err(PredictorError::Takes { takes: self.takes(), given: "pictures" });
        };
        self.answer(prepared.len(), top, keep_going, |query, to| match frame.fill(&prepared[query], to) {
            true => Ok(()),
            false => Err(PredictorError::Foreign { query }),
        })
    }

    fn rows(&self, rows: Row<'_>, top: usize, keep_going: KeepGoing<'_>) -> Result<Answers, PredictorError> {
        let Takes::Rows(columns) = self.takes else {
            return Err(PredictorError::Takes { takes: self.takes(), given: "rows" });
        };
        let features = rows.len();
        if !features.is_multiple_of(columns) {
            return Err(PredictorError::Rows { features, columns });
        }
        self.answer(features / columns, top, keep_going, |query, to| {
            rows.part(query * columns..(query + 1) * columns).copy_to(to);
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
