//! Owns one connection of a server, from its first byte to its last: read a message, serve it, answer, repeat.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::protocol::{TMessageIdentifier, TMessageType, TOutputProtocol};
use thrift::server::TProcessor;
use thrift::transport::TBufferedWriteTransport;
use thrift::{ApplicationError, ApplicationErrorKind, TConfiguration};

use super::message::{Head, Message, Pieces, Progress};
use super::registry::Ticket;
use super::scan::{ScanError, read_message};
use super::{FREE_WEIGHT, Limits};

/// How long a peer's leftovers are read so that our last words reach it; a message's worth of bytes at most.
const LINGER_TIME: Duration = Duration::from_secs(1);

const NO_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks Apache Thrift (binary protocol, buffered transport), not HTTP.\n";

const HTTP_METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("it was closed by the peer")]
    Closed,
    #[error("it was silent for too long")]
    Silent,
    #[error("it speaks HTTP")]
    Http,
    #[error("its first byte was 0x{0:02x}, not 0x80 as in Thrift's binary protocol")]
    NotThrift(u8),
    #[error("of its message: {0}")]
    Message(#[from] ScanError),
    #[error("the arguments of its call were not those of the method")]
    Arguments,
    #[error("its answer could not be sent: {0}")]
    Answer(thrift::Error),
}

/// A socket read with a deadline.
pub(super) struct Timed {
    socket: Arc<TcpStream>,
    /// `None`: no limit.
    pub(super) deadline: Option<Instant>,
}

impl Timed {
    pub(super) fn new(socket: Arc<TcpStream>) -> Timed {
        Timed { socket, deadline: None }
    }
}

impl Read for Timed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(left)?;
            match (&*self.socket).read(out) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What a socket says when its time is up; the deadline decides.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

/// Sends an answer, and lets the registry know that the handler is done.
struct Answer<'a> {
    socket: &'a TcpStream,
    ticket: &'a Ticket,
}

impl Write for Answer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ticket.answer_begins();
        let mut socket = self.socket;
        socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Answers<'a> = TBinaryOutputProtocol<TBufferedWriteTransport<Answer<'a>>>;

/// One connection at work.
pub(super) struct Session<'a> {
    socket: &'a TcpStream,
    input: BufReader<Timed>,
    output: Answers<'a>,
    ticket: &'a Ticket,
    limits: &'a Limits,
}

impl<'a> Session<'a> {
    pub(super) fn new(socket: &'a Arc<TcpStream>, ticket: &'a Ticket, limits: &'a Limits) -> Session<'a> {
        let answer = TBufferedWriteTransport::with_capacity(FREE_WEIGHT, Answer { socket, ticket });
        Session {
            socket,
            input: BufReader::with_capacity(FREE_WEIGHT, Timed::new(Arc::clone(socket))),
            output: TBinaryOutputProtocol::new(answer, true),
            ticket,
            limits,
        }
    }

    /// Serves calls until there are no more, or one goes wrong.
    pub(super) fn run(&mut self, processor: &impl TProcessor) -> End {
        loop {
            if let Err(end) = self.serve_one(processor) {
                return end;
            }
        }
    }

    fn serve_one(&mut self, processor: &impl TProcessor) -> Result<(), End> {
        self.await_message()?;
        let mut head = Head::default();
        let mut message = match self.read_message(&mut head) {
            Ok(message) => message,
            Err(e) => {
                self.refuse(head, &e);
                return Err(e.into());
            }
        };
        if !self.ticket.call_begins() {
            return Err(ScanError::Displaced.into());
        }
        let config = protocol_config(self.limits, message.len());
        let mut decoder = TBinaryInputProtocol::with_config(&mut message, true, config);
        let result = processor.process(&mut decoder, &mut self.output);
        self.ticket.call_ends();
        result.map_err(End::Answer)?;
        match message.progress() {
            Progress::Whole | Progress::Header => Ok(()),
            Progress::Misread => {
                self.linger();
                Err(End::Arguments)
            }
        }
    }

    /// Waits for the first byte of a message, and looks at it.
    fn await_message(&mut self) -> Result<(), End> {
        self.input.get_mut().deadline = Instant::now().checked_add(self.limits.idle_time);
        let ready = match self.input.fill_buf() {
            Ok(ready) => ready,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(End::Silent),
            Err(_) => return Err(End::Closed),
        };
        match ready.first() {
            None => Err(End::Closed),
            Some(0x80) => Ok(()),
            Some(_) if is_http(ready) => {
                let mut socket = self.socket;
                if socket.write_all(NO_HTTP.as_bytes()).is_ok() {
                    self.linger();
                }
                Err(End::Http)
            }
            Some(&byte) => Err(End::NotThrift(byte)),
        }
    }

    fn read_message(&mut self, head: &mut Head) -> Result<Message, ScanError> {
        self.ticket.message_begins();
        self.input.get_mut().deadline = Instant::now().checked_add(self.limits.message_time);
        let ticket = self.ticket;
        let pieces = Pieces::new(ticket.pool());
        read_message(&mut self.input, self.limits, pieces, head, &mut |weight| ticket.hold(weight))
    }

    /// Tells a peer whose message will not be read why, if it may still be listening.
    fn refuse(&mut self, head: Head, error: &ScanError) {
        if matches!(error, ScanError::Io(_) | ScanError::Displaced) {
            return;
        }
        let reason = ApplicationError::new(ApplicationErrorKind::ProtocolError, error.to_string());
        let head = TMessageIdentifier::new(head.name, TMessageType::Exception, head.sequence);
        let sent = self.output.write_message_begin(&head);
        let sent =
            sent.and_then(|()| thrift::Error::write_application_error_to_out_protocol(&reason, &mut self.output));
        if sent.and_then(|()| self.output.flush()).is_ok() {
            self.linger();
        }
    }

    /// Ends our side and reads on a little: closing with bytes unread would take our last answer back.
    fn linger(&mut self) {
        let deadline = Instant::now() + LINGER_TIME;
        self.input.get_mut().deadline = Some(deadline);
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut left = self.limits.max_message;
        while left > 0 {
            let ready = match self.input.fill_buf() {
                Ok([]) | Err(_) => return,
                Ok(ready) => ready.len(),
            };
            self.input.consume(ready);
            left = left.saturating_sub(ready);
        }
    }
}

/// Thrift's own limits for decoding a message of `length` bytes that was read whole.
pub(super) fn protocol_config(limits: &Limits, length: usize) -> TConfiguration {
    let builder = TConfiguration::builder()
        .max_message_size(Some(limits.max_message))
        .max_frame_size(None)
        .max_recursion_depth(Some(limits.max_depth))
        .max_container_size(Some(limits.max_elements.min(length)))
        .max_string_size(Some(limits.max_string.min(length)));
    // Only a frame larger than a message is an error, and there are no frames.
    builder.build().unwrap_or_default()
}

fn is_http(start: &[u8]) -> bool {
    HTTP_METHODS.iter().any(|method| {
        let known = start.len().min(method.len());
        start[..known] == method[..known]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_known_by_its_method() {
        assert!(is_http(b"GET / HTTP/1.1\r\n"));
        assert!(is_http(b"P"));
        assert!(!is_http(b"GETTING"));
        assert!(!is_http(b"\x16\x03\x01"));
    }
}
