//! What happens to a job when nodes die, hang, refuse, answer nonsense or are not there: it ends with the same model.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::{Coordinator, Process, Server, finish, sha, texts, total, wait_until};

/// Long enough for something to happen meanwhile.
const JOB: &str = "letters 30 6 24 0.0001";

/// The weights that the job has when nothing happens.
fn undisturbed() -> &'static str {
    static SHA: OnceLock<String> = OnceLock::new();
    SHA.get_or_init(|| {
        let node = Server::node("0", &[]);
        sha(&Coordinator::start("1", &[node.address], &[]).train(JOB, &[])).to_owned()
    })
}

/// A client at work, whose lines can be waited for.
struct Running {
    process: Process,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(coordinator: &Coordinator, job: &str, more: &[&str]) -> Self {
        let mut command = coordinator.client(job, more);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = Process { child: child.expect("the client starts") };
        let out = BufReader::new(process.child.stdout.take().expect("it is piped"));
        Self { process, out }
    }

    /// Reads on to a line that begins so.
    fn line(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert!(self.out.read_line(&mut line).expect("text") > 0, "no line begins with '{beginning}'");
        }
        line
    }

    /// Reads to the end, which must be good, and answers with the weights' digest and all lines.
    fn result(&mut self) -> (String, String) {
        let mut text = String::new();
        self.out.read_to_string(&mut text).expect("text");
        assert!(self.process.wait().success(), "{text}");
        let sha = text.split("weights sha256 ").nth(1).expect("a digest").lines().next().expect("a line");
        (sha.to_owned(), text)
    }
}

/// The nodes' table in the client's text: a count of a node.
fn count(text: &str, node: SocketAddr, column: usize) -> usize {
    let line = text.lines().find(|line| line.starts_with(&format!("{node} "))).expect("the node's line");
    line.split_whitespace().nth(column).and_then(|word| word.parse().ok()).expect("a number")
}

const TASKS: usize = 1;
const FAILURES: usize = 4;

#[test]
fn a_node_killed_in_the_middle_costs_a_retry_and_is_used_again_when_it_is_back() {
    for policy in ["random", "load-balancing", "round-robin"] {
        let mut nodes: Vec<Server> = (0..3).map(|_| Server::node("0", &[])).collect();
        let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
        let coordinator = Coordinator::start(policy, &addresses, &[]);
        let mut running = Running::start(&coordinator, JOB, &[]);
        running.line("round 3/");
        drop(nodes.remove(0));
        running.line("round 6/");
        nodes.push(Server::node_at(addresses[0].port(), "0", &[]));
        let (sha, text) = running.result();
        assert_eq!(sha, undisturbed(), "{policy}");
        assert!(count(&text, addresses[0], TASKS) > 0, "{text}");
        // The one that came back has lost its blobs: it must have been given them again to do anything in a new job.
        wait_until("the node is used again", || {
            let report = coordinator.train("letters 1 5 12 0.0001", &[]);
            report["nodes"][0]["tasks"].as_i64() > Some(0)
        });
    }
}

#[test]
fn a_node_that_hangs_is_left_behind() {
    let nodes: Vec<Server> = (0..2).map(|_| Server::node("0", &[])).collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let coordinator = Coordinator::start("3", &addresses, &[]);
    let mut running = Running::start(&coordinator, JOB, &[]);
    running.line("round 3/");
    nodes[0].process.signal("STOP");
    let (sha, text) = running.result();
    assert_eq!(sha, undisturbed());
    assert!(text.lines().any(|line| line.contains("unreachable") || line.contains("busy")), "{text}");
    nodes[0].process.signal("CONT");
    wait_until("the node is used again", || {
        let report = coordinator.train("letters 1 5 12 0.0001", &[]);
        report["nodes"][0]["tasks"].as_i64() > Some(0)
    });
}

#[test]
fn with_all_nodes_gone_the_job_waits_says_so_and_goes_on() {
    let node = Server::node("0", &[]);
    let address = node.address;
    let coordinator = Coordinator::start("2", &[address], &[]);
    let mut running = Running::start(&coordinator, JOB, &[]);
    running.line("round 3/");
    drop(node);
    let notice = running.line("waiting for a compute node");
    assert!(notice.contains(&address.to_string()), "{notice}");
    let _node = Server::node_at(address.port(), "0", &[]);
    let (sha, _) = running.result();
    assert_eq!(sha, undisturbed());
}

