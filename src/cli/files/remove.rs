//! Owns `roundtable delete` and `gc`.

use super::{FileOptions, failure, size};
use crate::cli::{Failure, Run};
use clap::Args;

/// Delete a file; its older versions stay until they are collected by `gc`
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable delete vm1.log")]
pub(in crate::cli) struct Delete {
    /// Its name in the store
    name: String,
    #[command(flatten)]
    options: FileOptions,
}

impl Run for Delete {
    fn run(self) -> Result<(), Failure> {
        let deletion = self.options.connect()?.delete(&self.name).map_err(failure)?;
        let line = format!("{} is deleted, by version {}", deletion.name, deletion.version);
        self.options.print(&deletion, [line])
    }
}

/// Remove old versions of files, and all that nothing refers to any more
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable gc --keep 5")]
pub(in crate::cli) struct Collect {
    /// How many versions of each file stay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    keep: i32,
    #[command(flatten)]
    options: FileOptions,
}

impl Run for Collect {
    fn run(self) -> Result<(), Failure> {
        let collected = self.options.connect()?.collect(self.keep).map_err(failure)?;
        let line = format!(
            "{} versions and {} blobs of {} removed, {} blobs kept",
            collected.versions_removed,
            collected.blobs_removed,
            size(u64::try_from(collected.bytes_removed).unwrap_or(0)),
            collected.blobs_kept
        );
        self.options.print(&collected, [line])
    }
}
