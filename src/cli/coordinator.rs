//! Owns `roundtable coordinator`.

use super::server::ServerOptions;
use super::{Failure, Run, nodes_file};
use crate::coordinator::{Config, Coordinator as Server};
use crate::policy::{self, PolicyRow};
use clap::Args;
use std::path::PathBuf;

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
    #[command(flatten)]
    server: ServerOptions,
}

/// A row of the table, as clap wants it.
#[derive(Clone, Copy)]
struct Chosen(&'static PolicyRow);

fn policy_help() -> String {
    format!("How nodes are chosen, by number or name: {}", policy::choices())
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
        };
        self.server.serve("coordinator", || {
            let server = Server::start(listener, config)?;
            let address = server.address();
            Ok((server, address))
        })
    }
}
