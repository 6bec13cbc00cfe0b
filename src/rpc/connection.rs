//! Owns the calling end: dialling, the transports under a generated client, hanging up, counting bytes.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::TBufferedWriteTransport;

use super::message::{Head, Message, Pieces};
use super::scan::{ScanError, read_message};
use super::server::tune;
use super::session::{Timed, protocol_config};
use super::{Address, FREE_WEIGHT, Limits, RpcError};

/// The input protocol of a [`Connection`].
pub type Input = TBinaryInputProtocol<Incoming>;

/// The output protocol of a [`Connection`].
pub type Output = TBinaryOutputProtocol<TBufferedWriteTransport<Outgoing>>;

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, to each of the addresses that a name stands for.
    pub connect: Duration,
    /// For the first byte of an answer; `None`: for ever, or until keepalive finds the other side dead.
    pub answer: Option<Duration>,
    /// For the rest of an answer once its first byte is here.
    pub message: Duration,
    /// For the other side to accept the next bytes of a call.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Some(Duration::from_secs(60)),
            message: Duration::from_secs(30),
            write: Duration::from_secs(30),
        }
    }
}

/// Bytes sent and received, over all connections that were dialled with it. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes received.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }
}

/// Makes connections.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What an answer may be like: only the limits on messages matter here.
    pub limits: Limits,
    /// Where the bytes of all its connections are counted.
    pub traffic: Traffic,
}

impl Dialer {
    /// Connects to the first of the host's addresses that answers.
    ///
    /// # Errors
    ///
    /// [`RpcError::Unresolved`] or [`RpcError::Unreachable`].
    pub fn dial(&self, address: &Address) -> Result<Connection, RpcError> {
        let unresolved = |source| RpcError::Unresolved { address: address.clone(), source };
        let unreachable = |source| RpcError::Unreachable { address: address.clone(), source };
        let candidates = (address.host.as_str(), address.port).to_socket_addrs().map_err(unresolved)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
        for candidate in candidates {
            match self.dial_one(candidate) {
                Ok(socket) => return Ok(self.connection(address, socket)),
                Err(e) => last = e,
            }
        }
        Err(unreachable(last))
    }

    fn dial_one(&self, candidate: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&candidate, self.timeouts.connect)?;
        // A free port of this machine can, rarely, connect to itself, and would then echo our calls.
        if socket.local_addr()? == socket.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        tune(&socket, Duration::from_secs(10), Duration::from_secs(2), self.timeouts.write)?;
        Ok(socket)
    }

    fn connection(&self, address: &Address, socket: TcpStream) -> Connection {
        let socket = Arc::new(socket);
        let traffic = self.traffic.clone();
        let answer_time = Arc::new(Mutex::new(self.timeouts.answer));
        let incoming = Incoming {
            input: BufReader::with_capacity(
                FREE_WEIGHT,
                Counted { socket: Timed::new(Arc::clone(&socket)), traffic: traffic.clone() },
            ),
            message: Message::default(),
            limits: self.limits.clone(),
            answer_time: Arc::clone(&answer_time),
            message_time: self.timeouts.message,
        };
        let outgoing = Outgoing { socket: Arc::clone(&socket), traffic };
        let outgoing = TBufferedWriteTransport::with_capacity(FREE_WEIGHT, outgoing);
        let config = protocol_config(&self.limits, self.limits.max_message);
        Connection {
            address: address.clone(),
            input: TBinaryInputProtocol::with_config(incoming, true, config),
            output: TBinaryOutputProtocol::new(outgoing, true),
            hangup: Hangup { socket },
            answer_time,
        }
    }
}

/// A connection that no client uses yet.
pub struct Connection {
    address: Address,
    input: Input,
    output: Output,
    hangup: Hangup,
    answer_time: Arc<Mutex<Option<Duration>>>,
}

impl Connection {
    /// A generated client over it: `connection.client(ComputeNodeSyncClient::new)`.
    pub fn client<C>(self, make: impl FnOnce(Input, Output) -> C) -> Client<C> {
        let Connection { address, input, output, hangup, answer_time } = self;
        Client { address, inner: make(input, output), hangup, answer_time, broken: false }
    }
}

