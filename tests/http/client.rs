//! Owns an HTTP client for tests: one request, one connection, every byte of the answer.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// By names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("it is text")
    }

    /// A refusal: it must say what was wrong and what to do.
    pub fn error(&self) -> String {
        let json = self.json();
        assert!(!json["advice"].as_str().unwrap_or_else(|| panic!("no advice: {json}")).is_empty());
        json["error"].as_str().unwrap_or_else(|| panic!("no error: {json}")).to_owned()
    }
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], b"")
}

pub fn post(address: SocketAddr, path: &str, json: &serde_json::Value) -> Answer {
    ask(address, "POST", path, &[("Content-Type", "application/json")], json.to_string().as_bytes())
}

/// Sends a request and waits for the answer.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    read(send(address, method, path, headers, body), method)
}

/// Sends a request.
pub fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    text += &format!("Content-Length: {}\r\n\r\n", body.len());
    // One that is refused may hang up before it has all.
    let _ = stream.write_all(&[text.as_bytes(), body].concat());
    stream
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream
}

/// Reads an answer up to the end of the connection.
pub fn read(mut stream: TcpStream, method: &str) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&bytes)));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("the head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let told = headers.get("content-length").map(|told| told.parse::<usize>().expect("a number"));
    if method != "HEAD" {
        assert_eq!(told.unwrap_or(0), body.len(), "{head}");
    }
    Answer { status: status.expect("a status"), headers, body }
}
