//! Owns the client's side of inference: a job is submitted and watched, its output comes back.

use super::order::{Share, request};
use super::{ClientError, Leader};
use crate::jobs::inference::{InferenceOrder, Output};
use crate::rpc::{self, RpcError};
use crate::types::Digest;
use crate::wire::coordinator::{JobState, JobStatus, TCoordinatorSyncClient};
use std::time::Duration;

/// How long a `watch` waits at the coordinator, in milliseconds.
const WATCH_MS: i32 = 500;
/// How long its answer may take in all.
const WATCH_ANSWER: Duration = Duration::from_secs(2);

/// Has a coordinator take a job: a model of its store is asked about the files of its store that match a pattern. Answers
/// with the job's number as soon as it is durable.
///
/// # Errors
/// The coordinator cannot be reached, or refuses.
pub fn infer(
    leader: &mut Leader,
    order: &InferenceOrder,
    pattern: &str,
    share: Share,
    give_up_after: Option<Duration>,
) -> Result<String, ClientError> {
    let request = request(order, pattern, share, give_up_after)?;
    Ok(leader.call(&|| true, |client| client.call(|c| c.submit(request.clone())))?)
}

/// Watches a job until it ends, or `interrupted` says yes: then it goes on without us.
///
/// # Errors
/// There is no such job, or nobody leads; it failed or was cancelled; or it was interrupted.
pub fn await_end(
    leader: &mut Leader,
    job: &str,
    interrupted: &dyn Fn() -> bool,
    watcher: &mut dyn FnMut(&JobStatus),
) -> Result<JobStatus, ClientError> {
    let mut version = 0;
    loop {
        let status = leader.call(&|| !interrupted(), |client| {
            client.call_within(WATCH_ANSWER, |c| c.watch(job.to_owned(), version, 0, WATCH_MS))
        })?;
        version = status.version;
        watcher(&status);
        let job = || job.to_owned();
        match status.state {
            JobState::RUNNING if interrupted() => return Err(ClientError::Detached { job: job() }),
            JobState::RUNNING => {}
            JobState::DONE => return Ok(status),
            JobState::CANCELLED => return Err(ClientError::Cancelled { job: job(), by_us: false }),
            _ => return Err(ClientError::Failed { job: job(), reason: status.notice }),
        }
    }
}

/// The output of a job that is done.
///
/// # Errors
/// It is no inference job, or not done; its output is not there any more.
pub fn output(leader: &mut Leader, job: &str) -> Result<Output, ClientError> {
    let status = leader.call(&|| true, |client| client.call(|c| c.watch(job.to_owned(), 0, 0, 0)))?;
    if status.figures.is_none() {
        return Err(ClientError::Request(format!(
            "job {job} answers no queries; `roundtable jobs` tells which do"
        )));
    }
    match status.state {
        JobState::DONE => {}
        JobState::RUNNING => {
            let (done, of) = (status.tasks_done, status.tasks_total);
            let advice = "`roundtable watch` waits for its end";
            return Err(ClientError::Request(format!("job {job} has answered {done} of {of} queries; {advice}")));
        }
        JobState::CANCELLED => {
            let advice = "`roundtable resume` lets it go on";
            return Err(ClientError::Request(format!("job {job} was cancelled; {advice}")));
        }
        _ => return Err(ClientError::Failed { job: job.to_owned(), reason: status.notice }),
    }
    let digest = Digest::parse(&status.model_digest)
        .ok_or_else(|| ClientError::Request(format!("the output's digest is '{}'", status.model_digest)))?;
    let bytes = leader.call(&|| true, |client| rpc::get_blob(client, &digest)).map_err(|e| match e {
        RpcError::Remote { .. } => {
            ClientError::Request(format!("the output of job {job} is not there any more: {e}"))
        }
        other => other.into(),
    })?;
    Output::from_bytes(&bytes).map_err(|e| ClientError::Request(e.to_string()))
}
