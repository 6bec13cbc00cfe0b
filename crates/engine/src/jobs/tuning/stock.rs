//! Owns what the trials of a node share: the rows of a job, and how they are cut into folds; made once for all slots.

use super::folds;
use crate::data::shared::Blob;
use crate::data::{Dataset, Part, Scaling};
use crate::model::forest::Binned;
use crate::types::Digest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The rows of a job.
pub(super) struct Stock {
    all: Part,
    sets: Vec<Arc<Dataset>>,
    /// As forests want them.
    binned: OnceLock<Result<Arc<Binned>, String>>,
    folds: u32,
    seed: u64,
    of_row: OnceLock<Vec<u32>>,
    /// One for each fold.
    cuts: Vec<OnceLock<Result<Arc<Cut>, String>>>,
    /// All rows, measured on the validation rows.
    whole: Arc<Cut>,
}

/// Which rows are learnt from, and which are measured on.
type Rows = (Arc<Vec<u32>>, Arc<Vec<u32>>);

/// Rows to learn from, and rows to measure on.
pub(super) struct Cut {
    learnt: Part,
    measured: Part,
    /// Which of all rows these are; `None`: all are learnt from, and others measured on.
    rows: Option<Rows>,
    held_out: OnceLock<Result<Arc<Dataset>, String>>,
    scaling: OnceLock<Option<Scaling>>,
    values: OnceLock<Option<(f64, f64)>>,
}

