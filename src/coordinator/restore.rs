//! Owns the way from the ledger back to jobs: data and what was saved are found, and the kind makes the job again.

use crate::jobs::{self, BadAnswer, Corpus, Effect, Job, Material, Progress, Saved, Shard, TaskOutput, TaskSpec};
use crate::ledger::{CorpusRef, History, MaterialRef, ShardRef};
use crate::store::Blobs;
use crate::types::TaskId;

/// Makes a job again; one that cannot be made is a job that fails with the reason.
pub(super) fn work(history: &History, blobs: &Blobs) -> Box<dyn Job> {
    make(history, blobs).unwrap_or_else(|reason| Box::new(Hopeless { reason }))
}

fn make(history: &History, blobs: &Blobs) -> Result<Box<dyn Job>, String> {
    let order = &history.order;
    let kind =
        jobs::find(&order.kind).ok_or_else(|| format!("there is no kind of job '{}' any more", order.kind))?;
    let material = match &order.corpus {
        MaterialRef::Rows(rows) => corpus(rows, blobs)?.into(),
        MaterialRef::Files(files) => Material::Files(files.clone()),
    };
    let made = match &history.saved {
        Some(saved) => (kind.resume)(&order.parameters, material, saved),
        None => (kind.start)(&order.parameters, material),
    };
    made.map_err(|e| e.to_string())
}

fn corpus(by_digest: &CorpusRef, blobs: &Blobs) -> Result<Corpus, String> {
    let shard = |shard: &ShardRef| {
        let blob = blobs.load(&shard.digest).map_err(|e| e.to_string())?;
        let blob = blob.ok_or_else(|| format!("its data {} are not in the store any more", shard.name))?;
        Ok::<_, String>(Shard { name: shard.name.clone(), blob, rows: shard.rows })
    };
    Ok(Corpus {
        name: by_digest.name.clone(),
        shards: by_digest.shards.iter().map(shard).collect::<Result<_, _>>()?,
        validation: shard(&by_digest.validation)?,
        columns: by_digest.columns,
        classes: by_digest.classes.clone(),
    })
}

/// A job that cannot go on.
struct Hopeless {
    reason: String,
}

impl Job for Hopeless {
    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        Vec::new()
    }

    fn complete(&mut self, _: TaskId, _: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        Ok(Vec::new())
    }

    fn save(&self) -> Saved {
        Saved::default()
    }

    fn reopened(&mut self) -> Vec<Effect> {
        vec![Effect::Failed { reason: format!("it cannot go on: {}", self.reason) }]
    }

    fn progress(&self) -> Progress {
        Progress::default()
    }

    fn memory(&self) -> usize {
        0
    }
}
