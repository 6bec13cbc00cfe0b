//! Owns serving: a thread that accepts, a thread for each connection, and an end to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use thrift::server::TProcessor;

use super::registry::{Registry, Ticket};
use super::session::Session;
use super::{Limits, Peer, RpcError};

/// Handlers run on a connection's thread; only what they touch of it is memory.
const STACK: usize = 2 << 20;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// The wait after a failed accept: what is short then (files, memory, threads) is not there a moment later.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A running server. It stops when dropped.
pub struct Server {
    address: SocketAddr,
    registry: Arc<Registry>,
    /// `None` once it was stopped: the port is free then.
    acceptor: Mutex<Option<Acceptor>>,
}

/// The thread that accepts, and what it accepts from.
struct Acceptor {
    listener: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Serves every connection to `listener` with a processor of its own, made by `serve` on the connection's
    /// thread: what it keeps of a connection ends with it. `name` is for the log and the threads' names.
    ///
    /// # Errors
    ///
    /// [`RpcError::CannotServe`] if the listener is none, or no thread can be started.
    pub fn start<F, P>(listener: TcpListener, limits: Limits, name: &str, serve: F) -> Result<Server, RpcError>
    where
        F: Fn(Peer) -> P + Send + Sync + 'static,
        P: TProcessor + 'static,
    {
        let cannot = |source| RpcError::CannotServe { source };
        let address = listener.local_addr().map_err(cannot)?;
        listener.set_nonblocking(false).map_err(cannot)?;
        SockRef::from(&listener).listen(BACKLOG).map_err(cannot)?;
        let listener = Arc::new(listener);
        let registry = Registry::new(&limits);
        let host = Arc::new(Host { name: name.to_owned(), limits, serve });
        let thread = {
            let (listener, registry) = (Arc::clone(&listener), Arc::clone(&registry));
            let builder = thread::Builder::new().name(format!("{name}-accept"));
            builder.spawn(move || accept(&listener, &registry, &host)).map_err(cannot)?
        };
        log::debug!("{name} listens at {address}");
        Ok(Server { address, registry, acceptor: Mutex::new(Some(Acceptor { listener, thread })) })
    }

    /// Where it listens; the port is the real one if it was asked for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.registry.len()
    }

    /// Stops accepting, shuts all connections, and waits (two seconds at most) for the threads that are not
    /// executing a call. Those that are find their [`Peer::is_gone`], and end with their call.
    pub fn stop(&self) {
        self.registry.stop();
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Acceptor { listener, thread }) = acceptor {
            // Where a listener cannot be shut, a connection wakes the thread as well.
            let woken = SockRef::from(&*listener).shutdown(Shutdown::Both).is_ok()
                || TcpStream::connect_timeout(&reachable(self.address), Duration::from_millis(500)).is_ok();
            if !woken {
                log::error!("the thread that accepts connections to {} cannot be woken", self.address);
            } else if thread.join().is_err() {
                log::error!("the thread that accepts connections to {} had panicked", self.address);
            }
        }
        self.registry.shut_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What all connections of a server share.
struct Host<F> {
    name: String,
    limits: Limits,
    serve: F,
}

fn accept<F, P>(listener: &TcpListener, registry: &Arc<Registry>, host: &Arc<Host<F>>)
where
    F: Fn(Peer) -> P + Send + Sync + 'static,
    P: TProcessor + 'static,
{
    let mut failing = false;
    while !registry.is_stopping() {
        let result = listener.accept().and_then(|(socket, from)| welcome(socket, from, registry, host));
        match result {
            Ok(()) => failing = false,
            Err(_) if registry.is_stopping() => return,
            Err(e) => {
                // Once, not twenty times a second.
                if !failing {
                    log::warn!("{} could not accept a connection, and tries on: {e}", host.name);
                }
                failing = true;
                registry.pause(BACK_OFF);
            }
        }
    }
}

/// Gives a new connection a place and a thread.
fn welcome<F, P>(
    socket: TcpStream,
    from: SocketAddr,
    registry: &Arc<Registry>,
    host: &Arc<Host<F>>,
) -> std::io::Result<()>
where
    F: Fn(Peer) -> P + Send + Sync + 'static,
    P: TProcessor + 'static,
{
    let socket = Arc::new(socket);
    let Some(ticket) = registry.admit(Arc::clone(&socket)) else {
        log::info!("{} closed {from}: all {} connections are at work", host.name, host.limits.max_connections);
        return Ok(());
    };
    let host = Arc::clone(host);
    let builder = thread::Builder::new().name(host.name.clone()).stack_size(STACK);
    builder.spawn(move || attend(&socket, from, &ticket, &host)).map(drop)
}

fn attend<F, P>(socket: &Arc<TcpStream>, from: SocketAddr, ticket: &Ticket, host: &Host<F>)
where
    F: Fn(Peer) -> P,
    P: TProcessor,
{
    let name = &host.name;
    // Whatever a panic leaves half done dies with the connection.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        tune(socket, Duration::from_secs(30), Duration::from_secs(3), host.limits.write_time)?;
        let processor = (host.serve)(Peer::new(from, socket));
        Ok::<_, std::io::Error>(Session::new(socket, ticket, &host.limits).run(&processor))
    }));
    match outcome {
        Ok(Ok(end)) => log::debug!("{name} closed the connection of {from}: {end}"),
        Ok(Err(e)) => log::debug!("{name} closed the connection of {from}: {e}"),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            log::error!("{name} panicked serving {from}, which lost its connection: {text}");
        }
    }
    // Others may still hold the socket for a moment; the peer need not wait for them.
    let _ = socket.shutdown(Shutdown::Both);
}

/// Sends small messages at once, finds dead peers, and gives up on those that do not read. A peer is dead when it
/// was silent for `idle` and then for as many `interval`s as the system makes probes (9 on Linux, 8 on macOS).
pub(super) fn tune(
    socket: &TcpStream,
    idle: Duration,
    interval: Duration,
    write_time: Duration,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
    socket.set_write_timeout(Some(write_time.max(Duration::from_millis(1))))
}

/// Where to connect to in order to reach a listener at `address`, which may be "any".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
