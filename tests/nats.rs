//! Rows from NATS JetStream with real processes: each message counts once, whatever is killed.
//!
//! Needs `nats-server` (Debian: nats-server). Without it the tests say so and pass, unless ROUNDTABLE_NATS is set.

mod support;

use async_nats::jetstream;
use roundtable::queue::{Publisher, QueueUrl};
use roundtable::rpc::Dialer;
use roundtable::wire::coordinator::{
    CoordinatorSyncClient, JobRequest, JobState, JobStatus, StreamFigures, TCoordinatorSyncClient,
};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Process, Server, wait_until};
use thrift::OrderedFloat;

/// Rows of a message, and messages.
const ROWS: usize = 40;
const MESSAGES: usize = 60;

struct Nats {
    process: Process,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Nats {
    /// `None` if there is no such program here.
    fn start() -> Option<Self> {
        let is_there = Command::new("nats-server").arg("--version").stdout(Stdio::null()).status().is_ok();
        if !is_there {
            assert!(std::env::var_os("ROUNDTABLE_NATS").is_none(), "there is no nats-server");
            eprintln!("left out: there is no nats-server here");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let directory = tempfile::tempdir().expect("a directory");
        let process = Self::run(address, directory.path());
        Some(Self { process, address, directory })
    }

    fn run(address: SocketAddr, directory: &Path) -> Process {
        let mut command = Command::new("nats-server");
        command.args(["-js", "-a", "127.0.0.1", "-p", &address.port().to_string(), "-sd"]).arg(directory);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = Process { child: child.expect("it starts") };
        wait_until("NATS listens", || TcpStream::connect(address).is_ok());
        process
    }

    fn kill_and_start_again(&mut self) {
        self.process.child.kill().expect("it is killed");
        self.process.wait();
        self.process = Self::run(self.address, self.directory.path());
    }

    fn url(&self) -> QueueUrl {
        self.text().parse().expect("a URL")
    }

    fn text(&self) -> String {
        format!("nats://{}/rows", self.address)
    }

    /// Messages in the stream: those that were not acknowledged.
    fn messages(&self) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(self.address.to_string()).await.expect("it answers");
            let stream = jetstream::new(client).get_stream("rows").await.expect("there is a stream");
            stream.cached_info().state.messages
        })
    }

    /// Publishes something by another program's hand.
    fn publish(&self, text: &'static str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(self.address.to_string()).await.expect("it answers");
            // The answer comes through it.
            let context = jetstream::new(client);
            let sent = context.publish("rows", text.into()).await.expect("it is sent");
            sent.await.expect("it is kept");
        });
    }
}

/// A coordinator with a store and a file of nodes that stay when it is killed.
struct Cluster {
    directory: tempfile::TempDir,
    nodes: Vec<Server>,
    coordinator: Server,
}

impl Cluster {
    fn start(nodes: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let nodes: Vec<Server> = (0..nodes).map(|_| Server::node("0", &[])).collect();
        let list: String =
            nodes.iter().map(|node| format!("{},{}\n", node.address.ip(), node.address.port())).collect();
        std::fs::write(directory.path().join("nodes"), list).expect("the file is written");
        let coordinator = Self::coordinator(directory.path());
        Self { directory, nodes, coordinator }
    }

    fn coordinator(directory: &Path) -> Server {
        let path = |name: &str| -> PathBuf { directory.join(name) };
        let (nodes, store) = (path("nodes"), path("store"));
        let args = ["coordinator", "0", "load-balancing", "--no-gossip", "--nodes"];
        Server::start(&[&args[..], &[&nodes.to_string_lossy(), "--store", &store.to_string_lossy()]].concat())
    }

    fn kill_coordinator(&mut self) {
        self.coordinator.process.child.kill().expect("it is killed");
        self.coordinator.process.wait();
        self.coordinator = Self::coordinator(self.directory.path());
    }

