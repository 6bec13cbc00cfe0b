//! Owns the way from a request to a job: its data are found and checked, its parameters read.

use super::Shared;
use crate::data::shared::Blob;
use crate::data::{self, Classes};
use crate::engine::Event;
use crate::ingest;
use crate::jobs::{self, Corpus, Shard};
use crate::types::{Digest, JobId};
use crate::wire::coordinator as wire;
use std::sync::Arc;
use std::time::Duration;

/// A request's data: what is known of them, and the blobs.
type Found = (Corpus, Vec<Arc<Blob>>);

impl Shared {
    /// Starts a job.
    pub(super) fn submit(&self, request: &wire::JobRequest) -> Result<JobId, String> {
        let kind = jobs::find(&request.kind).ok_or_else(|| {
            let known: Vec<&str> = jobs::JOB_KINDS.iter().map(|kind| kind.name).collect();
            format!("there is no kind of job '{}'; there is: {}", request.kind, known.join(", "))
        })?;
        let (corpus, held) = match (&request.validation, request.shards.is_empty()) {
            (_, true) => self.load(&request.dataset, None)?,
            (Some(validation), false) => self.look_up(request, validation)?,
            (None, false) => return Err("shards are given, but no validation rows".to_owned()),
        };
        let after = request.give_up_after_s.0;
        let give_up_after = Duration::try_from_secs_f64(after).ok().filter(|after| !after.is_zero());
        self.start(kind, &request.parameters, corpus, held, give_up_after)
    }

    /// Starts a job of the original system's call.
    pub(super) fn submit_original(&self, dir: &str, classes: usize, parameters: &str) -> Result<JobId, String> {
        let classes = Classes::integers(classes).map_err(|e| e.to_string())?;
        let (corpus, held) = self.load(dir, Some(classes))?;
        self.start(&jobs::training::KIND, parameters, corpus, held, None)
    }

    fn start(
        &self,
        kind: &jobs::JobKind,
        parameters: &str,
        corpus: Corpus,
        held: Vec<Arc<Blob>>,
        give_up_after: Option<Duration>,
    ) -> Result<JobId, String> {
        let name = corpus.name.clone();
        let work = (kind.start)(parameters, corpus).map_err(|e| e.to_string())?;
        let job = self.next_job();
        self.board.open(job, held, work.memory(), self.config.store_limit)?;
        log::info!("job {job}: {} on {name}: {parameters}", kind.name);
        if self.tell(Event::Submit { job, work, give_up_after }) {
            Ok(job)
        } else {
            Err("the coordinator is stopping".to_owned())
        }
    }

    /// The data set of a directory under the data directory.
    fn load(&self, dir: &str, classes: Option<Classes>) -> Result<Found, String> {
        let path = ingest::resolve(&self.config.data_dir, dir).map_err(|e| e.to_string())?;
        let loaded = ingest::load_dir_with(&path, classes).map_err(|e| e.to_string())?;
        let mut held = Vec::new();
        let mut keep = |shard: &ingest::LoadedShard| {
            let blob = self.store.put(data::encode(&shard.data)).map_err(|e| e.to_string())?;
            held.push(blob.clone());
            Ok::<_, String>(Shard {
                name: shard.name.clone(),
                digest: blob.digest(),
                rows: shard.data.rows() as u64,
            })
        };
        let shards = loaded.shards.iter().map(&mut keep).collect::<Result<Vec<_>, _>>()?;
        let validation = keep(&loaded.validation)?;
        let corpus = Corpus {
            name: dir.to_owned(),
            shards,
            validation,
            columns: loaded.validation.data.columns(),
            classes: loaded.classes.labels().to_vec(),
        };
        Ok((corpus, held))
    }

    /// The data set that a client has put.
    fn look_up(&self, request: &wire::JobRequest, validation: &wire::Shard) -> Result<Found, String> {
        let classes = request.classes.len();
        if classes < 2 {
            return Err(format!("{classes} classes are given; there must be at least 2"));
        }
        let mut held = Vec::new();
        let mut columns = None;
        let mut check = |given: &wire::Shard| {
            let digest = Digest::parse(&given.digest);
            let blob = digest.and_then(|digest| self.store.get(&digest));
            let blob =
                blob.ok_or_else(|| format!(
                    "{} is not in the coordinator's store: it was not sent, or had to make room for others (see the \
                     coordinator's --memory)",
                    given.name
                ))?;
            let rows = data::decode(blob.bytes(), classes).map_err(|e| format!("{}: {e}", given.name))?;
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
            let shard = Shard { name: given.name.clone(), digest: blob.digest(), rows: rows.rows() as u64 };
            held.push(blob);
            Ok(shard)
        };
        let shards = request.shards.iter().map(&mut check).collect::<Result<Vec<_>, _>>()?;
        let validation = check(validation)?;
        let corpus = Corpus {
            name: request.dataset.clone(),
            shards,
            validation,
            columns: columns.unwrap_or_default(),
            classes: request.classes.clone(),
        };
        Ok((corpus, held))
    }
}
