//! Owns the HTTP server: its listener, its connections and its end.

use super::refusal::too_many_connections;
use super::timed::Timed;
use super::{App, Files, Limits, Metrics, PERMIT, routes};
use crate::coordinator::Front;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long requests may take to end when the server does.
const TO_END: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted: files may be short.
const PAUSE: Duration = Duration::from_millis(50);
/// How many connections beyond the limit are answered at a time, and how long each may take.
const MOST_AT_THE_DOOR: usize = 64;
const AT_THE_DOOR: Duration = Duration::from_secs(1);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 32 << 10;
/// Threads that serve connections, and those that convert models.
const THREADS: usize = 2;
const CONVERTERS: usize = 2;

/// Why there is no HTTP server.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP: {0}")]
pub struct HttpError(#[from] std::io::Error);

/// An HTTP server at work, until it is dropped: then what is under way is ended first.
pub struct Http {
    runtime: Option<Runtime>,
    room: Arc<Semaphore>,
    connections: u32,
    stop: watch::Sender<bool>,
    address: SocketAddr,
}

impl Http {
    /// Serves what a coordinator shows.
    ///
    /// # Errors
    /// The listener or a thread cannot be used.
    pub fn start(listener: std::net::TcpListener, front: Front, limits: Limits) -> Result<Self, HttpError> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(CONVERTERS)
            .thread_name("http")
            .enable_all()
            .build()?;
        allow_files(limits.max_connections);
        let (stop, stops) = watch::channel(false);
        let connections = u32::try_from(limits.max_connections.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(connections as usize));
        let app = Arc::new(App {
            shown: front.shown(),
            front,
            stops: stops.clone(),
            files: Files::default(),
            metrics: Metrics::default(),
            bodies: Semaphore::new((limits.body_budget / PERMIT).min(Semaphore::MAX_PERMITS)),
            limits: limits.clone(),
            address,
        });
        let listener = runtime.block_on(async { TcpListener::from_std(listener) })?;
        runtime.spawn(accept(listener, routes::router(app), limits, room.clone(), stops));
        Ok(Self { runtime: Some(runtime), room, connections, stop, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        let Some(runtime) = self.runtime.take() else { return };
        let all_end = self.room.acquire_many(self.connections);
        let ended = runtime.block_on(async { tokio::time::timeout(TO_END, all_end).await.is_ok() });
        if !ended {
            log::warn!("HTTP requests did not end in {TO_END:?}: hanging up");
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

/// Each connection is an open file: the limit that a process may set itself is often 1,024 until it asks for more.
fn allow_files(connections: usize) {
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = (connections as u64).saturating_add(1024).min(most);
    if now < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, most).is_err() {
        log::warn!("only {now} files may be open at once: HTTP has no more connections than that");
    }
}

async fn accept(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    room: Arc<Semaphore>,
    mut stops: watch::Receiver<bool>,
) {
    let door = Arc::new(Semaphore::new(MOST_AT_THE_DOOR));
    let until_stop = stops.clone();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stops) => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                log::debug!("HTTP: a connection was not accepted: {e}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match room.clone().try_acquire_owned() {
            Ok(place) => drop(tokio::spawn(serve(stream, app.clone(), limits.clone(), place, until_stop.clone()))),
            Err(_) => {
                if let Ok(place) = door.clone().try_acquire_owned() {
                    tokio::spawn(tokio::time::timeout(AT_THE_DOOR, turn_away(stream, place)));
                }
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    app: Router,
    limits: Limits,
    place: OwnedSemaphorePermit,
    mut stops: watch::Receiver<bool>,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Timed::new(stream, limits.write_time));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(io, TowerToHyperService::new(app));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stops) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        log::debug!("HTTP: a connection has ended: {e}");
    }
    drop(place);
}

/// Waits for the server's end.
pub(super) async fn stopped(stops: &mut watch::Receiver<bool>) {
    // Without a sender it has ended, too.
    let _ = stops.wait_for(|stops| *stops).await;
}

/// Tells one connection too many to come later, once it has asked: else it would not see the answer.
async fn turn_away(mut stream: TcpStream, place: OwnedSemaphorePermit) {
    let mut head = [0; 4096];
    if stream.read(&mut head).await.is_ok_and(|bytes| bytes > 0) {
        // Who asked may have gone.
        let _ = stream.write_all(&too_many_connections()).await;
        let _ = stream.shutdown().await;
    }
    drop(place);
}
