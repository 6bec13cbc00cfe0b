//! Owns the UDP socket of a server: at the same address and port as its calls, and known to others by an address.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs, UdpSocket};

/// Bytes of datagrams that the system keeps for us: enough for a burst of a thousand.
const BUFFER: usize = 1 << 20;

/// What can go wrong before a server takes part in gossip.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The port is free for calls and taken for gossip.
    #[error(
        "{address} is free for calls (TCP), but another program uses it for datagrams (UDP), which gossip needs; \
         choose another port, or 0 for any free one"
    )]
    InUse {
        /// Where we wanted to listen.
        address: SocketAddr,
    },
    /// The system does not give the socket.
    #[error("cannot listen for gossip (UDP) at {address}: {source}")]
    CannotListen {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// What others are to be told as our address is none.
    #[error(
        "--advertise {host}: {reason}; give a name or an address of this machine by which the others reach it"
    )]
    NoAddress {
        /// What was given.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A thread cannot be started, or the socket not be used.
    #[error("cannot start gossip: {source}")]
    CannotStart {
        /// What the system says.
        source: io::Error,
    },
}

impl GossipError {
    pub(super) fn cannot_start(source: io::Error) -> Self {
        Self::CannotStart { source }
    }
}

/// A socket at the address and port of a listener.
///
/// # Errors
/// The port is taken, or the system does not give the socket.
pub(super) fn beside(listener: &TcpListener) -> Result<UdpSocket, GossipError> {
    let address = listener.local_addr().map_err(GossipError::cannot_start)?;
    let socket = UdpSocket::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => GossipError::InUse { address },
        _ => GossipError::CannotListen { address, source },
    })?;
    // A smaller buffer than asked for is no reason not to start.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    Ok(socket)
}

/// The address that others are told: the host asked for, or the one listened at, or the one by which others are reached.
///
/// # Errors
/// The host asked for has no address of the socket's family, or none that others could use.
pub(super) fn advertised(
    local: SocketAddr,
    host: Option<&str>,
    seeds: &[String],
) -> Result<SocketAddr, GossipError> {
    let Some(host) = host else {
        let ip = if local.ip().is_unspecified() { outward(local, seeds) } else { local.ip() };
        return Ok(SocketAddr::new(ip, local.port()));
    };
    let bad = |reason: String| GossipError::NoAddress { host: host.to_owned(), reason };
    let addresses = (host, local.port()).to_socket_addrs().map_err(|e| bad(e.to_string()))?;
    let mut usable = addresses.filter(|address| reaches(local, *address) && !address.ip().is_unspecified());
    usable.next().ok_or_else(|| bad("it has no address that others could use".to_owned()))
}

/// Whether a socket bound to `local` can send to an address.
pub(super) fn reaches(local: SocketAddr, to: SocketAddr) -> bool {
    local.is_ipv4() == to.is_ipv4() || (local.is_ipv6() && local.ip().is_unspecified())
}

/// The address by which this machine reaches others.
fn outward(local: SocketAddr, seeds: &[String]) -> IpAddr {
    // Addresses that are kept for documentation: nothing is sent, the system only looks for the way.
    let (fallback, far): (IpAddr, SocketAddr) = match local {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        SocketAddr::V6(_) => {
            (Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into())
        }
    };
    let seeds = seeds.iter().filter_map(|seed| seed.to_socket_addrs().ok()).flatten();
    let targets = seeds.filter(|target| reaches(local, *target)).chain([far]);
    let way = |target: SocketAddr| -> io::Result<IpAddr> {
        let any: IpAddr =
            if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(target)?;
        Ok(socket.local_addr()?.ip())
    };
    targets.filter_map(|target| way(target).ok()).find(|ip| !ip.is_unspecified()).unwrap_or(fallback)
}

/// As a socket bound to `local` wants an address: one for all families takes IPv4 ones in the form of IPv6.
pub(super) fn as_sent(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if local.is_ipv6() => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}

/// The other way round.
pub(super) fn as_told(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_are_told() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let told = |local: &str, host, seeds: &[&str]| {
            let seeds: Vec<String> = seeds.iter().map(|seed| (*seed).to_owned()).collect();
            advertised(at(local), host, &seeds)
        };
        assert_eq!(told("127.0.0.1:7", None, &[]).unwrap(), at("127.0.0.1:7"));
        assert_eq!(told("0.0.0.0:7", Some("10.1.2.3"), &[]).unwrap(), at("10.1.2.3:7"));
        assert_eq!(told("0.0.0.0:7", None, &["127.0.0.1:9"]).unwrap(), at("127.0.0.1:7"), "the way to the seed");
        assert!(!told("0.0.0.0:7", None, &[]).unwrap().ip().is_unspecified());
        for (host, reason) in [("0.0.0.0", "no address"), ("::1", "no address"), ("no such host", "--advertise")] {
            let error = told("0.0.0.0:7", Some(host), &[]).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_port_that_is_taken_for_datagrams_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = beside(&listener).unwrap();
        let error = beside(&listener).unwrap_err().to_string();
        assert!(error.contains(&first.local_addr().unwrap().to_string()) && error.contains("UDP"), "{error}");
    }
}
