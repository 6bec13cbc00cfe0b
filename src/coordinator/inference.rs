//! Owns the way from a request for inference to its material: the model is found, loaded once to see that it is one, and
//! the files that it is asked about are looked up; tables become data sets here, so that nodes never parse text.

use super::{Shared, now_ms};
use crate::data::shared::Blob;
use crate::data::{self, Dataset, Targets};
use crate::ingest;
use crate::jobs::inference::{InferenceOrder, MOST_IN_BATCH, MOST_INPUTS, ModelFacts, UNLABELLED};
use crate::jobs::{Files, Material, Source};
use crate::predictor::{self, Card, Kind, Limits};
use crate::types::Digest;
use crate::wire::coordinator::JobRequest;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Of how many models it is remembered what they are.
const MOST_FACTS: usize = 64;
/// The largest card or file of labels, in bytes.
const LARGEST_CARD: u64 = 8 << 20;
/// What is set for a model stands in a file of this name and the model's.
const BATCH_SIZES: &str = ".batch-size/";

/// What is known of models that were loaded lately, by file and card.
#[derive(Default)]
pub(super) struct KnownModels(Mutex<VecDeque<KnownModel>>);

/// A model that was loaded.
struct KnownModel {
    file: Digest,
    /// As text.
    card: String,
    takes: Kind,
    facts: ModelFacts,
}

impl Shared {
    /// The parameters and the material of a job.
    pub(super) fn to_infer(&self, request: &JobRequest) -> Result<(String, Material), String> {
        let order: InferenceOrder = serde_json::from_str(&request.parameters)
            .map_err(|e| format!("the parameters cannot be read: {e}"))?;
        order.check().map_err(|e| e.to_string())?;
        let (digest, _) = self.newest(&order.model)?.ok_or_else(|| {
            format!("there is no model {} in the store; `roundtable put` puts one there", order.model)
        })?;
        let (takes, facts) = self.facts(&order.model, digest)?;
        let inputs = self.inputs(&request.dataset, takes)?;
        let model = Source { name: order.model.clone(), digest, rows: None };
        let set_for_model = self.batch_size(&order.model)?;
        let wanted = order.with(facts, set_for_model);
        let parameters = serde_json::to_string(&wanted).map_err(|e| e.to_string())?;
        Ok((parameters, Material::Files(Files { name: request.dataset.clone(), model, inputs })))
    }

    /// Batches of a model are to have so many queries, also in jobs to come.
    pub(super) fn set_batch_size(&self, model: &str, queries: i32) -> Result<u32, String> {
        let queries = u32::try_from(queries).ok().filter(|queries| (1..=MOST_IN_BATCH).contains(queries));
        let queries = queries.ok_or_else(|| format!("a batch has from 1 to {MOST_IN_BATCH} queries"))?;
        if self.newest(model)?.is_none() {
            return Err(format!("there is no model {model} in the store"));
        }
        let archive = self.blobs.archive().ok_or("this coordinator has no store")?;
        let blob = Blob::new(queries.to_string().into_bytes());
        archive.write(&blob).map_err(|e| e.to_string())?;
        let content = Some((blob.digest(), blob.bytes().len() as u64));
        archive.put_version(&format!("{BATCH_SIZES}{model}"), content, now_ms()).map_err(|e| e.to_string())?;
        Ok(queries)
    }

    fn batch_size(&self, model: &str) -> Result<Option<u32>, String> {
        let Some((digest, _)) = self.newest(&format!("{BATCH_SIZES}{model}"))? else { return Ok(None) };
        let blob = self.blobs.load(&digest).map_err(|e| e.to_string())?;
        Ok(blob.and_then(|blob| std::str::from_utf8(blob.bytes()).ok()?.parse().ok()))
    }

    /// The newest content of a file, and its size; `None` if there is none.
    fn newest(&self, name: &str) -> Result<Option<(Digest, u64)>, String> {
        let archive = self.blobs.archive().ok_or("this coordinator has no store")?;
        let newest = archive.versions(name, 1).map_err(|e| e.to_string())?.pop();
        Ok(newest.and_then(|version| version.content))
    }

    /// What stands in a file.
    fn content(&self, name: &str, digest: &Digest) -> Result<Arc<Blob>, String> {
        let blob = self.blobs.load(digest).map_err(|e| format!("{name}: {e}"))?;
        blob.ok_or_else(|| {
            format!("{name} is not on the coordinator's disk any more; `roundtable get` brings it back")
        })
    }

