//! Owns the way of messages from a stream to a job.

use super::acks::Acks;
use super::rows::{Reader, Rows};
use super::url::QueueUrl;
use super::{END, QueueError};
use crate::coordinator::{Front, Unsaid};
use crate::data::shared::Blob;
use crate::jobs::{Heard, Word};
use crate::ledger::{JobOrder, State};
use crate::types::JobId;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RetentionPolicy, Stream};
use async_nats::jetstream::{self, AckKind, Message};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long to wait before a queue is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Messages that are given to the job together, at most.
const MOST_TOGETHER: usize = 256;
/// Bytes of them, as far as the last ones tell.
const MOST_BYTES: usize = 1 << 20;
/// How long to wait for more messages to go with the first, and how often it is looked what is learnt.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait when the job has no room.
const NO_ROOM: Duration = Duration::from_millis(50);
/// How long a job's last messages are tried to be acknowledged when it is over.
const TO_FINISH: Duration = Duration::from_secs(60);
/// When NATS gives a message again that was not acknowledged. It need not be soon: nothing is lost here.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Messages that the job has and that are not acknowledged, at most.
const MOST_UNACKNOWLEDGED: i64 = 65_536;

/// Takes messages for a job until it is over. What goes wrong with NATS is told and tried again.
pub(super) async fn consume(front: Front, job: JobId, order: Arc<JobOrder>, url: String) {
    let url: QueueUrl = match url.parse() {
        Ok(url) => url,
        Err(e) => return log::error!("job {job}: {e}"),
    };
    let reader = match Reader::of(&order) {
        Ok(reader) => reader,
        Err(reason) => return log::error!("job {job}: the queue {url}: {reason}"),
    };
    let (mut pause, mut last, mut taken, mut ended) = (FIRST_PAUSE, String::new(), 0, None);
    loop {
        let mut intake = Intake {
            feeder: format!("nats:{}", url.stream),
            front: front.clone(),
            job,
            url: url.clone(),
            reader: &reader,
            acks: Acks::default(),
            newest: 0,
            taken: &mut taken,
            poll: None,
            catches_up: true,
        };
        match intake.run().await {
            Ok(()) => return log::info!("job {job}: the queue {url} is done with"),
            Err(Trouble::Over) => return,
            Err(Trouble::Queue(e)) => {
                let said = e.to_string();
                if said != last {
                    log::warn!("job {job}: {said}; trying again");
                    last = said;
                    pause = FIRST_PAUSE;
                }
            }
        }
        let is_done = !is_at_work(&front, job);
        if is_done && *ended.get_or_insert_with(Instant::now) + TO_FINISH < Instant::now() {
            return log::warn!("job {job}: it has all of {url}, but could not acknowledge all of it");
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Why messages are taken no more.
enum Trouble {
    /// The job is not at work here any more.
    Over,
    /// Something with the queue.
    Queue(QueueError),
}

/// A stream on its way to a job, from one connection to its end.
struct Intake<'r> {
    front: Front,
    job: JobId,
    url: QueueUrl,
    feeder: String,
    reader: &'r Reader,
    acks: Acks<Message>,
    /// The number of the last message that came by this connection.
    newest: u64,
    /// The number of the last that the job is known to have.
    taken: &'r mut u64,
    /// What the job has, to ask it how far it is.
    poll: Option<(u64, Arc<Blob>)>,
    /// It may have messages that come again: each goes alone until one is new to it.
    catches_up: bool,
}

impl Intake<'_> {
    async fn run(&mut self) -> Result<(), Trouble> {
        let client = async_nats::ConnectOptions::new().name("roundtable coordinator");
        let client = client.connect(&self.url.server).await.map_err(|e| self.trouble(e))?;
        let stream = jetstream::new(client).get_stream(&self.url.stream).await;
        let stream = stream.map_err(|e| self.trouble(format!("{e}; is there such a stream?")))?;
        let consumer = self.begin(&stream).await?;
        log::info!("job {}: takes rows from {}", self.job, self.url);
        let (mut deliveries, mut together) = (0, 1);
        loop {
            if !is_at_work(&self.front, self.job) {
                return self.finish(&stream, &consumer).await;
            }
            let batch = consumer.batch().max_messages(together).expires(GATHER);
            let mut batch = batch.messages().await.map_err(|e| self.trouble(e))?;
            let mut messages = Vec::new();
            while let Some(message) = batch.next().await {
                let message = message.map_err(|e| self.trouble(e))?;
                let info = message.info().map_err(|e| self.trouble(e))?;
                let (number, delivery) = (info.stream_sequence, info.consumer_sequence);
                deliveries += 1;
                if delivery != deliveries {
                    // One was lost on its way. It would come again behind others, and look as if the job had it.
                    return Err(self.trouble("a message was lost on its way: beginning again behind the last"));
                }
                if number > self.newest {
                    self.newest = number;
                    messages.push((number, message));
                } else {
                    // It waits to be acknowledged, or its acknowledgement was lost.
                    self.acks.again(message);
                }
            }
            let bytes: usize = messages.iter().map(|(_, message)| message.payload.len()).sum();
            if let Some(mean) = bytes.checked_div(messages.len()) {
                together = (MOST_BYTES / mean.max(1)).clamp(1, MOST_TOGETHER);
            }
            self.give(messages).await?;
            self.look().await?;
        }
    }

    /// A consumer that begins with the first message that is not acknowledged, and gives all from there in order.
    async fn begin(&self, stream: &Stream) -> Result<Consumer<pull::Config>, Trouble> {
        let cluster: String = self.front.cluster().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        let name = format!("roundtable-{cluster}-{}", self.job);
        let retention = stream.cached_info().config.retention;
        if retention == RetentionPolicy::Interest {
            let what =
                "the stream keeps messages only while somebody listens; give it the retention workqueue or limits";
            return Err(self.trouble(what));
        }
        // What the last consumer had given, and nobody acknowledged, would come late and out of order.
        let floor = match stream.get_consumer::<pull::Config>(&name).await {
            Ok(old) => old.cached_info().ack_floor.stream_sequence,
            Err(_) => 0,
        };
        if stream.delete_consumer(&name).await.is_err() {
            log::debug!("job {}: {} has no consumer {name} yet", self.job, self.url);
        }
        let deliver_policy = match retention {
            RetentionPolicy::Limits if floor > 0 => DeliverPolicy::ByStartSequence { start_sequence: floor + 1 },
            _ => DeliverPolicy::All,
        };
        let config = pull::Config {
            durable_name: Some(name),
            description: Some(format!("job {} of a roundtable coordinator", self.job)),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: AGAIN_AFTER,
            max_ack_pending: MOST_UNACKNOWLEDGED,
            ..pull::Config::default()
        };
        stream.create_consumer(config).await.map_err(|e| self.trouble(e))
    }

    /// Gives messages to the job, those that may be together so.
    async fn give(&mut self, messages: Vec<(u64, Message)>) -> Result<(), Trouble> {
        let mut together: Vec<(u64, Message)> = Vec::new();
        for (number, message) in messages {
            let is_last = message.headers.as_ref().is_some_and(|headers| headers.get(END).is_some());
            if is_last {
                self.give_some(std::mem::take(&mut together)).await?;
                self.say(Word::FeedEnd { feeder: self.feeder.clone() }).await?;
                *self.taken = number.max(*self.taken);
                self.acknowledge(vec![message]).await?;
                continue;
            }
            together.push((number, message));
            if self.catches_up {
                self.give_some(std::mem::take(&mut together)).await?;
            }
        }
        self.give_some(together).await
    }

    async fn give_some(&mut self, messages: Vec<(u64, Message)>) -> Result<(), Trouble> {
        if messages.is_empty() {
            return Ok(());
        }
        match self.reader.read(messages.iter().map(|(_, message)| message.payload.as_ref())) {
            Ok(rows) => self.feed(messages, rows).await,
            Err(_) if messages.len() > 1 => {
                // One of them is at fault.
                for (number, message) in messages {
                    Box::pin(self.give_some(vec![(number, message)])).await?;
                }
                Ok(())
            }
            Err(reason) => {
                for (number, message) in messages {
                    log::warn!("job {}: message {number} of {} is put aside: {reason}", self.job, self.url);
                    message.double_ack_with(AckKind::Term).await.map_err(|e| self.trouble(e))?;
                }
                Ok(())
            }
        }
    }

    async fn feed(&mut self, messages: Vec<(u64, Message)>, rows: Rows) -> Result<(), Trouble> {
        let Some(number) = messages.last().map(|(number, _)| *number) else { return Ok(()) };
        let word = self.word(number, rows.blob.clone());
        let heard = self.say(word).await?;
        // If it knew a later one, this was there before; if this is its last, all that follow are new.
        let is_last = heard.next <= number + 1;
        self.catches_up &= !is_last;
        let new = if is_last { rows.count } else { 0 };
        self.poll = Some((number, rows.blob));
        *self.taken = number.max(*self.taken);
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        let done = self.acks.taken(messages, new, &heard);
        self.acknowledge(done).await
    }

    fn word(&self, number: u64, rows: Arc<Blob>) -> Word {
        Word::Feed { feeder: self.feeder.clone(), number, may_skip: true, rows }
    }

    /// Says something until there is room for it.
    async fn say(&self, word: Word) -> Result<Heard, Trouble> {
        loop {
            match self.front.say(self.job, word.clone()).await {
                Ok(heard) if heard.is_taken => return Ok(heard),
                Ok(_) | Err(Unsaid::Full) => sleep(NO_ROOM).await,
                Err(Unsaid::Refused(reason)) if is_at_work(&self.front, self.job) => {
                    return Err(self.trouble(reason));
                }
                Err(Unsaid::Refused(_) | Unsaid::Gone) => return Err(Trouble::Over),
            }
        }
    }

    /// Asks how far the job is, and acknowledges what it is done with.
    async fn look(&mut self) -> Result<(), Trouble> {
        let Some((number, rows)) = self.poll.clone().filter(|_| self.acks.are_pending()) else { return Ok(()) };
        match self.say(self.word(number, rows)).await {
            Ok(heard) => {
                let done = self.acks.heard(&heard);
                self.acknowledge(done).await
            }
            // It has just ended: the next look tells how.
            Err(Trouble::Over) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Says that messages are done with, and hears that the server knows.
    async fn acknowledge(&self, messages: Vec<Message>) -> Result<(), Trouble> {
        for some in messages.chunks(MOST_TOGETHER) {
            let all = join_all(some.iter().map(Message::double_ack)).await;
            all.into_iter().find_map(Result::err).map_or(Ok(()), |e| Err(self.trouble(e)))?;
        }
        Ok(())
    }

    /// The job is over. If it has its result, all that it took was learnt.
    async fn finish(&mut self, stream: &Stream, consumer: &Consumer<pull::Config>) -> Result<(), Trouble> {
        let shown = self.front.shown().borrow().clone();
        let state = shown.jobs.get(&self.job).filter(|_| shown.leads).map(|job| &job.state);
        if !matches!(state, Some(State::Done { .. })) {
            return Err(Trouble::Over);
        }
        let pending = self.acks.all();
        self.acknowledge(pending).await?;
        // Those whose acknowledgement was lost with a connection come again by the next.
        loop {
            let left = consumer.fetch().max_messages(MOST_TOGETHER).messages().await;
            let mut left = left.map_err(|e| self.trouble(e))?;
            let mut taken = Vec::new();
            while let Some(message) = left.next().await {
                let message = message.map_err(|e| self.trouble(e))?;
                let number = message.info().map_err(|e| self.trouble(e))?.stream_sequence;
                if number <= *self.taken {
                    taken.push(message);
                }
            }
            if taken.is_empty() {
                break;
            }
            self.acknowledge(taken).await?;
        }
        // A server that was killed may have its messages again, but a consumer for which they are acknowledged.
        let info = stream.get_info().await.map_err(|e| self.trouble(e))?;
        let is_back = info.state.messages > 0 && info.state.first_sequence <= *self.taken;
        if is_back && info.config.retention == RetentionPolicy::WorkQueue {
            return Err(self.trouble("messages that were acknowledged are there again: acknowledging them again"));
        }
        Ok(())
    }

    fn trouble(&self, reason: impl ToString) -> Trouble {
        Trouble::Queue(QueueError::Server { url: self.url.to_string(), reason: reason.to_string() })
    }
}

/// Whether a job goes on, and here.
fn is_at_work(front: &Front, job: JobId) -> bool {
    let shown = front.shown().borrow().clone();
    shown.leads && shown.jobs.get(&job).is_some_and(|job| job.is_at_work())
}
