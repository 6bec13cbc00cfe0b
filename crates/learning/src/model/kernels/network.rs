//! Owns the memory a training call works in: padded copies of the weights, and room for one block of rows.

use super::super::activation::Activation;
use super::super::mlp::Mlp;
use super::super::real::Real;

/// Rows that go forward and backward together: the activations of narrow layers stay in the L1 cache, those of wide
/// ones in the L2 cache, whose weights are then read less often.
pub(in crate::model) const BLOCK: usize = 64;

/// Bytes of a group, and the alignment of every row.
const GROUP: usize = 64;

/// The length of a padded row of `n` elements: whole groups.
pub(in crate::model) fn padded<T>(n: usize) -> usize {
    n.next_multiple_of(GROUP / size_of::<T>())
}

/// Zeros that start at a multiple of 64 bytes.
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Real> Aligned<T> {
    pub(crate) fn zeros(length: usize) -> Self {
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
    /// BLOCK x step: what the error signal is multiplied by on its way back through the activation. Empty in the last
    /// layer, and where the sign bit of `active` tells it.
    pub slope: Aligned<T>,
    /// A random number for each unit of each row of a block. Empty in the last layer and without dropout.
    pub draws: Vec<u16>,
}

/// A model, ready to be trained.
pub struct Network<T> {
    pub(super) layers: Vec<Layer<T>>,
    /// 1 for every class, 0 for padding.
    pub(super) real: Aligned<T>,
    /// Between the layers.
    pub(super) activation: Activation,
    /// Units with a draw below this are left out.
    pub(super) threshold: u16,
    /// Whether gradients are still to be begun: what they hold then counts for nothing.
    pub(super) fresh: bool,
}

/// The side of the squares that are transposed one after the other, in weights: a line of the cache of the smaller kind.
const SQUARE: usize = 16;

impl<T: Real> Network<T> {
    /// Copies the model, which has this function between its layers.
    pub(in crate::model) fn new(model: &Mlp<T>, activation: Activation) -> Self {
        Self::with_room(model, activation, 0.0)
    }

    /// As `new`, for going forward and nothing else: without the transposed copies.
    pub(in crate::model) fn forward_only(model: &Mlp<T>, activation: Activation) -> Self {
        let mut network = Self::new(model, activation);
        network.layers.iter_mut().for_each(|layer| layer.turned = Aligned::zeros(0));
        network
    }

    /// As `new`, with room for learning by [`Kernels::learn`](super::Kernels::learn), where this share of the hidden
    /// units is left out.
    pub(in crate::model) fn with_room(model: &Mlp<T>, activation: Activation, dropout: f64) -> Self {
        let threshold = (dropout * 65_536.0).round().min(65_535.0) as u16;
        let sloped = activation != Activation::Relu || threshold > 0;
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
                slope: Aligned::zeros(if last || !sloped { 0 } else { BLOCK * step }),
                draws: vec![0; if last || threshold == 0 { 0 } else { BLOCK * outputs }],
            });
        }
        let mut real = Aligned::zeros(layers.last().map_or(0, |last| last.step));
        real[..model.outputs()].fill(T::from_f64(1.0));
        let mut network = Self { layers, real, activation, threshold, fresh: true };
        network.turn();
        network
    }

    /// Renews the transposed copies, square by square: a column of weights is a stride through all of the cache, and a
    /// square's rows and columns stay there.
    #[inline(always)]
    pub(super) fn turn(&mut self) {
        for layer in self.layers.iter_mut().skip(1) {
            let (step, turned_step) = (layer.step, padded::<T>(layer.inputs));
            let weights = &layer.weights[step..];
            for input in (0..layer.inputs).step_by(SQUARE) {
                let inputs = SQUARE.min(layer.inputs - input);
                for output in (0..layer.outputs).step_by(SQUARE) {
                    for output in output..layer.outputs.min(output + SQUARE) {
                        let from = weights[input * step + output..].iter().step_by(step);
                        let to = &mut layer.turned[output * turned_step + input..][..inputs];
                        to.iter_mut().zip(from).for_each(|(to, &weight)| *to = weight);
                    }
                }
            }
        }
    }

    /// Draws which units the next block leaves out.
    pub(in crate::model) fn draw(&mut self, random: &mut impl rand::RngCore, rows: usize) {
        for layer in &mut self.layers {
            let count = (rows * layer.outputs).min(layer.draws.len());
            // Two draws of a word, so that it makes no difference how a processor stores numbers.
            for pair in layer.draws[..count].chunks_mut(2) {
                let word = random.next_u32();
                pair.iter_mut().zip([word as u16, (word >> 16) as u16]).for_each(|(to, draw)| *to = draw);
            }
        }
    }

    /// How many layers of weights there are.
    pub(in crate::model) fn count(&self) -> usize {
        self.layers.len()
    }

    /// The weights of a layer, one padded row after the other.
    pub(in crate::model) fn weights(&self, layer: usize) -> &[T] {
        &self.layers[layer].weights
    }

    /// The weights of a layer, and the sums of its error signals laid out alike.
    pub(in crate::model) fn weights_and_gradient(&mut self, layer: usize) -> (&mut [T], &mut [T]) {
        let layer = &mut self.layers[layer];
        let count = layer.weights.len();
        (&mut layer.weights, &mut layer.gradient[..count])
    }

    /// The two stretches of a layer's weights that hold all of its real weights and no padding but zeros: only the
    /// last layer's biases have other padding.
    pub(in crate::model) fn stretches(&self, layer: usize) -> [std::ops::Range<usize>; 2] {
        let layer = &self.layers[layer];
        [0..layer.outputs, layer.step..layer.weights.len()]
    }

    /// To be called when the weights have moved: gradients begin anew.
    pub(in crate::model) fn moved(&mut self) {
        self.fresh = true;
        self.turn();
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
