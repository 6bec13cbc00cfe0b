//! Owns the make-believe inference job: batches of queries that only take time.

use super::counting::worth;
use crate::data::shared::Blob;
use crate::jobs::{BadAnswer, Effect, Job, Measure, Progress, Saved, TaskOutput, TaskSpec};
use crate::model::Measured;
use crate::types::{Round, TaskId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A job of so many queries in batches.
pub(super) struct Queries {
    left: u64,
    batch: u32,
    /// Of one query, in whatever its kind counts.
    cost: f64,
    batches: u32,
    open: BTreeSet<u32>,
}

impl Queries {
    pub(super) fn new(queries: u64, batch: u32, cost: f64) -> Self {
        Self { left: queries, batch: batch.max(1), cost, batches: 0, open: BTreeSet::new() }
    }
}

impl Job for Queries {
    fn take_ready(&mut self, room: usize) -> Vec<TaskSpec> {
        let mut ready = Vec::new();
        while self.left > 0 && ready.len() < room {
            let queries = self.left.min(u64::from(self.batch)) as u32;
            self.left -= u64::from(queries);
            let id = TaskId { round: Round(1), shard: self.batches };
            self.open.insert(self.batches);
            self.batches += 1;
            ready.push(TaskSpec {
                id,
                kind: "queries",
                parameters: String::new(),
                inputs: Vec::new(),
                cost: self.cost * f64::from(queries),
                for_originals: false,
                queries,
            });
        }
        ready
    }

    fn unmade(&self) -> u64 {
        self.left.div_ceil(u64::from(self.batch))
    }

    fn measure(&self) -> Measure {
        Measure::Queries
    }

    fn complete(&mut self, task: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        if !self.open.remove(&task.shard) {
            return Err(BadAnswer(format!("{task} is answered twice")));
        }
        if self.left > 0 || !self.open.is_empty() {
            return Ok(Vec::new());
        }
        let model = Arc::new(Blob::new(Vec::new()));
        Ok(vec![Effect::Finished { weights: model.digest(), model, round: Round(1), measured: Some(worth()) }])
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn save(&self) -> Saved {
        Saved::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        Vec::new()
    }

    fn progress(&self) -> Progress {
        Progress { round: 1, rounds: 1, tasks_done: self.batches - self.open.len() as u32, tasks: self.batches }
    }

    fn memory(&self) -> usize {
        0
    }
}
