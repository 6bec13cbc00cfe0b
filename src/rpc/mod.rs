//! Owns connections: who may hold one, for how long, with how many bytes; both ends of it; its errors.
//!
//! Thrift's own server cannot be stopped, has no idle timeout, and reads on after a protocol error. Its binary
//! protocol is unframed, so nothing says how long a message is, and a length in it is believed before its bytes
//! came. Here every message is first read whole and measured (`scan.rs`), then decoded from memory:
//!
//! - a peer's claims cost nothing before it has sent the bytes;
//! - a slow message never occupies a handler, only its connection, which a newcomer may displace;
//! - after an unknown method the connection is at the start of the next message, and stays usable.
//!
//! # Memory
//!
//! A message *weighs* its bytes and 64 more for each length, count or 32-bit number in it: no value of ours takes
//! more than that once decoded. The first 64 KiB of each message are free; beyond them all connections share
//! [`Limits::message_budget`] from the first byte until the call is answered. A message is freed as it is decoded,
//! but lists grow by copying, so that twice its weight may be in use; and a connection has two buffers of 64 KiB
//! and a few pages of stack. What peers send can make a server hold at most
//!
//! ```text
//! 2 * (message_budget + max_connections * 64 KiB) + max_connections * 192 KiB
//! ```
//!
//! bytes: 208 MiB with the default [`Limits`] ([`Limits::memory_bound`] computes it). A decoded
//! `list<list<double>>` of rows of ten weighs 1.8 times its bytes, and rows of 100 1.1 times. The bound leaves out
//! what handlers keep, the answers they give (a connection holds one), and what the allocator keeps in reserve;
//! the memory of large messages is handed round, and stays with the server until it is dropped.

mod address;
mod blobs;
#[cfg(test)]
mod both_ends;
mod connection;
mod error;
mod message;
mod peer;
mod registry;
mod scan;
mod server;
mod session;
mod stream;

use std::time::Duration;

pub use address::{Address, bind};
pub use blobs::{get_blob, put_blob, put_blob_in_parts};
pub use connection::{Client, Connection, Dialer, Hangup, Incoming, Input, Outgoing, Output, Timeouts, Traffic};
pub use error::RpcError;
pub use peer::Peer;
pub use server::Server;
pub use stream::{FetchError, Sink, SinkError, fetch_blob};

/// What a message weighs before it counts against the budget, and the size of a connection's buffers; in bytes.
const FREE_WEIGHT: usize = 64 * 1024;

/// What a server grants its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more displaces the one that has been idle longest.
    pub max_connections: usize,
    /// How long a connection may be silent between messages.
    pub idle_time: Duration,
    /// How long a message may take from its first byte to its last.
    pub message_time: Duration,
    /// How long a peer may take to accept the next bytes of an answer.
    pub write_time: Duration,
    /// Bytes of a message.
    pub max_message: usize,
    /// The weight of all unanswered messages beyond the first 64 KiB of each, in bytes.
    pub message_budget: usize,
    /// Bytes of a string or `binary`.
    pub max_string: usize,
    /// Elements of a list, set or map.
    pub max_elements: usize,
    /// Structs and containers inside each other.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            idle_time: Duration::from_secs(600),
            message_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            max_message: 16 << 20,
            message_budget: 64 << 20,
            max_string: 2 << 20,
            max_elements: 4 << 20,
            max_depth: 32,
        }
    }
}

impl Limits {
    /// The bytes that peers can make a server hold: see the module's `Memory`.
    pub fn memory_bound(&self) -> usize {
        let free = self.max_connections.saturating_mul(FREE_WEIGHT);
        let messages = self.message_budget.saturating_add(free).saturating_mul(2);
        messages.saturating_add(free.saturating_mul(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bound_is_the_documented_one() {
        assert_eq!(Limits::default().memory_bound(), 208 << 20);
    }
}
