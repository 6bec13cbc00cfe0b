//! Owns the proof that no input crashes a server, makes it swell, or keeps it from its real clients.

mod support {
    pub mod abuse;
    pub mod messages;
}

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use roundtable::rpc::{Dialer, Limits, Server, bind};
use roundtable::wire::blobs::{
    BlobStoreSyncClient, BlobStoreSyncHandler, BlobStoreSyncProcessor, TBlobStoreSyncClient,
};

/// A blob store that lacks everything.
struct Empty;

impl BlobStoreSyncHandler for Empty {
    fn handle_missing_blobs(&self, digests: Vec<String>) -> thrift::Result<Vec<String>> {
        Ok(digests)
    }

    fn handle_put_blob(&self, _: String, _: i64, _: i64, _: Vec<u8>) -> thrift::Result<()> {
        Ok(())
    }

    fn handle_get_blob(&self, _: String, _: i64, _: i64) -> thrift::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn handle_blob_progress(&self, _: String, _: i64) -> thrift::Result<i64> {
        Ok(0)
    }
}

/// A newcomer's calls, one small and one large enough to need the budget.
fn call(address: SocketAddr) {
    let start = Instant::now();
    let connection = Dialer::default().dial(&address.into()).unwrap();
    let mut client = connection.client(BlobStoreSyncClient::new);
    client.set_timeout(Some(Duration::from_secs(10)));
    assert_eq!(client.call(|c| c.missing_blobs(vec!["a".to_owned()])).unwrap(), ["a"]);
    client.call(|c| c.put_blob(String::new(), 0, 0, vec![0; 1 << 20])).unwrap();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "a real client waited {took:?}");
}

/// The most bytes that this process ever had in memory.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// A server that cannot accept for want of file descriptors waits without spinning, and then goes on. It must
/// share this process, and nothing else may run in it.
fn out_of_files(address: SocketAddr) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, open + 20, hard).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // The one descriptor this frees is taken by our end, and leaves none for the server's.
    files.pop();
    let connection = Dialer::default().dial(&address.into());
    let before = cpu_time();
    std::thread::sleep(Duration::from_millis(300));
    let spent = cpu_time() - before;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    drop(files);
    let mut client = connection.unwrap().client(BlobStoreSyncClient::new);
    assert_eq!(client.call(|c| c.missing_blobs(vec!["a".to_owned()])).unwrap(), ["a"]);
    assert!(spent < Duration::from_millis(100), "it spent {spent:?} of 300 ms on failing");
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds =
        |t: nix::sys::time::TimeVal| Duration::from_micros((t.tv_sec() * 1_000_000 + t.tv_usec()) as u64);
    seconds(usage.user_time()) + seconds(usage.system_time())
}

#[test]
fn a_server_withstands_abuse() {
    let server = Server::start(bind("127.0.0.1", 0).unwrap(), Limits::default(), "abused", |_| {
        BlobStoreSyncProcessor::new(Empty)
    })
    .unwrap();
    let address = server.address();
    let bound = peak() + Limits::default().memory_bound();
    support::abuse::run_all(address, || {
        call(address);
        let peak = peak();
        assert!(peak < bound, "{peak} bytes were resident, {bound} are the bound");
        assert!(server.connections() <= Limits::default().max_connections);
    });
    eprintln!("at most {} MiB were resident, {} MiB are the bound", peak() >> 20, bound >> 20);
    out_of_files(address);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(Dialer::default().dial(&address.into()).is_err());
}
