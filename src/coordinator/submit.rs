//! Owns the way from a request to a job: its data are found and checked, its parameters read.

use super::board::{Posted, Unknown};
use super::{Shared, now_ms, restore};
use crate::data::shared::Blob;
use crate::data::{self, Classes};
use crate::engine::Event;
use crate::ingest::{self, LastColumn};
use crate::jobs::{self, Corpus, Material, Needs, Shard};
use crate::ledger::{CorpusRef, JobOrder, MaterialRef, ShardRef, State};
use crate::types::{Digest, JobId};
use crate::wire::coordinator as wire;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits at most for its job to be durable.
const DURABLE: Duration = Duration::from_secs(30);

/// What a job's weight may be.
const WEIGHTS: RangeInclusive<f64> = 0.001..=1000.0;

/// What a client wants of a job beside its work.
struct Terms {
    give_up_after: Option<Duration>,
    request_id: Option<String>,
    weight: f64,
    priority: i32,
}

impl Shared {
    /// Starts a job.
    pub(super) fn submit(&self, request: &wire::JobRequest) -> Result<JobId, String> {
        let kind = jobs::find(&request.kind).ok_or_else(|| {
            let known: Vec<&str> = jobs::JOB_KINDS.iter().map(|kind| kind.name).collect();
            format!("there is no kind of job '{}'; there is: {}", request.kind, known.join(", "))
        })?;
        let weight = request.weight.map_or(1.0, |weight| weight.0);
        if !WEIGHTS.contains(&weight) {
            return Err(format!(
                "the weight is {weight}, but must be from {} to {}",
                WEIGHTS.start(),
                WEIGHTS.end()
            ));
        }
        let (parameters, material) = match kind.needs {
            Needs::Rows => (request.parameters.clone(), self.rows(request)?.into()),
            Needs::Files => self.to_infer(request)?,
        };
        let after = request.give_up_after_s.0;
        let terms = Terms {
            give_up_after: Duration::try_from_secs_f64(after).ok().filter(|after| !after.is_zero()),
            request_id: request.request_id.clone(),
            weight,
            priority: request.priority.unwrap_or(0),
        };
        self.start(kind, &parameters, material, terms)
    }

    /// The data set that a request names or has put.
    fn rows(&self, request: &wire::JobRequest) -> Result<Corpus, String> {
        match (&request.validation, request.shards.is_empty()) {
            (_, true) => self.load(&request.dataset, last_column(request)),
            (Some(validation), false) => self.look_up(request, validation),
            (None, false) => Err("shards are given, but no validation rows".to_owned()),
        }
    }

    /// Starts a job of the original system's call.
    pub(super) fn submit_original(&self, dir: &str, classes: usize, parameters: &str) -> Result<JobId, String> {
        let classes = Classes::integers(classes).map_err(|e| e.to_string())?;
        let corpus = self.load(dir, LastColumn::Label(Some(classes)))?;
        let terms = Terms { give_up_after: None, request_id: None, weight: 1.0, priority: 0 };
        self.start(&jobs::training::KIND, parameters, corpus.into(), terms)
    }

    fn start(
        &self,
        kind: &jobs::JobKind,
        parameters: &str,
        material: Material,
        terms: Terms,
    ) -> Result<JobId, String> {
        let order = Arc::new(JobOrder {
            kind: kind.name.to_owned(),
            parameters: parameters.to_owned(),
            corpus: match &material {
                Material::Rows(corpus) => by_digest(corpus).into(),
                Material::Files(files) => MaterialRef::Files(files.clone()),
            },
            weight: terms.weight,
            priority: terms.priority,
            give_up_after: terms.give_up_after,
            request_id: terms.request_id,
            submitted_ms: now_ms(),
        });
        let name = material.name().to_owned();
        let work = (kind.start)(parameters, material).map_err(|e| e.to_string())?;
        let (job, is_known) = self.board.open(&order, work.memory(), self.config.store_limit)?;
        if !is_known {
            log::info!("job {job}: {} on {name}", kind.name);
            log::debug!("job {job}: {parameters}");
            if !self.desk.tell(Event::Submit { job, work, order }) {
                return Err(Unknown::Stopping.to_string());
            }
        }
        self.is_durable(job)
    }

