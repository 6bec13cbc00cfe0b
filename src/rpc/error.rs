//! Owns what can go wrong between two processes, told so that the reader knows where and what to do.

use std::io;

use thrift::{ApplicationErrorKind, TransportErrorKind};

use super::Address;
use crate::wire::blobs::Rejected;
use crate::wire::coordinator::NotLeader;

/// What went wrong, and with which address.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// A text that is not `host:port`.
    #[error("{text:?} is not an address: {reason}; write host:port, such as 127.0.0.1:9091 or [::1]:9091")]
    BadAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The port to listen on is taken.
    #[error("{address} is in use by another program; choose another port, or 0 for any free one")]
    InUse {
        /// Where we wanted to listen.
        address: Address,
    },
    /// The address to listen on cannot be had.
    #[error("cannot listen at {address}: {advice} ({source})")]
    CannotListen {
        /// Where we wanted to listen.
        address: Address,
        /// What to do about it.
        advice: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A server could not start its accepting thread, or has a listener that is none.
    #[error("cannot start serving: {source}")]
    CannotServe {
        /// What the system says.
        source: io::Error,
    },
    /// The host's name means nothing here.
    #[error("cannot find the host of {address}: {source}; check its name")]
    Unresolved {
        /// Whom we wanted.
        address: Address,
        /// What the resolver says.
        source: io::Error,
    },
    /// No connection came about.
    #[error("nothing answers at {address}: {source}; is it running, and is that its address?")]
    Unreachable {
        /// Whom we wanted.
        address: Address,
        /// What the system says, of the last address tried.
        source: io::Error,
    },
    /// No answer within the time given.
    #[error("{address} did not answer in time; it may be busy, hung or cut off")]
    TimedOut {
        /// Who was asked.
        address: Address,
    },
    /// The connection ended before the answer was whole.
    #[error("{address} closed the connection before it answered; has it stopped?")]
    Closed {
        /// Who was asked.
        address: Address,
    },
    /// An answer that is none.
    #[error("{address} does not answer as a Thrift server of ours does: {reason}; is that the right port?")]
    Protocol {
        /// Who was asked.
        address: Address,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The other side lacks this call: it is of another version, or of another kind.
    #[error("{address} does not know this call ({reason}); is it of another version, or another kind of server?")]
    UnknownMethod {
        /// Who was asked.
        address: Address,
        /// What it said.
        reason: String,
    },
    /// The call was not read: too large, malformed, or more than the server can hold now.
    #[error("{address} refuses the call: {reason}")]
    Refused {
        /// Who was asked.
        address: Address,
        /// What it said.
        reason: String,
    },
    /// Only the coordinator that leads serves this, and another does.
    #[error("{address} stands by{}", if .leader.is_empty() { "; who leads is not known to it".to_owned() } else { format!("; {} leads", .leader) })]
    NotLeader {
        /// Who was asked.
        address: Address,
        /// host:port of the one that leads, or empty.
        leader: String,
    },
    /// The call came through and was not served.
    #[error("{address} answers: {reason}")]
    Remote {
        /// Who was asked.
        address: Address,
        /// What it said.
        reason: String,
    },
}

impl RpcError {
    /// What a failed call to `address` means.
    pub fn from_thrift(address: &Address, error: thrift::Error) -> RpcError {
        let address = address.clone();
        match error {
            thrift::Error::Transport(e) => match e.kind {
                TransportErrorKind::TimedOut => RpcError::TimedOut { address },
                TransportErrorKind::EndOfFile | TransportErrorKind::NotOpen => RpcError::Closed { address },
                _ => RpcError::Protocol { address, reason: e.message },
            },
            thrift::Error::Protocol(e) => RpcError::Protocol { address, reason: e.message },
            thrift::Error::Application(e) => match e.kind {
                ApplicationErrorKind::UnknownMethod => RpcError::UnknownMethod { address, reason: e.message },
                ApplicationErrorKind::BadSequenceId
                | ApplicationErrorKind::WrongMethodName
                | ApplicationErrorKind::InvalidMessageType
                | ApplicationErrorKind::MissingResult => RpcError::Protocol { address, reason: e.message },
                ApplicationErrorKind::ProtocolError => RpcError::Refused { address, reason: e.message },
                _ => RpcError::Remote { address, reason: e.message },
            },
            thrift::Error::User(e) => match e.downcast::<Rejected>() {
                Ok(rejected) => RpcError::Remote { address, reason: rejected.reason },
                Err(e) => match e.downcast::<NotLeader>() {
                    Ok(other) => RpcError::NotLeader { address, leader: other.leader },
                    Err(e) => RpcError::Remote { address, reason: e.to_string() },
                },
            },
        }
    }

    /// Whether the connection is still in step after this error, so that the next call may use it.
    pub fn keeps_connection(&self) -> bool {
        matches!(self, RpcError::UnknownMethod { .. } | RpcError::Remote { .. } | RpcError::NotLeader { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thrift_errors_are_told_apart() {
        let at = Address::new("node", 9);
        let of = |e: thrift::Error| RpcError::from_thrift(&at, e);
        let io = |kind: io::ErrorKind| of(io::Error::new(kind, "x").into());
        assert!(matches!(io(io::ErrorKind::TimedOut), RpcError::TimedOut { .. }));
        assert!(matches!(io(io::ErrorKind::UnexpectedEof), RpcError::Closed { .. }));
        assert!(matches!(io(io::ErrorKind::ConnectionReset), RpcError::Closed { .. }));
        assert!(matches!(io(io::ErrorKind::InvalidData), RpcError::Protocol { .. }));
        let unknown = thrift::new_application_error(ApplicationErrorKind::UnknownMethod, "unknown method x");
        assert!(matches!(of(unknown), RpcError::UnknownMethod { .. }));
        let rejected = of(Rejected { reason: "no such job".to_owned() }.into());
        assert_eq!(rejected.to_string(), "node:9 answers: no such job");
        assert!(rejected.keeps_connection());
    }
}
