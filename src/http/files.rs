//! Owns models as files: what was converted lately is kept, and each is converted once for all who ask.

use super::refusal::Refusal;
use crate::coordinator::ShownVersion;
use crate::data::shared::Blob;
use crate::model::{Model, ModelError, files};
use crate::types::Digest;
use axum::body::Bytes;
use axum::http::StatusCode;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How models come out of a coordinator.
const NATIVE: &str = "safetensors";
/// How many are kept, and how many bytes of them.
const MOST_KEPT: usize = 32;
const MOST_BYTES: usize = 64 << 20;

/// Models that were read or converted, those used last behind.
#[derive(Default)]
pub(super) struct Files {
    kept: Mutex<VecDeque<Kept>>,
    /// One at a time: those who want the same find it done.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    of: Digest,
    what: What,
}

#[derive(Clone)]
enum What {
    Model(Arc<Model>),
    File(&'static str, Arc<Blob>),
}

impl Kept {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Model(model) => model.weights.layers().iter().map(|matrix| 4 * matrix.len()).sum(),
            What::File(_, blob) => blob.bytes().len(),
        }
    }
}

impl Files {
    /// What is in a version's file.
    pub(super) async fn model(&self, version: &ShownVersion) -> Result<Arc<Model>, Refusal> {
        if let Some(model) = &version.model {
            return Ok(model.clone());
        }
        let of = version.blob.digest();
        let find = |what: &What| match what {
            What::Model(model) => Some(model.clone()),
            What::File(..) => None,
        };
        if let Some(model) = self.find(of, find) {
            return Ok(model);
        }
        let _turn = self.turn.lock().await;
        if let Some(model) = self.find(of, find) {
            return Ok(model);
        }
        let blob = version.blob.clone();
        let model = Arc::new(in_a_thread(move || files::read(blob.bytes(), NATIVE)).await?);
        self.keep(Kept { of, what: What::Model(model.clone()) });
        Ok(model)
    }

    /// A version as a file of this format, one of the table's.
    pub(super) async fn file(&self, version: &ShownVersion, format: &'static str) -> Result<Arc<Blob>, Refusal> {
        let model = self.model(version).await?;
        if format == NATIVE {
            return Ok(version.blob.clone());
        }
        let of = version.blob.digest();
        let find = |what: &What| match what {
            What::File(known, blob) if *known == format => Some(blob.clone()),
            _ => None,
        };
        if let Some(file) = self.find(of, find) {
            return Ok(file);
        }
        let _turn = self.turn.lock().await;
        if let Some(file) = self.find(of, find) {
            return Ok(file);
        }
        let file = in_a_thread(move || files::write(&model, format).map(Blob::new)).await?;
        let file = Arc::new(file);
        self.keep(Kept { of, what: What::File(format, file.clone()) });
        Ok(file)
    }

    fn find<T>(&self, of: Digest, found: impl Fn(&What) -> Option<T>) -> Option<T> {
        let mut kept = self.lock();
        let place = kept.iter().position(|kept| kept.of == of && found(&kept.what).is_some())?;
        let used = kept.remove(place)?;
        let found = found(&used.what);
        kept.push_back(used);
        found
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.lock();
        kept.push_back(new);
        while kept.len() > MOST_KEPT || kept.len() > 1 && kept.iter().map(Kept::bytes).sum::<usize>() > MOST_BYTES
        {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Large models take a while: connections are not to wait for them.
async fn in_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::stops())?;
    let advice = "ask for another format, or get the job's result with the program that started it";
    done.map_err(|e| {
        Refusal::new(StatusCode::NOT_FOUND, format!("it is not to be had in this format: {e}"), advice)
    })
}

/// A blob's bytes without a copy.
pub(super) fn bytes(blob: Arc<Blob>) -> Bytes {
    struct Owner(Arc<Blob>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    Bytes::from_owner(Owner(blob))
}
