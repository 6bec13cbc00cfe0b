//! Owns what a coordinator answers over HTTP: the newest model as JSON and as files, changes of learners, metrics, health.
//!
//! Learners in any language need this alone: `GET /` says which version of which model is the newest, `GET /latest.npz`
//! or another file has it, and `POST /` gives back what was learnt. `openapi.json` here is the reference, and is served.
//!
//! There is no thread for each who waits: a long poll is a task that is woken when a new version is durable. What peers
//! send is bounded: the time for a request's head and body and for taking the answer, the size of a body by the size of
//! the model, the bytes of all bodies together, and the connections.

mod document;
mod files;
mod health;
mod metrics;
mod models;
mod parameters;
mod refusal;
mod routes;
mod serve;
mod timed;
mod update;
mod wanted;

use crate::coordinator::{Front, Shown};
use files::Files;
use metrics::Metrics;
pub use serve::{Http, HttpError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What those who connect are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is told to come later.
    pub max_connections: usize,
    /// How long a connection may take for the head of its next request, and so how long it may be idle.
    pub head_time: Duration,
    /// How long a body may take.
    pub body_time: Duration,
    /// How long a peer may take to accept the next bytes of an answer.
    pub write_time: Duration,
    /// Bytes of all bodies that are under way or whose changes are not durable yet; the next ones wait.
    pub body_budget: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            head_time: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            body_budget: 128 << 20,
        }
    }
}

/// What all requests share.
struct App {
    front: Front,
    shown: watch::Receiver<Arc<Shown>>,
    stops: watch::Receiver<bool>,
    files: Files,
    metrics: Metrics,
    limits: Limits,
    /// Kibibytes of bodies that may still come.
    bodies: Semaphore,
    address: SocketAddr,
}

/// Bytes of a permit of [`App::bodies`].
const PERMIT: usize = 1024;