    /// Loads a model, to see what it is.
    fn facts(&self, name: &str, digest: Digest) -> Result<(Kind, ModelFacts), String> {
        let card = self.card(name)?;
        // Numbers and names can be written.
        let text = card.as_ref().map(|card| serde_json::to_string(card).unwrap_or_default()).unwrap_or_default();
        let models = || self.models.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models().iter().find(|known| known.file == digest && known.card == text) {
            return Ok((known.takes, known.facts.clone()));
        }
        let file = self.content(name, &digest)?;
        let predictor = predictor::load(name, file.bytes(), card.as_ref(), &Limits::default());
        let predictor = predictor.map_err(|e| format!("{name}: {e}"))?;
        let labels = predictor.labels().to_vec();
        let card = card.map(|card| Card { labels: None, ..card });
        let facts = ModelFacts {
            takes_rows: matches!(predictor.takes(), Kind::Rows { .. }),
            labels,
            card,
            cost: predictor.cost(),
        };
        let takes = predictor.takes();
        let mut models = models();
        models.push_back(KnownModel { file: digest, card: text, takes, facts: facts.clone() });
        if models.len() > MOST_FACTS {
            models.pop_front();
        }
        Ok((takes, facts))
    }

    /// The card of a model with its labels, if it has one.
    fn card(&self, model: &str) -> Result<Option<Card>, String> {
        for name in card_names(model) {
            let Some(text) = self.text(&name)? else { continue };
            let mut card = Card::from_toml(&text).map_err(|e| format!("{name}: {e}"))?;
            if let Some(labels) = card.labels_file() {
                let labels = beside(&name, labels);
                let text = self.text(&labels)?.ok_or_else(|| {
                    format!("{name} says that the labels stand in {labels}, which is not in the store")
                })?;
                card.set_labels(&text).map_err(|e| format!("{labels}: {e}"))?;
            }
            return Ok(Some(card));
        }
        Ok(None)
    }

    /// What stands in a small file, if it is there.
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some((digest, size)) = self.newest(name)? else { return Ok(None) };
        if size > LARGEST_CARD {
            return Err(format!("{name} has {size} bytes; at most {LARGEST_CARD} are read"));
        }
        let blob = self.content(name, &digest)?;
        let text = String::from_utf8(blob.bytes().to_vec()).map_err(|e| format!("{name} is not UTF-8: {e}"))?;
        Ok(Some(text))
    }

    /// The files that match a pattern, as a model that takes this has them.
    fn inputs(&self, pattern: &str, takes: Kind) -> Result<Vec<Source>, String> {
        let archive = self.blobs.archive().ok_or("this coordinator has no store")?;
        let files = archive.newest(pattern, "", MOST_INPUTS + 1).map_err(|e| e.to_string())?;
        if files.len() > MOST_INPUTS {
            return Err(format!("more than {MOST_INPUTS} files match '{pattern}'; a job has at most so many"));
        }
        let mut inputs = Vec::with_capacity(files.len());
        for file in files.iter().filter(|file| !file.name.starts_with('.')) {
            let Some((digest, _)) = file.content else { continue };
            inputs.push(match takes {
                Kind::Pictures => Source { name: file.name.clone(), digest, rows: None },
                Kind::Rows { columns } => self.table(&file.name, digest, columns)?,
            });
        }
        match inputs.is_empty() {
            true => {
                Err(format!("no file in the store matches '{pattern}'; `roundtable put-all` puts files there"))
            }
            false => Ok(inputs),
        }
    }

    /// The data set that a table becomes.
    fn table(&self, name: &str, digest: Digest, columns: usize) -> Result<Source, String> {
        let file = self.content(name, &digest)?;
        let features = ingest::queries(name, file.bytes(), columns).map_err(|e| e.to_string())?;
        let rows = features.rows();
        let labels = Targets::Classes { labels: vec![0; rows], classes: UNLABELLED };
        let data = Dataset::of(features, labels).map_err(|e| format!("{name}: {e}"))?;
        let blob = self.keep(data::encode(&data))?;
        Ok(Source { name: name.to_owned(), digest: blob.digest(), rows: Some(rows as u64) })
    }
}

/// Where a model's card may stand.
fn card_names(model: &str) -> [String; 2] {
    let file = model.rsplit_once('/').map_or(model, |(_, file)| file);
    Card::places(Path::new(file)).map(|card| beside(model, &card.to_string_lossy()))
}

/// The name of a file beside another.
fn beside(name: &str, other: &str) -> String {
    name.rsplit_once('/').map_or_else(|| other.to_owned(), |(directory, _)| format!("{directory}/{other}"))
}
