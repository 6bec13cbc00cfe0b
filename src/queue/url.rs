//! Owns how a queue is named.

use super::QueueError;
use std::fmt;
use std::str::FromStr;

/// A stream of a NATS server.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueUrl {
    /// The server as its client takes it, with whoever asks if that was given.
    pub(super) server: String,
    /// The stream.
    pub(super) stream: String,
}

impl QueueUrl {
    /// All of it, also who asks.
    pub fn to_url(&self) -> String {
        format!("{}/{}", self.server, self.stream)
    }
}

impl FromStr for QueueUrl {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        let bad = || QueueError::Url(without_secrets(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let (host, stream) = rest.split_once('/').ok_or_else(bad)?;
        let is_good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let is_named = !stream.is_empty() && stream.len() <= 200 && stream.chars().all(is_good);
        if !matches!(scheme, "nats" | "tls") || host.is_empty() || !is_named {
            return Err(bad());
        }
        let server = format!("{scheme}://{host}");
        async_nats::ServerAddr::from_str(&server).map_err(|_| bad())?;
        Ok(Self { server, stream: stream.to_owned() })
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_secrets(&format!("{}/{}", self.server, self.stream)))
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text without user and password, and not too long.
fn without_secrets(text: &str) -> String {
    let shown: String = text.chars().take(300).collect();
    match (shown.find("://"), shown.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://{}", &shown[..scheme], &shown[at + 1..]),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_a_stream() {
        let url: QueueUrl = "nats://127.0.0.1:4222/rows".parse().unwrap();
        assert_eq!((url.server.as_str(), url.stream.as_str()), ("nats://127.0.0.1:4222", "rows"));
        let secret: QueueUrl = "nats://user:word@host/rows-1_A".parse().unwrap();
        assert_eq!(secret.server, "nats://user:word@host");
        assert_eq!(format!("{secret} {secret:?}"), "nats://host/rows-1_A nats://host/rows-1_A");
        for bad in [
            "",
            "rows",
            "nats://host",
            "nats://host/",
            "nats:///rows",
            "http://host/rows",
            "nats://h/a.b",
            "nats://h/a b",
        ] {
            let says = bad.parse::<QueueUrl>().unwrap_err().to_string();
            assert!(says.contains("nats://host:4222/STREAM"), "{says}");
        }
        let says = "nats://user:word@host".parse::<QueueUrl>().unwrap_err().to_string();
        assert!(!says.contains("word"), "{says}");
    }
}
