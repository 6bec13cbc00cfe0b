//! Owns the tests of the two ends against each other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use thrift::OrderedFloat;

use super::*;
use crate::wire::blobs::{BlobStoreSyncHandler, Rejected, TBlobStoreSyncClient};
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use crate::wire::coordinator::{
    Assignment, CoordinatorSyncClient, CoordinatorSyncHandler, CoordinatorSyncProcessor, FileVersion, GcReport,
    Heard, JobRequest, JobStats, JobStatus, JobSummary, Leadership, TCoordinatorSyncClient,
};
use crate::wire::members::{Member, MemberInfo, MemberSyncHandler};

/// What became of the calls that wait until their caller hangs up.
#[derive(Default)]
struct Waiting {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Waiting {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Serves a few calls, each in its own bad way.
struct Handler {
    peer: Peer,
    waiting: Arc<Waiting>,
}

impl BlobStoreSyncHandler for Handler {
    fn handle_missing_blobs(&self, digests: Vec<String>) -> thrift::Result<Vec<String>> {
        Ok(digests)
    }

    fn handle_put_blob(&self, _: String, _: i64, _: i64, _: Vec<u8>) -> thrift::Result<()> {
        Ok(())
    }

    fn handle_get_blob(&self, _: String, _: i64, limit: i64) -> thrift::Result<Vec<u8>> {
        Ok(vec![7; limit as usize])
    }

    fn handle_blob_progress(&self, _: String, total: i64) -> thrift::Result<i64> {
        Ok(total)
    }
}

/// What no test calls.
fn unused<T>() -> thrift::Result<T> {
    Err(Rejected { reason: "no test calls it".to_owned() }.into())
}

impl MemberSyncHandler for Handler {
    fn handle_members(&self) -> thrift::Result<Vec<Member>> {
        unused()
    }

    fn handle_member_info(&self) -> thrift::Result<MemberInfo> {
        unused()
    }

