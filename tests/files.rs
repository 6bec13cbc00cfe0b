//! Files for users, over real processes: what is put comes back, copies lie where they belong, and come back too.

mod support;

use roundtable::rpc::Dialer;
use roundtable::types::Digest;
use roundtable::wire::blobs::{BlobStoreSyncClient, TBlobStoreSyncClient};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Coordinator, Process, Server, finish, texts, wait_until};
use tempfile::TempDir;

/// Nodes, a coordinator and a directory for all that they and the test write.
struct Cluster {
    coordinator: Coordinator,
    nodes: Vec<Server>,
    directory: TempDir,
}

impl Cluster {
    fn start(nodes: usize, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let nodes: Vec<Server> = (0..nodes).map(|number| node(directory.path(), 0, number)).collect();
        let coordinator = coordinator(directory.path(), &nodes, more);
        Self { coordinator, nodes, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        path
    }

    /// The file of a blob in the coordinator's store.
    fn own(&self, bytes: &[u8]) -> PathBuf {
        self.path("store").join("blobs").join(Digest::of(bytes).to_string())
    }

    fn held(&self, node: usize, bytes: &[u8]) -> PathBuf {
        self.path(&format!("node-{node}")).join("blobs").join(Digest::of(bytes).to_string())
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = support::roundtable();
        command.args(args).env("ROUNDTABLE_COORDINATOR", self.coordinator.server.address.to_string());
        command
    }

    /// Runs a command that must succeed, and reads its JSON.
    fn json(&self, args: &[&str]) -> Value {
        let output = finish(self.command(&[args, &["--json"]].concat()));
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{args:?}: {err}{out}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}"))
    }

    /// Runs a command that must fail with this code, and these words.
    fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let output = finish(self.command(args));
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}{out}");
        assert!(err.starts_with("error: "), "{args:?}: {err}");
        words.iter().for_each(|word| assert!(err.contains(word), "{args:?}: '{word}' is not said: {err}"));
    }

    fn put(&self, path: &Path, name: &str) -> Value {
        self.json(&["put", text(path), name])
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let target = self.path("got");
        self.json(&["get", name, text(&target)]);
        let bytes = std::fs::read(&target).expect("it was written");
        std::fs::remove_file(&target).expect("it is there");
        bytes
    }

    /// Where the newest version of a file is held.
    fn holders(&self, name: &str) -> BTreeSet<String> {
        let versions = self.json(&["ls", name]);
        let holders = versions[0]["holders"].as_array().expect("a list").iter();
        holders.map(|holder| holder.as_str().expect("an address").to_owned()).collect()
    }

    fn wait_for_copies(&self, name: &str, copies: usize) {
        wait_until(&format!("{copies} copies of {name}"), || self.holders(name).len() == copies);
    }

    /// What is on a node's disk, as it says itself.
    fn store(&self, node: &Server) -> BTreeSet<String> {
        let held = self.json(&["store", "--member", &node.address.to_string()]);
        let digest = |held: &Value| held["sha256"].as_str().expect("a digest").to_owned();
        held.as_array().expect("a list").iter().map(digest).collect()
    }
}

fn node(directory: &Path, port: u16, number: usize) -> Server {
    let store = directory.join(format!("node-{number}"));
    Server::node_at(port, "0", &["--store", text(&store)])
}

