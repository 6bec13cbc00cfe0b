//! Owns completion at the prompt: of commands, and of jobs, files of the store, members or local files, as the command
//! takes them.

use super::{COMMANDS, NOT_HERE, names};
use crate::client::Leader;
use crate::rpc::{Address, Dialer, Timeouts};
use crate::wire::coordinator::TCoordinatorSyncClient;
use crate::wire::members::TMemberSyncClient;
use rustyline::completion::{Completer as Complete, FilenameCompleter, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};
use std::cell::RefCell;
use std::time::Duration;

/// How long a coordinator may take: nobody waits for a completion.
const ANSWER: Duration = Duration::from_millis(500);
/// The most names that are looked at.
const MOST: i32 = 500;

/// What the words after a command name.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Of {
    Jobs,
    Files,
    Members,
    Local,
}

/// What a command takes, by the place of the word after it.
fn taken(command: &str, place: usize) -> Option<Of> {
    Some(match (command, place) {
        (
            "job" | "job-info" | "job_info" | "job-stats" | "job_stats" | "watch" | "cancel" | "resume"
            | "get-output",
            0,
        ) => Of::Jobs,
        ("infer" | "submit-job" | "C4", 0 | 1) | ("set-batch-size" | "C3", 0) => Of::Files,
        ("get" | "get-versions" | "get-all" | "ls" | "ls-all" | "delete", 0) | ("put", 1) => Of::Files,
        ("leave" | "self-id" | "list_self" | "store", 0) => Of::Members,
        ("put" | "put-all" | "upload_data" | "train" | "predict-locally", _) => Of::Local,
        ("get" | "get-output" | "get-versions" | "predict" | "evaluate" | "report", _) => Of::Local,
        _ => return None,
    })
}

/// Completes words.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completer {
    coordinators: Vec<Address>,
    local: FilenameCompleter,
    /// Found when it is first needed, until the next line.
    leader: RefCell<Option<Leader>>,
}

impl Completer {
    pub(super) fn new(coordinators: Vec<Address>) -> Self {
        Self { coordinators, local: FilenameCompleter::new(), leader: RefCell::new(None) }
    }

    /// The names that begin so; none if nobody answers.
    fn names(&self, of: Of, start: &str) -> Option<Vec<String>> {
        let mut leader = self.leader.borrow_mut();
        if leader.is_none() {
            let timeouts =
                Timeouts { connect: ANSWER, answer: Some(ANSWER), message: ANSWER, ..Timeouts::default() };
            let dialer = Dialer { timeouts, ..Dialer::default() };
            *leader = Leader::find(&self.coordinators, dialer, Duration::ZERO).ok();
        }
        let leader = leader.as_mut()?;
        let stop = || false;
        Some(match of {
            Of::Jobs => {
                let jobs = leader.call(&stop, |client| client.call(|c| c.jobs())).ok()?;
                jobs.into_iter().map(|job| job.job).collect()
            }
            Of::Files => {
                let list = |client: &mut crate::client::Connection| {
                    client.call(|c| c.list_files(format!("{start}*"), String::new(), MOST))
                };
                leader.call(&stop, list).ok()?.into_iter().map(|file| file.name).collect()
            }
            Of::Members => {
                let members = leader.call(&stop, |client| client.call(|c| c.members())).ok()?;
                members.into_iter().map(|member| member.address).collect()
            }
            Of::Local => Vec::new(),
        })
    }
}

impl Complete for Completer {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..at];
        let begin = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let start = &before[begin..];
        let mut words = before[..begin].split_whitespace();
        let Some(command) = words.next() else {
            let table = COMMANDS.iter().map(|row| row.name).filter(|name| !NOT_HERE.contains(name));
            let names = table.chain(names::all()).chain(["help", "join", "quit"]).map(str::to_owned).collect();
            return Ok((begin, candidates(names, start)));
        };
        match taken(command, words.filter(|word| !word.starts_with('-')).count()) {
            Some(Of::Local) => self.local.complete(line, at, context),
            Some(of) => Ok((begin, candidates(self.names(of, start).unwrap_or_default(), start))),
            None => Ok((begin, Vec::new())),
        }
    }
}

fn candidates(mut names: Vec<String>, start: &str) -> Vec<Pair> {
    names.retain(|name| name.starts_with(start));
    names.sort();
    names.dedup();
    let pair = |name: String| Pair { display: name.clone(), replacement: format!("{name} ") };
    names.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_complete_and_each_word_is_of_its_kind() {
        let names = COMMANDS.iter().map(|row| row.name.to_owned()).collect();
        let said: Vec<_> = candidates(names, "job-").into_iter().map(|pair| pair.replacement).collect();
        assert_eq!(said, ["job-info ", "job-stats "]);
        assert_eq!(taken("infer", 1), Some(Of::Files));
        assert_eq!(taken("cancel", 0), Some(Of::Jobs));
        assert_eq!(taken("members", 0), None);
    }
}
