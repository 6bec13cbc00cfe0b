//! Owns `roundtable predict-locally`.

use super::{Failure, Run, card_file, model_file, output};
use crate::data::{DataError, Dataset, Row};
use crate::ingest::{self, IngestError};
use crate::predictor::{self, Answer, Answers, BadInput, Gives, Kind, Limits, Predictor, Prepared};
use anyhow::{Context, anyhow, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest file of a picture that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// Print what a model says of pictures or rows, on this machine alone
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable predict-locally lite0.onnx coffee.png cat.jpg
  roundtable predict-locally letters.safetensors letters/validate_letters.txt --top 1 --json
  roundtable predict-locally lite0.onnx coffee.png --bench 10")]
pub(super) struct PredictLocally {
    /// The model: an ONNX network, what `client --model-out` writes (.safetensors, .onnx, .npz), or a random forest
    model: PathBuf,
    /// JPEG and PNG pictures; or files of rows (CSV with or without a label in the last column, IDX)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How pictures become the network's input [default: <MODEL>.toml or model.toml beside the model]
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// How many of the likeliest classes to print
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Print one JSON document a line
    #[arg(long)]
    json: bool,
    /// Queries that go through the model together
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Instead of answers: repeat the first batch for so long, on one thread, and print how fast it went
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    bench: Option<u64>,
}

impl Run for PredictLocally {
    fn run(self) -> Result<(), Failure> {
        let predictor = self.load().map_err(Failure::Input)?;
        match (predictor.takes(), self.bench) {
            (Kind::Pictures, None) => self.pictures(&*predictor),
            (Kind::Pictures, Some(seconds)) => self.bench_pictures(&*predictor, Duration::from_secs(seconds)),
            (Kind::Rows { columns }, bench) => {
                let mut all = Said::default();
                for file in &self.files {
                    let rows = Rows::read(file, columns, &*predictor).map_err(Failure::input)?;
                    if let Some(seconds) = bench {
                        return self.bench_rows(&*predictor, rows.row(), Duration::from_secs(seconds));
                    }
                    self.rows(&*predictor, file, &rows, &mut all)?;
                }
                match all.told(&*predictor) {
                    Some(told) if self.json => output::line(&told.1.to_string()),
                    Some(told) => output::line(&told.0),
                    None => Ok(()),
                }
            }
        }
    }
}

impl PredictLocally {
    fn load(&self) -> anyhow::Result<Box<dyn Predictor>> {
        let shown = self.model.display();
        let name = self.model.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let known = || {
            ensure!(
                predictor::is_model(&name),
                "{shown} is not a model: its name must end in {}",
                predictor::endings()
            );
            Ok(())
        };
        let bytes = model_file::bytes(&self.model, known)?;
        let card = card_file::read(&self.model, self.card.as_deref())?;
        predictor::load(&name, &bytes, card.as_ref(), &Limits::default())
            .with_context(|| format!("cannot use {shown} as a model"))
    }

    fn pictures(&self, predictor: &dyn Predictor) -> Result<(), Failure> {
        let mut bad = 0;
        for files in self.files.chunks(self.batch_size as usize) {
            let (mut prepared, mut results) = (Vec::new(), Vec::new());
            for file in files {
                let result = read_picture(file).and_then(|bytes| predictor.prepare(&bytes));
                results.push(result.map(|picture| prepared.push(picture)));
            }
            let answers = predictor.pictures(&prepared, self.top as usize, &|| true).map_err(Failure::run)?;
            let mut answers = answers.iter();
            for (file, result) in files.iter().zip(results) {
                let answer = result.map(|()| answers.next());
                bad += usize::from(answer.is_err());
                output::line(&self.line(predictor, &file.display().to_string(), None, answer))?;
            }
        }
        match bad {
            0 => Ok(()),
            _ => Err(Failure::input(anyhow!("{bad} of {} pictures could not be used", self.files.len()))),
        }
    }

    /// An answer, for people or as JSON.
    fn line(
        &self,
        predictor: &dyn Predictor,
        file: &str,
        row: Option<usize>,
        answer: Result<Option<Answer>, BadInput>,
    ) -> String {
        let place = row.map_or_else(|| file.to_owned(), |row| format!("{file}:{row}"));
        let label = |class: u32| predictor.labels().get(class as usize).map_or("", String::as_str);
        let mut document = json!({ "file": file });
        let text = match answer {
            Err(reason) => {
                document["error"] = json!(reason.0);
                format!("{place}  cannot be used: {reason}")
            }
            Ok(None) => place,
            Ok(Some(Answer::Value(value))) => {
                document["value"] = json!(value);
                format!("{place}  {value}")
            }
            Ok(Some(Answer::Classes(classes))) => {
                let one =
                    |&(class, p): &(u32, f32)| json!({ "class": class, "label": label(class), "probability": p });
                document["top"] = classes.iter().map(one).collect::<Vec<Value>>().into();
                let one = |&(class, p): &(u32, f32)| format!("{} {p:.4}", label(class));
                format!("{place}  {}", classes.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        };
        if let Some(row) = row {
            document["row"] = json!(row);
        }
        if self.json { document.to_string() } else { text }
    }

    fn rows(&self, predictor: &dyn Predictor, file: &Path, rows: &Rows, all: &mut Said) -> Result<(), Failure> {
        let answers = predictor.rows(rows.row(), self.top as usize, &|| true).map_err(Failure::run)?;
        all.add(&answers, rows);
        let shown = file.display().to_string();
        let line = |(row, answer)| self.line(predictor, &shown, Some(row), Ok(Some(answer)));
        output::lines((1..).zip(answers.iter()).map(line))
    }

    fn bench_pictures(&self, predictor: &dyn Predictor, time: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let files = self.files.iter().cycle().take(self.batch_size as usize);
        let prepare = |file: &PathBuf| read_picture(file).and_then(|bytes| predictor.prepare(&bytes));
        let prepared: Result<Vec<Prepared>, BadInput> = files.map(prepare).collect();
        let prepared = prepared.map_err(Failure::input)?;
        let before = start.elapsed().as_secs_f64() / prepared.len() as f64;
        let run = || predictor.pictures(&prepared, self.top as usize, &|| true).map(drop);
        let speed = Speed::measure(prepared.len(), time, run).map_err(Failure::run)?;
        let more = [("prepare_ms", before * 1e3)];
        output::line(&speed.told("pictures", predictor, &more, self.json))
    }

    fn bench_rows(&self, predictor: &dyn Predictor, rows: Row<'_>, time: Duration) -> Result<(), Failure> {
        let Kind::Rows { columns } = predictor.takes() else { return Ok(()) };
        let run = || predictor.rows(rows, self.top as usize, &|| true).map(drop);
        let speed = Speed::measure(rows.len() / columns, time, run).map_err(Failure::run)?;
        output::line(&speed.told("rows", predictor, &[], self.json))
    }
}

/// Reads a picture's file, if it is a regular file of a possible size.
fn read_picture(path: &Path) -> Result<Vec<u8>, BadInput> {
    let failed = |e: std::io::Error| BadInput(format!("cannot read the file: {e}"));
    let of_file = std::fs::metadata(path).map_err(failed)?;
    if !of_file.is_file() {
        return Err(BadInput("not a regular file".to_owned()));
    }
    if of_file.len() > LARGEST {
        return Err(BadInput(format!("the file has {} bytes; the most that is read is {LARGEST}", of_file.len())));
    }
    std::fs::read(path).map_err(failed)
}

/// The rows of a file, with what is known of them.
enum Rows {
    Plain(ndarray::Array2<f32>),
    Labelled(Dataset),
}

impl Rows {
    /// Reads rows without labels, or with: then the last column is one too many.
    fn read(path: &Path, columns: usize, predictor: &dyn Predictor) -> Result<Self, IngestError> {
        let first = match ingest::load_rows(path, columns) {
            Ok(rows) => return Ok(Self::Plain(rows)),
            Err(first) => first,
        };
        let labelled = match predictor.gives() {
            Gives::Classes(_) => ingest::load_labelled(path, predictor.labels()),
            Gives::Value => ingest::load_values(path),
        };
        match labelled {
            Ok(data) if data.columns() == columns => Ok(Self::Labelled(data)),
            Err(e @ IngestError::Data(DataError::UnknownLabel { .. })) => Err(e),
            _ => Err(first),
        }
    }

    fn row(&self) -> Row<'_> {
        match self {
            Self::Plain(rows) => Row::F32(rows.as_slice().unwrap_or_default()),
            Self::Labelled(data) => data.features().all(),
        }
    }
}

/// How answers compare with what is known.
#[derive(Default)]
struct Said {
    rows: usize,
    /// Wrong classes, or the squares of values' errors.
    off: f64,
}

impl Said {
    fn add(&mut self, answers: &Answers, rows: &Rows) {
        let Rows::Labelled(data) = rows else { return };
        self.rows += data.rows();
        self.off += match answers.top() {
            0 => {
                let pairs = answers.numbers().iter().zip(data.values());
                pairs.map(|(said, right)| f64::from(said - right).powi(2)).sum::<f64>()
            }
            top => {
                let firsts = answers.classes().iter().step_by(top);
                firsts.zip(data.labels()).filter(|(said, right)| said != right).count() as f64
            }
        };
    }

    /// The error over all labelled rows, for people and as JSON.
    fn told(&self, predictor: &dyn Predictor) -> Option<(String, Value)> {
        let share = self.off / self.rows as f64;
        let (name, error) = match predictor.gives() {
            Gives::Classes(_) => ("error", share),
            Gives::Value => ("root mean squared error", share.sqrt()),
        };
        let document = json!({ "rows": self.rows, "error": error });
        (self.rows > 0).then(|| (format!("{name} {error:.6} over {} labelled rows", self.rows), document))
    }
}

/// How fast a batch went.
struct Speed {
    batch: usize,
    runs: usize,
    best: f64,
    mean: f64,
}

impl Speed {
    /// Repeats `run`, once before the clock starts.
    fn measure<E>(batch: usize, time: Duration, run: impl Fn() -> Result<(), E>) -> Result<Self, E> {
        run()?;
        let (mut runs, mut best, mut all) = (0, f64::INFINITY, 0.0);
        while runs == 0 || all < time.as_secs_f64() {
            let start = Instant::now();
            run()?;
            let took = start.elapsed().as_secs_f64().max(1e-9);
            (runs, best, all) = (runs + 1, took.min(best), all + took);
        }
        Ok(Self { batch, runs, best, mean: all / runs as f64 })
    }

    fn told(&self, what: &str, predictor: &dyn Predictor, more: &[(&str, f64)], json: bool) -> String {
        let (best, mean) = (self.batch as f64 / self.best, self.batch as f64 / self.mean);
        let gflops = best * predictor.cost() / 1e9;
        if json {
            let mut document = json!({
                "what": what, "batch": self.batch, "runs": self.runs,
                "per_second": best, "per_second_mean": mean, "gflops": gflops,
            });
            more.iter().for_each(|&(name, value)| document[name] = json!(value));
            return document.to_string();
        }
        let more: String = more.iter().map(|(name, value)| format!(", {name} {value:.3}")).collect();
        let Self { batch, runs, .. } = self;
        format!(
            "{best:.1} {what}/s at best, {mean:.1} on average ({runs} runs of {batch}, {gflops:.1} GFLOP/s){more}"
        )
    }
}
