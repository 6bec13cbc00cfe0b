//! Owns the output of an inference job: the answers to all of its queries, and what they are answers to.

use super::answers::{Answers, NoAnswers};
use crate::types::Digest;
use serde::{Deserialize, Serialize};

/// What stands beside the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The model's name in the store.
    pub model: String,
    /// Its file.
    pub model_sha256: Digest,
    /// The labels, in the order of the classes; none if values are told.
    pub labels: Vec<String>,
    /// What was asked about, in the order of the queries: names, and the rows of those that have any.
    pub inputs: Vec<(String, Option<u64>)>,
    /// The nodes that answered, host:port.
    pub nodes: Vec<String>,
    /// Which answered what, in the order of the queries.
    pub batches: Vec<Batch>,
}

/// Queries that were answered together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The first query.
    pub first: u64,
    /// How many.
    pub queries: u32,
    /// The node's place in the list.
    pub node: u32,
    /// From its start on the node to its end.
    pub seconds: f64,
}

/// The output of an inference job.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What the answers are about.
    pub header: Header,
    /// One for each query.
    pub answers: Answers,
}

/// One query with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// The input's name.
    pub input: &'a str,
    /// Which row of it, from 1; none of a picture.
    pub row: Option<u64>,
    /// Who answered; empty if that is not known.
    pub node: &'a str,
    /// What was said.
    pub said: Said<'a>,
}

/// What is said of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Said<'a> {
    /// The best classes with their probabilities, the likeliest first.
    Classes(&'a [u32], &'a [f32]),
    /// A value.
    Value(f32),
    /// It cannot be answered.
    Error(&'a str),
}

impl Output {
    /// The bytes of its file: see [`Answers`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.answers.to_bytes(&self.header)
    }

    /// Reads it.
    ///
    /// # Errors
    /// The bytes are no such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoAnswers> {
        let (answers, header) = Answers::from_bytes(bytes)?;
        Ok(Self { header, answers })
    }

    /// The label of a class.
    pub fn label(&self, class: u32) -> &str {
        self.header.labels.get(class as usize).map_or("?", String::as_str)
    }

    /// All queries in their order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let rows = self.header.inputs.iter().flat_map(|(name, rows)| {
            (1..=rows.unwrap_or(1)).map(move |row| (name.as_str(), rows.is_some().then_some(row)))
        });
        let mut batches = self.header.batches.iter().peekable();
        rows.take(self.answers.len()).enumerate().map(move |(query, (input, row))| {
            let at = query as u64;
            while batches.peek().is_some_and(|batch| batch.first + u64::from(batch.queries) <= at) {
                batches.next();
            }
            let batch = batches.peek().filter(|batch| batch.first <= at);
            let node = batch.and_then(|batch| self.header.nodes.get(batch.node as usize));
            Line { input, row, node: node.map_or("", String::as_str), said: self.said(query) }
        })
    }

    fn said(&self, query: usize) -> Said<'_> {
        let Answers { top, classes, numbers, errors } = &self.answers;
        if let Some(why) = errors.get(&(query as u64)) {
            return Said::Error(why);
        }
        match *top {
            0 => Said::Value(numbers[query]),
            top => {
                let range = query * top..(query + 1) * top;
                Said::Classes(&classes[range.clone()], &numbers[range])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_has_its_input_its_node_and_its_answer() {
        let mut answers = Answers::zeros(4, 1);
        answers.classes = vec![1, 0, 1, 0];
        answers.errors.insert(3, "torn".to_owned());
        let batch = |first, queries, node| Batch { first, queries, node, seconds: 0.5 };
        let header = Header {
            model: "m.onnx".to_owned(),
            model_sha256: Digest::of(b"m"),
            labels: vec!["cat".to_owned(), "dog".to_owned()],
            inputs: vec![("rows.csv".to_owned(), Some(3)), ("torn.png".to_owned(), None)],
            nodes: vec!["a:1".to_owned(), "b:2".to_owned()],
            batches: vec![batch(0, 2, 1), batch(2, 2, 0)],
        };
        let output = Output { header, answers };
        let read = Output::from_bytes(&output.to_bytes()).expect("an output");
        assert_eq!(read, output);
        let lines: Vec<_> = read.lines().collect();
        let told = lines.iter().map(|line| (line.input, line.row, line.node)).collect::<Vec<_>>();
        let rows = [1, 2, 3].map(|row| ("rows.csv", Some(row)));
        let expected = [(rows[0], "b:2"), (rows[1], "b:2"), (rows[2], "a:1"), (("torn.png", None), "a:1")];
        assert_eq!(told, expected.map(|((input, row), node)| (input, row, node)));
        assert_eq!(lines[0].said, Said::Classes(&[1], &[0.0]));
        assert_eq!(lines[3].said, Said::Error("torn"));
        assert_eq!((read.label(1), read.label(7)), ("dog", "?"));
    }
}
