//! Owns what a node answers on one connection.

use super::blobs::NodeBlobs;
use super::load::Fate;
use super::{Shared, drain, original};
use crate::data::shared::Blob;
use crate::gossip::{MemberCalls, answer_member_calls};
use crate::jobs::{self, TaskError, TaskOutput, Workbench};
use crate::policy;
use crate::priority;
use crate::rpc::{Address, Peer};
use crate::store::{BlobCalls, answer_blob_calls};
use crate::types::Digest;
use crate::wire::compute_node::{
    ComputeNodeSyncHandler, ComputeNodeSyncProcessor, HeldBlob, NodeHello, Task, TaskAnswer, TaskOutcome,
    TrainResult, Weights,
};
use crate::wire::{CHUNK, PROTOCOL, convert};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thrift::OrderedFloat;

/// How many blobs that came along with tasks are kept; if one is wanted again the coordinator is told that it is missing.
const ATTACHED: usize = 16;

/// The most sources that a blob may be fetched from.
const MOST_SOURCES: usize = 256;

/// How many blobs are fetched ahead for one task.
const MOST_AHEAD: usize = 4096;

/// How often a delayed task looks whether its sender is still there.
const LOOK: Duration = Duration::from_millis(10);

/// One connection.
pub(super) struct Calls {
    shared: Arc<Shared>,
    blobs: NodeBlobs,
    members: MemberCalls,
    peer: Peer,
    /// An output that is too large for an answer, until the next task: the caller fetches it meanwhile.
    output: Arc<Mutex<Option<Arc<Blob>>>>,
}

pub(super) fn processor(shared: &Arc<Shared>, peer: Peer) -> ComputeNodeSyncProcessor<Calls> {
    let output: Arc<Mutex<Option<Arc<Blob>>>> = Arc::default();
    let held = output.clone();
    let drain = shared.clone();
    let blobs = BlobCalls::new(shared.blobs.clone()).or_from(move |digest| {
        drain.drain.touch();
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|blob| blob.digest() == *digest)
    });
    ComputeNodeSyncProcessor::new(Calls {
        shared: shared.clone(),
        blobs: NodeBlobs::new(blobs, shared.clone()),
        members: MemberCalls::new(shared.gossip.clone(), shared.clone()),
        peer,
        output,
    })
}

answer_blob_calls!(Calls, blobs);
answer_member_calls!(Calls, members);

impl ComputeNodeSyncHandler for Calls {
    fn handle_train_with_weights(
        &self,
        training_file: String,
        initial_weights: Weights,
        // The original node uses its own load probability, and so do we.
        _load_probability: OrderedFloat<f64>,
        k: i32,
        h: i32,
        eta: OrderedFloat<f64>,
        epochs: i32,
        scheduling_policy: i32,
    ) -> thrift::Result<TrainResult> {
        let Some(_working) = self.shared.drain.enter() else { return Ok(original::refusal()) };
        let request = original::Request { training_file, initial_weights, k, h, eta: eta.0, epochs };
        if self.arrive(scheduling_policy).is_none() {
            return Ok(original::refusal());
        }
        let Some(slot) = self.shared.slots.take(&|| self.wanted()) else { return Ok(original::refusal()) };
        let (shared, peer) = (self.shared.clone(), self.peer.clone());
        let train = move || {
            priority::give_way(shared.config.nice);
            original::train(&shared.config.data_dir, &request, &|| !peer.is_gone())
        };
        slot.run(train).unwrap_or_else(|| Ok(original::refusal()))
    }