    /// Waits until a job that was begun is durable.
    fn is_durable(&self, job: JobId) -> Result<JobId, String> {
        let told = |posted: &Posted| posted.status.is_some();
        match self.board.wait(job, DURABLE, told, told) {
            Ok(true) => Ok(job),
            Ok(false) => Err(format!("the store was not written in {DURABLE:?}; see the coordinator's log")),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Lets a job go on that was cancelled, or that failed.
    pub(super) fn resume(&self, job: JobId) -> Result<(), String> {
        let history = self.keeper.ledger().jobs().get(&job).cloned();
        let mut history = history.ok_or_else(|| Unknown::NoJob(job).to_string())?;
        match history.state {
            State::Running => return Err(format!("job {job} is at work")),
            State::Done { .. } => return Err(format!("job {job} is done; there is nothing to go on with")),
            State::Failed { .. } | State::Cancelled => {}
        }
        history.state = State::Running;
        let work = restore::work(&history, &self.blobs);
        self.board.reopen(job, work.memory());
        if !self.desk.tell(Event::Restore { job, work, history: Box::new(history), resumed: true }) {
            return Err(Unknown::Stopping.to_string());
        }
        self.is_durable(job).map(drop)
    }

    /// The data set of a directory under the data directory.
    fn load(&self, dir: &str, last: LastColumn) -> Result<Corpus, String> {
        let path = ingest::resolve(&self.config.data_dir, dir).map_err(|e| e.to_string())?;
        let loaded = ingest::load_dir_for(&path, last).map_err(|e| e.to_string())?;
        let keep = |shard: &ingest::LoadedShard| {
            let blob = self.keep(data::encode(&shard.data))?;
            Ok::<_, String>(Shard { name: shard.name.clone(), blob, rows: shard.data.rows() as u64 })
        };
        let shards = loaded.shards.iter().map(keep).collect::<Result<Vec<_>, _>>()?;
        let validation = keep(&loaded.validation)?;
        Ok(Corpus {
            name: dir.to_owned(),
            shards,
            validation,
            columns: loaded.validation.data.columns(),
            classes: loaded.labels().to_vec(),
        })
    }

    /// Keeps bytes that a job needs, durably if there is where.
    pub(super) fn keep(&self, bytes: Vec<u8>) -> Result<Arc<Blob>, String> {
        let blob = self.blobs.store().put(bytes).map_err(|e| e.to_string())?;
        if let Some(archive) = self.blobs.archive() {
            archive.write(&blob).map_err(|e| e.to_string())?;
        }
        Ok(blob)
    }

    /// The data set that a client has put.
    fn look_up(&self, request: &wire::JobRequest, validation: &wire::Shard) -> Result<Corpus, String> {
        let classes = request.classes.len();
        if classes == 1 {
            return Err(format!(
                "{classes} classes are given; there must be at least 2, or none if values are to be learnt"
            ));
        }
        let mut columns = None;
        let mut check = |given: &wire::Shard| {
            let digest = Digest::parse(&given.digest);
            let blob = digest.map(|digest| self.blobs.load(&digest)).transpose();
            let blob = blob.map_err(|e| format!("{}: {e}", given.name))?.flatten();
            let blob =
                blob.ok_or_else(|| format!(
                    "{} is not in the coordinator's store: it was not sent, or had to make room for others (see the \
                     coordinator's --memory)",
                    given.name
                ))?;
            let rows = blob.dataset(classes).map_err(|e| format!("{}: {e}", given.name))?;
            if i64::try_from(rows.rows()) != Ok(given.rows) {
                return Err(format!("{} has {} rows, not {} as announced", given.name, rows.rows(), given.rows));
            }
            let expected = *columns.get_or_insert(rows.columns());
            if rows.columns() != expected {
                return Err(format!(
                    "{} has {} features, the shards before have {expected}",
                    given.name,
                    rows.columns()
                ));
            }
            Ok(Shard { name: given.name.clone(), rows: rows.rows() as u64, blob })
        };
        let shards = request.shards.iter().map(&mut check).collect::<Result<Vec<_>, _>>()?;
        let validation = check(validation)?;
        Ok(Corpus {
            name: request.dataset.clone(),
            shards,
            validation,
            columns: columns.unwrap_or_default(),
            classes: request.classes.clone(),
        })
    }
}

/// The data by their digests, as the log keeps them.
fn by_digest(corpus: &Corpus) -> CorpusRef {
    let shard =
        |shard: &Shard| ShardRef { name: shard.name.clone(), digest: shard.blob.digest(), rows: shard.rows };
    CorpusRef {
        name: corpus.name.clone(),
        shards: corpus.shards.iter().map(shard).collect(),
        validation: shard(&corpus.validation),
        columns: corpus.columns,
        classes: corpus.classes.clone(),
    }
}

fn last_column(request: &wire::JobRequest) -> LastColumn {
    if request.values == Some(true) { LastColumn::Value } else { LastColumn::Label(None) }
}
