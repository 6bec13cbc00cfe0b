//! Owns what the tests with real processes share: servers that end with the test, whatever happens, and clients.
//!
//! Everything listens on loopback and on port 0; every wait has a bound.

#![allow(dead_code)]

pub mod abuse;
pub mod gallery;
pub mod messages;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The longest that a test waits for anything, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub fn roundtable() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundtable"));
    command.env_remove("RUST_LOG").current_dir(root());
    command
}

/// Where `letters/` is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A process that is killed when the test ends.
pub struct Process {
    pub child: Child,
}

impl Process {
    /// Sends a signal by its name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill -{name}");
    }

    /// Waits for the end; panics if it does not come.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the process does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process must go on to be killed; one that has ended is only to be waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node or a coordinator.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        let mut command = roundtable();
        let child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null()).spawn();
        let mut process = Process { child: child.expect("the program starts") };
        let out = process.child.stdout.take().expect("its output is piped");
        let (lines, line) = mpsc::channel();
        std::thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                if lines.send(text).is_err() {
                    return;
                }
            }
        });
        let text = line.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{args:?} does not say that it listens"));
        let address = text.rsplit(' ').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{args:?} says: {text}"));
        assert!(text.contains("listening on"), "{text}");
        Self { process, address }
    }

    /// A node with this load probability, and short delays.
    pub fn node(load: &str, more: &[&str]) -> Self {
        Self::node_at(0, load, more)
    }

    pub fn node_at(port: u16, load: &str, more: &[&str]) -> Self {
        let port = port.to_string();
        Self::start(&[&["compute-node", &port, load, "--load-delay", "5ms"], more].concat())
    }
}

/// A coordinator and the addresses of its nodes.
pub struct Coordinator {
    pub server: Server,
    directory: tempfile::TempDir,
}

impl Coordinator {
    /// One that knows these nodes alone: ports are used again, and gossip would bring the nodes of other tests.
    pub fn start(policy: &str, nodes: &[SocketAddr], more: &[&str]) -> Self {
        Self::in_gossip(policy, nodes, &[&["--no-gossip"], more].concat())
    }

    /// One that takes part in gossip.
    pub fn in_gossip(policy: &str, nodes: &[SocketAddr], more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let file = directory.path().join("compute_nodes.txt");
        let list: String = nodes.iter().map(|node| format!("{},{}\n", node.ip(), node.port())).collect();
        std::fs::write(&file, list).expect("the nodes file can be written");
        let file = file.to_string_lossy().into_owned();
        let store = directory.path().join("store").to_string_lossy().into_owned();
        let args = ["coordinator", "0", policy, "--nodes", &file, "--store", &store];
        let server = Server::start(&[&args, more].concat());
        Self { server, directory }
    }

    /// A directory that lives as long as the coordinator.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The client's command line up to the directory.
    pub fn client(&self, job: &str, more: &[&str]) -> Command {
        let mut command = roundtable();
        let port = self.server.address.port().to_string();
        command.args(["client", &self.server.address.ip().to_string(), &port]);
        command.args(job.split(' ')).arg("--timing").arg(self.path("timing.txt")).args(more);
        command
    }

    /// Runs a job to its end and reads the JSON document.
    pub fn train(&self, job: &str, more: &[&str]) -> serde_json::Value {
        let output = finish(self.client(job, &[&["--json"], more].concat()));
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{job}: {err}{out}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }
}

/// Runs a command to its end, which must come.
pub fn finish(mut command: Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut process = Process { child: child.expect("the program starts") };
    fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A broken pipe ends the text, too.
            let _ = from.read_to_end(&mut bytes);
            bytes
        })
    }
    let out = collect(process.child.stdout.take().expect("it is piped"));
    let err = collect(process.child.stderr.take().expect("it is piped"));
    let status = process.wait();
    let [stdout, stderr] = [out, err].map(|thread| thread.join().expect("no panic"));
    Output { status, stdout, stderr }
}

pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Waits for something to become true.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "it does not come to this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The sum of a count over all nodes of a report.
pub fn total(report: &serde_json::Value, count: &str) -> i64 {
    let nodes = report["nodes"].as_array().expect("a list of nodes");
    nodes.iter().map(|node| node[count].as_i64().unwrap_or_else(|| panic!("{count}: {node}"))).sum()
}

pub fn sha(report: &serde_json::Value) -> &str {
    report["weights_sha256"].as_str().expect("a digest")
}
