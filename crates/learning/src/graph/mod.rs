//! Owns image networks of others: reads a pretrained convolutional network from ONNX and computes what it says.
//!
//! A file becomes a [`Network`] once: nodes are put in order (`read`), sizes inferred and constants computed while
//! each becomes a step (`lower`, with the table of operators in `ops`), neighbours drawn together (`draft`), weights
//! packed and memory shared out (`plan`). Inside, images lie as rows of pixels with padded channels. A batch is dealt
//! with image by image, so results depend neither on its size nor, since the kernels are those of `model`, on the
//! processor.
//!
//! Files may come from anywhere: whatever is in one, reading it gives a network or an error, takes memory within
//! [`Limits`], and a run is bounded in time.

mod constant;
mod draft;
mod error;
mod layout;
mod lower;
mod node;
mod ops;
mod plan;
mod proto;
mod read;
mod run;
mod steps;
#[cfg(test)]
pub(crate) mod tests;
mod window;

pub use error::GraphError;
pub use run::Scratch;

use crate::model::Path;
use plan::Plan;

/// What a network may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of weights and tables. While the file is read, up to twice as much is needed.
    pub weights: usize,
    /// Bytes of memory for one run.
    pub working: usize,
}

impl Default for Limits {
    /// Enough for all well-known networks for images.
    fn default() -> Self {
        Self { weights: 1 << 30, working: 1 << 30 }
    }
}

/// An input or output of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the file.
    pub name: String,
    /// Its sizes; `None` is free. The first is the batch, which may be of any size whatever the file says.
    pub dims: Vec<Option<usize>>,
}

/// A network, ready to run. It does not change; threads may share it, each with a [`Scratch`] of its own.
pub struct Network {
    input: Tensor,
    output: Tensor,
    /// Numbers of an image, and of what is said about one.
    features: usize,
    classes: usize,
    /// Multiply-adds for one image, or steps as small.
    work: u64,
    plan: Plan,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Network { input, output, plan, .. } = self;
        f.debug_struct("Network")
            .field("input", input)
            .field("output", output)
            .field("steps", &plan.tasks.len())
            .finish()
    }
}

impl Network {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// The bytes are no such file, it is damaged, or it asks for what is not supported or not allowed: names the node.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Network, GraphError> {
        let graph = read::read(bytes)?;
        let dims: Vec<Option<usize>> =
            std::iter::once(None).chain(graph.input.1.iter().skip(1).copied()).collect();
        let input = Tensor { name: graph.input.0.to_owned(), dims };
        let lowered = lower::lower(graph, limits)?;
        let output = Tensor { name: lowered.output_name.clone(), dims: vec![None, Some(lowered.classes)] };
        let features = input.dims.iter().flatten().product();
        let (classes, work) = (lowered.classes, lowered.work);
        let plan = plan::plan(lowered, limits)?;
        Ok(Network { input, output, features, classes, work, plan })
    }

    /// What goes in: as a rule batch x channels x height x width.
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// What comes out: batch x classes.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Floating-point operations for one image, roughly: two for each multiplication with an addition.
    pub fn cost(&self) -> f64 {
        2.0 * self.work as f64
    }

    /// Bytes of memory that the network takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.plan.bytes()
    }

    /// Bytes of memory that a run of this many images takes, with its results.
    pub fn working_bytes(&self, batch: usize) -> usize {
        self.plan.working().saturating_add(batch.saturating_mul(4 * self.classes))
    }

    /// Computes the outputs for `batch` images, which lie one after the other as the file says: batch x classes.
    ///
    /// # Errors
    /// There are not as many numbers as `batch` images have.
    pub fn run(&self, batch: usize, input: &[f32], scratch: &mut Scratch) -> Result<Vec<f32>, GraphError> {
        self.run_on(Path::detect(), batch, input, scratch)
    }

    /// As [`Network::run`], with these instructions of the processor. The results are the same.
    ///
    /// # Errors
    /// As for [`Network::run`].
    pub fn run_on(
        &self,
        path: Path,
        batch: usize,
        input: &[f32],
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>, GraphError> {
        if batch.checked_mul(self.features) != Some(input.len()) {
            return Err(GraphError::Input(format!(
                "{} numbers are not {batch} images of {} numbers each",
                input.len(),
                self.features
            )));
        }
        let mut out = vec![0.0; batch * self.classes];
        for (image, out) in input.chunks_exact(self.features).zip(out.chunks_exact_mut(self.classes)) {
            run::image(&self.plan, path, image, out, scratch)?;
        }
        Ok(out)
    }
}