    fn handle_leave(&self) -> thrift::Result<()> {
        unused()
    }
}

impl CoordinatorSyncHandler for Handler {
    fn handle_train(
        &self,
        dir: String,
        _: i32,
        _: i32,
        _: i32,
        _: i32,
        eta: OrderedFloat<f64>,
    ) -> thrift::Result<OrderedFloat<f64>> {
        match dir.as_str() {
            "panic" => panic!("as asked"),
            "wait" => {
                self.waiting.begun.fetch_add(1, Ordering::SeqCst);
                while !self.peer.is_gone() {
                    thread::sleep(Duration::from_millis(2));
                }
                self.waiting.ended.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(eta)
    }

    fn handle_submit(&self, _: JobRequest) -> thrift::Result<String> {
        Ok("1".to_owned())
    }

    fn handle_watch(&self, job: String, _: i64, _: i32, _: i32) -> thrift::Result<JobStatus> {
        Err(Rejected { reason: format!("there is no job {job}") }.into())
    }

    fn handle_cancel(&self, _: String) -> thrift::Result<()> {
        Ok(())
    }

    fn handle_feed(&self, _: String, _: String, _: i64, _: String, _: i32) -> thrift::Result<Heard> {
        unused()
    }

    fn handle_resume(&self, _: String) -> thrift::Result<()> {
        unused()
    }

    fn handle_job_stats(&self, _: String) -> thrift::Result<Vec<JobStats>> {
        unused()
    }

    fn handle_assignments(&self) -> thrift::Result<Vec<Assignment>> {
        unused()
    }

    fn handle_set_batch_size(&self, _: String, _: i32) -> thrift::Result<()> {
        unused()
    }

    fn handle_jobs(&self) -> thrift::Result<Vec<JobSummary>> {
        unused()
    }

    fn handle_leadership(&self) -> thrift::Result<Leadership> {
        unused()
    }

    fn handle_put_file(&self, _: String, _: String, _: i64, _: i32, _: i32) -> thrift::Result<FileVersion> {
        unused()
    }

    fn handle_file_versions(&self, _: String, _: i32) -> thrift::Result<Vec<FileVersion>> {
        unused()
    }

    fn handle_list_files(&self, _: String, _: String, _: i32) -> thrift::Result<Vec<FileVersion>> {
        unused()
    }

    fn handle_delete_file(&self, _: String) -> thrift::Result<FileVersion> {
        unused()
    }

    fn handle_collect_garbage(&self, _: i32) -> thrift::Result<GcReport> {
        unused()
    }
}

type Caller = Client<CoordinatorSyncClient<Input, Output>>;

fn serve(limits: Limits) -> (Server, Arc<Waiting>) {
    let waiting = Arc::new(Waiting::default());
    let shared = Arc::clone(&waiting);
    let handler = move |peer| CoordinatorSyncProcessor::new(Handler { peer, waiting: Arc::clone(&shared) });
    (Server::start(bind("127.0.0.1", 0).unwrap(), limits, "test", handler).unwrap(), waiting)
}

fn dial(address: SocketAddr) -> Caller {
    Dialer::default().dial(&address.into()).unwrap().client(CoordinatorSyncClient::new)
}

fn train(client: &mut Caller, dir: &str) -> Result<f64, RpcError> {
    client.call(|c| c.train(dir.to_owned(), 1, 1, 1, 1, 0.5.into())).map(|error| error.0)
}

/// Waits until it is so, ten seconds at most.
fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in ten seconds: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn calls_of_all_sizes_are_answered() {
    let (server, _) = serve(Limits::default());
    let dialer = Dialer::default();
    let mut client = dialer.dial(&server.address().into()).unwrap().client(CoordinatorSyncClient::new);
    for size in [0, 1, 4, 260, 65_535, 65_536, 1 << 20, 2 << 20] {
        client.call(|c| c.put_blob("d".repeat(4), 0, size as i64, vec![1; size])).unwrap();
        assert_eq!(client.call(|c| c.get_blob(String::new(), 0, size as i64)).unwrap(), vec![7; size]);
    }
    let digests = vec!["four".to_owned(); 65_536];
    assert_eq!(client.call(|c| c.missing_blobs(digests.clone())).unwrap(), digests);
    assert!(dialer.traffic.sent() > 3 << 20 && dialer.traffic.received() > 3 << 20);
}

#[test]
fn refusals_are_told_and_keep_the_connection() {
    let (server, _) = serve(Limits::default());
    let mut client = dial(server.address());
    let error = client.call(|c| c.watch("9".to_owned(), 0, 0, 0)).unwrap_err();
    assert!(error.to_string().ends_with("answers: there is no job 9"), "{error}");

    let connection = Dialer::default().dial(&server.address().into()).unwrap();
    let mut wrong = connection.client(ComputeNodeSyncClient::new);
    for _ in 0..3 {
        let error = wrong.call(|c| c.hello(1)).unwrap_err();
        assert!(matches!(error, RpcError::UnknownMethod { .. }), "{error}");
    }
    assert_eq!(wrong.call(|c| c.missing_blobs(vec![])).unwrap(), Vec::<String>::new());
}

#[test]
fn a_call_too_large_is_refused_with_the_limit() {
    let (server, _) = serve(Limits { max_message: 100_000, ..Limits::default() });
    let mut client = dial(server.address());
    let error = client.call(|c| c.put_blob(String::new(), 0, 0, vec![0; 120_000])).unwrap_err();
    assert!(matches!(error, RpcError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("over the limit of 100000"), "{error}");
    assert!(matches!(train(&mut client, ""), Err(RpcError::Closed { .. })), "the connection is over");

    let (server, _) = serve(Limits { message_budget: 100_000, ..Limits::default() });
    let digests = vec![String::new(); 10_000];
    let error = dial(server.address()).call(|c| c.missing_blobs(digests)).unwrap_err();
    assert!(error.to_string().contains("as much as it can hold"), "{error}");
}

#[test]
fn a_panic_costs_its_own_connection_only() {
    let (server, _) = serve(Limits::default());
    let (mut unlucky, mut other) = (dial(server.address()), dial(server.address()));
    assert_eq!(train(&mut other, "").unwrap(), 0.5);
    assert!(matches!(train(&mut unlucky, "panic"), Err(RpcError::Closed { .. })));
    assert_eq!(train(&mut other, "").unwrap(), 0.5);
    until("the panicked connection is off the list", || server.connections() == 1);
}

#[test]
fn a_caller_may_hang_up_and_the_handler_hears_of_it() {
    let (server, waiting) = serve(Limits::default());
    let mut client = dial(server.address());
    client.set_timeout(None);
    let hangup = client.hangup();
    let call = thread::spawn(move || train(&mut client, "wait"));
    until("it waits", || waiting.begun() == 1);
    hangup.hang_up();
    assert!(matches!(call.join().unwrap(), Err(RpcError::Closed { .. })));
    until("the handler has noticed", || waiting.ended() == 1);
    until("the connection is off the list", || server.connections() == 0);
}

#[test]
fn a_call_may_time_out() {
    let (server, waiting) = serve(Limits::default());
    let mut client = dial(server.address());
    client.set_timeout(Some(Duration::from_millis(100)));
    assert!(matches!(train(&mut client, "wait"), Err(RpcError::TimedOut { .. })));
    assert!(client.is_broken());
    until("the handler has noticed", || waiting.ended() == 1);
}

#[test]
fn stopping_is_prompt_and_final() {
    let (server, waiting) = serve(Limits::default());
    let address = server.address();
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(&[0x80, 1]).unwrap();
    let mut client = dial(address);
    let call = thread::spawn(move || train(&mut client, "wait"));
    until("all are connected", || server.connections() == 22 && waiting.begun() == 1);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(call.join().unwrap().is_err());
    until("the handler has noticed", || waiting.ended() == 1);
    until("the connection is off the list", || server.connections() == 0);
    assert!(TcpStream::connect(address).is_err());
    server.stop();
}

#[test]
fn the_silent_and_the_slow_are_closed_in_time() {
    let limits = Limits {
        idle_time: Duration::from_millis(50),
        message_time: Duration::from_millis(50),
        ..Limits::default()
    };
    let (server, _) = serve(limits);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(&[0x80]).unwrap();
    // Closing may reset it, which is as good.
    assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0);
    until("both are off the list", || server.connections() == 0);
}

#[test]
fn a_newcomer_displaces_the_idle_but_not_the_working() {
    let (server, waiting) = serve(Limits { max_connections: 2, ..Limits::default() });
    let (mut first, mut second) = (dial(server.address()), dial(server.address()));
    assert_eq!(train(&mut first, "").unwrap(), 0.5);
    assert_eq!(train(&mut second, "").unwrap(), 0.5);
    let mut third = dial(server.address());
    assert_eq!(train(&mut third, "").unwrap(), 0.5);
    assert!(matches!(train(&mut first, ""), Err(RpcError::Closed { .. })), "it was idle longest");

    let hangups = [second.hangup(), third.hangup()];
    let working = [second, third].map(|mut client| thread::spawn(move || train(&mut client, "wait")));
    until("both work", || waiting.begun() == 2);
    assert!(matches!(train(&mut dial(server.address()), ""), Err(RpcError::Closed { .. })), "there is no room");
    hangups.iter().for_each(Hangup::hang_up);
    until("both have left", || server.connections() == 0);
    assert!(working.into_iter().all(|call| call.join().unwrap().is_err()));
    assert_eq!(train(&mut dial(server.address()), "").unwrap(), 0.5);
}

#[test]
fn a_port_is_free_again_once_its_server_stopped() {
    let (server, _) = serve(Limits::default());
    let mut client = dial(server.address());
    assert_eq!(train(&mut client, "").unwrap(), 0.5);
    server.stop();
    drop(bind("127.0.0.1", server.address().port()).unwrap());
}

#[test]
fn http_is_answered_in_http() {
    let (server, _) = serve(Limits::default());
    let mut browser = TcpStream::connect(server.address()).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Thrift"), "{answer}");
}

#[test]
fn nobody_there_is_told_with_the_address() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Dialer::default().dial(&address.into()).err().unwrap().to_string();
    assert!(error.starts_with(&format!("nothing answers at {address}: ")), "{error}");
    let unknown = Address::new("no-such-host.invalid", 1);
    assert!(matches!(Dialer::default().dial(&unknown).err(), Some(RpcError::Unresolved { .. })));
}
