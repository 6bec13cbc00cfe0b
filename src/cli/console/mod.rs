//! Owns `roundtable console`: the commands of the command line, one a line, with editing, history and completion; lines may
//! also be piped in.
//!
//! There is one table of commands for both. Names of the consoles that this one takes the place of are put into today's
//! by `names`.

mod complete;
mod names;

use super::{COMMANDS, Failure, Run, output, report_failure, server};
use crate::client::Leader;
use crate::rpc::{Address, Dialer};
use anyhow::{Context, anyhow};
use clap::Args;
use complete::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Commands that are processes of their own.
const NOT_HERE: &[&str] = &["compute-node", "coordinator", "demo", "console"];
/// How long `join` looks for a leader.
const PATIENCE: Duration = Duration::from_secs(5);

/// Type commands at a prompt, with history and completion, or pipe them in
#[derive(Args, Debug)]
#[command(after_help = "\
At the prompt: any command of roundtable without the word roundtable; `help` lists them, `quit` ends.
Examples:
  roundtable console localhost:9095
  printf 'members\\njobs\\n' | roundtable console localhost:9095")]
pub(in crate::cli) struct Console {
    /// The coordinator, or several, with commas between them: the one that leads and its standbys
    #[arg(
        env = "ROUNDTABLE_COORDINATOR",
        default_value = "localhost:9095",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    coordinator: Vec<Address>,
}

impl Run for Console {
    fn run(self) -> Result<(), Failure> {
        server::start_logging("warn");
        let mut session = Session { coordinators: self.coordinator };
        if io::stdin().is_terminal() { session.talk() } else { session.follow(io::stdin().lock()) }
    }
}

/// What a line came to.
enum After {
    /// The next one, please.
    Next,
    /// No more.
    Quit,
}

/// A console at work.
struct Session {
    coordinators: Vec<Address>,
}

impl Session {
    /// Reads lines from a person.
    fn talk(&mut self) -> Result<(), Failure> {
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
        let mut editor: Editor<Completer, DefaultHistory> =
            Editor::with_config(config).context("this terminal cannot be used").map_err(Failure::Run)?;
        let history = history();
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        output::line(&format!("roundtable console at {}; help lists the commands, quit ends", self.listed()))?;
        loop {
            editor.set_helper(Some(Completer::new(self.coordinators.clone())));
            let line = match editor.readline("roundtable> ") {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(e) => return Err(Failure::run(anyhow!(e).context("cannot read from the terminal"))),
            };
            match self.line(&line) {
                Ok(After::Next) => {}
                Ok(After::Quit) => break,
                Err(failure) => drop(report_failure(failure)),
            }
        }
        if let Some(path) = history {
            let saved = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(e) = saved.map_err(anyhow::Error::from).and_then(|()| Ok(editor.save_history(&path)?)) {
                log::debug!("{}: {e}", path.display());
            }
        }
        Ok(())
    }

    /// Reads lines of a script: all are done; the exit code is that of the first that failed.
    fn follow(&mut self, lines: impl BufRead) -> Result<(), Failure> {
        let mut failed = None;
        for line in lines.lines() {
            let line = line.context("cannot read standard input").map_err(Failure::Input)?;
            match self.line(&line) {
                Ok(After::Next) => {}
                Ok(After::Quit) => break,
                Err(Failure::NobodyReads) => return Err(Failure::NobodyReads),
                Err(failure) => {
                    let code = report_failure(failure);
                    failed.get_or_insert(code);
                }
            }
        }
        match failed {
            None | Some(ExitCode::SUCCESS) => Ok(()),
            Some(code) => Err(Failure::Told(if code == ExitCode::from(2) { 2 } else { 1 })),
        }
    }

    fn listed(&self) -> String {
        self.coordinators.iter().map(Address::to_string).collect::<Vec<_>>().join(",")
    }