#[test]
fn a_coordinator_may_be_there_before_its_nodes() {
    // A port that is free now, and is likely to be so in a moment.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let coordinator = Coordinator::start("2", &[address], &[]);
    let mut running = Running::start(&coordinator, "letters 2 5 12 0.0001", &[]);
    running.line("waiting for a compute node");
    let _node = Server::node_at(port, "0", &[]);
    running.result();
}

#[test]
fn give_up_after_bounds_the_wait() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let coordinator = Coordinator::start("1", &[SocketAddr::from(([127, 0, 0, 1], port))], &[]);
    let output = finish(coordinator.client("letters 2 5 12 0.0001", &["--give-up-after", "300ms"]));
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("no progress for 300ms") && err.contains("Connection refused"), "{err}");
}

#[test]
fn a_client_gives_up_on_a_coordinator_that_does_not_come_back() {
    let node = Server::node("0", &[]);
    let coordinator = Coordinator::start("2", &[node.address], &[]);
    let mut running = Running::start(&coordinator, "letters 1000000 20 24 0.0001", &["--reconnect", "500ms"]);
    running.line("round 2/");
    drop(coordinator);
    assert_eq!(running.process.wait().code(), Some(1));
    let mut err = String::new();
    running.process.child.stderr.take().expect("it is piped").read_to_string(&mut err).expect("text");
    assert!(err.contains("looking for a coordinator that leads"), "{err}");
}

#[test]
fn a_node_that_always_refuses_is_not_hammered() {
    let nodes = [Server::node("0", &[]), Server::node("1", &[])];
    let addresses = nodes.each_ref().map(|node| node.address);
    let report = Coordinator::start("2", &addresses, &[]).train(JOB, &[]);
    assert_eq!(sha(&report), undisturbed());
    let refusals = report["nodes"][1]["refusals"].as_i64().expect("a count");
    assert!((1..=60).contains(&refusals), "{refusals} refusals in {} s", report["wall_s"]);
    assert_eq!(report["nodes"][1]["tasks"].as_i64(), Some(0));
}

#[test]
fn a_task_that_is_impossible_fails_the_job_with_its_reason() {
    let nodes = [Server::node("0", &[]), Server::node("0", &[])];
    let addresses = nodes.each_ref().map(|node| node.address);
    let coordinator = Coordinator::start("2", &addresses, &[]);
    let output = finish(coordinator.client("letters 2 50 24 1e6", &[]));
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("diverged") && err.contains("says 127.0.0.1:"), "{err}");
    // And the cluster is as good as before.
    assert_eq!(sha(&coordinator.train(JOB, &[])), undisturbed());
}

/// A listener that does something odd with each connection, and counts them.
fn odd_node(odd: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (seen, odd) = (Arc::new(AtomicUsize::new(0)), Arc::new(odd));
    let count = seen.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let odd = odd.clone();
            std::thread::spawn(move || odd(connection));
        }
    });
    (address, seen)
}

