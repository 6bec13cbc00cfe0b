//! Owns `roundtable coordinator`.

use super::server::{ServerOptions, Started};
use super::{Failure, Run, nodes_file};
use crate::coordinator::{Config, Coordinator as Server, CoordinatorError, FileSettings};
use crate::http::{self, Http};
use crate::policy::{self, PolicyRow};
use crate::queue::Queues;
use crate::rpc::{self, Address};
use clap::Args;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the nodes are named unless another file is.
const NODES_FILE: &str = "compute_nodes.txt";

/// Take jobs from clients and have compute nodes do them
#[derive(Args)]
#[command(after_help = "\
Examples:
  roundtable coordinator 9095 2
  roundtable coordinator 9095 2 --join node.example:9091
  roundtable coordinator 9096 2 --standby
  roundtable coordinator 9095 2 --http 127.0.0.1:8080")]
pub(super) struct Coordinator {
    /// The port to listen on; 0 picks a free one
    #[arg(allow_negative_numbers = true)]
    port: u16,
    #[arg(value_parser = |text: &str| policy::find(text).map(Chosen), help = policy_help(), allow_negative_numbers = true)]
    policy: Chosen,
    /// The compute nodes: host,port on each line; # starts a comment [default: compute_nodes.txt, if it is there;
    /// others come by gossip]
    #[arg(long, value_name = "FILE")]
    nodes: Option<PathBuf>,
    #[arg(long, default_value = "roundtable-store", value_name = "DIR|URL", help = store_help())]
    store: String,
    /// Lead only when no other coordinator on the same store does: any number may stand by
    #[arg(long)]
    standby: bool,
    /// How long a leader may be silent before one that stands by takes over. Less is faster; but a leader that lives and is
    /// only slow is then deposed, which costs the tasks in flight
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = super::duration)]
    leader_patience: Duration,
    /// How many bytes in a second may be copied to restore copies of files after a node was lost
    #[arg(long, default_value = "200MiB", value_name = "SIZE", value_parser = super::size)]
    restore_rate: usize,
    /// What nothing refers to is not collected before it is this old
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = super::duration)]
    gc_grace: Duration,
    /// Answer HTTP here, too: GET / tells the newest model, GET /latest.onnx (or .npz, .safetensors) is it, POST / takes what
    /// a learner has learnt, GET /metrics is for Prometheus, GET /openapi.json tells the rest. There is no authentication
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
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
    format!("Where jobs, their data and files are kept, and who leads: {}", crate::store::schemes())
}

impl Run for Coordinator {
    fn run(self) -> Result<(), Failure> {
        let nodes = self.nodes()?;
        let (listener, gossip) = self.server.listen(self.port)?;
        let http = self.http.as_deref().map(bind).transpose()?;
        let nobody = nodes.is_empty() && !self.server.gossip.joins();
        let config = Config {
            policy: self.policy.0,
            nodes,
            data_dir: self.server.data_dir.clone(),
            seed: self.server.seed(),
            store_limit: self.server.memory,
            gossip,
            store: self.store.clone(),
            standby: self.standby,
            leader_patience: self.leader_patience,
            files: FileSettings { restore_rate: self.restore_rate as u64, grace: self.gc_grace },
        };
        self.server.serve("coordinator", || {
            let server = Server::start(listener, config).map_err(|e| match e {
                CoordinatorError::Led { .. } | CoordinatorError::Store(_) => Failure::input(e),
                other => Failure::run(other),
            })?;
            let address = server.address();
            let http = http.map(|listener| start(listener, &server)).transpose()?;
            let queues = Queues::start(server.front()).map_err(Failure::run)?;
            if nobody {
                log::warn!(
                    "there is no {NODES_FILE} here and no --join: this coordinator waits for nodes that join it, such \
                     as: roundtable compute-node 0 0 --join {address}"
                );
            }
            let has_left = server.has_left().clone();
            Ok(Started { has_left, server: (http, queues, server), address })
        })
    }
}

/// Listens for HTTP.
fn bind(address: &str) -> Result<TcpListener, Failure> {
    let address: Address =
        address.parse().map_err(|e| Failure::Input(anyhow::anyhow!("--http {address}: {e}")))?;
    rpc::bind(&address.host, address.port).map_err(Failure::run)
}

/// Answers HTTP, until that is dropped, which must be before the coordinator is.
fn start(listener: TcpListener, server: &Server) -> Result<Http, Failure> {
    let http = Http::start(listener, server.front(), http::Limits::default()).map_err(Failure::run)?;
    log::info!("answers HTTP at http://{}/", http.address());
    Ok(http)
}

impl Coordinator {
    /// The nodes of the file: one that was named must be there, the usual one only if nodes can come in no other way.
    fn nodes(&self) -> Result<Vec<Address>, Failure> {
        let usual = Path::new(NODES_FILE);
        let path = self.nodes.as_deref().unwrap_or(usual);
        if self.nodes.is_none() && self.server.gossip.is_on() && !path.exists() {
            return Ok(Vec::new());
        }
        nodes_file::read(path).map_err(Failure::Input)
    }
}
