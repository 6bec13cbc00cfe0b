//! Owns attacks on a server's port. None of them may crash it, bloat it, or lock out a real client.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use socket2::SockRef;

use super::messages::{self, BOOL, I32, I64, LIST, MAP, SET, STRING, STRUCT};

/// How long a server may take to be done with a bad connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// All attacks on the server at `address`, one after the other. `still_well` is called after each, and while it
/// lasts for those that last: it must panic if a real client is not served, or the server has grown too large.
pub fn run_all(address: SocketAddr, still_well: impl Fn()) {
    let attacks: [(&str, Attack); 15] = [
        ("random bytes", random_bytes),
        ("truncated messages", truncations),
        ("flipped bits", flipped_bits),
        ("claims of 2^31 - 1", claims),
        ("deep nesting", nesting),
        ("wrong types of field", wrong_types),
        ("amplifying messages", amplifiers),
        ("unknown methods", unknown_methods),
        ("HTTP", http),
        ("2,000 idle connections", idle_connections),
        ("slow writers", slow_writers),
        ("hoarders of memory", hoarders),
        ("peers that never read", never_readers),
        ("half-open connections", half_open),
        ("connect-and-close storms", storms),
    ];
    still_well();
    for (name, attack) in attacks {
        let start = Instant::now();
        attack(address, &still_well);
        still_well();
        eprintln!("withstood {name} in {:.2?}", start.elapsed());
    }
}

type Attack = fn(SocketAddr, &dyn Fn());

pub fn random_bytes(address: SocketAddr, _: &dyn Fn()) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for round in 0..200 {
        let mut bytes = vec![0; random.random_range(1..4096)];
        random.fill_bytes(&mut bytes);
        // Some get past the first checks.
        let start = messages::call("missing_blobs", &[]);
        let kept = [0, 1, 4, start.len()][round % 4].min(bytes.len());
        bytes[..kept].copy_from_slice(&start[..kept]);
        assert_ends(address, &bytes);
    }
}

pub fn truncations(address: SocketAddr, _: &dyn Fn()) {
    let whole = messages::missing_blobs(&["0123456789abcdef", "", "a"]);
    for length in 0..whole.len() {
        assert_ends(address, &whole[..length]);
    }
}

pub fn flipped_bits(address: SocketAddr, _: &dyn Fn()) {
    let whole = messages::missing_blobs(&["0123456789abcdef", "", "a"]);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_ends(address, &bytes);
    }
}

pub fn claims(address: SocketAddr, _: &dyn Fn()) {
    let name = [&[0x80, 1, 0, 1][..], &i32::MAX.to_be_bytes()].concat();
    assert_closes(address, &name);
    for count in [i32::MAX, i32::MAX / 2, 1 << 24, -1, i32::MIN] {
        for (kind, value) in [
            (STRING, count.to_be_bytes().to_vec()),
            (LIST, messages::list(STRING, count)),
            (LIST, messages::list(BOOL, count)),
            (LIST, messages::list(STRUCT, count)),
            (SET, messages::list(I64, count)),
            (MAP, messages::map(STRING, STRING, count)),
            (MAP, messages::map(BOOL, BOOL, count)),
            (LIST, [messages::list(STRING, 1), count.to_be_bytes().to_vec()].concat()),
            (LIST, [messages::list(LIST, 1), messages::list(I64, count)].concat()),
        ] {
            for method in ["missing_blobs", "get_blob", "no_such_method"] {
                // Not a byte of what is claimed follows, and the connection stays open on our side.
                assert_closes(address, &messages::call(method, &[&[kind, 0, 1], &value[..]].concat()));
            }
        }
    }
}

pub fn nesting(address: SocketAddr, _: &dyn Fn()) {
    let levels = 100_000;
    for level in [&[STRUCT, 0, 9][..], &[LIST, 0, 0, 0, 1], &[SET, 0, 0, 0, 1], &[MAP, MAP, 0, 0, 0, 1]] {
        for method in ["missing_blobs", "no_such_method"] {
            let deep = [&[level[0], 0, 9], &level.repeat(levels)[..]].concat();
            assert_closes(address, &messages::call(method, &deep));
        }
    }
}

pub fn wrong_types(address: SocketAddr, _: &dyn Fn()) {
    for kind in (0..=20).chain([127, 128, 255]) {
        for value in [&[0; 64][..], &[1; 64], &[0xff; 64], &messages::list(STRING, 1), &messages::string("x")] {
            for method in ["missing_blobs", "put_blob", "get_blob"] {
                assert_ends(address, &messages::call(method, &messages::arguments(kind, value)));
            }
        }
    }
}

/// Few bytes that would be many in memory, in the right type and in wrong ones.
pub fn amplifiers(address: SocketAddr, still_well: &dyn Fn()) {
    let count = 4 << 20;
    for (kind, count, element) in [
        (STRING, count - 100, &[0; 4][..]),
        (STRING, count / 2, &[0, 0, 0, 1, b'x']),
        (I64, count / 4, &[0; 8]),
        (I32, count / 4, &[0; 4]),
        (BOOL, count, &[0]),
    ] {
        let value = [messages::list(kind, count), element.repeat(count as usize)].concat();
        let message = messages::call("missing_blobs", &messages::arguments(LIST, &value));
        let several: Vec<_> = (0..4).filter_map(|_| send(address, &message)).collect();
        still_well();
        drop(several);
    }
}

