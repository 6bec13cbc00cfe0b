//! Owns `roundtable get`, `get-versions` and `get-all`.

use super::{Bar, FileOptions, failure, pace, size, some_failed};
use crate::cli::{Failure, Run};
use crate::client::files::{self, Files, FilesError, Got, Version};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Fetch a file from the store
///
/// It is written beside its target, checked by its SHA-256, and then takes the target's place. What is broken off
/// stays as <LOCAL>.<digits>.part, and the same command goes on from there.
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable get letters/validate.txt validate.txt --version 1")]
pub(in crate::cli) struct Get {
    /// Its name in the store
    name: String,
    /// The local file to write
    local: PathBuf,
    /// Which version; the newest if this is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    #[command(flatten)]
    options: FileOptions,
}

impl Run for Get {
    fn run(self) -> Result<(), Failure> {
        let mut files = self.options.connect()?;
        let start = Instant::now();
        let version = files.version(&self.name, self.version).map_err(failure)?;
        let got = get(&mut files, &version, &self.local, self.options.json).map_err(failure)?;
        let line = told(&got, start);
        self.options.print(&got, [line])
    }
}

fn get(files: &mut Files, version: &Version, path: &Path, silent: bool) -> Result<Got, FilesError> {
    let bar = Bar::new(silent, &version.name);
    files.get(version, path, &mut |step| bar.show(step))
}

fn told(got: &Got, start: Instant) -> String {
    let Version { name, version, size: bytes, .. } = &got.version;
    format!(
        "{name} version {version}: {}, {} received, {}",
        size(*bytes),
        size(got.received),
        pace(*bytes, start.elapsed())
    )
}

/// Fetch the last versions of a file into one local file, the newest first
#[derive(Args, Debug)]
#[command(after_help = VERSIONS)]
pub(in crate::cli) struct GetVersions {
    /// Its name in the store
    name: String,
    /// How many versions; fewer if there are fewer
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000), value_name = "N")]
    count: u16,
    /// The local file to write
    local: PathBuf,
    #[command(flatten)]
    options: FileOptions,
}

const VERSIONS: &str = "\
Before each version stands a line that tells how many bytes follow; a line feed stands after them:
  ===== vm1.log version 2, written 2026-11-04T10:00:00Z, 12 bytes, sha256 5891b5b5... =====
Of a deletion there is only the line:
  ===== vm1.log version 1, deleted 2026-11-03T10:00:00Z =====

Example: roundtable get-versions vm1.log 3 vm1-history.log";

impl Run for GetVersions {
    fn run(self) -> Result<(), Failure> {
        let mut files = self.options.connect()?;
        let versions = files.versions(&self.name, usize::from(self.count)).map_err(failure)?;
        if versions.is_empty() {
            return Err(failure(FilesError::NoFile { name: self.name }));
        }
        let bar = Bar::new(self.options.json, &self.name);
        files.get_versions(&versions, &self.local, &mut |step| bar.show(step)).map_err(failure)?;
        drop(bar);
        let line = |version: &Version| match version.is_deletion() {
            true => format!("{} version {}: deleted", version.name, version.version),
            false => format!("{} version {}: {}", version.name, version.version, size(version.size)),
        };
        self.options.print(&versions, versions.iter().map(line))
    }
}

/// Fetch the newest versions of all files that match a pattern
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable get-all 'letters/*' here")]
pub(in crate::cli) struct GetAll {
    /// Which files: * and ? as in shells, * also across /
    pattern: String,
    /// The directory to write them under, at their names; it is made if it is not there
    directory: PathBuf,
    #[command(flatten)]
    options: FileOptions,
}

/// A file that was fetched, and where to.
#[derive(Serialize)]
struct Fetched {
    path: PathBuf,
    #[serde(flatten)]
    got: Got,
}

impl Run for GetAll {
    fn run(self) -> Result<(), Failure> {
        let mut files = self.options.connect()?;
        let versions = files.list(&self.pattern).map_err(failure)?;
        if versions.is_empty() {
            return Err(Failure::Input(anyhow!("no file in the store matches '{}'", self.pattern)));
        }
        let unmade = |source| FilesError::Local { what: "make", path: self.directory.clone(), source };
        std::fs::create_dir_all(&self.directory).map_err(unmade).map_err(failure)?;
        let (mut done, mut lines, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for version in &versions {
            let start = Instant::now();
            let path = files::inside(&self.directory, &version.name);
            let got = path.and_then(|path| Ok((get(&mut files, version, &path, self.options.json)?, path)));
            match got {
                Ok((got, path)) => {
                    lines.push(told(&got, start));
                    done.push(Fetched { path, got });
                }
                Err(e) => failed.push((version.name.clone(), e)),
            }
        }
        self.options.print(&done, lines)?;
        some_failed(&failed, versions.len(), "fetched")
    }
}
