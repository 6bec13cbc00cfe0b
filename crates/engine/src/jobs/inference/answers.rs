//! Owns answers as bytes: what a node says of a batch, and what a job has of all queries.
//!
//! Safetensors: `classes` (queries x top, `U32`) with the best classes of each query, `numbers` (queries x top, `F32`) with
//! their probabilities; or only `numbers` (queries x 1) where values are told. Queries that cannot be answered have zeros
//! there, and their reason in the text beside the tensors.

use crate::predictor::Answer;
use crate::types::Digest;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// The key of the text in the file's `__metadata__`.
const KEY: &str = "roundtable";

/// Answers to consecutive queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// The best classes that are told of each; 0: a value is.
    pub top: usize,
    /// queries x `top`, the likeliest first.
    pub classes: Vec<u32>,
    /// queries x `top` probabilities, or a value for each query.
    pub numbers: Vec<f32>,
    /// Why queries have no answer, by their places from 0.
    pub errors: BTreeMap<u64, String>,
}

impl Answers {
    /// Zeros for so many queries.
    pub fn zeros(queries: usize, top: usize) -> Self {
        let (classes, numbers) = (vec![0; queries * top], vec![0.0; queries * top.max(1)]);
        Self { top, classes, numbers, errors: BTreeMap::new() }
    }

    /// Numbers of each query.
    pub fn width(&self) -> usize {
        self.top.max(1)
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.width()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Puts the answers to some of the queries, from `first` on, in their places; there are so many.
    pub fn place(&mut self, first: usize, some: &Answers) {
        let put = |to: usize, width: usize| first * width..first * width + to;
        self.classes[put(some.classes.len(), self.top)].copy_from_slice(&some.classes);
        let width = self.width();
        self.numbers[put(some.numbers.len(), width)].copy_from_slice(&some.numbers);
        self.errors.extend(some.errors.iter().map(|(at, why)| (at + first as u64, why.clone())));
    }

    /// Puts the answer to one query, which has as many classes as all have here, in its place.
    pub(super) fn set(&mut self, query: usize, answer: &Answer) {
        let (top, numbers) = (self.top, &mut self.numbers[query * self.top.max(1)..]);
        match answer {
            Answer::Value(value) => numbers[0] = *value,
            Answer::Classes(best) => {
                let places = self.classes[query * top..].iter_mut().zip(numbers).take(top);
                places.zip(best).for_each(|((class, number), &best)| (*class, *number) = best);
            }
        }
    }

    /// The SHA-256 of what is said, whoever said it.
    pub fn digest(&self) -> Digest {
        let classes: Vec<u8> = self.classes.iter().flat_map(|class| class.to_le_bytes()).collect();
        let numbers: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        // Numbers and text can be written.
        let errors = serde_json::to_vec(&self.errors).unwrap_or_default();
        Digest::of_parts([classes.as_slice(), &numbers, &errors])
    }

    /// The bytes of a file with these answers and more to say beside them.
    pub fn to_bytes<T: Serialize>(&self, more: &T) -> Vec<u8> {
        let classes: Vec<u8> = self.classes.iter().flat_map(|class| class.to_le_bytes()).collect();
        let numbers: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let mut tensors = Vec::new();
        if self.top > 0 {
            tensors
                .extend(TensorView::new(Dtype::U32, vec![self.len(), self.top], &classes).map(|t| ("classes", t)));
        }
        let shape = vec![self.len(), self.width()];
        tensors.extend(TensorView::new(Dtype::F32, shape, &numbers).map(|t| ("numbers", t)));
        let text = serde_json::to_string(&Beside { errors: &self.errors, more }).unwrap_or_default();
        // Shapes fit, and the header is text: there is nothing that cannot be written.
        safetensors::serialize(tensors, Some([(KEY.to_owned(), text)].into())).unwrap_or_default()
    }

    /// Reads them.
    ///
    /// # Errors
    /// They are not such a file.
    pub fn from_bytes<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<(Self, T), NoAnswers> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(wrong)?;
        let text = header.metadata().as_ref().and_then(|all| all.get(KEY)).map_or("", String::as_str);
        let Told { errors, more }: Told<T> = serde_json::from_str(text).map_err(wrong)?;
        let numbers = tensors.tensor("numbers").map_err(wrong)?;
        let &[queries, width] = numbers.shape() else { return Err(wrong("`numbers` has not two dimensions")) };
        let numbers = four_bytes(&numbers, Dtype::F32)?.map(f32::from_le_bytes).collect();
        let (mut top, mut classes) = (0, Vec::new());
        if let Ok(tensor) = tensors.tensor("classes") {
            if tensor.shape() != [queries, width] {
                return Err(wrong("`classes` and `numbers` are of different shapes"));
            }
            classes = four_bytes(&tensor, Dtype::U32)?.map(u32::from_le_bytes).collect();
            top = width;
        } else if width != 1 {
            return Err(wrong("there are more numbers than values"));
        }
        if errors.keys().any(|&at| at >= queries as u64) {
            return Err(wrong("an error is about no query"));
        }
        Ok((Self { top, classes, numbers, errors }, more))
    }
}

