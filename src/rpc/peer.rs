//! Owns what a handler may know of its caller: where it is, and whether it still listens.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// The other end of a connection. Cheap to clone; keeping one does not keep the connection open.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    socket: Weak<TcpStream>,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, socket: &Arc<TcpStream>) -> Peer {
        Peer { address, socket: Arc::downgrade(socket) }
    }

    /// Where it calls from.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it hung up, as a long computation should ask now and then: one system call, which never waits.
    ///
    /// A peer that only closed its sending half counts as gone; so does everyone once the server stops.
    pub fn is_gone(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return true };
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(socket.as_raw_fd(), &mut [0], flags) {
            Ok(0) => true,
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => true,
        }
    }
}
