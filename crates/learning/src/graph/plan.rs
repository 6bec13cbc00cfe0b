//! Owns which memory each value of a run takes: values that are not wanted at the same time share it.

use super::GraphError;
use super::Limits;
use super::draft::{Draft, Kind};
use super::lower::Lowered;
use super::steps::Step;

/// A step with the places of its inputs and output.
pub(super) struct Task {
    pub step: Box<dyn Step>,
    /// Slots and how many floats of them are meant.
    pub inputs: Vec<(usize, usize)>,
    pub output: (usize, usize),
}

/// All that a run does.
pub(super) struct Plan {
    pub tasks: Vec<Task>,
    /// Floats of each slot.
    pub slots: Vec<usize>,
    pub input: (usize, usize),
    pub output: (usize, usize),
    /// Floats that steps need besides.
    pub room: usize,
}

/// Slots while they are given away.
#[derive(Default)]
struct Slots {
    lengths: Vec<usize>,
    free: Vec<usize>,
}

impl Slots {
    /// The free slot that fits best: the smallest that is large enough, or else the largest.
    fn take(&mut self, length: usize) -> usize {
        let fit = |&slot: &usize| {
            let has = self.lengths[slot];
            if has >= length { (0, has - length) } else { (1, length - has) }
        };
        match self.free.iter().copied().enumerate().min_by_key(|(_, slot)| fit(slot)) {
            Some((at, slot)) => {
                self.free.swap_remove(at);
                self.lengths[slot] = self.lengths[slot].max(length);
                slot
            }
            None => {
                self.lengths.push(length);
                self.lengths.len() - 1
            }
        }
    }
}

/// Makes steps ready and gives each value a slot.
pub(super) fn plan(lowered: Lowered, limits: &Limits) -> Result<Plan, GraphError> {
    let Lowered { values, drafts, input, output, .. } = lowered;
    let drafts = wanted(drafts, values.len(), output);
    let mut last = vec![0; values.len()];
    for (index, draft) in drafts.iter().enumerate() {
        draft.inputs.iter().for_each(|&value| last[value] = index);
    }
    (last[output], last[input]) = (usize::MAX, last[input].max(usize::from(drafts.is_empty())));
    let mut slots = Slots::default();
    let mut slot_of = vec![None; values.len()];
    slot_of[input] = Some(slots.take(values[input].length));
    let mut tasks = Vec::with_capacity(drafts.len());
    let place = |slot_of: &[Option<usize>], value: usize| {
        let slot = slot_of.get(value).copied().flatten();
        slot.map(|slot| (slot, values[value].length))
            .ok_or_else(|| GraphError::graph("a value is used before it is made"))
    };
    for (index, draft) in drafts.into_iter().enumerate() {
        let Some(step) = draft.kind.ready() else { continue };
        let inputs = draft.inputs.iter().map(|&value| place(&slot_of, value)).collect::<Result<Vec<_>, _>>()?;
        let dies = |value: usize| last[value] == index;
        let reuse = step.in_place() && draft.inputs.first().is_some_and(|&first| dies(first));
        let slot = if reuse { inputs[0].0 } else { slots.take(values[draft.output].length) };
        slot_of[draft.output] = Some(slot);
        let mut ended: Vec<usize> = draft.inputs.iter().copied().filter(|&value| dies(value)).collect();
        ended.sort_unstable();
        ended.dedup();
        let ended = ended.into_iter().filter_map(|value| slot_of[value]).filter(|&other| other != slot);
        slots.free.extend(ended);
        let output = (slot, values[draft.output].length);
        tasks.push(Task { step, inputs, output });
    }
    let room = tasks.iter().map(|task| task.step.room()).max().unwrap_or(0);
    let (input, output) = (place(&slot_of, input)?, place(&slot_of, output)?);
    let plan = Plan { tasks, slots: slots.lengths, input, output, room };
    if plan.working() > limits.working || plan.room > u32::MAX as usize {
        let what = format!("{} bytes of memory for a run", plan.working());
        return Err(GraphError::TooBig { what, limit: limits.working });
    }
    if plan.bytes() > limits.weights {
        let what = format!("{} bytes for weights and tables", plan.bytes());
        return Err(GraphError::TooBig { what, limit: limits.weights });
    }
    Ok(plan)
}

/// The drafts without those that have gone, and those whose output nobody uses.
fn wanted(mut drafts: Vec<Draft>, values: usize, output: usize) -> Vec<Draft> {
    let mut is_wanted = vec![false; values];
    is_wanted[output] = true;
    for draft in drafts.iter_mut().rev() {
        if matches!(draft.kind, Kind::Gone) || !is_wanted[draft.output] {
            draft.kind = Kind::Gone;
            continue;
        }
        draft.inputs.iter().for_each(|&value| is_wanted[value] = true);
    }
    drafts.retain(|draft| !matches!(draft.kind, Kind::Gone));
    drafts
}

impl Plan {
    /// Bytes of memory that a run takes.
    pub(super) fn working(&self) -> usize {
        let floats = self.slots.iter().fold(self.room, |sum, &length| sum.saturating_add(length));
        floats.saturating_mul(4)
    }

    /// Bytes of weights and tables.
    pub(super) fn bytes(&self) -> usize {
        self.tasks.iter().map(|task| task.step.bytes() + size_of::<Task>()).sum()
    }
}
