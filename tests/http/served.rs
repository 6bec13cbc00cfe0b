//! A coordinator that answers HTTP, its nodes and its jobs.

use roundtable::coordinator::{Config, Coordinator};
use roundtable::http::{Http, Limits};
use roundtable::jobs::training::TrainingRequest;
use roundtable::model::{OptimizerSettings, Schedule};
use roundtable::node::{self, Node};
use roundtable::rpc::{Dialer, Input, Output};
use roundtable::wire::coordinator::{CoordinatorSyncClient, JobRequest, TCoordinatorSyncClient};
use roundtable::{client, policy, rpc};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use thrift::OrderedFloat;

/// The longest that a test waits for anything, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A coordinator that answers HTTP; HTTP ends first, as in the program.
pub struct Served {
    http: Http,
    pub coordinator: Coordinator,
    _node: Option<Node>,
}

impl Served {
    pub fn start(has_node: bool, limits: Limits) -> Self {
        let node = has_node.then(|| Node::start(loopback(), node::Config::default()).expect("a node"));
        let nodes = node.iter().map(|node| node.address().into()).collect();
        Self {
            _node: node,
            ..Self::with(Config::new(policy::find("load-balancing").expect("it is there"), nodes), limits)
        }
    }

    pub fn with(config: Config, limits: Limits) -> Self {
        let coordinator = Coordinator::start(loopback(), config).expect("a coordinator");
        let http = Http::start(loopback(), coordinator.front(), limits).expect("HTTP");
        Self { http, coordinator, _node: None }
    }

    pub fn at(&self) -> SocketAddr {
        self.http.address()
    }

    /// A job by rounds, to its end; the digest of its weights.
    pub fn train(&self, seed: u64) {
        let order = client::Order {
            coordinators: vec![self.coordinator.address().into()],
            reconnect: Duration::from_secs(10),
            dataset: "letters".to_owned(),
            values: false,
            work: client::Work::Rounds(TrainingRequest::original(2, 2, vec![12], 1e-4, seed)),
            give_up_after: Some(PATIENCE),
            share: client::Share::default(),
        };
        client::train(&order, &|| false, &mut |_step| ()).expect("it trains");
    }
}

fn loopback() -> std::net::TcpListener {
    rpc::bind("127.0.0.1", 0).expect("a port")
}

/// Waits for something to become true.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "it does not come to this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Served {
    /// Starts a job that learns from a stream; `more` goes into its parameters.
    pub fn stream(&self, more: &Value) -> String {
        let mut parameters = json!({
            "hidden": [12],
            "eta": 0.05,
            "seed": 1,
            "method": {
                "batch_size": 32, "shuffle": false, "schedule": Schedule::named("constant"), "optimizer": OptimizerSettings::named("sgd"),
                "weight_decay": 0, "clip_norm": null, "dropout": 0, "label_smoothing": 0, "proximal": 0,
            },
            "source": {"updates": {"updates": 1_000_000}},
        });
        let all = parameters.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object").clone());
        let request = JobRequest {
            kind: "train-async".to_owned(),
            parameters: parameters.to_string(),
            dataset: "letters".to_owned(),
            shards: Vec::new(),
            validation: None,
            classes: Vec::new(),
            give_up_after_s: OrderedFloat(0.0),
            values: None,
            request_id: None,
            weight: None,
            priority: None,
        };
        self.call(move |c| c.submit(request))
    }

    pub fn call<T>(&self, call: impl FnOnce(&mut CoordinatorSyncClient<Input, Output>) -> thrift::Result<T>) -> T {
        let address = self.coordinator.address().into();
        let mut caller = Dialer::default().dial(&address).expect("it accepts").client(CoordinatorSyncClient::new);
        caller.call(call).expect("it answers")
    }
}
