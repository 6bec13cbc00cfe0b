//! Owns the tasks that are on their way: the version that each starts from, what its node was at before, and answers that are
//! here before one which they were learnt after.

use super::behind;
use crate::jobs::TaskInput;
use crate::jobs::training::TrainingMetrics;
use crate::model::Mlp;
use crate::types::TaskId;
use std::collections::BTreeMap;

/// Tasks that nodes have or are to have, and answers that wait.
#[derive(Default)]
pub(super) struct Flight {
    out: BTreeMap<TaskId, Out>,
    held: Vec<Answer>,
}

/// A task that a node has or is to have.
pub(super) struct Out {
    pub(super) unit: u64,
    /// The version that it starts from.
    pub(super) base: u64,
    /// What the node was at when it was sent.
    pub(super) behind: Vec<Before>,
    /// What its name is made of.
    pub(super) parameters: String,
    pub(super) inputs: Vec<TaskInput>,
}

/// A task before another on the same node.
pub(super) struct Before {
    unit: u64,
    pub(super) name: String,
    /// A version after the other's has its change.
    is_in: bool,
}

/// An answer.
pub(super) struct Answer {
    pub(super) unit: u64,
    name: String,
    /// The version that came with the task.
    base: u64,
    /// The changes that the node began with, beside it.
    behind: Vec<Before>,
    pub(super) rows: u64,
    pub(super) change: Mlp<f32>,
    pub(super) metrics: TrainingMetrics,
}

impl Out {
    fn name(&self) -> String {
        behind::name(&self.parameters, self.inputs.iter().map(TaskInput::digest))
    }
}

impl Answer {
    /// How many versions it has missed, if this is the newest. A node's own changes do not count: it had them.
    pub(super) fn missed(&self, newest: u64) -> u64 {
        let own = self.behind.iter().filter(|before| before.is_in).count();
        (newest - self.base).saturating_sub(own as u64)
    }
}

impl Flight {
    /// Nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.held.is_empty()
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Out> {
        self.out.get(&task)
    }

    /// A task is handed out, for the first time or again.
    pub(super) fn begins(&mut self, task: TaskId, out: Out) {
        self.out.insert(task, out);
    }

    /// What a node has learnt, or will have, that is at these tasks: they, and what has overtaken one of them.
    pub(super) fn before(&self, tasks: &[TaskId]) -> Vec<Before> {
        let at_work = tasks.iter().filter_map(|task| self.out.get(task));
        let at_work = at_work.map(|out| Before { unit: out.unit, name: out.name(), is_in: false });
        let mut before: Vec<Before> = at_work.collect();
        for Answer { unit, name, behind, .. } in &self.held {
            if behind.iter().any(|earlier| before.iter().any(|known| known.unit == earlier.unit)) {
                before.push(Before { unit: *unit, name: name.clone(), is_in: false });
            }
        }
        before
    }

    /// A task has its answer, of a node that began with the changes at these places of those before it.
    pub(super) fn answered(
        &mut self,
        task: TaskId,
        had: &[usize],
        rows: u64,
        change: Mlp<f32>,
        metrics: TrainingMetrics,
    ) {
        let Some(out) = self.out.remove(&task) else { return };
        let (unit, name, base) = (out.unit, out.name(), out.base);
        let behind = out.behind.into_iter().enumerate().filter(|(place, _)| had.contains(place));
        let behind = behind.map(|(_, before)| before).collect();
        self.held.push(Answer { unit, name, base, behind, rows, change, metrics });
    }

    /// The next answer: those of a node come in the order in which they were learnt.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let is_out = |before: &Before| self.out.values().any(|out| out.unit == before.unit);
        let is_held = |before: &Before| self.held.iter().any(|held| held.unit == before.unit);
        let first =
            self.held.iter().position(|held| !held.behind.iter().any(|before| is_out(before) || is_held(before)));
        // A task that is done again may wait for one that waited for it.
        let next = first.or_else(|| self.held.iter().position(|held| !held.behind.iter().any(is_out)))?;
        Some(self.held.remove(next))
    }

    /// A version has the change of a task.
    pub(super) fn is_in(&mut self, unit: u64) {
        let behind = self.out.values_mut().map(|out| &mut out.behind);
        let behind = behind.chain(self.held.iter_mut().map(|held| &mut held.behind));
        behind.flatten().filter(|before| before.unit == unit).for_each(|before| before.is_in = true);
    }
}
