//! Owns `roundtable put` and `put-all`.

use super::{Bar, FileOptions, failure, pace, size, some_failed};
use crate::cli::{Failure, Run};
use crate::client::files;
use anyhow::{Context, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of both commands.
#[derive(Args, Debug)]
struct PutOptions {
    /// How many nodes are to hold a copy, beside the coordinator's store
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=64))]
    replicas: i32,
    #[command(flatten)]
    options: FileOptions,
}

/// Put a local file into the store, as the next version of a name
///
/// A put that was broken off goes on where it stopped if it is done again within ten minutes.
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable put letters/validate_letters.txt letters/validate.txt")]
pub(in crate::cli) struct Put {
    /// The local file
    local: PathBuf,
    /// Its name in the store; / may stand in it
    name: String,
    #[command(flatten)]
    put: PutOptions,
}

impl Run for Put {
    fn run(self) -> Result<(), Failure> {
        let options = &self.put.options;
        let mut files = options.connect()?;
        let start = Instant::now();
        let put = put(&mut files, &self.local, &self.name, &self.put).map_err(failure)?;
        let line = told(&put, start);
        options.print(&put, [line])
    }
}

fn put(
    files: &mut files::Files,
    local: &Path,
    name: &str,
    put: &PutOptions,
) -> Result<files::Put, files::FilesError> {
    let bar = Bar::new(put.options.json, name);
    files.put(local, name, put.replicas, &mut |step| bar.show(step))
}

fn told(put: &files::Put, start: Instant) -> String {
    let version = &put.version;
    let copies = match version.holders.len() {
        0 => "no node holds a copy yet".to_owned(),
        1 => "1 copy".to_owned(),
        more => format!("{more} copies"),
    };
    format!(
        "{} version {}: {}, {} sent, {copies}, {}",
        version.name,
        version.version,
        size(version.size),
        size(put.sent),
        pace(version.size, start.elapsed())
    )
}

/// Put all local files that match a pattern, each under its file name
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable put-all 'letters/*.txt' --prefix letters/")]
pub(in crate::cli) struct PutAll {
    /// Which local files: *, ? and [...] as in shells, ** for all directories below. Directories are left out
    pattern: String,
    /// What stands before the file names in the store
    #[arg(long, default_value = "", value_name = "TEXT")]
    prefix: String,
    /// Only so many of them, by name
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    #[command(flatten)]
    put: PutOptions,
}

impl Run for PutAll {
    fn run(self) -> Result<(), Failure> {
        let found = self.found().map_err(Failure::Input)?;
        let options = &self.put.options;
        let mut files = options.connect()?;
        let mut done = Vec::new();
        let mut lines = Vec::new();
        let mut failed = Vec::new();
        for (path, name) in &found {
            let start = Instant::now();
            match put(&mut files, path, name, &self.put) {
                Ok(put) => {
                    lines.push(told(&put, start));
                    done.push(put);
                }
                Err(e) => failed.push((path.display().to_string(), e)),
            }
        }
        options.print(&done, lines)?;
        some_failed(&failed, found.len(), "put")
    }
}

impl PutAll {
    /// The files, and their names in the store.
    fn found(&self) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let paths = glob::glob(&self.pattern).with_context(|| format!("'{}' is no pattern", self.pattern))?;
        let mut found: Vec<(PathBuf, String)> = Vec::new();
        for path in paths {
            let path = path.context("a directory cannot be read")?;
            if !path.is_file() || self.count.is_some_and(|count| found.len() >= count) {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| anyhow!("{}: its name is not UTF-8", path.display()))?;
            let name = format!("{}{name}", self.prefix);
            if let Some((other, _)) = found.iter().find(|(_, known)| *known == name) {
                anyhow::bail!("{} and {} would both be {name}", other.display(), path.display());
            }
            found.push((path, name));
        }
        anyhow::ensure!(!found.is_empty(), "no file matches '{}'", self.pattern);
        Ok(found)
    }
}
