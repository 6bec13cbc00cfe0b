//! Owns `roundtable coordinator`.

use super::server::ServerOptions;
use super::{Failure, Run, nodes_file};
use crate::coordinator::{Config, Coordinator as Server, FileSettings};
use crate::policy::{self, PolicyRow};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Take jobs from clients and have compute nodes do them
#[derive(Args)]
#[command(after_help = "Example: roundtable coordinator 9095 2")]
pub(super) struct Coordinator {
    /// The port to listen on; 0 picks a free one
    #[arg(allow_negative_numbers = true)]
    port: u16,
    #[arg(value_parser = |text: &str| policy::find(text).map(Chosen), help = policy_help(), allow_negative_numbers = true)]
    policy: Chosen,
    /// The compute nodes: host,port on each line; # starts a comment
    #[arg(long, default_value = "compute_nodes.txt", value_name = "FILE")]
    nodes: PathBuf,
    #[arg(long, default_value = "roundtable-store", value_name = "DIR|URL", help = store_help())]
    store: String,
    /// How many bytes in a second may be copied to restore copies of files after a node was lost
    #[arg(long, default_value = "200MiB", value_name = "SIZE", value_parser = super::size)]
    restore_rate: usize,
    /// What nothing refers to is not collected before it is this old
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = super::duration)]
    gc_grace: Duration,
    #[command(flatten)]
    server: ServerOptions,
}

/// A row of the table, as clap wants it.
#[derive(Clone, Copy)]
struct Chosen(&'static PolicyRow);

fn policy_help() -> String {
    format!("How nodes are chosen, by number or name: {}", policy::choices())
}

fn store_help() -> String {
    format!("Where files are kept durably: {}", crate::store::schemes())
}

impl Run for Coordinator {
    fn run(self) -> Result<(), Failure> {
        let nodes = nodes_file::read(&self.nodes).map_err(Failure::Input)?;
        let listener = self.server.listener(self.port)?;
        let config = Config {
            policy: self.policy.0,
            nodes,
            data_dir: self.server.data_dir.clone(),
            seed: self.server.seed(),
            store_limit: self.server.memory,
            store: self.store.clone(),
            files: FileSettings { restore_rate: self.restore_rate as u64, grace: self.gc_grace },
        };
        self.server.serve("coordinator", || {
            let server = Server::start(listener, config)?;
            let address = server.address();
            Ok((server, address))
        })
    }
}