/// A generated client and its connection.
pub struct Client<C> {
    address: Address,
    inner: C,
    hangup: Hangup,
    answer_time: Arc<Mutex<Option<Duration>>>,
    broken: bool,
}

impl<C> Client<C> {
    /// Makes a call: `client.call(|c| c.hello(1))`.
    ///
    /// # Errors
    ///
    /// All of [`RpcError`]'s that a connection can have. After one that does not keep the connection
    /// ([`RpcError::keeps_connection`]), every further call is [`RpcError::Closed`].
    pub fn call<T>(&mut self, call: impl FnOnce(&mut C) -> thrift::Result<T>) -> Result<T, RpcError> {
        if self.broken {
            return Err(RpcError::Closed { address: self.address.clone() });
        }
        call(&mut self.inner).map_err(|e| {
            let error = RpcError::from_thrift(&self.address, e);
            if !error.keeps_connection() {
                self.broken = true;
                self.hangup.hang_up();
            }
            error
        })
    }

    /// The same, with a bound of its own for the answer.
    ///
    /// # Errors
    ///
    /// Those of [`Client::call`].
    pub fn call_within<T>(
        &mut self,
        time: Duration,
        call: impl FnOnce(&mut C) -> thrift::Result<T>,
    ) -> Result<T, RpcError> {
        let usual = *self.answer_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.set_timeout(Some(time));
        let answer = self.call(call);
        self.set_timeout(usual);
        answer
    }

    /// Whom it calls.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether an error has ended the connection.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// How long the next calls wait for the first byte of their answers; `None`: for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        *self.answer_time.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// A handle to end a call from another thread.
    pub fn hangup(&self) -> Hangup {
        self.hangup.clone()
    }
}

/// Ends a connection from any thread.
#[derive(Clone, Debug)]
pub struct Hangup {
    socket: Arc<TcpStream>,
}

impl Hangup {
    /// A call that waits for its answer returns at once, with [`RpcError::Closed`].
    pub fn hang_up(&self) {
        // An error means that it has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

struct Counted {
    socket: Timed,
    traffic: Traffic,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(out).map_err(as_closed)?;
        self.traffic.0.received.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The answers of a connection, each read whole before its first byte is handed on.
pub struct Incoming {
    input: BufReader<Counted>,
    message: Message,
    limits: Limits,
    answer_time: Arc<Mutex<Option<Duration>>>,
    message_time: Duration,
}

impl Incoming {
    fn next_message(&mut self) -> Result<Message, ScanError> {
        let answer_time = *self.answer_time.lock().unwrap_or_else(PoisonError::into_inner);
        self.input.get_mut().socket.deadline = answer_time.and_then(|time| Instant::now().checked_add(time));
        io::BufRead::fill_buf(&mut self.input)?;
        self.input.get_mut().socket.deadline = Instant::now().checked_add(self.message_time);
        let limit = self.limits.message_budget;
        let head = &mut Head::default();
        read_message(&mut self.input, &self.limits, Pieces::default(), head, &mut |claimed| {
            // Nobody shares this budget; it is there against answers that are small only on the wire.
            if claimed > limit { Err(ScanError::TooLarge { what: "a weight", claimed, limit }) } else { Ok(()) }
        })
    }
}

impl Read for Incoming {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.message.is_spent() {
            self.message = self.next_message().map_err(|e| match e {
                ScanError::Io(e) => e,
                other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
            })?;
        }
        self.message.read(out)
    }
}

/// The calls of a connection.
pub struct Outgoing {
    socket: Arc<TcpStream>,
    traffic: Traffic,
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = (&*self.socket).write(bytes).map_err(as_closed)?;
        self.traffic.0.sent.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Thrift knows fewer kinds of error than the system: these are all the same to a caller.
fn as_closed(error: io::Error) -> io::Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, WouldBlock};
    match error.kind() {
        BrokenPipe | ConnectionAborted | NotConnected => ConnectionReset.into(),
        WouldBlock => TimedOut.into(),
        _ => error,
    }
}