    fn handle_hello(&self, _protocol: i32) -> thrift::Result<NodeHello> {
        Ok(NodeHello {
            protocol: PROTOCOL,
            software: concat!("roundtable ", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: self.shared.instance.clone(),
            slots: self.shared.config.slots.min(i32::MAX as usize) as i32,
        })
    }

    fn handle_run_task(&self, task: Task) -> thrift::Result<TaskAnswer> {
        let label = task.label.clone();
        let answer = match self.shared.epochs.obey(&task) {
            Ok(()) => self.run_task(task),
            Err(reason) => TaskAnswer { reason, ..answer(TaskOutcome::DEPOSED) },
        };
        log::debug!("{label} for {}: {:?} {}", self.peer.address(), answer.outcome, answer.reason);
        Ok(answer)
    }

    fn handle_hold_blob(&self, digest: String, size: i64, sources: Vec<String>) -> thrift::Result<()> {
        let digest = parse_digest(&digest)?;
        let size =
            u64::try_from(size).map_err(|_| convert::rejected(format!("a blob cannot have {size} bytes")))?;
        if sources.len() > MOST_SOURCES {
            return Err(convert::rejected(format!("{} sources; at most {MOST_SOURCES}", sources.len())));
        }
        let sources = sources.iter().map(|source| source.parse()).collect::<Result<Vec<Address>, _>>();
        let sources = sources.map_err(convert::rejected)?;
        self.shared.holdings.hold(digest, size, &sources, &|| self.wanted()).map_err(convert::rejected)
    }

    fn handle_release_blob(&self, digest: String) -> thrift::Result<()> {
        self.shared.holdings.release(&parse_digest(&digest)?).map_err(convert::rejected)
    }

    fn handle_held_blobs(&self, after: String, limit: i32) -> thrift::Result<Vec<HeldBlob>> {
        let after = if after.is_empty() { None } else { Some(parse_digest(&after)?) };
        let held = self.shared.holdings.list(after, usize::try_from(limit).unwrap_or(0));
        let held = held.map_err(convert::rejected)?;
        let blob = |(digest, size): (Digest, u64)| HeldBlob { digest: digest.to_string(), size: size as i64 };
        Ok(held.into_iter().map(blob).collect())
    }
}

fn parse_digest(text: &str) -> thrift::Result<Digest> {
    let shown: String = text.chars().take(80).collect();
    Digest::parse(text)
        .ok_or_else(|| convert::rejected(format!("'{shown}' is no SHA-256 in 64 hexadecimal digits")))
}

impl Calls {
    /// Whether the caller still waits.
    fn wanted(&self) -> bool {
        !self.peer.is_gone()
    }

    /// Lets the simulated load do its part: whether the task was delayed, or `None` if it is refused.
    fn arrive(&self, scheduling_policy: i32) -> Option<bool> {
        match self.shared.load.next(policy::nodes_may_refuse(scheduling_policy)) {
            Fate::Start => Some(false),
            Fate::Refuse => None,
            Fate::Delay(delay) => {
                self.sleep(delay);
                Some(true)
            }
        }
    }

    /// A machine that is simulated to be slow takes longer than these; answers with how long.
    fn lag(&self, busy: Duration) -> Duration {
        let more = busy.as_secs_f64() * (self.shared.config.slowdown - 1.0);
        let more = Duration::try_from_secs_f64(more).unwrap_or_default();
        self.sleep(more);
        busy.saturating_add(more)
    }

