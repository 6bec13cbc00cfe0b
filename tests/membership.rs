//! Members as real processes: they find each other, notice deaths, leave in order, and bear what others send them.

mod support;

use roundtable::rpc::{Address, Dialer};
use roundtable::wire::members::{Member, MemberInfo, MemberState, MemberSyncClient, TMemberSyncClient};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Coordinator, Server, finish, roundtable, sha, texts, total, wait_until};

/// All that a server says it knows; nothing if it does not answer.
fn members_of(address: SocketAddr) -> Vec<Member> {
    let dialed = Dialer::default().dial(&Address::from(address));
    dialed.and_then(|c| c.client(MemberSyncClient::new).call(|c| c.members())).unwrap_or_default()
}

fn info_of(address: SocketAddr) -> MemberInfo {
    let mut client =
        Dialer::default().dial(&Address::from(address)).expect("it runs").client(MemberSyncClient::new);
    client.call(|c| c.member_info()).expect("it answers")
}

/// What one server says of another.
fn told(by: SocketAddr, of: SocketAddr) -> Option<Member> {
    members_of(by).into_iter().find(|member| member.address == of.to_string())
}

fn state(by: SocketAddr, of: SocketAddr) -> Option<MemberState> {
    told(by, of).map(|member| member.state)
}

/// Whether each takes all for alive.
fn all_see_all(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|by| {
        let members = members_of(*by);
        let alive = members.iter().filter(|member| member.state == MemberState::ALIVE);
        alive.filter(|member| addresses.iter().any(|a| a.to_string() == member.address)).count() == addresses.len()
    })
}

/// Three nodes and a coordinator, each of which was told of one other only.
fn cluster(more: &[&str]) -> (Vec<Server>, Coordinator) {
    let mut nodes = vec![Server::node("0", more)];
    for _ in 0..2 {
        let last = nodes[nodes.len() - 1].address.to_string();
        nodes.push(Server::node("0.25", &[&["--join", &last], more].concat()));
    }
    let coordinator = Coordinator::in_gossip("2", &[nodes[2].address], more);
    let mut all: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    all.push(coordinator.server.address);
    wait_until("all know all", || all_see_all(&all));
    (nodes, coordinator)
}

fn json(args: &[&str]) -> serde_json::Value {
    let mut command = roundtable();
    command.args(args).arg("--json");
    let (out, err) = texts(&finish(command));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out}{err}"))
}

#[test]
fn servers_find_each_other_and_the_command_shows_them() {
    let (nodes, coordinator) = cluster(&[]);
    let coordinator = coordinator.server.address.to_string();
    let list = json(&["members", "--coordinator", &format!("127.0.0.1:1,{coordinator}")]);
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 4);
    assert_eq!(list[0]["address"], coordinator.as_str(), "the asked one comes first");
    assert_eq!((&list[0]["role"], &list[0]["leads"]), (&"coordinator".into(), &true.into()));
    let node = nodes[1].address.to_string();
    let second = list.iter().find(|member| member["address"] == node.as_str()).expect("it is in the list");
    assert_eq!((&second["state"], &second["role"]), (&"ALIVE".into(), &"node".into()));
    assert_eq!((&second["load"], &second["slots"], &second["busy"]), (&0.25.into(), &1.into(), &0.into()));
    assert!(second["gossip_sent_per_s"].as_f64().is_some_and(|rate| rate > 10.0), "{second}");
    assert_eq!(json(&["self-id", &node])["instance"], second["instance"]);

    let mut command = roundtable();
    command.args(["members", "--member", &node]);
    let (out, _) = texts(&finish(command));
    assert!(out.starts_with("address") && out.matches("ALIVE").count() == 4, "{out}");
    let mut command = roundtable();
    let (out, err) = texts(&finish({
        command.env("ROUNDTABLE_COORDINATOR", "127.0.0.1:1").arg("members");
        command
    }));
    assert!(out.is_empty() && err.contains("nothing answers at 127.0.0.1:1"), "{out}{err}");
}