#[test]
fn nodes_that_are_none_cost_nothing_but_retries() {
    let silent = |connection: TcpStream| {
        let mut bytes = Vec::new();
        // Until the other side has had enough.
        let _ = (&connection).read_to_end(&mut bytes);
    };
    let closing = |connection: TcpStream| drop(connection);
    let babbling = |mut connection: TcpStream| {
        let _ = connection.write_all(&[0x80, 1, 0, 2, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]);
        std::thread::sleep(Duration::from_millis(20));
    };
    let web = |mut connection: TcpStream| {
        let _ = connection.read(&mut [0; 512]);
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let good = Server::node("0", &[]);
    let odd = [odd_node(silent), odd_node(closing), odd_node(babbling), odd_node(web)];
    for policy in ["random", "load-balancing", "round-robin"] {
        let mut addresses = vec![good.address];
        addresses.extend(odd.iter().map(|(address, _)| *address));
        let report = Coordinator::start(policy, &addresses, &[]).train(JOB, &[]);
        assert_eq!(sha(&report), undisturbed(), "{policy}");
        assert_eq!(report["nodes"][0]["tasks"].as_i64(), Some(330), "{policy}");
        assert_eq!(total(&report, "tasks"), 330);
    }
    for (address, seen) in odd {
        assert!(seen.load(Ordering::Relaxed) > 0, "{address} was never asked");
    }
}

/// A node that passes bytes on to a real one, but spoils some of its answers.
fn spoiling(real: SocketAddr) -> SocketAddr {
    let answers = AtomicUsize::new(0);
    let spoil = move |mut near: TcpStream| {
        let mut far = TcpStream::connect(real).expect("the real node");
        let (mut from_near, mut to_far) = (near.try_clone().expect("a clone"), far.try_clone().expect("a clone"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_near, &mut to_far);
            let _ = to_far.shutdown(std::net::Shutdown::Both);
        });
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = far.read(&mut bytes) {
            let nth = answers.fetch_add(1, Ordering::Relaxed);
            // Large answers carry weights: one is cut short, one is altered, the next is left as it is.
            match (read > 1000, nth % 3) {
                (true, 0) => {
                    let _ = near.write_all(&bytes[..read / 2]);
                    break;
                }
                (true, 1) => bytes[read / 2..read / 2 + 64].fill(0xff),
                _ => {}
            }
            if near.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = near.shutdown(std::net::Shutdown::Both);
    };
    odd_node(spoil).0
}

#[test]
fn spoilt_answers_are_found_out_and_never_counted() {
    let real = [Server::node("0", &[]), Server::node("0", &[])];
    let addresses = [real[0].address, spoiling(real[1].address)];
    for policy in ["load-balancing", "round-robin"] {
        let report = Coordinator::start(policy, &addresses, &[]).train(JOB, &[]);
        assert_eq!(sha(&report), undisturbed(), "{policy}");
        assert!(report["nodes"][1]["failures"].as_i64() > Some(0), "{policy}: nothing was spoilt: {report}");
    }
}

/// Leads to the first node until that has worked for a while, and then to the second: connections to the first stay open,
/// but nothing comes any more, as when a machine loses its power and is back soon.
fn rebooting(first: SocketAddr, second: SocketAddr) -> SocketAddr {
    const ANSWERS_BEFORE: usize = 20;
    let answers = Arc::new(AtomicUsize::new(0));
    let lead = move |mut near: TcpStream| {
        let is_up = answers.load(Ordering::SeqCst) < ANSWERS_BEFORE;
        let mut far = TcpStream::connect(if is_up { first } else { second }).expect("a real node");
        let (mut from_near, mut to_far) = (near.try_clone().expect("a clone"), far.try_clone().expect("a clone"));
        let there = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_near, &mut to_far);
            let _ = to_far.shutdown(std::net::Shutdown::Both);
        });
        let mut bytes = [0; 65_536];
        while let Ok(read @ 1..) = far.read(&mut bytes) {
            // Large answers carry weights.
            let nth = answers.fetch_add(usize::from(read > 1000), Ordering::SeqCst);
            if is_up && nth >= ANSWERS_BEFORE {
                // Its coordinator has to find out by itself.
                let _ = there.join();
                return;
            }
            if near.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = near.shutdown(std::net::Shutdown::Both);
    };
    odd_node(lead).0
}

#[test]
fn what_was_asked_of_a_machine_before_its_restart_is_asked_again() {
    let real = [Server::node("0", &[]), Server::node("0", &[])];
    let address = rebooting(real[0].address, real[1].address);
    let report = Coordinator::start("2", &[address], &[]).train(JOB, &[]);
    assert_eq!(sha(&report), undisturbed());
    assert_eq!(total(&report, "tasks"), 330);
}

#[test]
fn failures_are_counted_in_the_report() {
    let mut nodes: Vec<Server> = (0..2).map(|_| Server::node("0", &["--slots", "2"])).collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let coordinator = Coordinator::start("3", &addresses, &[]);
    let mut running = Running::start(&coordinator, "letters 3 400 24 0.0001", &[]);
    running.line("round 1/");
    drop(nodes.remove(0));
    let (_, text) = running.result();
    assert!(count(&text, addresses[0], FAILURES) >= 1, "{text}");
    assert_eq!(count(&text, addresses[1], FAILURES), 0, "{text}");
}
