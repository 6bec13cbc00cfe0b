//! Owns `roundtable ls`, `ls-all` and `store`.

use super::{FileOptions, failure, holders, time};
use crate::cli::table::lay_out;
use crate::cli::{Failure, Run, output};
use crate::client::files::{Files, FilesError, Held, Version, held_by};
use crate::rpc::Address;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// List the versions of a file, the newest first, and who holds copies
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable ls vm1.log")]
pub(in crate::cli) struct List {
    /// Its name in the store
    name: String,
    #[command(flatten)]
    options: FileOptions,
}

impl Run for List {
    fn run(self) -> Result<(), Failure> {
        let versions = self.options.connect()?.versions(&self.name, usize::MAX).map_err(failure)?;
        if versions.is_empty() {
            return Err(failure(FilesError::NoFile { name: self.name }));
        }
        self.options.print(&versions, lay_out(&rows("version", &versions, |v| v.version.to_string())))
    }
}

/// List the newest version of each file whose name matches a pattern
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable ls-all 'letters/*'")]
pub(in crate::cli) struct ListAll {
    /// Which files: * and ? as in shells, * also across /
    #[arg(default_value = "*")]
    pattern: String,
    #[command(flatten)]
    options: FileOptions,
}

impl Run for ListAll {
    fn run(self) -> Result<(), Failure> {
        let versions = self.options.connect()?.list(&self.pattern).map_err(failure)?;
        let named = |version: &Version| format!("{} v{}", version.name, version.version);
        let lines = match versions.len() {
            0 => vec![format!("no file in the store matches '{}'", self.pattern)],
            _ => lay_out(&rows("file", &versions, named)),
        };
        self.options.print(&versions, lines)
    }
}

fn rows(first: &str, versions: &[Version], named: impl Fn(&Version) -> String) -> Vec<Vec<String>> {
    let head = [first, "bytes", "written", "sha256", "copies at"].map(str::to_owned).to_vec();
    let row = |version: &Version| {
        let sha: String = version.sha256.chars().take(8).collect();
        let bytes = if version.is_deletion() { String::new() } else { version.size.to_string() };
        vec![named(version), bytes, time(version.created_ms), sha, holders(version)]
    };
    [head].into_iter().chain(versions.iter().map(row)).collect()
}

/// List what a node holds for others: versions of files, by name
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable store --member localhost:9091")]
pub(in crate::cli) struct Store {
    /// The node
    #[arg(long, value_name = "HOST:PORT")]
    member: Address,
    #[command(flatten)]
    options: FileOptions,
}

/// A blob that a node holds, and what it is.
#[derive(Serialize)]
struct Named {
    #[serde(flatten)]
    held: Held,
    /// The versions whose content it is; none if the coordinator knows of none.
    versions: Vec<(String, i64)>,
}

impl Run for Store {
    fn run(self) -> Result<(), Failure> {
        let held = held_by(&self.member).map_err(failure)?;
        let names = self.options.connect().and_then(|mut files| names(&mut files).map_err(failure));
        let mut names = match names {
            Ok(names) => names,
            // What it holds is worth telling without names, too.
            Err(Failure::Run(e) | Failure::Input(e)) => {
                eprintln!("the names are not known: {e}");
                BTreeMap::new()
            }
            Err(other) => return Err(other),
        };
        let named: Vec<Named> = held
            .into_iter()
            .map(|held| Named { versions: names.remove(&held.sha256).unwrap_or_default(), held })
            .collect();
        if named.is_empty() && !self.options.json {
            return output::line(&format!("{} holds nothing", self.member));
        }
        let head = ["file", "bytes", "sha256"].map(str::to_owned).to_vec();
        let row = |named: &Named| {
            let names: Vec<String> =
                named.versions.iter().map(|(name, number)| format!("{name} v{number}")).collect();
            let names = if names.is_empty() { "(no file)".to_owned() } else { names.join(", ") };
            vec![names, named.held.size.to_string(), named.held.sha256.clone()]
        };
        let rows: Vec<Vec<String>> = [head].into_iter().chain(named.iter().map(row)).collect();
        self.options.print(&named, lay_out(&rows))
    }
}

/// The versions that have each content, of all files that are not deleted.
fn names(files: &mut Files) -> Result<BTreeMap<String, Vec<(String, i64)>>, FilesError> {
    let mut names: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for newest in files.list("*")? {
        for version in files.versions(&newest.name, usize::MAX)? {
            names.entry(version.sha256).or_default().push((version.name, version.version));
        }
    }
    Ok(names)
}