#[derive(Serialize)]
struct Beside<'a, T> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: &'a BTreeMap<u64, String>,
    #[serde(flatten)]
    more: &'a T,
}

#[derive(Deserialize)]
struct Told<T> {
    #[serde(default = "BTreeMap::new")]
    errors: BTreeMap<u64, String>,
    #[serde(flatten)]
    more: T,
}

/// Nothing is said beside the answers.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nothing {}

/// The bytes are no answers.
#[derive(Debug, thiserror::Error)]
#[error("they are no answers: {0}")]
pub struct NoAnswers(String);

fn wrong(reason: impl Display) -> NoAnswers {
    NoAnswers(reason.to_string())
}

fn four_bytes<'t>(
    tensor: &TensorView<'t>,
    dtype: Dtype,
) -> Result<impl Iterator<Item = [u8; 4]> + use<'t>, NoAnswers> {
    if tensor.dtype() != dtype {
        return Err(wrong(format!("a tensor is of type {:?}, not {dtype:?}", tensor.dtype())));
    }
    let (fours, _) = tensor.data().as_chunks::<4>();
    Ok(fours.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(queries: usize, top: usize) -> Answers {
        let mut answers = Answers::zeros(queries, top);
        answers.classes.iter_mut().zip(0..).for_each(|(class, place)| *class = place * 7 % 5);
        answers.numbers.iter_mut().zip(0u16..).for_each(|(number, place)| *number = f32::from(place) / 64.0);
        answers.errors.extend((queries > 1).then(|| (1, "it is \"torn\"".to_owned())));
        answers
    }

    #[test]
    fn they_are_read_as_they_were_written() {
        for (queries, top) in [(0, 3), (1, 1), (4, 5), (3, 0)] {
            let answers = some(queries, top);
            let bytes = answers.to_bytes(&Nothing {});
            let (read, Nothing {}) = Answers::from_bytes(&bytes).expect("answers");
            assert_eq!(read.digest(), answers.digest());
            assert_eq!(read, answers, "{queries} x {top}");
        }
    }

    #[test]
    fn some_are_put_in_their_places() {
        let mut all = Answers::zeros(5, 2);
        all.place(2, &some(3, 2));
        assert_eq!(all.classes[4..], some(3, 2).classes);
        assert_eq!(all.errors.keys().collect::<Vec<_>>(), [&3]);
        assert_eq!(all.classes[..4], [0; 4]);
    }

    #[test]
    fn one_is_put_in_its_place() {
        let mut all = Answers::zeros(3, 2);
        all.set(1, &Answer::Classes(vec![(4, 0.75), (2, 0.25)]));
        assert_eq!((all.classes, all.numbers), (vec![0, 0, 4, 2, 0, 0], vec![0.0, 0.0, 0.75, 0.25, 0.0, 0.0]));
        let mut values = Answers::zeros(3, 0);
        values.set(2, &Answer::Value(-7.5));
        assert_eq!((values.classes, values.numbers), (vec![], vec![0.0, 0.0, -7.5]));
    }

    proptest! {
        #[test]
        fn bytes_that_are_none_are_refused(cut in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
            let bytes = some(4, 2).to_bytes(&Nothing {});
            prop_assert!(Answers::from_bytes::<Nothing>(&bytes[..cut.index(bytes.len())]).is_err());
            let mut flipped = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            // It may be another number; it must not be another shape.
            if let Ok((read, _)) = Answers::from_bytes::<Nothing>(&flipped) {
                prop_assert!(read.numbers.len() == read.len() * read.width());
            }
        }
    }
}
