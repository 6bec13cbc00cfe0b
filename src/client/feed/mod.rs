//! Owns feeding: the rows of a text stream into the queue of a job, chunk by chunk, and what the job says of them.

mod lines;

use super::upload::{Named, upload};
use super::{ClientError, Submitted};
use crate::data::{self, Classes, DataError, Dataset, Table};
use crate::wire::coordinator::{Heard, JobState, TCoordinatorSyncClient};
use lines::{Cut, Line, Lines};
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// How long one call waits for room in the queue, in milliseconds.
const WAIT_MS: i32 = 2_000;
/// How long the answer to it may take in all.
const ANSWER: Duration = Duration::from_secs(40);
/// Rows from which moments are taken, and rows to measure on, at most.
const MOST_SAMPLED: usize = 50_000;

/// A text whose rows are to be fed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The file: rows with their labels last.
    pub path: PathBuf,
    /// Passes over it.
    pub epochs: u32,
    /// Rows of a chunk.
    pub chunk: usize,
    /// Each so manyth row is kept back to measure on, if there is no other file for that; at least 2.
    pub held_out: Option<usize>,
    /// Whether the last column is a value to be learnt, not a label.
    pub values: bool,
    /// Chunks are shuffled by this, if at all.
    pub shuffle: Option<u64>,
}

/// What is known of a text after its first reading.
pub struct Survey {
    /// Rows to learn from.
    pub rows: u64,
    /// Its labels; `None` if values are to be learnt.
    pub classes: Option<Classes>,
    /// Some of the rows to learn from.
    pub sample: Dataset,
    /// Those that are kept back.
    pub held_out: Option<Dataset>,
}

/// How far feeding is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fed {
    /// Rows that the job has taken.
    pub sent: u64,
    /// Rows that were learnt from and never will be again.
    pub acknowledged: u64,
    /// Rows that wait.
    pub waiting: u64,
    /// The version of the model.
    pub version: u64,
}

fn unfit(error: DataError) -> ClientError {
    ClientError::Request(error.to_string())
}

/// Rows of one text, with labels or values.
enum Rows {
    Labelled(Table),
    Valued(Dataset),
}

/// Takes a chunk's number, what errors call it, and its text.
pub type TakeChunk<'t> = dyn FnMut(u64, &str, Vec<u8>) -> Result<(), ClientError> + 't;

impl Feed {
    /// Reads the text once: how many rows and which labels there are.
    ///
    /// # Errors
    /// It cannot be read, or a line is no row.
    pub fn survey(&self) -> Result<Survey, ClientError> {
        let (mut lines, name) = (Lines::open(&self.path)?, self.path.display().to_string());
        let (mut rows, mut labels) = (0, BTreeSet::new());
        let (mut sample, mut held) = (Vec::new(), Vec::new());
        let (mut sampled, mut kept) = (0, 0);
        while let Some(Cut { lines: chunk, held: back }) = lines.chunk(self)? {
            rows += chunk.len() as u64;
            for some in [&chunk, &back] {
                let table = self.parse(&name, &Line::text(some)).map_err(|e| unfit(Line::placed(some, e)))?;
                if let Some(Rows::Labelled(table)) = table {
                    labels.extend(table.labels().map(|(label, _)| label.to_owned()));
                }
            }
            if sampled < MOST_SAMPLED {
                sampled += chunk.len();
                sample.extend(Line::text(&chunk));
            }
            if kept < MOST_SAMPLED {
                kept += back.len();
                held.extend(Line::text(&back));
            }
        }
        if rows == 0 {
            return Err(ClientError::Request(format!("{} has no rows to learn from", self.path.display())));
        }
        let classes = match self.values {
            true => None,
            false => Some(Classes::from_labels(labels.iter().map(String::as_str)).map_err(unfit)?),
        };
        let held_out = match self.held_out {
            Some(_) => Some(self.dataset(&name, &held, classes.as_ref())?),
            None => None,
        };
        let sample = self.dataset(&name, &sample, classes.as_ref())?;
        Ok(Survey { rows, classes, sample, held_out })
    }

    /// The rows of a text; `None` if it is empty.
    fn parse(&self, name: &str, text: &[u8]) -> Result<Option<Rows>, DataError> {
        if text.is_empty() {
            return Ok(None);
        }
        match self.values {
            true => data::parse_values(name, text).map(Rows::Valued),
            false => data::parse_table(name, text).map(Rows::Labelled),
        }
        .map(Some)
    }

    fn dataset(&self, name: &str, text: &[u8], classes: Option<&Classes>) -> Result<Dataset, ClientError> {
        match (self.parse(name, text).map_err(unfit)?, classes) {
            (None, _) => {
                Err(ClientError::Request(format!("{name}: too few rows to learn from and to keep some back")))
            }
            (Some(Rows::Labelled(table)), Some(classes)) => table.into_dataset(classes).map_err(unfit),
            (Some(Rows::Valued(data)), None) => Ok(data),
            _ => Err(ClientError::Request(format!("{name}: labels and values do not go together"))),
        }
    }

    /// Feeds a job all rows as often as there are epochs, and says that there are no more. What was taken before, from a
    /// feeder of the same name with the same rows, is not taken again.
    ///
    /// # Errors
    /// The text cannot be read, the coordinator cannot be reached or refuses, the job is over, or it was interrupted.
    pub fn run(
        &self,
        job: &mut Submitted,
        feeder: &str,
        classes: Option<&Classes>,
        interrupted: &dyn Fn() -> bool,
        watcher: &mut dyn FnMut(&Fed),
    ) -> Result<Fed, ClientError> {
        let mut fed = Fed::default();
        self.each(&mut |number, name, text| {
            let rows = self.dataset(name, &text, classes)?;
            let heard = give(job, feeder, number, &rows, interrupted)?;
            fed.sent += rows.rows() as u64;
            fed.note(&heard);
            watcher(&fed);
            Ok(())
        })?;
        let heard = say(job, feeder, 0, "", interrupted)?;
        fed.note(&heard);
        watcher(&fed);
        Ok(fed)
    }