impl Stock {
    /// These rows, with the validation rows last, in so many folds.
    pub(super) fn of(inputs: &[Arc<Blob>], classes: usize, folds: u32, seed: u64) -> Result<Self, String> {
        let decode = |blob: &Arc<Blob>| blob.dataset(classes).map_err(|e| e.to_string());
        let mut sets = inputs.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let validation = sets.pop().ok_or("there are no rows")?;
        let rows = sets.iter().map(|set| set.rows()).sum();
        let all = Part::new(sets.clone(), 0, rows).ok_or("the shards do not fit together, or have no rows")?;
        if all.columns() != validation.columns() {
            return Err("the validation rows do not fit the shards".to_owned());
        }
        if u32::try_from(rows).is_err() {
            return Err(format!("there are {rows} rows; at most {} can be cut into folds", u32::MAX));
        }
        let whole = Cut::new(all.clone(), Part::whole(validation.clone()), None);
        let _ = whole.held_out.set(Ok(validation));
        let cuts = (0..folds).map(|_| OnceLock::new()).collect();
        Ok(Self {
            all,
            sets,
            binned: OnceLock::new(),
            folds,
            seed,
            of_row: OnceLock::new(),
            cuts,
            whole: Arc::new(whole),
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.all.columns()
    }

    pub(super) fn classes(&self) -> usize {
        self.all.classes()
    }

    /// Bytes beside the blobs, at most and roughly: the rows held out as copies and in bins, and lists of rows.
    fn bytes(&self) -> usize {
        self.all.rows().saturating_mul(5 * self.columns() + 4 * self.folds as usize)
    }

    /// The rows in bins, made once.
    pub(super) fn binned(&self) -> Result<Arc<Binned>, String> {
        self.binned.get_or_init(|| Binned::of(&self.sets).map(Arc::new).map_err(|e| e.to_string())).clone()
    }

    /// How the rows are cut for a fold; `None`: all are learnt from, and the validation rows are measured on.
    pub(super) fn cut(&self, fold: Option<u32>) -> Result<Arc<Cut>, String> {
        let Some(fold) = fold else { return Ok(self.whole.clone()) };
        let kept = self.cuts.get(fold as usize).ok_or_else(|| format!("there is no fold {fold}"))?;
        kept.get_or_init(|| self.fold_cut(fold)).clone()
    }

    fn fold_cut(&self, fold: u32) -> Result<Arc<Cut>, String> {
        let of_row = self.of_row.get_or_init(|| match self.all.classes() {
            0 => folds::of_rows(self.all.rows(), self.folds, self.seed),
            classes => {
                let labels: Vec<u32> = (0..self.all.rows()).map(|row| self.all.label(row)).collect();
                folds::of_labels(&labels, classes, self.folds, self.seed)
            }
        });
        let (learnt, measured) = folds::split(of_row, fold);
        let (learnt, measured) = (Arc::new(learnt), Arc::new(measured));
        let pick =
            |rows: &Arc<Vec<u32>>| self.all.pick(rows.clone()).ok_or_else(|| format!("fold {fold} has no rows"));
        Ok(Arc::new(Cut::new(pick(&learnt)?, pick(&measured)?, Some((learnt, measured)))))
    }
}

impl Cut {
    fn new(learnt: Part, measured: Part, rows: Option<Rows>) -> Self {
        Self {
            learnt,
            measured,
            rows,
            held_out: OnceLock::new(),
            scaling: OnceLock::new(),
            values: OnceLock::new(),
        }
    }

    /// The rows to learn from.
    pub(super) fn learnt(&self) -> &Part {
        &self.learnt
    }

    /// Which of all rows are learnt from.
    pub(super) fn learnt_rows(&self) -> Arc<Vec<u32>> {
        match &self.rows {
            Some((learnt, _)) => learnt.clone(),
            None => Arc::new((0..self.learnt.rows() as u32).collect()),
        }
    }

    /// Which of all rows are measured on; `None`: others.
    pub(super) fn measured_rows(&self) -> Option<&[u32]> {
        self.rows.as_ref().map(|(_, measured)| measured.as_slice())
    }

    /// The rows to measure on, as a data set.
    pub(super) fn held_out(&self) -> Result<Arc<Dataset>, String> {
        let copied = || self.measured.to_dataset().map(Arc::new).map_err(|e| e.to_string());
        self.held_out.get_or_init(copied).clone()
    }

    /// The moments of the features that are learnt from.
    pub(super) fn scaling(&self) -> Option<&Scaling> {
        self.scaling.get_or_init(|| Scaling::of_part(&self.learnt)).as_ref()
    }

    /// The mean and the deviation of the values that are learnt; `None` of classes.
    pub(super) fn values(&self) -> Option<(f64, f64)> {
        *self
            .values
            .get_or_init(|| (self.learnt.classes() == 0).then(|| Scaling::of_values_in(&self.learnt)).flatten())
    }
}

/// What a stock is told apart by: the digest of all inputs, classes, folds, seed.
type Key = (Digest, usize, u32, u64);

/// The stocks of a node, up to a limit of bytes: the one that was not used for the longest time makes room.
pub struct Stocks {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    stocks: BTreeMap<Key, (Arc<Stock>, u64)>,
    uses: u64,
}

impl Stocks {
    /// None so far, and room for so many bytes beside the data themselves.
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().stocks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stock of these inputs.
    pub(super) fn get(
        &self,
        inputs: &[Arc<Blob>],
        classes: usize,
        folds: u32,
        seed: u64,
    ) -> Result<Arc<Stock>, String> {
        let digests: Vec<[u8; 32]> = inputs.iter().map(|blob| blob.digest().0).collect();
        let key = (Digest::of_parts(digests.iter().map(<[u8; 32]>::as_slice)), classes, folds, seed);
        if let Some(known) = self.lock().take(&key) {
            return Ok(known);
        }
        // What costs time is made later, once; two threads that come here at once lose nothing.
        let stock = Arc::new(Stock::of(inputs, classes, folds, seed)?);
        let mut kept = self.lock();
        if let Some(known) = kept.take(&key) {
            return Ok(known);
        }
        kept.make_room(self.limit.saturating_sub(stock.bytes()));
        let uses = kept.uses;
        kept.stocks.insert(key, (stock.clone(), uses));
        Ok(stock)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, key: &Key) -> Option<Arc<Stock>> {
        self.uses += 1;
        let (stock, last_use) = self.stocks.get_mut(key)?;
        *last_use = self.uses;
        Some(stock.clone())
    }

    fn make_room(&mut self, limit: usize) {
        while self.stocks.values().map(|(stock, _)| stock.bytes()).sum::<usize>() > limit {
            let oldest = self.stocks.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.stocks.remove(&oldest);
        }
    }
}
