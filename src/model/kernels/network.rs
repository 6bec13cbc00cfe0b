//! Owns the memory a training call works in: padded copies of the weights, and room for one block of rows.

use super::super::mlp::Mlp;
use super::super::real::Real;

/// Rows that go forward and backward together; few enough for their activations to stay in the L1 cache.
pub(in crate::model) const BLOCK: usize = 32;

/// Bytes of a group, and the alignment of every row.
const GROUP: usize = 64;

/// The length of a padded row of `n` elements: whole groups.
pub(in crate::model) fn padded<T>(n: usize) -> usize {
    n.next_multiple_of(GROUP / size_of::<T>())
}

/// Zeros that start at a multiple of 64 bytes.
pub(in crate::model) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Real> Aligned<T> {
    pub(in crate::model) fn zeros(length: usize) -> Self {
        let memory = vec![T::from_f64(0.0); length + GROUP / size_of::<T>()];
        // An allocation never moves while the vector is neither grown nor cloned, and it is private here.
        let start = memory.as_ptr().align_offset(GROUP).min(GROUP / size_of::<T>());
        Self { memory, start, length }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// One layer and what a block of rows needs of it. Rows of the matrices are `step` apart.
pub(super) struct Layer<T> {
    pub inputs: usize,
    pub outputs: usize,
    /// `outputs`, padded.
    pub step: usize,
    /// (inputs + 1) x step; row 0 is the bias.
    pub weights: Aligned<T>,
    /// outputs x padded inputs: the weights without bias, transposed. Empty in the first layer.
    pub turned: Aligned<T>,
    /// (1 + inputs rounded up to 4) x step, laid out like the weights.
    pub gradient: Aligned<T>,
    /// BLOCK x step: what comes out; of the last layer first logits, then the error signal.
    pub active: Aligned<T>,
    /// BLOCK x step: the error signal at the hidden units. Empty in the last layer.
    pub signal: Aligned<T>,
}

/// A model, ready to be trained.
pub struct Network<T> {
    pub(super) layers: Vec<Layer<T>>,
    /// 1 for every class, 0 for padding.
    pub(super) real: Aligned<T>,
}

impl<T: Real> Network<T> {
    /// Copies the model.
    pub(in crate::model) fn new(model: &Mlp<T>) -> Self {
        let count = model.layers().len();
        let mut layers = Vec::with_capacity(count);
        for (index, matrix) in model.layers().iter().enumerate() {
            let (inputs, outputs) = (matrix.nrows() - 1, matrix.ncols());
            let step = padded::<T>(outputs);
            let (first, last) = (index == 0, index + 1 == count);
            let mut weights = Aligned::zeros((inputs + 1) * step);
            for (to, from) in weights.chunks_exact_mut(step).zip(matrix.rows()) {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            }
            if last {
                // The logit of padding: never the greatest, and far from overflow.
                weights[outputs..step].fill(T::from_f64(-1e30));
            }
            layers.push(Layer {
                inputs,
                outputs,
                step,
                weights,
                turned: Aligned::zeros(if first { 0 } else { outputs * padded::<T>(inputs) }),
                gradient: Aligned::zeros((1 + inputs.next_multiple_of(4)) * step),
                active: Aligned::zeros(BLOCK * step),
                signal: Aligned::zeros(if last { 0 } else { BLOCK * step }),
            });
        }
        let mut real = Aligned::zeros(layers.last().map_or(0, |last| last.step));
        real[..model.outputs()].fill(T::from_f64(1.0));
        let mut network = Self { layers, real };
        network.turn();
        network
    }

    /// Renews the transposed copies.
    #[inline(always)]
    pub(super) fn turn(&mut self) {
        for layer in self.layers.iter_mut().skip(1) {
            let turned_step = padded::<T>(layer.inputs);
            let rows = layer.weights.chunks_exact(layer.step).skip(1);
            let turned = &mut layer.turned[..];
            for (input, row) in rows.enumerate() {
                for (output, &weight) in row[..layer.outputs].iter().enumerate() {
                    turned[output * turned_step + input] = weight;
                }
            }
        }
    }

    /// Copies the weights back into the model they came from.
    pub(in crate::model) fn write_to(&self, model: &mut Mlp<T>) {
        for (layer, matrix) in self.layers.iter().zip(model.layers_mut()) {
            for (from, mut to) in layer.weights.chunks_exact(layer.step).zip(matrix.rows_mut()) {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// The logits of row `row` of the block that went forward last.
    pub(in crate::model) fn logits(&self, row: usize) -> &[T] {
        let Some(last) = self.layers.last() else { return &[] };
        &last.active[row * last.step..row * last.step + last.outputs]
    }

    /// Multiplications and additions a row costs forward, times three: about what a step costs.
    pub(in crate::model) fn work_per_row(&self) -> usize {
        self.layers.iter().map(|layer| layer.weights.len() * 3).sum()
    }
}
