//! Owns the options of both servers about gossip.

use super::Failure;
use crate::gossip::{Config, Settings};
use crate::rpc::Address;
use clap::Args;
use std::net::TcpListener;
use std::time::Duration;

/// How a server takes part in gossip.
#[derive(Args, Debug)]
#[command(next_help_heading = "Gossip, by UDP at the same port")]
pub(super) struct GossipOptions {
    /// Servers that may be there, node or coordinator: any one that is introduces this one to all others
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', conflicts_with = "no_gossip")]
    join: Vec<Address>,
    /// The name or address by which the others reach this server, if that is not what it listens on [default: --host,
    /// or if that is 0.0.0.0 or ::, the address by which this machine reaches the first of --join]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// How often another server is asked whether it is there. Shorter finds the dead earlier and costs bytes (100ms: 1.7
    /// KB/s); longer is for networks whose answers take more than 40% of it. The same for all servers
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = period)]
    probe_period: Duration,
    /// How long a server that does not answer may take to show that it lives. Shorter finds the dead earlier; longer
    /// forgives machines that hang and networks that lose much. The same for all servers
    #[arg(long, default_value = "900ms", value_name = "TIME", value_parser = period)]
    suspicion: Duration,
    /// Take no part: this server is found only by those that are told its address
    #[arg(long)]
    no_gossip: bool,
}

impl GossipOptions {
    /// Whether it takes part and knows whom to ask for the others.
    pub(super) fn joins(&self) -> bool {
        !self.join.is_empty()
    }

    /// Whether it takes part.
    pub(super) fn is_on(&self) -> bool {
        !self.no_gossip
    }

    /// A listener, and beside it what gossip needs. If any port will do, one that is free for both is found.
    pub(super) fn listen(&self, host: &str, port: u16) -> Result<(TcpListener, Option<Config>), Failure> {
        /// How many ports that are taken for datagrams are passed over.
        const TRIES: usize = 32;
        let mut taken = Vec::new();
        loop {
            let listener = crate::rpc::bind(host, port).map_err(Failure::input)?;
            if self.no_gossip {
                return Ok((listener, None));
            }
            match Config::beside(&listener) {
                Ok(config) => return Ok((listener, Some(self.complete(config)))),
                Err(e) if port != 0 || taken.len() >= TRIES => return Err(Failure::input(e)),
                // While it is held the system gives another one.
                Err(_) => taken.push(listener),
            }
        }
    }

    fn complete(&self, config: Config) -> Config {
        let seeds = self.join.iter().map(Address::to_string).collect();
        let settings =
            Settings { probe_period: self.probe_period, suspicion: self.suspicion, ..Settings::default() };
        Config { advertise: self.advertise.clone(), seeds, settings, ..config }
    }
}

/// Reads a time that gossip can work with.
fn period(text: &str) -> Result<Duration, String> {
    let time = super::duration(text)?;
    let (shortest, longest) = (Duration::from_millis(10), Duration::from_secs(600));
    if (shortest..=longest).contains(&time) { Ok(time) } else { Err("it must be from 10ms to 10m".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn read(args: &[&str]) -> Result<GossipOptions, clap::Error> {
        let command = GossipOptions::augment_args(clap::Command::new("t"));
        GossipOptions::from_arg_matches(&command.try_get_matches_from([&["t"], args].concat())?)
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let options = read(&[]).unwrap();
        let Ok((_, Some(config))) = options.listen("127.0.0.1", 0) else { panic!("a port is free") };
        assert_eq!(config.settings, Settings::default());
        assert!(config.seeds.is_empty() && !options.joins() && options.is_on());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (args, words) in [
            (&["--join", "here"][..], "it has no port"),
            (&["--probe-period", "1ms"], "from 10ms to 10m"),
            (&["--join", "a:1", "--no-gossip"], "cannot be used with"),
        ] {
            let error = read(args).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
