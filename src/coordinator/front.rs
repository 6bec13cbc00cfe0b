//! Owns what a coordinator shows to other ways in than its own calls ([`Front`]): which jobs have models, and a way to say
//! something to a job. Nothing here waits in a thread: however many look, they are told.

use super::board::Board;
use super::seat::Seat;
use super::shell::{Desk, Tell};
use super::tally::TaskCounts;
use crate::data::shared::Blob;
use crate::engine::Headcount;
use crate::jobs::{Heard, StreamFigures, Version, Word};
use crate::ledger::{JobOrder, State};
use crate::model::Model;
use crate::types::JobId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long the event loop may take to take a word.
const ROOM: Duration = Duration::from_secs(5);
/// How often it is looked whether it has room.
const LOOK: Duration = Duration::from_millis(2);

/// What all who look are shown. It is the same for all, and does not change: there is a new one after each change.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// This coordinator leads: the jobs are here.
    pub leads: bool,
    /// It is stopping.
    pub stops: bool,
    /// The jobs, also those that have ended, as far as they are remembered.
    pub jobs: BTreeMap<JobId, Arc<ShownJob>>,
}

/// A job as all who look are shown it.
#[derive(Clone, Debug)]
pub struct ShownJob {
    /// What is wanted.
    pub order: Arc<JobOrder>,
    /// Whether it goes on.
    pub state: State,
    /// Whether changes of its model can come from outside.
    pub is_stream: bool,
    /// The versions of its model that can be had, ascending.
    pub versions: Vec<ShownVersion>,
}

/// A version of a model. All of it is durable.
#[derive(Clone, Debug)]
pub struct ShownVersion {
    /// Counts up.
    pub number: u64,
    /// The safetensors file.
    pub blob: Arc<Blob>,
    /// What is in it, if it is at hand.
    pub model: Option<Arc<Model>>,
}

impl PartialEq for ShownVersion {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && self.blob.digest() == other.blob.digest()
    }
}

impl From<&Version> for ShownVersion {
    fn from(version: &Version) -> Self {
        let Version { number, model, blob } = version.clone();
        Self { number, blob, model: Some(model) }
    }
}

impl ShownJob {
    /// Whether there is nothing new in `other`.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.state == other.state && self.is_stream == other.is_stream && self.versions == other.versions
    }

    /// Its newest version.
    pub fn newest(&self) -> Option<&ShownVersion> {
        self.versions.last()
    }

    /// Whether it goes on.
    pub fn is_at_work(&self) -> bool {
        self.state == State::Running
    }
}

/// Why a job was not told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unsaid {
    /// The job does not take it.
    #[error("{0}")]
    Refused(String),
    /// Another leads now, or the coordinator is stopping: whether the job has taken it is not known.
    #[error("another coordinator leads now")]
    Gone,
    /// The event loop has too much to do.
    #[error("the coordinator has more to do than it can")]
    Full,
}

/// What a scrape finds.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Jobs that are remembered.
    pub jobs: Vec<CountedJob>,
    /// Nodes.
    pub nodes: Headcount,
    /// Tasks.
    pub tasks: TaskCounts,
}

/// A job in a [`Census`].
#[derive(Clone, Debug)]
pub struct CountedJob {
    /// Its number.
    pub job: JobId,
    /// Whether it goes on.
    pub state: State,
    /// What it has done, if it learns from a stream.
    pub stream: Option<StreamFigures>,
}

/// The way to a coordinator for those who serve it otherwise.
#[derive(Clone)]
pub struct Front {
    pub(super) board: Arc<Board>,
    pub(super) seat: Arc<Seat>,
    pub(super) desk: Arc<Desk>,
}

impl Front {
    /// What is shown, now and after each change.
    pub fn shown(&self) -> watch::Receiver<Arc<Shown>> {
        self.board.shown()
    }

    /// Who leads, or did last, host:port; empty if nobody ever has.
    pub fn leader(&self) -> String {
        self.seat.leader().map(|leader| leader.address).unwrap_or_default()
    }

    /// What is common to all coordinators of this one's store.
    pub fn cluster(&self) -> String {
        self.seat.leader().map(|leader| leader.cluster).unwrap_or_default()
    }

    /// Says something to a job; answers when what follows from it is durable, or that there is no room for it now.
    ///
    /// # Errors
    /// The job does not take it, another leads, or the event loop has too much to do.
    pub async fn say(&self, job: JobId, word: Word) -> Result<Heard, Unsaid> {
        let (tell, told) = oneshot::channel();
        // Who asked may have gone.
        let tell: Tell = Box::new(move |heard| drop(tell.send(heard)));
        let mut message = Some((job, word, tell));
        self.when_there_is_room(|desk| {
            let (job, word, tell) = message.take()?;
            message = desk.try_say(job, word, tell).err();
            message.is_none().then_some(())
        })
        .await?;
        told.await.map_err(|_| Unsaid::Gone)?.map_err(Unsaid::Refused)
    }

    /// All numbers; fails if the event loop does not answer in time, which it always should.
    pub async fn census(&self, patience: Duration) -> Option<Census> {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let asked = async {
            self.when_there_is_room(|desk| {
                tell = desk.try_count(tell.take()?).err();
                tell.is_none().then_some(())
            })
            .await
            .ok()?;
            told.await.ok()
        };
        let nodes = tokio::time::timeout(patience, asked).await.ok()??;
        let jobs = self.board.list(|job, posted| {
            let status = posted.status.as_ref();
            let state = status.map_or(State::Running, |status| status.state.clone());
            CountedJob { job, state, stream: status.and_then(|status| status.stream) }
        });
        Some(Census { jobs, nodes, tasks: self.desk.tasks() })
    }

    /// Tries until it is done: senders to the event loop must not block here.
    async fn when_there_is_room(&self, mut attempt: impl FnMut(&Desk) -> Option<()>) -> Result<(), Unsaid> {
        let end = tokio::time::Instant::now() + ROOM;
        while attempt(&self.desk).is_none() {
            if tokio::time::Instant::now() >= end {
                return Err(Unsaid::Full);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
