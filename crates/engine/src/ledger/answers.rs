//! Owns the answers of a job since it saved, in the order in which they came: some jobs decide by it.

use crate::jobs::TaskOutput;
use crate::types::TaskId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Answers in the order in which they came; one for a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    order: Vec<(TaskId, Arc<TaskOutput>)>,
    known: BTreeSet<TaskId>,
}

impl Answers {
    /// Takes an answer, unless there is one to the task.
    pub fn insert(&mut self, task: TaskId, output: Arc<TaskOutput>) {
        if self.known.insert(task) {
            self.order.push((task, output));
        }
    }

    /// Whether there is an answer to a task.
    pub fn contains(&self, task: TaskId) -> bool {
        self.known.contains(&task)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The answers, the first to come first.
    pub fn iter(&self) -> impl Iterator<Item = &(TaskId, Arc<TaskOutput>)> {
        self.order.iter()
    }

    /// The tasks that are answered, the first to be answered first.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.order.iter().map(|&(task, _)| task)
    }

    /// Keeps those for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(TaskId, &TaskOutput) -> bool) {
        let Self { order, known } = self;
        order.retain(|(task, output)| {
            let kept = keep(*task, output);
            if !kept {
                known.remove(task);
            }
            kept
        });
    }
}