pub fn unknown_methods(address: SocketAddr, _: &dyn Fn()) {
    let mut socket = connect(address);
    for length in [0, 1, 1000, 100_000] {
        let arguments = messages::arguments(STRING, &messages::string(&"x".repeat(length)));
        socket.write_all(&messages::call("no_such_method", &arguments)).unwrap();
        // An exception of the same method and number, which says UNKNOWN_METHOD: field 2, an i32 of 1.
        let mut head = [0; 26];
        socket.read_exact(&mut head).expect("an unknown method is answered");
        assert_eq!(&head[..], [&[0x80, 1, 0, 3][..], &messages::call("no_such_method", &[])[4..]].concat());
        let mut text = [0; 7];
        socket.read_exact(&mut text).unwrap();
        let mut rest = vec![0; u32::from_be_bytes([text[3], text[4], text[5], text[6]]) as usize + 8];
        socket.read_exact(&mut rest).unwrap();
        assert_eq!(rest[rest.len() - 8..], [I32, 0, 2, 0, 0, 0, 1, 0]);
    }
}

pub fn http(address: SocketAddr, _: &dyn Fn()) {
    for method in ["GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let mut socket = connect(address);
        socket.write_all(format!("{method} / HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{method}: {answer:?}");
    }
    assert_closes(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_closes(address, b"SSH-2.0-OpenSSH_9.6\r\n");
}

pub fn idle_connections(address: SocketAddr, still_well: &dyn Fn()) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Where this is refused, there are fewer.
    let soft = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let count = (soft.saturating_sub(600) / 2).min(2000);
    let mut idle = Vec::new();
    for i in 0..count {
        let mut socket = connect(address);
        if i % 2 == 1 {
            let _ = socket.write_all(&[0x80]);
        }
        idle.push(socket);
        if i % 500 == 499 {
            still_well();
        }
    }
    still_well();
}

pub fn slow_writers(address: SocketAddr, still_well: &dyn Fn()) {
    let message = messages::missing_blobs(&["0123456789abcdef"]);
    let mut writers: Vec<_> = (0..300).map(|_| connect(address)).collect();
    for byte in message.iter().take(15) {
        let next = Instant::now() + Duration::from_millis(100);
        for socket in &mut writers {
            // Those that were displaced fail, as they should.
            let _ = socket.write_all(&[*byte]);
        }
        still_well();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Messages that take as much of the budget as they may, and are never finished.
pub fn hoarders(address: SocketAddr, still_well: &dyn Fn()) {
    let start = [&[LIST, 0, 1], &messages::list(I64, 1_900_000)[..], &[0; 14 << 20]].concat();
    let message = messages::call("missing_blobs", &start);
    let mut hoarders = Vec::new();
    for _ in 0..12 {
        hoarders.extend(send(address, &message));
        still_well();
    }
}

pub fn never_readers(address: SocketAddr, still_well: &dyn Fn()) {
    let digest = "d".repeat(64);
    let message = messages::missing_blobs(&vec![digest.as_str(); 12_000]);
    let mut silent = Vec::new();
    for i in 0..300 {
        let mut socket = connect(address);
        SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
        // Small ones keep many connections waiting; large ones hold memory as they wait.
        let sent = if i % 20 == 0 {
            socket.write_all(&message)
        } else {
            socket.write_all(&messages::missing_blobs(&["x"]).repeat(100))
        };
        silent.extend(sent.ok().map(|()| socket));
    }
    still_well();
}

pub fn half_open(address: SocketAddr, still_well: &dyn Fn()) {
    let whole = messages::missing_blobs(&["0123456789abcdef"]);
    let mut sockets = Vec::new();
    for length in (0..300).map(|i| i % whole.len()) {
        let mut socket = connect(address);
        let _ = socket.write_all(&whole[..length]);
        let _ = socket.shutdown(Shutdown::Write);
        sockets.push(socket);
    }
    still_well();
    sockets.iter_mut().for_each(await_end);
}

pub fn storms(address: SocketAddr, still_well: &dyn Fn()) {
    thread::scope(|scope| {
        for kind in 0..2 {
            scope.spawn(move || {
                for i in 0..1000 {
                    let mut socket = connect(address);
                    if i % 3 == 1 {
                        let _ = socket.write_all(&messages::missing_blobs(&["x"]));
                    }
                    if kind == 1 {
                        // Closing resets.
                        SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                }
            });
        }
        still_well();
    });
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Sends what the server takes; `None` if it closed the connection before that was all.
fn send(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut socket = connect(address);
    socket.write_all(bytes).ok().map(|()| socket)
}

/// The server closes the connection of whoever sends this, though it could wait for more.
fn assert_closes(address: SocketAddr, bytes: &[u8]) {
    if let Some(mut socket) = send(address, bytes) {
        await_end(&mut socket);
    }
}

/// The connection ends when this was sent and nothing more will be.
fn assert_ends(address: SocketAddr, bytes: &[u8]) {
    if let Some(mut socket) = send(address, bytes) {
        // An error means that the server was quicker.
        let _ = socket.shutdown(Shutdown::Write);
        await_end(&mut socket);
    }
}

fn await_end(socket: &mut TcpStream) {
    let start = Instant::now();
    let mut answer = [0; 4096];
    loop {
        match socket.read(&mut answer) {
            Ok(0) => return,
            Ok(_) => assert!(start.elapsed() < PATIENCE, "the server goes on answering"),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("the server keeps the connection open"),
            Err(_) => return,
        }
    }
}
