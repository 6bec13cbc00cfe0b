//! Owns the models that a node has loaded: each once for all of its slots, up to a limit of bytes.
//!
//! When there is no room, the model that has not been used for the longest time is dropped; one at work stays.

use crate::predictor::{Predictor, PredictorError};
use crate::types::Digest;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a model is told apart by: its file, and its card as text.
type Key = (Digest, String);

/// The models of a node.
pub struct Models {
    limit: usize,
    inner: Mutex<Inner>,
    /// A load has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Inner {
    /// `None`: somebody loads it.
    known: BTreeMap<Key, Option<Loaded>>,
    /// Counts uses, to tell old from new.
    uses: u64,
}

struct Loaded {
    model: Arc<dyn Predictor>,
    last_use: u64,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum NoModel {
    /// It cannot be loaded.
    #[error(transparent)]
    Bad(#[from] PredictorError),
    /// It has no room.
    #[error(
        "the model takes {bytes} bytes, and this node has room for {limit} beside those at work; --model-memory allows more"
    )]
    Full {
        /// Of the model.
        bytes: usize,
        /// That are free, or can be freed.
        limit: usize,
    },
}

impl Models {
    /// None so far, and room for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default(), ended: Condvar::new() }
    }

    /// How many are loaded, and their bytes.
    pub fn totals(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.loaded().count(), inner.bytes())
    }

    /// The model of this file and card; `load` makes it if it is not there. If another thread is loading it, that is waited
    /// for.
    ///
    /// # Errors
    /// It cannot be loaded, or has no room.
    pub fn get(
        &self,
        file: Digest,
        card: &str,
        load: impl FnOnce() -> Result<Box<dyn Predictor>, PredictorError>,
    ) -> Result<Arc<dyn Predictor>, NoModel> {
        let key = (file, card.to_owned());
        let mut inner = self.lock();
        while let Some(None) = inner.known.get(&key) {
            inner = self.ended.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(model) = inner.take_known(&key) {
            return Ok(model);
        }
        inner.known.insert(key.clone(), None);
        drop(inner);
        let loading = Loading { models: self, key: &key };
        let model: Arc<dyn Predictor> = Arc::from(load()?);
        self.lock().keep(&key, &model, self.limit)?;
        drop(loading);
        Ok(model)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load under way; whatever comes of it, others wait no more.
struct Loading<'a> {
    models: &'a Models,
    key: &'a Key,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut inner = self.models.lock();
        if let Some(None) = inner.known.get(self.key) {
            inner.known.remove(self.key);
        }
        drop(inner);
        self.models.ended.notify_all();
    }
}

impl Inner {
    fn loaded(&self) -> impl Iterator<Item = (&Key, &Loaded)> {
        self.known.iter().filter_map(|(key, loaded)| Some((key, loaded.as_ref()?)))
    }

    fn bytes(&self) -> usize {
        self.loaded().map(|(_, loaded)| loaded.model.bytes()).sum()
    }

    fn take_known(&mut self, key: &Key) -> Option<Arc<dyn Predictor>> {
        self.uses += 1;
        let uses = self.uses;
        let loaded = self.known.get_mut(key)?.as_mut()?;
        loaded.last_use = uses;
        Some(loaded.model.clone())
    }

    /// Keeps a model, in the place of some that nobody uses if need be.
    fn keep(&mut self, key: &Key, model: &Arc<dyn Predictor>, limit: usize) -> Result<(), NoModel> {
        let bytes = model.bytes();
        while self.bytes().saturating_add(bytes) > limit {
            let idle = self.loaded().filter(|(_, loaded)| Arc::strong_count(&loaded.model) == 1);
            let Some(oldest) = idle.min_by_key(|(_, loaded)| loaded.last_use).map(|(key, _)| key.clone()) else {
                return Err(NoModel::Full { bytes, limit: limit.saturating_sub(self.bytes()) });
            };
            self.known.remove(&oldest);
        }
        self.uses += 1;
        self.known.insert(key.clone(), Some(Loaded { model: model.clone(), last_use: self.uses }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Row;
    use crate::predictor::{Answers, BadInput, Gives, KeepGoing, Kind, Prepared};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A model that only has a size.
    struct Sized(usize);

    impl Predictor for Sized {
        fn takes(&self) -> Kind {
            Kind::Pictures
        }
        fn gives(&self) -> Gives {
            Gives::Value
        }
        fn labels(&self) -> &[String] {
            &[]
        }
        fn bytes(&self) -> usize {
            self.0
        }
        fn cost(&self) -> f64 {
            0.0
        }
        fn prepare(&self, _: &[u8]) -> Result<Prepared, BadInput> {
            Err(BadInput("no".to_owned()))
        }
        fn pictures(&self, _: &[Prepared], _: usize, _: KeepGoing<'_>) -> Result<Answers, PredictorError> {
            Err(PredictorError::Stopped)
        }
        fn rows(&self, _: Row<'_>, _: usize, _: KeepGoing<'_>) -> Result<Answers, PredictorError> {
            Err(PredictorError::Stopped)
        }
    }

    fn get(models: &Models, name: &str, bytes: usize) -> Result<Arc<dyn Predictor>, NoModel> {
        models.get(Digest::of(name.as_bytes()), "", || Ok(Box::new(Sized(bytes))))
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_goes_first_and_one_at_work_stays() {
        let models = Models::new(100);
        let at_work = get(&models, "a", 40).expect("room");
        drop(get(&models, "b", 30).expect("room"));
        drop(get(&models, "c", 30).expect("room"));
        drop(get(&models, "b", 999).expect("it is there"));
        drop(get(&models, "d", 30).expect("c goes"));
        assert_eq!(models.totals(), (3, 100));
        drop(get(&models, "b", 999).expect("b is still there"));
        let error = get(&models, "e", 61).err().expect("a is at work").to_string();
        assert!(error.contains("takes 61 bytes") && error.contains("room for 60"), "{error}");
        drop(at_work);
        drop(get(&models, "e", 61).expect("now a goes"));
    }

    #[test]
    fn it_is_loaded_once_and_a_load_that_fails_may_be_tried_again() {
        let (models, loads) = (Models::new(100), AtomicUsize::new(0));
        let file = Digest::of(b"f");
        let bad = || {
            loads.fetch_add(1, Ordering::Relaxed);
            Err(PredictorError::Stopped)
        };
        assert!(models.get(file, "", bad).is_err() && models.get(file, "", bad).is_err());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let load = || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        Ok(Box::new(Sized(1)) as Box<dyn Predictor>)
                    };
                    models.get(file, "", load).expect("room")
                });
            }
        });
        assert_eq!(loads.load(Ordering::Relaxed), 3, "two bad ones, and one for all");
        let _ = models.get(file, "another card", || Ok(Box::new(Sized(1)))).expect("room");
        assert_eq!(models.totals(), (2, 2));
    }
}
