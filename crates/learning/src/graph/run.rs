//! Owns a run: the steps one after the other, image by image.

use super::GraphError;
use super::plan::Plan;
use super::steps::{Room, Run};
use crate::model::Path;
use crate::model::images::Aligned;

/// Memory for runs, to be used again and again by one thread; it fits itself to the network that it is used with.
#[derive(Default)]
pub struct Scratch {
    slots: Vec<Aligned<f32>>,
    room: Option<Room>,
}

impl Scratch {
    /// Empty; it takes its memory when it is first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fits the memory to a plan.
    fn fit(&mut self, plan: &Plan) {
        let fits = self.slots.len() == plan.slots.len()
            && self.slots.iter().zip(&plan.slots).all(|(slot, &length)| slot.len() == length);
        if !fits {
            // First free, then take.
            self.slots = Vec::new();
            self.slots = plan.slots.iter().map(|&length| Aligned::zeros(length)).collect();
        }
        if self.room.as_ref().is_none_or(|room| room.floats.len() != plan.room) {
            self.room = None;
            self.room = Some(Room { floats: Aligned::zeros(plan.room), starts: Vec::new() });
        }
    }
}

/// Runs one image.
pub(super) fn image(
    plan: &Plan,
    path: Path,
    input: &[f32],
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), GraphError> {
    scratch.fit(plan);
    let Some(room) = &mut scratch.room else { return Err(GraphError::graph("no memory for a run")) };
    scratch.slots[plan.input.0][..input.len()].copy_from_slice(input);
    for task in &plan.tasks {
        let (slot, length) = task.output;
        let mut output = std::mem::replace(&mut scratch.slots[slot], Aligned::zeros(0));
        let mut inputs = &task.inputs[..];
        if task.step.in_place() {
            let (from, length) = inputs[0];
            if from != slot {
                output[..length].copy_from_slice(&scratch.slots[from][..length]);
            }
            inputs = &inputs[1..];
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(|&(slot, length)| &scratch.slots[slot][..length]).collect();
        task.step.run(Run { path, inputs: &inputs, out: &mut output[..length], room });
        scratch.slots[slot] = output;
    }
    let (slot, _) = plan.output;
    out.copy_from_slice(&scratch.slots[slot][..out.len()]);
    Ok(())
}
