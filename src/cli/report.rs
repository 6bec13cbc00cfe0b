//! Owns `roundtable report`: reads the JSON of runs, writes the page and its pictures.

use super::{Failure, Run, output};
use crate::client::Report;
use crate::client::tuning::TuningReport;
use crate::report;
use anyhow::{Context, anyhow};
use clap::Args;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 512 << 20;

/// How to come by a file that can be read.
const HOW: &str = "write one with `roundtable client ... --run-out run.json`";

/// Write a page with the plots of a run (error, loss, timeline, trials)
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable demo --run-out run.json && roundtable report run.json")]
pub(super) struct ReportPage {
    /// What `client --json` or `demo --json` printed; several files make one page on which the runs are compared
    #[arg(required = true, value_name = "RUN.json")]
    runs: Vec<PathBuf>,
    /// Write to this directory, which is made if need be; without it, beside the first file
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Run for ReportPage {
    fn run(self) -> Result<(), Failure> {
        if self.runs.len() > report::MOST_RUNS {
            let (given, most) = (self.runs.len(), report::MOST_RUNS);
            return Err(Failure::Input(anyhow!("{given} runs are too many for one page; give at most {most}")));
        }
        let names = names(&self.runs);
        let page = self.page(&names).map_err(Failure::Input)?;
        let directory = self.directory().map_err(Failure::Input)?;
        let stem = page_name(&self.runs);
        let pictures = page.pictures.iter().map(|picture| (format!("{stem}-{}.svg", picture.name), &picture.svg));
        let files = std::iter::once((format!("{stem}.html"), &page.html)).chain(pictures);
        let files: Vec<(PathBuf, &String)> = files.map(|(name, text)| (directory.join(name), text)).collect();
        self.spare_what_was_read(&files).map_err(Failure::Input)?;
        for (path, text) in &files {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}; give another directory with --out", path.display()))
                .map_err(Failure::Input)?;
            output::line(&path.display().to_string())?;
        }
        Ok(())
    }
}

impl ReportPage {
    /// The page of a tuning, or of runs.
    fn page(&self, names: &[String]) -> anyhow::Result<report::Page> {
        let texts = self.runs.iter().map(|path| text(path)).collect::<anyhow::Result<Vec<_>>>()?;
        if let Some(tuning) = texts.iter().position(|text| is_tuning(text)) {
            if texts.len() > 1 {
                let path = self.runs[tuning].display();
                return Err(anyhow!("{path} is a tuning, which has a page of its own; give it alone"));
            }
            let report: TuningReport = parse(&self.runs[tuning], &texts[tuning])?;
            return Ok(report::tuned(&names[tuning], &report));
        }
        let run = |((path, name), text): ((&PathBuf, &String), &Vec<u8>)| {
            Ok(report::Run { name: name.clone(), report: parse::<Report>(path, text)? })
        };
        let runs = self.runs.iter().zip(names).zip(&texts).map(run).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(report::page(&runs))
    }

    /// Where the files go.
    fn directory(&self) -> anyhow::Result<PathBuf> {
        let beside = || self.runs.first().and_then(|run| run.parent()).unwrap_or(Path::new("")).to_path_buf();
        let Some(out) = &self.out else { return Ok(beside()) };
        std::fs::create_dir_all(out)
            .with_context(|| format!("cannot make the directory --out {}", out.display()))?;
        Ok(out.clone())
    }

    /// A run in a file named `.html` must not be lost.
    fn spare_what_was_read(&self, files: &[(PathBuf, &String)]) -> anyhow::Result<()> {
        let read: BTreeSet<PathBuf> = self.runs.iter().filter_map(|run| run.canonicalize().ok()).collect();
        let lost = files.iter().find(|(path, _)| path.canonicalize().is_ok_and(|path| read.contains(&path)));
        lost.map_or(Ok(()), |(path, _)| {
            Err(anyhow!("{} would be overwritten with its own page; give a directory with --out", path.display()))
        })
    }
}

/// Whether this is the JSON of a tuning, and not of a run.
fn is_tuning(text: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Peek {
        #[serde(default)]
        tuning: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Peek>(text).is_ok_and(|peek| peek.tuning.is_some())
}

/// What stands in a file.
fn text(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"));
    let mut text = Vec::new();
    file.and_then(|file| {
        file.take(LARGEST + 1).read_to_end(&mut text).with_context(|| format!("cannot read {shown}"))
    })
    .map_err(|e| anyhow!("{}; {HOW}", super::told_once(&e)))?;
    if text.len() as u64 > LARGEST {
        return Err(anyhow!("{shown} has more than {} MiB, which is the most that is read", LARGEST >> 20));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(anyhow!("{shown} is empty; {HOW}"));
    }
    Ok(text)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> anyhow::Result<T> {
    let shown = path.display();
    serde_json::from_slice(text).map_err(|e| {
        let what = if e.is_data() { "this is not the JSON of a run" } else { "this is not JSON" };
        anyhow!("{shown}:{}: {what}: {e}; {HOW}", e.line())
    })
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// What to call the runs: their files' names, with as much of the path as tells them apart.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let stems: BTreeSet<String> = paths.iter().map(|path| stem(path)).collect();
    let differ = stems.len() == paths.len();
    paths.iter().map(|path| if differ { stem(path) } else { path.display().to_string() }).collect()
}

fn page_name(paths: &[PathBuf]) -> String {
    match paths {
        [one] => stem(one),
        [first, second] if stem(first) != stem(second) => format!("{}-vs-{}", stem(first), stem(second)),
        [first, ..] => format!("{}-and-{}-more", stem(first), paths.len() - 1),
        [] => "run".to_owned(),
    }
}
