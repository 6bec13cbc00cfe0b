//! Owns the other end of a queue: messages are put into a stream, for coordinators to take.

use super::{END, QueueError, QueueUrl};
use async_nats::jetstream::context::{Context, PublishAckFuture};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use std::collections::VecDeque;
use tokio::runtime::Runtime;

/// Messages that were sent and are not known to be kept, at most.
const MOST_UNDER_WAY: usize = 256;

/// Puts messages into a stream, in order.
pub struct Publisher {
    runtime: Runtime,
    context: Context,
    url: QueueUrl,
    subject: String,
    /// Each message has a name of its own, so that one that is sent twice is kept once.
    session: String,
    sent: u64,
    under_way: VecDeque<PublishAckFuture>,
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
        let (context, subject) = runtime.block_on(async {
            let options = async_nats::ConnectOptions::new().name("roundtable feed");
            let client = options.connect(&url.server).await.map_err(|e| trouble(e.to_string()))?;
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
            Ok::<_, QueueError>((context, subject.ok_or_else(|| trouble(what.to_owned()))?))
        })?;
        let (url, session) = (url.clone(), session.to_owned());
        Ok(Self { runtime, context, url, subject, session, sent: 0, under_way: VecDeque::new() })
    }

    /// Puts rows, as CSV without a head; waits when too many messages are under way.
    ///
    /// # Errors
    /// The server does not keep a message.
    pub fn put(&mut self, rows: Vec<u8>) -> Result<(), QueueError> {
        self.send(PublishMessage::build().payload(rows.into()))
    }

    /// Says that there are no more, and waits until the server has all.
    ///
    /// # Errors
    /// The server does not keep a message.
    pub fn end(&mut self) -> Result<(), QueueError> {
        self.send(PublishMessage::build().header(END, "1"))?;
        self.wait_until(0)
    }

    /// How many messages the server has for certain.
    pub fn kept(&self) -> u64 {
        self.sent - self.under_way.len() as u64
    }

    fn send(&mut self, message: PublishMessage) -> Result<(), QueueError> {
        let message = message.message_id(format!("{}:{}", self.session, self.sent));
        let sent = self.runtime.block_on(self.context.send_publish(self.subject.clone(), message));
        self.under_way.push_back(sent.map_err(|e| self.trouble(e))?);
        self.sent += 1;
        self.wait_until(MOST_UNDER_WAY)
    }

    fn wait_until(&mut self, most: usize) -> Result<(), QueueError> {
        while self.under_way.len() > most {
            let Some(first) = self.under_way.pop_front() else { break };
            self.runtime.block_on(async { first.await }).map_err(|e| self.trouble(e))?;
        }
        Ok(())
    }

    fn trouble(&self, reason: impl ToString) -> QueueError {
        QueueError::Server { url: self.url.to_string(), reason: reason.to_string() }
    }
}