    /// Sleeps as long as the caller waits.
    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while self.wanted() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn run_task(&self, task: Task) -> TaskAnswer {
        let Some(_working) = self.shared.drain.enter() else {
            return TaskAnswer { reason: drain::REASON.to_owned(), ..answer(TaskOutcome::REFUSED) };
        };
        let Some(kind) = jobs::find(&task.kind) else {
            return failed(format!("this node does not know tasks of kind '{}'", task.kind));
        };
        for attached in task.attached {
            if let Err(e) = self.keep_attached(&attached.digest, attached.bytes) {
                return failed(e);
            }
        }
        let inputs = match self.inputs(&task.inputs) {
            Ok(inputs) => inputs,
            Err(answer) => return *answer,
        };
        if let (Some(digests), Some(coordinator)) = (&task.prefetch, &task.coordinator)
            && let Ok(coordinator) = coordinator.parse()
        {
            let next = digests.iter().take(MOST_AHEAD).filter_map(|text| Digest::parse(text));
            let next = next.filter(|digest| !self.shared.holdings.has(digest)).collect();
            self.shared.prefetch.wish(next, coordinator);
        }
        let Some(delayed) = self.arrive(task.scheduling_policy) else {
            return TaskAnswer { reason: "simulated load".to_owned(), ..answer(TaskOutcome::REFUSED) };
        };
        let Some(slot) = self.shared.slots.take(&|| self.wanted()) else {
            return failed(TaskError::Abandoned.to_string());
        };
        let (shared, peer) = (self.shared.clone(), self.peer.clone());
        let run = move || {
            priority::give_way(shared.config.nice);
            let start = Instant::now();
            let workbench = Workbench {
                keep_going: &|| !peer.is_gone(),
                clock: &|| start.elapsed().as_secs_f64(),
                node: &shared.gossip.me().address.to_string(),
                models: &shared.models,
                stocks: Some(&shared.stocks),
                changes: Some(&shared.changes),
            };
            let result = (kind.run)(&task.parameters, &inputs, &workbench);
            (result, start.elapsed())
        };
        let Some((result, busy)) = slot.run(run) else { return failed("its slot has no thread".to_owned()) };
        let busy = self.lag(busy);
        drop(slot);
        match result {
            Ok(output) => self.done(output, busy, delayed),
            Err(e) => failed(e.to_string()),
        }
    }

    fn keep_attached(&self, digest: &str, bytes: Vec<u8>) -> Result<(), String> {
        let blob = self.shared.store.put(bytes).map_err(|e| e.to_string())?;
        if Digest::parse(digest) != Some(blob.digest()) {
            return Err(format!("an attached blob is {}, not '{digest}' as announced", blob.digest()));
        }
        let mut attached = self.shared.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.retain(|known| *known != blob.digest());
        attached.push_back(blob.digest());
        if attached.len() > ATTACHED
            && let Some(oldest) = attached.pop_front()
            && !self.shared.store.forget(&oldest)
        {
            attached.push_back(oldest);
        }
        Ok(())
    }

    fn inputs(&self, digests: &[String]) -> Result<Vec<Arc<Blob>>, Box<TaskAnswer>> {
        let mut found = Vec::with_capacity(digests.len());
        let mut missing = Vec::new();
        for text in digests {
            let digest = Digest::parse(text).ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                Box::new(failed(format!("'{shown}' is no SHA-256 in 64 hexadecimal digits")))
            })?;
            match self.shared.find(&digest) {
                Some(blob) => found.push(blob),
                None => missing.push(text.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        Err(Box::new(TaskAnswer { missing, ..answer(TaskOutcome::MISSING) }))
    }

    fn done(&self, output: TaskOutput, busy: Duration, delayed: bool) -> TaskAnswer {
        let mut done = TaskAnswer {
            metrics: output.metrics,
            busy_s: OrderedFloat(busy.as_secs_f64()),
            delayed,
            ..answer(TaskOutcome::DONE)
        };
        if output.bytes.len() > CHUNK {
            let blob = Arc::new(Blob::new(output.bytes));
            done.output_digest = blob.digest().to_string();
            *self.output.lock().unwrap_or_else(PoisonError::into_inner) = Some(blob);
        } else {
            done.output = output.bytes;
        }
        done
    }
}

fn answer(outcome: TaskOutcome) -> TaskAnswer {
    TaskAnswer {
        outcome,
        output: Vec::new(),
        output_digest: String::new(),
        metrics: "{}".to_owned(),
        busy_s: OrderedFloat(0.0),
        delayed: false,
        missing: Vec::new(),
        reason: String::new(),
    }
}

fn failed(reason: String) -> TaskAnswer {
    TaskAnswer { reason, ..answer(TaskOutcome::FAILED) }
}
