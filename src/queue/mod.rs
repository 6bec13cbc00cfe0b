//! Owns queues of others that jobs take their rows from: streams of NATS JetStream, which any program can fill.
//!
//! A job whose source is a queue may name one, `nats://host:4222/STREAM`. As long as the job is at work here, the messages
//! of the stream become its rows. A message is the text of a CSV file without a head, the last column being the label (or
//! the value), as in the files that jobs are trained on: one row or thousands. A message with the header `Roundtable-End`
//! says that no more will come; its body does not matter.
//!
//! Each message counts once, whatever dies. The job keeps, with the rows, the number of the message that they came from,
//! and so knows which it has; messages are given to it in the order of the stream. One is acknowledged to NATS when as many
//! rows were learnt for good as had come up to it. What is no such text is told in the log, and put aside by NATS.

mod acks;
mod consume;
mod publish;
mod rows;
mod url;

use crate::coordinator::{Front, Shown, ShownJob};
use crate::types::JobId;
pub use publish::Publisher;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
pub use url::QueueUrl;

/// The header of the last message.
const END: &str = "Roundtable-End";

/// Why there are no queues, or one cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A thread or a timer cannot be had.
    #[error("cannot take rows from queues: {0}")]
    Start(#[from] std::io::Error),
    /// It is no URL of a queue.
    #[error("'{0}' names no queue; one is named as nats://host:4222/STREAM")]
    Url(String),
    /// The server does not answer, or refuses.
    #[error("the queue {url}: {reason}")]
    Server {
        /// Which.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// All queues that a coordinator's jobs take rows from, until it is dropped.
pub struct Queues {
    runtime: Option<Runtime>,
}

impl Queues {
    /// Begins to look for jobs with queues.
    ///
    /// # Errors
    /// A thread or a timer cannot be had.
    pub fn start(front: Front) -> Result<Self, QueueError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("queues")
            .enable_all()
            .build()?;
        runtime.spawn(follow(front));
        Ok(Self { runtime: Some(runtime) })
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What was given to a job and not acknowledged is known to the job.
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
    }
}

/// A queue of a job at work.
fn queue_of(job: &ShownJob) -> Option<String> {
    let parameters: serde_json::Value = serde_json::from_str(&job.order.parameters).ok()?;
    parameters.pointer("/source/queue/url")?.as_str().map(str::to_owned)
}

/// Has a consumer for each job at work that has a queue.
async fn follow(front: Front) {
    let mut shown: watch::Receiver<Arc<Shown>> = front.shown();
    let mut known: BTreeMap<JobId, Option<JoinHandle<()>>> = BTreeMap::new();
    loop {
        let now = shown.borrow_and_update().clone();
        let is_here = now.leads && !now.stops;
        known.retain(|job, task| {
            let stays = is_here && now.jobs.get(job).is_some_and(|job| job.is_at_work());
            // One that is over acknowledges what is left; one that is another's must not.
            if let Some(task) = task.as_ref().filter(|_| !is_here) {
                task.abort();
            }
            stays
        });
        for (&id, job) in now.jobs.iter().filter(|(_, job)| is_here && job.is_at_work()) {
            let begin = || {
                let url = queue_of(job)?;
                Some(tokio::spawn(consume::consume(front.clone(), id, job.order.clone(), url)))
            };
            known.entry(id).or_insert_with(begin);
        }
        if shown.changed().await.is_err() {
            return;
        }
    }
}
