//! Owns the other end of a queue: messages are put into a stream, for coordinators to take.

use super::{END, QueueError, QueueUrl};
use async_nats::jetstream::context::{Context, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Messages that were sent and are not known to be kept, at most.
const MOST_UNDER_WAY: usize = 256;

/// How long a message is sent again and again before that is an error, and how long each time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a message, at most, unless one line has more.
const LARGEST: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(500);

/// A message that is under way.
struct Sent {
    name: String,
    payload: Bytes,
    is_end: bool,
    kept: Option<PublishAckFuture>,
}

/// Puts messages into a stream.
pub struct Publisher {
    runtime: Runtime,
    context: Context,
    url: QueueUrl,
    subject: String,
    /// Each message has a name of its own, so that one that is sent twice is kept once.
    session: String,
    sent: u64,
    under_way: VecDeque<Sent>,
    /// Of a message.
    most_bytes: usize,
}

impl Publisher {
    /// Connects. A stream that is not there is made: kept in files, each message until it is acknowledged. `session` names
    /// this run: a message of the same session and place is kept once, if it comes again within minutes.
    ///
    /// # Errors
    /// The server does not answer, or the stream cannot be used.
    pub fn connect(url: &QueueUrl, session: &str) -> Result<Self, QueueError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let trouble = |reason: String| QueueError::Server { url: url.to_string(), reason };
        let (context, subject, most) = runtime.block_on(async {
            let options = async_nats::ConnectOptions::new().name("roundtable feed");
            let client = options.connect(&url.server).await.map_err(|e| trouble(e.to_string()))?;
            let most = client.server_info().max_payload;
            let context = async_nats::jetstream::new(client);
            let config = Config {
                name: url.stream.clone(),
                subjects: vec![url.stream.clone()],
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                ..Config::default()
            };
            let stream = context.get_or_create_stream(config).await.map_err(|e| trouble(e.to_string()))?;
            let subjects = &stream.cached_info().config.subjects;
            let subject = subjects.iter().find(|subject| !subject.contains(['*', '>'])).cloned();
            let what = "it has no subject without wildcards to publish to";
            Ok::<_, QueueError>((context, subject.ok_or_else(|| trouble(what.to_owned()))?, most))
        })?;
        let (url, session) = (url.clone(), session.to_owned());
        // The head counts, too.
        let most_bytes = most.saturating_sub(4096).clamp(1024, LARGEST);
        Ok(Self { runtime, context, url, subject, session, sent: 0, under_way: VecDeque::new(), most_bytes })
    }

    /// Puts rows, as CSV without a head, in as many messages as the server's limit makes of them; waits when too many are
    /// under way.
    ///
    /// # Errors
    /// The server does not keep a message.
    pub fn put(&mut self, rows: Vec<u8>) -> Result<(), QueueError> {
        let mut rows = Bytes::from(rows);
        while !rows.is_empty() {
            let most = rows.len().min(self.most_bytes);
            let cut = match rows.len() > most {
                true => rows[..most].iter().rposition(|&byte| byte == b'\n').map_or(rows.len(), |end| end + 1),
                false => most,
            };
            self.send(rows.split_to(cut), false)?;
        }
        Ok(())
    }

    /// Says that there are no more, and waits until the server has all.
    ///
    /// # Errors
    /// The server does not keep a message.
    pub fn end(&mut self) -> Result<(), QueueError> {
        self.flush()?;
        self.send(Bytes::new(), true)?;
        self.flush()
    }

    /// Waits until the server has all.
    ///
    /// # Errors
    /// The server does not keep a message.
    pub fn flush(&mut self) -> Result<(), QueueError> {
        self.wait_until(0)
    }

    /// How many messages the server has for certain.
    pub fn kept(&self) -> u64 {
        self.sent - self.under_way.len() as u64
    }

    fn send(&mut self, payload: Bytes, is_end: bool) -> Result<(), QueueError> {
        let mut sent = Sent { name: format!("{}:{}", self.session, self.sent), payload, is_end, kept: None };
        // If that fails it is sent again when it is looked for.
        sent.kept = self.publish(&sent).ok();
        self.under_way.push_back(sent);
        self.sent += 1;
        self.wait_until(MOST_UNDER_WAY)
    }

    fn publish(&self, sent: &Sent) -> Result<PublishAckFuture, String> {
        let mut message = PublishMessage::build().payload(sent.payload.clone()).message_id(&sent.name);
        if sent.is_end {
            message = message.header(END, "1");
        }
        let sent = self.runtime.block_on(self.context.send_publish(self.subject.clone(), message));
        sent.map_err(|e| e.to_string())
    }

    fn wait_until(&mut self, most: usize) -> Result<(), QueueError> {
        while self.under_way.len() > most {
            let Some(mut first) = self.under_way.pop_front() else { break };
            let begin = Instant::now();
            loop {
                let kept = match first.kept.take() {
                    Some(kept) => self.runtime.block_on(async { kept.await }).map_err(|e| e.to_string()),
                    None => Err("it was not sent".to_owned()),
                };
                let Err(reason) = kept else { break };
                if begin.elapsed() > PATIENCE {
                    return Err(self.trouble(reason));
                }
                std::thread::sleep(PAUSE);
                first.kept = self.publish(&first).ok();
            }
        }
        Ok(())
    }

    fn trouble(&self, reason: impl ToString) -> QueueError {
        QueueError::Server { url: self.url.to_string(), reason: reason.to_string() }
    }
}
