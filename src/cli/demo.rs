//! Owns `roundtable demo`: the whole system on this machine, as real processes, gone again when it ends.

use super::client::{Client, ClientOptions};
use super::{Failure, Run, output};
use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::ArgPredicate;
use crossbeam_channel::Receiver;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The nodes' load probabilities.
const LOADS: [&str; 3] = ["0.1", "0.2", "0.4"];
/// Short, so that the demo is.
const LOAD_DELAY: &str = "200ms";

/// How often the demo looks whether its client has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Start three nodes and a coordinator, train on letters/, and stop them again
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// The data to train on
    #[arg(long, default_value = "letters", value_name = "DIR")]
    data: PathBuf,
    /// How nodes are chosen, by number or name
    #[arg(long, default_value = "load-balancing")]
    policy: String,
    /// Rounds, epochs, hidden units and learning rate, as `client` takes them
    #[arg(long, num_args = 4, allow_negative_numbers = true, value_names = ["ROUNDS", "EPOCHS", "H", "ETA"], default_values = ["15", "50", "24", "0.0001"], default_value_if("recipe", ArgPredicate::IsPresent, None))]
    training: Vec<String>,
    #[command(flatten)]
    options: ClientOptions,
}

impl Run for Demo {
    fn run(self) -> Result<(), Failure> {
        let policy = crate::policy::find(&self.policy).map_err(Failure::input)?;
        if !self.data.is_dir() {
            let data = self.data.display();
            let problem =
                anyhow!("there is no directory {data} here; run this where letters/ is, or give --data DIR");
            return Err(Failure::Input(problem));
        }
        self.check()?;
        let quiet = self.options.json();
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let on_signal = move || {
            let _ = stop.try_send(());
        };
        ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C").map_err(Failure::Run)?;
        let directory =
            tempfile::tempdir().context("cannot make a directory for the demo").map_err(Failure::Run)?;
        let nodes_file = directory.path().join("compute_nodes.txt");
        let mut nodes = Vec::new();
        let mut list = String::new();
        for load in LOADS {
            let node = Server::start(quiet, &["compute-node", "0", load, "--load-delay", LOAD_DELAY])?;
            list.push_str(&format!("{},{}\n", node.host, node.port));
            nodes.push(node);
        }
        std::fs::write(&nodes_file, list).context("cannot write the nodes' addresses").map_err(Failure::Run)?;
        let shown = nodes_file.to_string_lossy();
        let store = directory.path().join("store").to_string_lossy().into_owned();
        let args = ["coordinator", "0", policy.name, "--nodes", &shown, "--store", &store];
        let coordinator = Server::start(quiet, &args)?;
        let status = self.client(quiet, &coordinator, &stopped)?;
        // The servers stop when they are dropped, the coordinator first.
        drop(coordinator);
        drop(nodes);
        match status.code() {
            Some(0) => Ok(()),
            Some(130) | None => Err(Failure::Interrupted("the demo was interrupted".to_owned())),
            Some(code) => Err(Failure::Told(u8::try_from(code).unwrap_or(1))),
        }
    }
}

impl Demo {
    /// What the client would not take is told before anything starts.
    fn check(&self) -> Result<(), Failure> {
        let fixed = ["demo", "localhost", "1", "data"].map(str::to_owned);
        let client = Client::augment_args(clap::Command::new("demo"));
        client.try_get_matches_from(fixed.iter().chain(&self.training)).map_err(Failure::Usage)?;
        self.options.check().map_err(Failure::Input)
    }

    /// Runs the client to its end; Ctrl-C is passed on to it, once.
    fn client(&self, quiet: bool, coordinator: &Server, stopped: &Receiver<()>) -> Result<ExitStatus, Failure> {
        let data = self.data.to_string_lossy();
        let mut args = vec!["client", coordinator.host.as_str(), coordinator.port.as_str(), &data];
        args.extend(self.training.iter().map(String::as_str));
        announce(quiet, &args, "")?;
        let mut command = program().map_err(Failure::Run)?;
        command.args(args).args(self.options.to_args()).process_group(0);
        let mut client = command.spawn().context("cannot start the client").map_err(Failure::Run)?;
        loop {
            if let Some(status) = client.try_wait().context("cannot wait for the client").map_err(Failure::Run)? {
                return Ok(status);
            }
            if stopped.recv_timeout(LOOK).is_ok() {
                // It may have ended meanwhile.
                let _ = kill(Pid::from_raw(client.id().cast_signed()), Signal::SIGINT);
            }
        }
    }
}

fn program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("cannot find this program's file")?))
}

fn announce(quiet: bool, args: &[&str], what: &str) -> Result<(), Failure> {
    if quiet { Ok(()) } else { output::line(format!("$ roundtable {}{what}", args.join(" ")).as_str()) }
}

/// A server process, which ends when this is dropped, or when this process is gone.
struct Server {
    child: Child,
    host: String,
    port: String,
}

impl Server {
    fn start(quiet: bool, args: &[&str]) -> Result<Self, Failure> {
        let mut command = program().map_err(Failure::Run)?;
        command.args(args).arg("--stop-with-stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".to_owned()));
        // A terminal sends Ctrl-C to all of a group: these are to end in order, the client first.
        command.process_group(0);
        let child = command.spawn().context("cannot start a server").map_err(Failure::Run)?;
        let mut server = Self { child, host: String::new(), port: String::new() };
        let mut line = String::new();
        if let Some(out) = server.child.stdout.take() {
            BufReader::new(out).read_line(&mut line).context("cannot read from a server").map_err(Failure::Run)?;
        }
        let address = line.trim().rsplit(' ').next().and_then(|address| address.rsplit_once(':'));
        let (host, port) = address.ok_or_else(|| Failure::Run(anyhow!("a server did not start: {line:?}")))?;
        server.host = host.to_owned();
        server.port = port.to_owned();
        announce(quiet, args, &format!("    # listening on {host}:{port}"))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its standard input tells it to stop.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