fn coordinator(directory: &Path, nodes: &[Server], more: &[&str]) -> Coordinator {
    let mut addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    if nodes.is_empty() {
        // There must be one in the list; nobody listens there.
        addresses.push(([127, 0, 0, 1], 1).into());
    }
    let store = directory.join("store");
    Coordinator::start("round-robin", &addresses, &[&["--store", text(&store)], more].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

/// Bytes that are not all the same, and other ones for each seed.
fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(size / 8 + 1).flatten().collect();
    bytes.truncate(size);
    bytes
}

#[test]
fn what_is_put_comes_back() {
    let cluster = Cluster::start(2, &[]);
    for (name, size) in [("empty", 0), ("one", 1), ("chunk", 1 << 20), ("dir/some more.bin", 3_500_001)] {
        let content = bytes(size as u64, size);
        let put = cluster.put(&cluster.write("local", &content), name);
        assert_eq!(put["version"], 1);
        assert_eq!((&put["size"], &put["sent"]), (&size.into(), &size.into()), "{put}");
        assert_eq!(put["holders"].as_array().map(Vec::len), Some(2), "{put}");
        assert!(cluster.get(name) == content, "{name}");
    }
    // Of the same content nothing is sent.
    let put = cluster.put(&cluster.path("local"), "dir/again");
    assert_eq!(put["sent"], 0);
    let names = |pattern: &str| -> Vec<String> {
        let list = cluster.json(&["ls-all", pattern]);
        list.as_array().expect("a list").iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("*"), ["chunk", "dir/again", "dir/some more.bin", "empty", "one"]);
    assert_eq!(names("d*n"), ["dir/again", "dir/some more.bin"]);
    assert_eq!(names("on?"), ["one"]);
    assert!(names("x*").is_empty());
}

#[test]
fn a_hundred_megabytes_come_back() {
    let cluster = Cluster::start(3, &[]);
    let content = bytes(7, 100_000_000);
    let put = cluster.put(&cluster.write("local", &content), "large");
    assert_eq!(put["holders"].as_array().map(Vec::len), Some(3), "{put}");
    assert!(cluster.get("large") == content);
    assert!((0..3).all(|node| cluster.held(node, &content).exists()));
}

#[test]
fn versions_are_kept_and_deletions_are_versions() {
    let cluster = Cluster::start(1, &[]);
    for version in 1..=3 {
        let put = cluster.put(&cluster.write("local", format!("text {version}").as_bytes()), "log");
        assert_eq!(put["version"], version);
    }
    assert_eq!(cluster.get("log"), b"text 3");
    let target = cluster.path("old");
    cluster.json(&["get", "log", text(&target), "--version", "1"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"text 1");
    assert_eq!(cluster.json(&["delete", "log"])["version"], 4);
    cluster.fails(&["get", "log", text(&target)], 2, &["deleted", "--version"]);
    cluster.fails(&["delete", "log"], 2, &["deleted"]);
    cluster.json(&["get", "log", text(&target), "--version", "3"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"text 3");
    assert!(cluster.json(&["ls-all"]).as_array().unwrap().is_empty());
    cluster.json(&["get-versions", "log", "3", text(&target)]);
    let history = std::fs::read_to_string(&target).unwrap();
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("===== log version 4, deleted 2"), "{history}");
    assert!(lines[1].starts_with("===== log version 3, written 2"), "{history}");
    assert!(lines[1].contains(&format!(", 6 bytes, sha256 {} =====", Digest::of(b"text 3"))), "{history}");
    assert_eq!((lines[2], lines[4], lines.len()), ("text 3", "text 2", 5), "{history}");
    let put = cluster.put(&cluster.path("local"), "log");
    assert_eq!(put["version"], 5, "numbers are not used again");
}

#[test]
fn copies_lie_where_ls_says_and_survive_restarts() {
    let mut cluster = Cluster::start(6, &[]);
    let contents: Vec<Vec<u8>> = (0..8).map(|seed| bytes(seed, 10_000)).collect();
    for (number, content) in contents.iter().enumerate() {
        let put = cluster.put(&cluster.write("local", content), &format!("file {number}"));
        assert_eq!(put["holders"].as_array().map(Vec::len), Some(4), "{put}");
    }
    let special = bytes(99, 5000);
    let two = cluster.json(&["put", text(&cluster.write("local", &special)), "two", "--replicas", "2"]);
    assert_eq!(two["holders"].as_array().map(Vec::len), Some(2), "{two}");
    let check = |cluster: &Cluster| {
        for (number, content) in contents.iter().enumerate() {
            let said = cluster.holders(&format!("file {number}"));
            let digest = Digest::of(content).to_string();
            let held = cluster.nodes.iter().filter(|node| cluster.store(node).contains(&digest));
            let held: BTreeSet<String> = held.map(|node| node.address.to_string()).collect();
            assert_eq!((&held, held.len()), (&said, 4));
        }
    };
    check(&cluster);
    // All end, and start again where they were.
    let ports: Vec<u16> = cluster.nodes.drain(..).map(|node| node.address.port()).collect();
    let directory = cluster.directory.path().to_path_buf();
    cluster.nodes = ports.iter().enumerate().map(|(number, &port)| node(&directory, port, number)).collect();
    // Two cannot lead with one store.
    cluster.coordinator.server.process.signal("KILL");
    cluster.coordinator.server.process.wait();
    cluster.coordinator = coordinator(&directory, &cluster.nodes, &[]);
    (0..8).for_each(|number| cluster.wait_for_copies(&format!("file {number}"), 4));
    cluster.wait_for_copies("two", 2);
    check(&cluster);
    assert!(cluster.get("two") == special);
}

#[test]
fn fewer_nodes_hold_fewer_copies() {
    let cluster = Cluster::start(0, &[]);
    let put = cluster.put(&cluster.write("local", b"alone"), "file");
    assert_eq!(put["holders"].as_array().map(Vec::len), Some(0), "{put}");
    assert_eq!(cluster.get("file"), b"alone");
}

#[test]
fn any_three_nodes_and_the_coordinator_s_copy_may_go() {
    let mut cluster = Cluster::start(7, &[]);
    let names: Vec<String> = (0..20).map(|number| format!("file-{number:02}")).collect();
    for (seed, name) in names.iter().enumerate() {
        std::fs::create_dir_all(cluster.path("in")).unwrap();
        cluster.write(&format!("in/{name}"), &bytes(seed as u64, 300_000));
    }
    let pattern = format!("{}/*", text(&cluster.path("in")));
    let put = cluster.json(&["put-all", &pattern, "--prefix", "many/"]);
    assert!(put.as_array().unwrap().iter().all(|put| put["holders"].as_array().map(Vec::len) == Some(4)), "{put}");
    for node in cluster.nodes.drain(..3) {
        node.process.signal("KILL");
        drop(node);
    }
    let killed = Instant::now();
    std::fs::remove_dir_all(cluster.path("store").join("blobs")).expect("the coordinator has blobs");
    let target = cluster.path("out");
    let got = cluster.json(&["get-all", "many/*", text(&target)]);
    assert_eq!(got.as_array().map(Vec::len), Some(20));
    for (seed, name) in names.iter().enumerate() {
        assert!(std::fs::read(target.join("many").join(name)).unwrap() == bytes(seed as u64, 300_000), "{name}");
    }
    let all_whole = || {
        let list = cluster.json(&["ls-all", "many/*"]);
        list.as_array().unwrap().iter().all(|file| file["holders"].as_array().map(Vec::len) == Some(4))
    };
    wait_until("four copies of each", all_whole);
    let took = killed.elapsed();
    println!("three of seven nodes killed: four copies of each again after {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let back = || (0..20).filter(|&seed| cluster.own(&bytes(seed, 300_000)).exists()).count() == 20;
    wait_until("the coordinator's own are back", back);
}

#[test]
fn a_damaged_copy_is_not_served_and_is_made_again() {
    let cluster = Cluster::start(2, &[]);
    let content = bytes(1, 3_000_000);
    cluster.put(&cluster.write("local", &content), "file");
    cluster.wait_for_copies("file", 2);
    let mut damaged = content.clone();
    damaged[2_000_000] ^= 1;
    std::fs::write(cluster.held(0, &content), &damaged).unwrap();
    std::fs::remove_file(cluster.own(&content)).unwrap();
    assert!(cluster.get("file") == content);
    assert!(cluster.get("file") == content);
    let mut client = Dialer::default()
        .dial(&cluster.nodes[0].address.into())
        .expect("the node answers")
        .client(BlobStoreSyncClient::new);
    // Whether it was asked before or not, it does not give a byte of it.
    let digest = Digest::of(&content).to_string();
    if let Ok(bytes) = client.call(|c| c.get_blob(digest.clone(), 0, 1 << 20)) {
        assert!(bytes == content[..1 << 20]);
        let made_again = std::fs::read(cluster.held(0, &content)).unwrap() == content;
        assert!(made_again, "a damaged copy was served");
    }
    let whole = || std::fs::read(cluster.held(0, &content)).is_ok_and(|held| held == content);
    wait_until("the copy is made again", whole);
}

#[test]
fn a_put_that_was_killed_goes_on() {
    let cluster = Cluster::start(1, &[]);
    let content = bytes(3, 256 << 20);
    let path = cluster.write("local", &content);
    let mut command = cluster.command(&["put", text(&path), "file"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut process = Process { child };
    let staged = || {
        let Ok(entries) = std::fs::read_dir(cluster.path("store").join("blobs")) else { return false };
        entries.flatten().any(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 20 << 20))
    };
    wait_until("some of it has come", staged);
    process.signal("KILL");
    process.wait();
    let address = cluster.coordinator.server.address.into();
    let mut client = Dialer::default().dial(&address).expect("it answers").client(BlobStoreSyncClient::new);
    let digest = Digest::of(&content).to_string();
    let mut progress = 0;
    wait_until("the coordinator has noticed", || {
        progress = client.call(|c| c.blob_progress(digest.clone(), content.len() as i64)).expect("an answer");
        progress > 0
    });
    let put = cluster.put(&path, "file");
    let sent = put["sent"].as_i64().unwrap();
    assert!(progress < content.len() as i64, "it was killed too late to show anything");
    assert_eq!(sent, content.len() as i64 - progress, "{put}");
    assert_eq!(put["version"], 1);
    assert!(cluster.get("file") == content);
}

#[test]
fn a_get_goes_on_from_what_is_there() {
    let cluster = Cluster::start(1, &[]);
    let content = bytes(4, 50_000_000);
    cluster.put(&cluster.write("local", &content), "file");
    let target = cluster.path("target");
    let part = cluster.path(&format!("target.{}.part", Digest::of(&content).short()));
    for (there, received) in [
        (content[..20_000_000].to_vec(), 30_000_000),
        (content.clone(), 0),
        ([&content[..], b"more"].concat(), 50_000_000),
        (vec![0; 20_000_000], 80_000_000),
        (vec![0; 50_000_000], 50_000_000),
    ] {
        std::fs::write(&part, &there).unwrap();
        std::fs::write(&target, b"old").unwrap();
        let got = cluster.json(&["get", "file", text(&target)]);
        assert_eq!(got["received"], received, "{got}");
        assert!(std::fs::read(&target).unwrap() == content);
        assert!(!part.exists());
    }
}

#[test]
fn wrong_input_ends_with_exit_code_2() {
    let cluster = Cluster::start(1, &[]);
    let local = cluster.write("local", b"x");
    let local = text(&local);
    let long = "a".repeat(1025);
    for name in ["", "/etc/passwd", "../x", "a/../b", "a/./b", ".", "..", &long] {
        cluster.fails(&["put", local, name], 2, &["name"]);
    }
    for odd in ["ä ö/☃", "a\\b", "con:1|2?", "-n", "a\nb", "%2e%2e", "A", "a"] {
        let put = finish(cluster.command(&["put", "--", local, odd]));
        assert!(put.status.success(), "{odd:?}: {:?}", texts(&put));
    }
    assert_eq!(cluster.json(&["ls-all"]).as_array().map(Vec::len), Some(8));
    let directory = cluster.path("");
    let target = cluster.path("target");
    let missing = cluster.path("missing/target");
    cluster.fails(&["put", "/nowhere/at/all", "x"], 2, &["/nowhere/at/all", "No such file"]);
    cluster.fails(&["put", text(&directory), "x"], 2, &["only plain files"]);
    cluster.fails(&["get", "nothing", text(&target)], 2, &["there is no file nothing"]);
    cluster.fails(&["get", "a", text(&directory)], 2, &["directory"]);
    cluster.fails(&["get", "a", text(&missing)], 2, &["no such directory"]);
    cluster.fails(&["get", "a", text(&target), "--version", "7"], 2, &["no version 7", "newest is 1"]);
    cluster.fails(&["get-versions", "nothing", "1", text(&target)], 2, &["there is no file nothing"]);
    cluster.fails(&["get-all", "nothing*", text(&target)], 2, &["nothing*"]);
    cluster.fails(&["put-all", "/nowhere/*"], 2, &["/nowhere/*"]);
    cluster.fails(&["ls", "nothing"], 2, &["there is no file nothing"]);
    cluster.fails(&["delete", "nothing"], 2, &["there is no file nothing"]);
    cluster.fails(&["store", "--member", "127.0.0.1:1"], 1, &["127.0.0.1:1"]);
    assert!(!target.exists() || target.is_dir(), "nothing was written");
}

#[test]
fn garbage_goes_and_what_is_referred_to_stays() {
    let cluster = Cluster::start(2, &["--gc-grace", "0s"]);
    let contents: Vec<Vec<u8>> = (0..4).map(|seed| bytes(seed, 100_000)).collect();
    for content in &contents[..3] {
        cluster.put(&cluster.write("local", content), "file");
    }
    cluster.put(&cluster.write("local", &contents[3]), "deleted");
    cluster.put(&cluster.write("local", &contents[0]), "other");
    cluster.json(&["delete", "deleted"]);
    let report = cluster.json(&["gc", "--keep", "1"]);
    assert_eq!(report["versions_removed"], 3, "{report}");
    assert_eq!((&report["blobs_removed"], &report["bytes_removed"]), (&2.into(), &200_000.into()), "{report}");
    assert!(cluster.get("file") == contents[2] && cluster.get("other") == contents[0]);
    assert_eq!(cluster.json(&["ls", "file"]).as_array().map(Vec::len), Some(1));
    for (number, content) in contents.iter().enumerate() {
        let stays = [0, 2].contains(&number);
        assert_eq!(cluster.own(content).exists(), stays, "{number}");
        let as_it_must = || (0..2).all(|node| cluster.held(node, content).exists() == stays);
        wait_until("the nodes have let it go", as_it_must);
    }
    cluster.fails(&["gc", "--keep", "0"], 2, &["--keep"]);
}
