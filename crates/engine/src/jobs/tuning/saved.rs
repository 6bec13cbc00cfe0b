//! Owns what is kept of a tuning job: the results in the order in which they came. All else follows from them again.

use super::course::Done;
use super::{Refit, TuningJob};
use crate::data::shared::Blob;
use crate::jobs::{Corpus, Effect, JobError, Saved};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Kept {
    time_is_up: bool,
}

/// In a blob of its own.
#[derive(Serialize, Deserialize)]
struct Results {
    nodes: Vec<String>,
    log: Vec<Done>,
}

pub(super) fn save(job: &TuningJob) -> Saved {
    // Numbers and names can be written.
    let json = serde_json::to_string(&Kept { time_is_up: job.time_is_up }).unwrap_or_default();
    let results = Results { nodes: job.courses.nodes.clone(), log: job.courses.log.clone() };
    let results = serde_json::to_vec(&results).unwrap_or_default();
    Saved { json, blobs: vec![Arc::new(Blob::new(results))] }
}

impl TuningJob {
    /// The job as it was when it was saved.
    pub(super) fn resume(parameters: &str, corpus: Corpus, saved: &Saved) -> Result<Self, JobError> {
        let mut job = Self::start(parameters, corpus)?;
        let Kept { time_is_up } = serde_json::from_str(&saved.json).map_err(wrong)?;
        let [blob] = saved.blobs.as_slice() else {
            return Err(wrong(format!("there are {} blobs, not one", saved.blobs.len())));
        };
        let Results { nodes, log } = serde_json::from_slice(blob.bytes()).map_err(wrong)?;
        job.courses.nodes = nodes;
        for done in log {
            if done.node as usize >= job.courses.nodes.len() {
                return Err(wrong(format!("node {} is not in the list", done.node)));
            }
            while !job.courses.has_begun(done.step.trial) && job.begin_next() {}
            // A fold of a trial that had failed is at work nowhere.
            job.courses.take(done.step);
            job.replay(done, None);
        }
        job.saved_at = job.courses.log.len();
        job.time_is_up = time_is_up;
        if time_is_up {
            let last = job.go_on();
            job.retold.extend(last);
        }
        Ok(job)
    }

    /// Takes a result again; what follows from it is told when the job is at work.
    pub(super) fn replay(&mut self, done: Done, state: Option<Arc<Blob>>) {
        let effects = self.take(done, state);
        // Whatever ended the job then does so again, last.
        self.retold.retain(|effect| matches!(effect, Effect::Closed { .. }));
        self.retold.extend(effects);
        debug_assert!(self.refit != Refit::AtWork);
    }
}

fn wrong(reason: impl ToString) -> JobError {
    JobError::Saved(reason.to_string())
}
