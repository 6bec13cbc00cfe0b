//! Owns what the two servers' commands have in common: logging, the line that says they are ready, and their end.

use super::gossip::GossipOptions;
use super::{Failure, output};
use crate::gossip::Config;
use anyhow::Context;
use clap::Args;
use crossbeam_channel::Receiver;
use std::net::{SocketAddr, TcpListener};

/// Options of both servers.
#[derive(Args, Debug)]
pub(super) struct ServerOptions {
    /// The address to listen on; 0.0.0.0 or :: for all of this machine's (there is no authentication)
    #[arg(long, default_value = "127.0.0.1", value_name = "H")]
    pub(super) host: String,
    /// Where files named over the network are looked up, and nowhere else
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(super) data_dir: std::path::PathBuf,
    /// How much data is kept in memory at most
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = super::size)]
    pub(super) memory: usize,
    /// The seed of random choices; drawn if not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Stop when standard input ends: for programs that start a server
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
    #[command(flatten)]
    pub(super) gossip: GossipOptions,
}

/// A server that has started.
pub(super) struct Started<S> {
    pub(super) server: S,
    pub(super) address: SocketAddr,
    /// Told when it was asked to leave, and has done what it had to do.
    pub(super) has_left: Receiver<()>,
}

impl ServerOptions {
    /// The seed, drawn now if none was given.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(rand::random)
    }

    /// Binds the port, for calls and for gossip.
    pub(super) fn listen(&self, port: u16) -> Result<(TcpListener, Option<Config>), Failure> {
        start_logging("info");
        if !self.data_dir.is_dir() {
            let problem = anyhow::anyhow!("--data-dir {}: there is no such directory", self.data_dir.display());
            return Err(Failure::Input(problem));
        }
        self.gossip.listen(&self.host, port)
    }

    /// Serves until the user ends it, or it was asked to leave: `start` makes the server.
    pub(super) fn serve<S>(
        &self,
        what: &str,
        start: impl FnOnce() -> Result<Started<S>, Failure>,
    ) -> Result<(), Failure> {
        let stop = stop_signal(self.stop_with_stdin).map_err(Failure::Run)?;
        let Started { server, address, has_left } = start()?;
        output::line(&format!("{what} listening on {address}"))?;
        // An error means that nobody can ask for the end any more.
        crossbeam_channel::select! {
            recv(stop) -> _ => log::info!("{what} stops"),
            recv(has_left) -> _ => log::info!("{what} has left"),
        }
        drop(server);
        Ok(())
    }
}

/// Sends the log to standard error; `RUST_LOG` overrides the level.
pub(super) fn start_logging(level: &str) {
    let environment = env_logger::Env::default().default_filter_or(format!("roundtable={level}"));
    // A second start, in tests, changes nothing.
    let _ = env_logger::Builder::from_env(environment).format_target(false).try_init();
}

fn stop_signal(with_stdin: bool) -> anyhow::Result<Receiver<()>> {
    let (stop, stopped) = crossbeam_channel::bounded(1);
    let at_end = stop.clone();
    let on_signal = move || {
        let _ = stop.try_send(());
    };
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")?;
    if with_stdin {
        let wait = move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = at_end.try_send(());
        };
        std::thread::Builder::new().name("stdin".to_owned()).spawn(wait)?;
    }
    Ok(stopped)
}