    /// Does what a line says.
    fn line(&mut self, line: &str) -> Result<After, Failure> {
        let line = line.trim();
        let line = line.strip_prefix("roundtable ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(After::Next);
        }
        let words =
            shlex::split(line).ok_or_else(|| Failure::input(anyhow!("a quote in this line does not end")))?;
        let words = names::todays(words).map_err(Failure::Input)?;
        let Some((name, rest)) = words.split_first() else { return Ok(After::Next) };
        match (name.as_str(), rest) {
            ("quit" | "exit", _) => return Ok(After::Quit),
            ("help" | "?", []) => help()?,
            ("help" | "?", [of, ..]) => self.command(of, &["--help".to_owned()])?,
            ("join", [address, ..]) => self.join(address)?,
            ("join", []) => output::line(&format!(
                "this console is at {}; `join HOST:PORT` takes it elsewhere. A node joins with: roundtable compute-node \
                 PORT LOAD --join {}",
                self.listed(),
                self.listed()
            ))?,
            // What leaves without being named is this console.
            ("leave", []) => return Ok(After::Quit),
            ("self-id", []) => {
                let own = self.coordinators.first().map(Address::to_string);
                self.command("self-id", &own.into_iter().collect::<Vec<_>>())?;
            }
            ("client", _) => self.train(rest)?,
            (name, rest) => self.command(name, rest)?,
        }
        Ok(After::Next)
    }

    /// Goes to another cluster.
    fn join(&mut self, address: &str) -> Result<(), Failure> {
        let wanted =
            address.split(',').map(str::parse).collect::<Result<Vec<Address>, _>>().map_err(Failure::input)?;
        let leader = Leader::find(&wanted, Dialer::default(), PATIENCE).map_err(Failure::run)?;
        self.coordinators = wanted;
        output::line(&format!("{} leads", leader.address()))
    }

    /// `client` takes host and port where other commands take `--coordinator`: here both are known.
    fn train(&self, rest: &[String]) -> Result<(), Failure> {
        let host_and_port = rest.get(1).is_some_and(|port| port.parse::<u16>().is_ok());
        let own =
            self.coordinators.first().filter(|_| !host_and_port && !rest.iter().any(|word| word == "--help"));
        let own = own.map(|own| vec![own.host.clone(), own.port.to_string()]).unwrap_or_default();
        self.command("client", &[own, rest.to_vec()].concat())
    }

    /// Does a command of the table.
    fn command(&self, name: &str, rest: &[String]) -> Result<(), Failure> {
        let row = COMMANDS.iter().find(|row| row.name == name).ok_or_else(|| {
            let like = COMMANDS
                .iter()
                .map(|row| row.name)
                .find(|known| known.starts_with(name) || name.starts_with(known));
            let like =
                like.map_or("help lists those there are".to_owned(), |known| format!("did you mean {known}?"));
            Failure::input(anyhow!("there is no command '{name}'; {like}"))
        })?;
        let wants_help = rest.iter().any(|word| word == "--help" || word == "-h");
        if NOT_HERE.contains(&name) && !wants_help {
            return Err(Failure::input(anyhow!("{name} runs for itself: start it in another terminal")));
        }
        let command = (row.define)(clap::Command::new(row.name).args_override_self(true));
        let mut args = vec![name.to_owned()];
        let takes_one = command.get_arguments().any(|arg| arg.get_long() == Some("coordinator"));
        if takes_one {
            args.extend(["--coordinator".to_owned(), self.listed()]);
        }
        args.extend_from_slice(rest);
        let matches = command.bin_name(name).try_get_matches_from(args).map_err(Failure::Usage)?;
        (row.run)(&matches)
    }
}

fn help() -> Result<(), Failure> {
    let mut rows: Vec<Vec<String>> = vec![vec!["command".to_owned(), "what it does".to_owned()]];
    for row in COMMANDS.iter().filter(|row| !NOT_HERE.contains(&row.name)) {
        let about = (row.define)(clap::Command::new(row.name)).get_about().map(ToString::to_string);
        rows.push(vec![row.name.to_owned(), about.unwrap_or_default()]);
    }
    let more =
        [("help COMMAND", "Tell all of a command"), ("join HOST:PORT", "Go to another cluster"), ("quit", "End")];
    rows.extend(more.map(|(name, about)| vec![name.to_owned(), about.to_owned()]));
    rows.extend(names::told().map(|(name, about)| vec![name.to_owned(), about]));
    output::lines(super::table::lay_out(&rows))
}

/// Where the history is kept: the user's state directory.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("roundtable/history"))
}
