//! Trains small models in rounds across whatever machines are at hand, over Apache Thrift.
//!
//! A client asks a coordinator for a job; the coordinator cuts it into tasks, gives each to a compute node under a
//! scheduling policy, and folds the answers into the next version of the model. The same data, job and seed give the
//! same model, bit for bit, however many nodes there were and whatever happened to them.
//!
//! # The map
//!
//! | module | owns |
//! |---|---|
//! | [`types`] | ids and units |
//! | [`data`] | data sets, from text and as blobs |
//! | [`model`] | the network, its kernels, training, averaging, files |
//! | [`graph`] | image networks of others, from ONNX |
//! | [`policy`] | which node gets a task |
//! | [`placement`] | which nodes hold copies of files |
//! | [`predictor`] | models as those who ask see them: pictures or rows in, classes or values out |
//! | [`jobs`] | what a job's tasks are and what their results change |
//! | [`local`] | doing a job in this process alone, one task after the other |
//! | [`ledger`] | what must not be forgotten of jobs |
//! | [`engine`] | the cluster's brain: events in, actions out |
//! | [`tenure`] | who leads, and the log that it writes |
//! | [`priority`] | which threads give way to others |
//! | [`wire`] | the generated Thrift code, and the step to our types |
//! | [`rpc`] | connections: server, client, limits |
//! | [`store`] | blobs by their digests |
//! | [`membership`] | who is in the cluster, by SWIM |
//! | [`gossip`] | membership over UDP, and the calls about it |
//! | [`sim`] | a whole cluster under virtual time, with everything that may go wrong |
//! | [`ingest`] | data sets on disk |
//! | [`node`], [`coordinator`], [`client`] | the three processes |
//! | [`http`] | the coordinator over HTTP: models, learners' changes, metrics |
//! | [`queue`] | rows from NATS JetStream |
//! | [`report`] | a run's page: HTML and SVG |
//! | [`cli`] | the command line |
//!
//! All up to `engine`, `membership` and `report`, is pure: no sockets, files, threads or clock. `tests/layers.rs` has the rules.
//!
//! # Example
//!
//! A node, a coordinator and a client in one program, as [`cli`] starts them in three:
//!
//! ```
//! use roundtable::{client, coordinator, jobs::training::TrainingRequest, node, policy, rpc};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = node::Node::start(rpc::bind("127.0.0.1", 0)?, node::Config::default())?;
//! let nodes = vec![node.address().into()];
//! let config = coordinator::Config::new(policy::find("load-balancing")?, nodes);
//! let coordinator = coordinator::Coordinator::start(rpc::bind("127.0.0.1", 0)?, config)?;
//!
//! let order = client::Order {
//!     coordinators: vec![coordinator.address().into()],
//!     reconnect: Duration::from_secs(10),
//!     dataset: "letters".to_owned(),
//!     values: false,
//!     work: client::Work::Rounds(TrainingRequest::original(1, 5, vec![12], 1e-4, 1)),
//!     give_up_after: Some(Duration::from_secs(60)),
//!     share: client::Share::default(),
//! };
//! let report = client::train(&order, &|| false, &mut |_step| ())?;
//! println!("validation error {:.4}, weights {}", report.validation_error, report.weights_sha256);
//! # assert_eq!(report.nodes[0].tasks, 11);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod cli;
pub mod client;
pub mod coordinator;
pub mod gossip;
pub mod http;
pub mod ingest;
pub mod node;
pub mod priority;
pub mod queue;
pub mod report;
pub mod rpc;
pub mod store;
pub mod wire;

pub use roundtable_engine::{engine, jobs, ledger, local, membership, placement, policy, sim, tenure};
pub use roundtable_learning::{data, graph, model, predictor, types};
