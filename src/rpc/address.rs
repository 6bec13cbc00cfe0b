//! Owns `host:port`: reading it, writing it, listening there.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::str::FromStr;

use super::RpcError;

/// Where a server is: a name or an IP address, and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// The address of `port` at `host`.
    pub fn new(host: impl Into<String>, port: u16) -> Address {
        Address { host: host.into(), port }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::new(address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = RpcError;

    /// Reads `host:port`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Address, RpcError> {
        let bad = |reason| RpcError::BadAddress { text: text.to_owned(), reason };
        if text.contains("://") {
            return Err(bad("it is a URL"));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']').ok_or_else(|| bad("a bracket is not closed"))?;
                if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                    return Err(bad("what stands in the brackets is not an IPv6 address"));
                }
                host
            }
            None if host.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c)) {
            return Err(bad("the host has characters that no host has"));
        }
        // `u16::from_str` takes a sign, which no port has.
        if !port.bytes().all(|b| b.is_ascii_digit()) || port.is_empty() {
            return Err(bad("the port is not a number"));
        }
        let port = port.parse().map_err(|_| bad("the port is larger than 65535"))?;
        Ok(Address::new(host, port))
    }
}

/// Listens at `host` and `port`; 0 stands for any free port.
///
/// # Errors
///
/// [`RpcError::InUse`] or [`RpcError::CannotListen`], which name the address and what to do.
pub fn bind(host: &str, port: u16) -> Result<TcpListener, RpcError> {
    TcpListener::bind((host, port)).map_err(|source| {
        let address = Address::new(host, port);
        let advice = match source.kind() {
            io::ErrorKind::AddrInUse => return RpcError::InUse { address },
            io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose one above",
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => "check the host and the port",
        };
        RpcError::CannotListen { address, advice, source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["localhost:9090", "127.0.0.1:0", "[::1]:9090", "node-3.cluster:65535"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("[::1]:9".parse::<Address>().unwrap().host, "::1");
    }

    #[test]
    fn bad_addresses_say_why() {
        let cases = [
            ("localhost", "no port"),
            (":9090", "no host"),
            ("host:", "not a number"),
            ("host:+1", "not a number"),
            ("host:65536", "larger than 65535"),
            ("::1:9090", "brackets"),
            ("[::1:9090", "not closed"),
            ("[host]:9090", "not an IPv6"),
            ("a b:1", "characters"),
            ("http://host:1", "URL"),
            ("", "no port"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = bind("127.0.0.1", 0).unwrap();
        let port = first.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port).unwrap_err().to_string();
        assert!(error.starts_with(&format!("127.0.0.1:{port} is in use by another program")), "{error}");
        let error = bind("192.0.2.1", 0).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0") && error.contains("does not have"), "{error}");
    }
}
