//! Owns what is said to a node about one task: the task, the blobs that it lacks, its answer.

use super::{Assignment, NodeClient, Shared};
use crate::engine::Outcome;
use crate::jobs::{TaskInput, TaskOutput, TaskSpec};
use crate::rpc::{self, RpcError};
use crate::types::Digest;
use crate::wire::CHUNK;
use crate::wire::blobs::Blob;
use crate::wire::compute_node::{TComputeNodeSyncClient, Task, TaskAnswer, TaskOutcome};

/// How many of the blobs that were sent last are remembered as sent.
const REMEMBERED: usize = 64;

impl Shared {
    pub(super) fn run_task(&self, client: &mut NodeClient, assignment: &Assignment) -> Result<Outcome, RpcError> {
        let task = &assignment.task;
        // Blobs that have to be sent are asked for; a node that goes on asking for more than there are is broken.
        for _ in 0..=task.inputs.len() {
            let message = self.message(assignment);
            let answer = client.call(|c| c.run_task(message))?;
            match answer.outcome {
                TaskOutcome::DONE => return self.done(client, answer),
                TaskOutcome::REFUSED => return Ok(Outcome::Refused),
                TaskOutcome::FAILED => return Ok(Outcome::Impossible { reason: answer.reason }),
                TaskOutcome::MISSING => {
                    self.calls().sent.clear();
                    if let Some(outcome) = self.send_missing(client, task, &answer.missing)? {
                        return Ok(outcome);
                    }
                }
                TaskOutcome::DEPOSED => {
                    self.teller.outdated(format!("{}: {}", self.address, answer.reason));
                    return Ok(Outcome::Lost { reason: answer.reason });
                }
                TaskOutcome(other) => return Ok(nonsense(format!("its outcome is {other}"))),
            }
        }
        Ok(nonsense("it asks for the same blobs again and again".to_owned()))
    }

    /// The wire form; what the job made comes along, if the node was not sent it lately.
    fn message(&self, assignment: &Assignment) -> Task {
        let task = &assignment.task;
        let mut attached = Vec::new();
        let mut room = CHUNK;
        let mut calls = self.calls();
        for input in &task.inputs {
            let TaskInput::Made(blob) = input else { continue };
            if calls.sent.contains(&blob.digest()) || blob.bytes().len() > room {
                continue;
            }
            room -= blob.bytes().len();
            attached.push(Blob { digest: blob.digest().to_string(), bytes: blob.bytes().to_vec() });
            calls.sent.push_back(blob.digest());
            if calls.sent.len() > REMEMBERED {
                calls.sent.pop_front();
            }
        }
        Task {
            label: format!("job {} {}", assignment.job, task.id),
            kind: task.kind.to_owned(),
            parameters: task.parameters.clone(),
            inputs: task.inputs.iter().map(|input| input.digest().to_string()).collect(),
            scheduling_policy: self.policy,
            attached,
            cluster: self.fence.as_ref().map(|fence| fence.cluster.clone()),
            epoch: self.fence.as_ref().map(|fence| fence.epoch.0 as i64),
            coordinator: self.fence.as_ref().map(|fence| fence.coordinator.clone()),
            prefetch: assignment
                .next
                .as_ref()
                .map(|next| next.inputs.iter().map(|input| input.digest().to_string()).collect()),
        }
    }

    /// Puts the blobs that the node lacks; an outcome if that cannot be done.
    fn send_missing(
        &self,
        client: &mut NodeClient,
        task: &TaskSpec,
        missing: &[String],
    ) -> Result<Option<Outcome>, RpcError> {
        for text in missing {
            let Some(input) = task.inputs.iter().find(|input| input.digest().to_string() == *text) else {
                return Ok(Some(nonsense(format!("it asks for the blob '{text}', which is no input"))));
            };
            let blob = match input {
                TaskInput::Made(blob) => Some(blob.clone()),
                TaskInput::Shard { digest, .. } => match self.blobs.load(digest) {
                    Ok(blob) => blob,
                    Err(e) => return Ok(Some(Outcome::Impossible { reason: e.to_string() })),
                },
            };
            let Some(blob) = blob else {
                let reason = format!("{text} is no longer in the coordinator's store");
                return Ok(Some(Outcome::Impossible { reason }));
            };
            match rpc::put_blob(client, &blob.digest(), blob.bytes(), &mut |_| ()) {
                // It has no room, most likely; another may.
                Err(RpcError::Remote { reason, .. }) => return Ok(Some(Outcome::Impossible { reason })),
                other => other?,
            }
        }
        Ok(None)
    }

    fn done(&self, client: &mut NodeClient, answer: TaskAnswer) -> Result<Outcome, RpcError> {
        let bytes = if answer.output_digest.is_empty() {
            answer.output
        } else {
            let Some(digest) = Digest::parse(&answer.output_digest) else {
                return Ok(nonsense(format!("'{}' is no digest", answer.output_digest)));
            };
            rpc::get_blob(client, &digest)?
        };
        let busy_s = if answer.busy_s.0.is_finite() { answer.busy_s.0.max(0.0) } else { 0.0 };
        let output = TaskOutput { bytes, metrics: answer.metrics };
        Ok(Outcome::Done { output, busy_s, delayed: answer.delayed })
    }
}

fn nonsense(reason: String) -> Outcome {
    Outcome::Lost { reason: format!("nonsense: {reason}") }
}
