//! Owns the command line: the table of commands, how they end, and what they print.

mod answers;
mod card_file;
mod client;
mod compute_node;
mod console;
mod coordinator;
mod coordinators;
mod demo;
mod evaluate;
mod feed;
mod figures;
mod files;
mod gossip;
mod infer;
mod job_options;
mod jobs;
mod leave;
mod local;
mod members;
mod model_file;
mod nodes_file;
mod output;
mod predict;
mod predict_locally;
mod progress;
mod recipes;
mod report;
mod self_id;
mod server;
mod share;
mod simulate;
mod space_file;
mod streaming;
mod table;
mod timing;
mod training;
mod trials;
mod tune;
mod watch;

use clap::{ArgMatches, Args, FromArgMatches};
use std::ffi::OsString;
use std::process::ExitCode;

/// A command as users name it.
struct Command {
    name: &'static str,
    define: fn(clap::Command) -> clap::Command,
    run: fn(&ArgMatches) -> Result<(), Failure>,
}

/// All commands. To add one, write its file and add its row.
const COMMANDS: &[Command] = &[
    command::<compute_node::ComputeNode>("compute-node"),
    command::<coordinator::Coordinator>("coordinator"),
    command::<client::Client>("client"),
    command::<local::Local>("local"),
    command::<feed::Feed>("feed"),
    command::<demo::Demo>("demo"),
    command::<jobs::Jobs>("jobs"),
    command::<jobs::Job>("job"),
    command::<jobs::JobInfo>("job-info"),
    command::<watch::Watch>("watch"),
    command::<jobs::Cancel>("cancel"),
    command::<jobs::Resume>("resume"),
    command::<infer::Infer>("infer"),
    command::<tune::Tune>("tune"),
    command::<infer::GetOutput>("get-output"),
    command::<figures::JobStats>("job-stats"),
    command::<figures::Assignments>("assignments"),
    command::<figures::SetBatchSize>("set-batch-size"),
    command::<console::Console>("console"),
    command::<predict::Predict>("predict"),
    command::<predict_locally::PredictLocally>("predict-locally"),
    command::<evaluate::Evaluate>("evaluate"),
    command::<report::ReportPage>("report"),
    command::<simulate::Simulate>("simulate"),
    command::<members::Members>("members"),
    command::<self_id::SelfId>("self-id"),
    command::<leave::Leave>("leave"),
    command::<files::Put>("put"),
    command::<files::PutAll>("put-all"),
    command::<files::Get>("get"),
    command::<files::GetAll>("get-all"),
    command::<files::GetVersions>("get-versions"),
    command::<files::List>("ls"),
    command::<files::ListAll>("ls-all"),
    command::<files::Store>("store"),
    command::<files::Delete>("delete"),
    command::<files::Collect>("gc"),
];

/// A command's arguments, which know what to do.
trait Run: Args + FromArgMatches {
    fn run(self) -> Result<(), Failure>;
}

const fn command<A: Run>(name: &'static str) -> Command {
    Command {
        name,
        define: |command| A::augment_args(command),
        run: |matches| A::from_arg_matches(matches).map_err(Failure::Usage)?.run(),
    }
}

/// Why a command did not succeed.
enum Failure {
    /// The command line is wrong: exit code 2.
    Usage(clap::Error),
    /// Something that the user gave is wrong: exit code 2.
    Input(anyhow::Error),
    /// The run failed: exit code 1.
    Run(anyhow::Error),
    /// Nobody reads what it prints any more: it ends, quietly and with exit code 0.
    NobodyReads,
    /// Another process of ours failed with this exit code, and has said why.
    Told(u8),
    /// The user ended it: exit code 130, as shells have it.
    Interrupted(String),
}

impl Failure {
    fn input(error: impl Into<anyhow::Error>) -> Self {
        Self::Input(error.into())
    }

    fn run(error: impl Into<anyhow::Error>) -> Self {
        Self::Run(error.into())
    }
}

/// Runs a command line, the program's name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Of an option given twice the last counts, so that scripts can add to a command line.
    let commands = COMMANDS.iter().map(|row| (row.define)(clap::Command::new(row.name).args_override_self(true)));
    let program = clap::Command::new("roundtable")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Trains small models in rounds across whatever machines are at hand, over Apache Thrift")
        .after_help(EXAMPLE)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands);
    let result = program.try_get_matches_from(args).map_err(Failure::Usage).and_then(|matches| {
        match matches.subcommand() {
            Some((name, of_command)) => {
                COMMANDS.iter().find(|row| row.name == name).map_or(Ok(()), |row| (row.run)(of_command))
            }
            None => Ok(()),
        }
    });
    result.map_or_else(report_failure, |()| ExitCode::SUCCESS)
}

/// Says why a command did not succeed; the exit code that says it, too.
fn report_failure(failure: Failure) -> ExitCode {
    match failure {
        Failure::Usage(e) => {
            // Help and version come this way too; if they cannot be printed there is nobody to tell.
            let _ = e.print();
            ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2))
        }
        Failure::Input(e) => complain(&e, 2),
        Failure::Run(e) => complain(&e, 1),
        Failure::NobodyReads => ExitCode::SUCCESS,
        Failure::Told(code) => ExitCode::from(code),
        Failure::Interrupted(what) => {
            eprintln!("{what}");
            ExitCode::from(130)
        }
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", told_once(error));
    ExitCode::from(code)
}

/// An error and its causes; most errors of ours name their causes themselves, and those are not told again.
fn told_once(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        _ if told.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}

const EXAMPLE: &str = "\
See it work, with three nodes and a coordinator as real processes:
  roundtable demo

Or by hand, each in its own terminal:
  roundtable compute-node 9091 0.2
  roundtable compute-node 9092 0.4
  roundtable coordinator 9095 2
  roundtable client localhost 9095 letters 15 50 24 0.0001";

/// Reads a time such as `3s`, `500ms` or `1m 30s`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write a time with its unit, such as 3s or 500ms"))
}

/// Reads a size such as `512MiB` or `2GiB`; a bare number is bytes.
fn size(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1u64 << 30), ("TiB", 1 << 40), ("", 1)];
    let read = units.iter().find_map(|(unit, bytes)| {
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        usize::try_from(number.checked_mul(*bytes)?).ok()
    });
    read.filter(|&bytes| bytes > 0).ok_or_else(|| "write a size such as 512MiB or 2GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_defined() {
        for row in COMMANDS {
            (row.define)(clap::Command::new(row.name)).debug_assert();
        }
    }

    #[test]
    fn no_cause_is_told_twice() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file; is it there?");
        assert_eq!(told_once(&error), "cannot read x: no such file; is it there?");
        let error = anyhow::anyhow!("no such file").context("cannot read x");
        assert_eq!(told_once(&error), "cannot read x: no such file");
    }

    #[test]
    fn sizes() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2 GiB"), Ok(2 << 30));
        assert_eq!(size("17"), Ok(17));
        for wrong in ["", "0", "-1", "1.5GiB", "GiB", "99999999999TiB", "3MB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