#[test]
fn a_killed_node_is_down_soon_and_a_restarted_one_is_back() {
    let (mut nodes, coordinator) = cluster(&[]);
    let victim = nodes.remove(1);
    let (address, others) = (victim.address, [nodes[0].address, nodes[1].address, coordinator.server.address]);
    let before = told(others[0], address).expect("it is known").instance;
    victim.process.signal("KILL");
    let start = Instant::now();
    let is_down = |by: &SocketAddr| state(*by, address) == Some(MemberState::DOWN);
    wait_until("all say that it is down", || others.iter().all(is_down));
    let took = start.elapsed();
    println!("a killed node was down for all after {took:?}");
    // The bar is two seconds of the protocol's time, which its own tests hold; processes share the machine with others.
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Who asks for the list sees the line with dashes.
    let mut command = roundtable();
    command.args(["members", "--member", &others[0].to_string()]);
    let (out, _) = texts(&finish(command));
    let line = out.lines().find(|line| line.contains(&address.to_string())).expect("it is in the list");
    assert!(line.contains("DOWN") && line.contains(" - "), "{out}");

    drop(victim);
    let again = Server::node_at(address.port(), "0", &["--join", &others[0].to_string()]);
    assert_eq!(again.address, address);
    wait_until("it is back for all", || {
        others.iter().all(|by| {
            told(*by, address)
                .is_some_and(|member| member.state == MemberState::ALIVE && member.instance != before)
        })
    });
}

#[test]
fn an_ended_server_says_good_bye() {
    // Nobody would notice its silence within the test.
    let (mut nodes, coordinator) = cluster(&["--suspicion", "10m"]);
    let mut gone = nodes.remove(0);
    gone.process.signal("TERM");
    assert_eq!(gone.process.wait().code(), Some(0));
    let others = [nodes[0].address, nodes[1].address, coordinator.server.address];
    wait_until("all know", || others.iter().all(|by| state(*by, gone.address) == Some(MemberState::DOWN)));
}

#[test]
fn a_leaving_node_finishes_its_tasks_and_ends() {
    let mut leaving = Server::node("0", &[]);
    let stays = Server::node("0", &[]);
    let coordinator = Coordinator::in_gossip("2", &[leaving.address, stays.address], &[]);
    let job = "letters 12 40 24 0.0001";
    let alone = coordinator.train(job, &[]);
    let report = std::thread::scope(|scope| {
        let job = scope.spawn(|| coordinator.train(job, &[]));
        wait_until("it works", || info_of(leaving.address).busy > 0);
        let mut command = roundtable();
        command.args(["leave", &leaving.address.to_string()]);
        let output = finish(command);
        let (out, err) = texts(&output);
        assert!(output.status.success() && out.contains("has left"), "{out}{err}");
        assert_eq!(leaving.process.wait().code(), Some(0));
        job.join().expect("no panic")
    });
    assert_eq!(sha(&report), sha(&alone));
    // What it had it finished; a task may have been on its way to where nobody is any more.
    assert!(total(&report, "failures") <= 1, "{}", report["nodes"]);
    let left = state(coordinator.server.address, leaving.address);
    assert_eq!(left, Some(MemberState::DOWN));

    // A coordinator that nobody would follow does not leave.
    let mut command = roundtable();
    command.args(["leave", &coordinator.server.address.to_string()]);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(texts(&output).1.contains("no standby"));
}

#[test]
fn a_port_that_is_taken_for_datagrams_is_told_and_any_port_passes_it_over() {
    // A port that is free for calls, and taken for datagrams.
    let taken = (0..100).find_map(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        UdpSocket::bind(listener.local_addr().ok()?).ok()
    });
    let taken = taken.expect("some port is free for both");
    let port = taken.local_addr().expect("its address").port().to_string();
    let mut command = roundtable();
    command.args(["compute-node", &port, "0"]);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(2));
    let err = texts(&output).1;
    assert!(err.contains(&format!("127.0.0.1:{port}")) && err.contains("UDP"), "{err}");
    let without = Server::start(&["compute-node", &port, "0", "--no-gossip"]);
    assert_eq!(members_of(without.address).len(), 1);
}

#[test]
fn garbage_at_the_port_does_no_harm() {
    let (nodes, coordinator) = cluster(&[]);
    let target = nodes[0].address;
    let all: Vec<SocketAddr> = nodes.iter().map(|node| node.address).chain([coordinator.server.address]).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let mut number: u64 = 0x9e37_79b9_7f4a_7c15;
            while !stop.load(Ordering::Relaxed) {
                // A storm that leaves the machine's other tests their share.
                for _ in 0..100 {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let mut bytes: Vec<u8> =
                        number.to_be_bytes().iter().cycle().take(60 + (number % 900) as usize).copied().collect();
                    if number.is_multiple_of(2) {
                        bytes[..4].copy_from_slice(&[b'r', b't', 1, (number >> 8) as u8 % 3]);
                    }
                    // A full buffer is as good as a lost datagram.
                    let _ = socket.send_to(&bytes, target);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            let down = all.iter().find(|other| state(**other, target) == Some(MemberState::DOWN));
            assert_eq!(down, None, "it is taken for dead");
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    wait_until("all know all", || all_see_all(&all));
    let report = coordinator.train("letters 1 1 8 0.0001", &[]);
    assert_eq!(total(&report, "failures"), 0);
}
