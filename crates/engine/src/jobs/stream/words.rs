//! Owns what somebody outside says to the job: rows for its queue, changes of its model.

use super::queue::Queue;
use super::{Stream, StreamJob};
use crate::data::shared::Blob;
use crate::jobs::{Effect, Heard, Refused, Word};
use crate::model::Mlp;
use std::sync::Arc;

/// The longest name of a change, in bytes.
const LONGEST_ID: usize = 1024;

impl StreamJob {
    pub(super) fn hear(&mut self, word: Word) -> Result<(Heard, Vec<Effect>), Refused> {
        match word {
            Word::Feed { feeder, number, may_skip, rows } => self.feed(&feeder, number, may_skip, rows),
            Word::FeedEnd { feeder } => self.feed_end(&feeder),
            Word::Update { id, version, parameters, rows } => self.update(&id, version, &parameters, rows),
        }
    }

    fn heard(&self, feeder: Option<&str>, is_taken: bool) -> Heard {
        let queue = if let Stream::Queue(queue) = &self.stream { Some(queue) } else { None };
        Heard {
            is_taken,
            version: self.learner.number,
            next: queue.zip(feeder).map_or(0, |(queue, feeder)| queue.next(feeder)),
            acknowledged: queue.zip(feeder).map_or(0, |(queue, feeder)| queue.acknowledged(feeder)),
            waiting: queue.map_or(0, |queue| queue.waiting),
        }
    }

    fn queue(&mut self) -> Result<&mut Queue, Refused> {
        match &mut self.stream {
            Stream::Queue(queue) => Ok(queue),
            Stream::Rows { .. } => Err(Refused("it has its rows and takes no others: it has no queue".to_owned())),
            Stream::Updates(_) => Err(Refused("it takes changes of its model, not rows".to_owned())),
        }
    }

    fn feed(
        &mut self,
        feeder: &str,
        number: u64,
        may_skip: bool,
        rows: Arc<Blob>,
    ) -> Result<(Heard, Vec<Effect>), Refused> {
        let (batch, group) = (self.request.batch(), self.request.group.into());
        let (columns, classes) = (self.corpus.columns, self.corpus.classes.len());
        let queue = self.queue()?;
        let unfit = |reason: String| Refused(format!("the rows {number} of '{feeder}': {reason}"));
        let data = rows.dataset(classes).map_err(|e| unfit(e.to_string()))?;
        if data.columns() != columns {
            return Err(unfit(format!("they have {} features, not {columns}", data.columns())));
        }
        let (count, bytes) = (data.rows() as u64, rows.bytes().len());
        let wanted = queue.wants(feeder, (number, may_skip), count, bytes)?;
        if wanted == Some(true) {
            queue.push((feeder, number), count, rows, batch, group);
        }
        let effects = if wanted == Some(true) { vec![Effect::SaveSoon] } else { Vec::new() };
        Ok((self.heard(Some(feeder), wanted != Some(false)), effects))
    }

    fn feed_end(&mut self, feeder: &str) -> Result<(Heard, Vec<Effect>), Refused> {
        let queue = self.queue()?;
        let known = queue.feeders.get(feeder).is_some_and(|feeder| feeder.ended);
        queue.end(feeder)?;
        let heard = self.heard(Some(feeder), true);
        let mut effects = if known { Vec::new() } else { vec![Effect::SaveSoon] };
        if self.is_complete() && self.taken.is_empty() {
            effects.extend(self.measure_if_due());
            // What was measured may be the last by now.
            effects.extend(self.finish_if_last());
        }
        Ok((heard, effects))
    }

    /// Applies a change from outside at once, with those that wait for company.
    fn update(
        &mut self,
        id: &str,
        version: u64,
        parameters: &[Vec<f32>],
        rows: u64,
    ) -> Result<(Heard, Vec<Effect>), Refused> {
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Refused(format!("a change has a name of 1 to {LONGEST_ID} bytes")));
        }
        if let Some(version) = self.seen.find(id) {
            return Ok((Heard { version, ..self.heard(None, true) }, Vec::new()));
        }
        let newest = self.learner.number;
        if self.is_complete() || self.time_is_up {
            return Err(Refused(format!("it is at its end with version {newest}, and takes no more changes")));
        }
        if version > newest {
            return Err(Refused(format!("there is no version {version} yet; the newest is {newest}")));
        }
        let missed = newest - version;
        let Some(weight) = self.request.staleness.weight(missed) else {
            self.figures.stale += 1;
            return Err(Refused(format!(
                "version {version} is too old: it missed {missed} versions; take version {newest} and learn again"
            )));
        };
        let shape = self.learner.weights.shape();
        let change = Mlp::from_lists(&shape, parameters).map_err(|e| Refused(e.to_string()))?;
        self.learner.take(&change, weight, rows).map_err(|e| Refused(e.to_string()))?;
        self.outside += 1;
        let effects = self.publish();
        if let [Effect::Failed { reason }] = effects.as_slice() {
            return Err(Refused(reason.clone()));
        }
        self.applied(rows, missed);
        self.seen.add(id, self.learner.number);
        Ok((self.heard(None, true), effects))
    }

    /// The job is over if its newest version is complete and was measured before that was known.
    fn finish_if_last(&mut self) -> Option<Effect> {
        let newest = self.learner.number;
        let is_measured = self.measures.result.as_ref().is_some_and(|result| result.version.number == newest);
        (is_measured && self.measures.unmeasured.is_empty()).then(|| self.finish()).flatten()
    }
}