    fn submit(&self, queue: &str) -> String {
        let parameters = json!({
            "hidden": [8],
            "eta": 0.01,
            "seed": 1,
            "group": 2,
            "source": {"queue": {"url": queue}},
            "method": {
                "batch_size": 8, "shuffle": false, "schedule": {"name": "constant", "warmup": 0.0},
                "optimizer": {"name": "sgd", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
                "weight_decay": 0, "clip_norm": null, "dropout": 0, "label_smoothing": 0, "proximal": 0,
            },
        });
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
        let mut client = self.caller();
        client.call(|client| client.submit(request)).expect("the job is taken")
    }

    fn caller(
        &self,
    ) -> roundtable::rpc::Client<CoordinatorSyncClient<roundtable::rpc::Input, roundtable::rpc::Output>> {
        let address = self.coordinator.address.into();
        Dialer::default().dial(&address).expect("it accepts").client(CoordinatorSyncClient::new)
    }

    fn status(&self, job: &str) -> JobStatus {
        self.caller().call(|client| client.watch(job.to_owned(), 0, 0, 0)).expect("a status")
    }

    fn figures(&self, job: &str) -> Option<StreamFigures> {
        self.status(job).stream
    }

    fn wait_for(&self, job: &str, rows: usize) {
        let what = format!("{rows} rows are learnt");
        wait_until(&what, || self.figures(job).is_some_and(|figures| figures.rows >= rows as i64));
    }

    fn wait_for_the_end(&self, job: &str) {
        wait_until("the job ends", || self.status(job).state != JobState::RUNNING);
        let status = self.status(job);
        assert_eq!(status.state, JobState::DONE, "{}", status.notice);
    }
}

/// Messages with the first rows of the letters, again and again.
fn messages() -> impl Iterator<Item = Vec<u8>> {
    let text = std::fs::read_to_string(support::root().join("letters/train_letters1.txt")).expect("the data");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    (0..MESSAGES).map(move |message| {
        let rows = (0..ROWS).map(|row| lines[(message * ROWS + row) % lines.len()].clone());
        rows.collect::<Vec<_>>().join("\n").into_bytes()
    })
}

#[test]
fn each_message_counts_once_whatever_is_killed() {
    let Some(mut nats) = Nats::start() else { return };
    let mut cluster = Cluster::start(2);
    let job = cluster.submit(&nats.text());
    let mut publisher = Publisher::connect(&nats.url(), "one").expect("it connects");
    for (place, message) in messages().enumerate() {
        publisher.put(message).expect("it is kept");
        match place {
            15 => {
                cluster.wait_for(&job, 5 * ROWS);
                cluster.kill_coordinator();
            }
            30 => {
                cluster.wait_for(&job, 16 * ROWS);
                cluster.nodes[0].process.child.kill().expect("it is killed");
            }
            _ => {}
        }
    }
    nats.publish("no,rows\n");
    publisher.flush().expect("all is kept");
    cluster.kill_coordinator();
    cluster.wait_for(&job, MESSAGES / 2 * ROWS);
    nats.kill_and_start_again();
    publisher.end().expect("it is kept");
    cluster.wait_for_the_end(&job);
    let figures = cluster.figures(&job).expect("figures");
    assert_eq!(figures.rows, (MESSAGES * ROWS) as i64, "each row counts once: {figures:?}");
    assert_eq!((figures.waiting, figures.batches), (0, (MESSAGES * ROWS / 8) as i64));
    wait_until("all is acknowledged", || nats.messages() == 0);
}

#[test]
fn what_was_in_the_stream_before_the_job_is_taken_and_a_server_that_is_gone_is_waited_for() {
    let Some(mut nats) = Nats::start() else { return };
    let mut publisher = Publisher::connect(&nats.url(), "two").expect("it connects");
    let all: Vec<Vec<u8>> = messages().take(10).collect();
    all.iter().for_each(|message| publisher.put(message.clone()).expect("it is kept"));
    publisher.end().expect("it is kept");
    drop(publisher);
    assert_eq!(nats.messages(), 11);

    let cluster = Cluster::start(1);
    nats.process.child.kill().expect("it is killed");
    nats.process.wait();
    let job = cluster.submit(&nats.text());
    assert_eq!(cluster.status(&job).state, JobState::RUNNING, "a server that is gone is no failure");
    nats.kill_and_start_again();
    cluster.wait_for_the_end(&job);
    assert_eq!(cluster.figures(&job).map(|figures| figures.rows), Some((10 * ROWS) as i64));
    wait_until("all is acknowledged", || nats.messages() == 0);
}
