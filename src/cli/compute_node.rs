//! Owns `roundtable compute-node`.

use super::server::{ServerOptions, Started};
use super::{Failure, Run};
use crate::node::{Config, Node};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Do the tasks that coordinators send
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable compute-node 9091 0.2
  roundtable compute-node 9091 0 --host 0.0.0.0 --join coordinator.example:9095")]
pub(super) struct ComputeNode {
    /// The port to listen on; 0 picks a free one
    #[arg(allow_negative_numbers = true)]
    port: u16,
    /// The probability, 0 to 1, that a task is delayed, and, under load-balancing, that one is refused
    #[arg(value_parser = probability, allow_negative_numbers = true)]
    load_probability: f64,
    /// How long a delayed task waits
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = super::duration)]
    load_delay: Duration,
    /// Take so many times as long for each task as it takes: a slow machine, simulated
    #[arg(long, default_value_t = 1.0, value_name = "TIMES", value_parser = slowdown, allow_negative_numbers = true)]
    slowdown: f64,
    /// How many tasks run at once, each on a thread
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: u16,
    /// How long tasks at work may take to end when this node is told to leave
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = super::duration)]
    drain_time: Duration,
    /// Where copies of files are held for the cluster; roundtable-store/node-<PORT> if not given, or, if a free port
    /// is picked, a temporary directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// How much may be held there
    #[arg(long, default_value = "64GiB", value_name = "SIZE", value_parser = super::size)]
    disk: usize,
    /// How much memory models may take that are kept loaded for inference
    #[arg(long, default_value = "2GiB", value_name = "SIZE", value_parser = super::size)]
    model_memory: usize,
    /// By how much tasks give way to whatever else this machine does: 0 not at all, 19 always
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=19))]
    nice: u8,
    #[command(flatten)]
    server: ServerOptions,
}

impl Run for ComputeNode {
    fn run(self) -> Result<(), Failure> {
        let (listener, gossip) = self.server.listen(self.port)?;
        let usual = || (self.port > 0).then(|| PathBuf::from(format!("roundtable-store/node-{}", self.port)));
        let config = Config {
            load_probability: self.load_probability,
            load_delay: self.load_delay,
            slowdown: self.slowdown,
            slots: usize::from(self.slots),
            data_dir: self.server.data_dir.clone(),
            seed: self.server.seed(),
            store_limit: self.server.memory,
            gossip,
            drain_time: self.drain_time,
            store: self.store.clone().or_else(usual),
            disk_limit: self.disk as u64,
            model_memory: self.model_memory,
            nice: self.nice,
        };
        self.server.serve("compute node", || {
            let node = Node::start(listener, config).map_err(Failure::run)?;
            Ok(Started { address: node.address(), has_left: node.has_left().clone(), server: node })
        })
    }
}

fn slowdown(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number, such as 10".to_owned())?;
    if (1.0..=1e6).contains(&value) { Ok(value) } else { Err("it must be from 1 to 1e6".to_owned()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number from 0 to 1, such as 0.2".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("it must be from 0 to 1".to_owned()) }
}
