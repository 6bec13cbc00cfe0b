//! Owns what a node has learnt just before a task: changes that the version which comes with the task does not have yet. The
//! node adds them itself, so that it neither waits for the coordinator between two tasks nor learns from a model without
//! its own last change.

use crate::model::{Mlp, ModelError};
use crate::types::Digest;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes that a node keeps at most.
const MOST: usize = 64;

/// The tasks that the node of a task was at when that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// Their names, in the order in which they were sent: the SHA-256 of the parameters and of the inputs' digests.
    pub tasks: Vec<String>,
    /// A change is added so many times.
    pub times: f64,
}

/// What a task is called: the SHA-256 of what it is told and of what it works on, as hexadecimal digits.
pub(super) fn name(parameters: &str, inputs: impl IntoIterator<Item = Digest>) -> String {
    let digest = Digest::of_written(|write| {
        write(parameters.as_bytes());
        inputs.into_iter().for_each(|input| write(&input.0));
    });
    digest.to_string()
}

/// A change with the name of its task.
type Named = (String, Arc<Mlp<f32>>);

/// The changes that a node has learnt last.
pub struct Changes {
    latest: Mutex<VecDeque<Named>>,
    most_bytes: usize,
}

impl Changes {
    /// None yet; the last is kept in any case, and others as long as all of them have no more bytes than this.
    pub fn new(most_bytes: usize) -> Self {
        Self { latest: Mutex::default(), most_bytes }
    }

    fn latest(&self) -> MutexGuard<'_, VecDeque<Named>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the change of a task, and forgets the oldest that there is no more room for.
    pub(super) fn keep(&self, task: String, change: Arc<Mlp<f32>>) {
        let mut latest = self.latest();
        latest.retain(|(known, _)| *known != task);
        latest.push_back((task, change));
        let bytes = |(_, change): &Named| change.shape().parameters() * size_of::<f32>();
        let mut total: usize = latest.iter().map(bytes).sum();
        while latest.len() > MOST || total > self.most_bytes && latest.len() > 1 {
            total -= latest.pop_front().as_ref().map_or(0, bytes);
        }
    }

    /// Adds to weights what is known of these tasks; answers with their places in the list.
    ///
    /// # Errors
    /// A change is of another shape, or a sum leaves the range of numbers.
    pub(super) fn add(&self, weights: &mut Mlp<f32>, behind: &Behind) -> Result<Vec<usize>, ModelError> {
        let mut added = Vec::new();
        for (place, task) in behind.tasks.iter().enumerate() {
            let known = self.latest().iter().find(|(known, _)| known == task).map(|(_, change)| change.clone());
            if let Some(change) = known {
                weights.add_times(behind.times, &change)?;
                added.push(place);
            }
        }
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;

    fn ones(outputs: usize) -> Arc<Mlp<f32>> {
        let zeros = Mlp::<f32>::zeros(&Shape::new([1, outputs]).unwrap());
        Arc::new(Mlp::new(zeros.layers().iter().map(|layer| layer + 1.0).collect()).unwrap())
    }

    #[test]
    fn what_is_known_is_added_and_told() {
        let changes = Changes::new(1000);
        changes.keep("a".to_owned(), ones(1));
        changes.keep("c".to_owned(), ones(1));
        let mut weights = Mlp::zeros(&Shape::new([1, 1]).unwrap());
        let behind = Behind { tasks: ["a", "b", "c"].map(str::to_owned).to_vec(), times: 0.5 };
        assert_eq!(changes.add(&mut weights, &behind).unwrap(), [0, 2]);
        assert_eq!(weights, *ones(1));
        let mut others = Mlp::zeros(&Shape::new([1, 2]).unwrap());
        assert!(changes.add(&mut others, &behind).is_err());
    }

    #[test]
    fn the_oldest_are_forgotten_by_number_and_by_size() {
        let changes = Changes::new(1000);
        (0..100).for_each(|number| changes.keep(number.to_string(), ones(1)));
        let names = |changes: &Changes| changes.latest().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&changes).len(), names(&changes)[0].as_str()), (MOST, "36"));
        changes.keep("36".to_owned(), ones(1));
        assert_eq!((names(&changes).len(), names(&changes)[0].as_str()), (MOST, "37"));
        for large in ["x", "y"] {
            changes.keep(large.to_owned(), ones(125));
            assert_eq!(names(&changes), [large]);
        }
    }

    #[test]
    fn names_tell_tasks_apart() {
        let rows = [Digest::of(b"rows"), Digest::of(b"model")];
        assert_eq!(name("{}", rows), name("{}", rows));
        assert_ne!(name("{}", rows), name("{ }", rows));
        assert_ne!(name("{}", rows), name("{}", [rows[0]]));
    }
}