    /// Gives each chunk of each pass with its number, what errors call it, and its text.
    ///
    /// # Errors
    /// The text cannot be read, or whoever takes a chunk fails.
    pub fn each(&self, take: &mut TakeChunk<'_>) -> Result<(), ClientError> {
        let mut number = 0;
        for epoch in 0..self.epochs {
            let mut lines = Lines::open(&self.path)?;
            while let Some(Cut { lines: mut chunk, .. }) = lines.chunk(self)? {
                if chunk.is_empty() {
                    continue;
                }
                if let Some(seed) = self.shuffle {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    random.set_stream(u64::from(epoch) << 32 | number);
                    random.next_u32();
                    chunk.shuffle(&mut random);
                }
                take(number, &lines.name(), Line::text(&chunk))?;
                number += 1;
            }
        }
        Ok(())
    }
}

impl Fed {
    fn note(&mut self, heard: &Heard) {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        (self.acknowledged, self.waiting) = (count(heard.acknowledged), count(heard.waiting));
        self.version = count(heard.version);
    }
}

/// Puts a chunk and has the job take it, waiting as long as its queue is full.
fn give(
    job: &mut Submitted,
    feeder: &str,
    number: u64,
    rows: &Dataset,
    interrupted: &dyn Fn() -> bool,
) -> Result<Heard, ClientError> {
    let chunk = [Named::new("chunk", rows)];
    loop {
        let go_on = || !interrupted();
        job.leader.call(&go_on, |client| upload(client, &chunk, &go_on, &mut |_, _| ()))?;
        let heard = say(job, feeder, number, &chunk[0].shard.digest, interrupted)?;
        if heard.is_taken {
            return Ok(heard);
        }
    }
}

/// One word to the job; an empty digest says that there are no more rows.
fn say(
    job: &mut Submitted,
    feeder: &str,
    number: u64,
    digest: &str,
    interrupted: &dyn Fn() -> bool,
) -> Result<Heard, ClientError> {
    if interrupted() {
        return Err(ClientError::Detached { job: job.job.clone() });
    }
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let name = job.job.clone();
    let heard = job.leader.call(&|| !interrupted(), |client| {
        let (name, feeder, digest) = (name.clone(), feeder.to_owned(), digest.to_owned());
        client.call_within(ANSWER, |c| c.feed(name, feeder, number, digest, WAIT_MS))
    });
    match heard {
        Ok(heard) => Ok(heard),
        // A job that has ended by itself says why better than that it takes no more.
        Err(error) => match ended(job) {
            Some(reason) => Err(ClientError::Failed { job: job.job.clone(), reason }),
            None => Err(error.into()),
        },
    }
}

/// Why a job takes no more rows, if it has ended.
fn ended(job: &mut Submitted) -> Option<String> {
    let name = job.job.clone();
    let status = job.leader.call(&|| true, |client| client.call(|c| c.watch(name.clone(), 0, 0, 0))).ok()?;
    match status.state {
        JobState::RUNNING => None,
        JobState::DONE => Some("it was done before all rows were fed, by what it was asked".to_owned()),
        _ => Some(status.notice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn feed(text: &str, held_out: Option<usize>) -> (tempfile::NamedTempFile, Feed) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("its text");
        let path = file.path().to_owned();
        (file, Feed { path, epochs: 1, chunk: 3, held_out, values: false, shuffle: None })
    }

    #[test]
    fn rows_are_counted_and_some_kept_back() {
        let rows: String = (0..20).map(|row| format!("{row},{},{}\r\n", row * 2, ["x", "y"][row % 2])).collect();
        for head in ["", "\u{feff}", "first,second,label\n", "\n\n"] {
            let (_file, feed) = feed(&format!("{head}{rows}"), Some(5));
            let survey = feed.survey().expect("a survey");
            assert_eq!((survey.rows, survey.sample.rows(), survey.sample.columns()), (16, 16, 2), "{head:?}");
            assert_eq!(survey.held_out.expect("rows").rows(), 4);
            assert_eq!(survey.classes.expect("labels").labels(), ["x", "y"]);
        }
        let (_file, all) = feed(&rows, None);
        assert_eq!(all.survey().expect("a survey").rows, 20);
    }

    #[test]
    fn what_is_no_row_is_told_with_its_place() {
        let says = |text: &str| feed(text, None).1.survey().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(says("").contains("has no rows to learn from"), "{}", says(""));
        let wrong = says("1,2,a\n3,4,b\n1,2,a\n1,x,b\n");
        assert!(wrong.contains(":4:2: field 2 is \"x\""), "{wrong}");
        // A header, blank lines and rows that are kept back count.
        let spread: String = (0..9).map(|row| format!("{row},1,a\n\n")).collect();
        let (_file, feed) = feed(&format!("one,two,label\n{spread}1,2\n"), Some(2));
        let wrong = feed.survey().err().map(|e| e.to_string()).unwrap_or_default();
        assert!(wrong.contains(":20: "), "{wrong}");
        assert!(says("1,2,a\n3,4,a\n").contains("1 different label"), "{}", says("1,2,a\n3,4,a\n"));
    }
}
