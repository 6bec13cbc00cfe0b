//! Owns the memory a training call works in: padded copies of the weights, and room for one block of rows.

use super::super::activation::Activation;
use super::super::mlp::Mlp;
use super::super::real::Real;
use super::Path;
use super::lanes::Lanes;

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
    /// outputs x padded inputs: the weights without bias, transposed. Empty in the first layer, and for going forward
    /// only.
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

impl<T: Real> Network<T> {
    /// Copies a model, which has this function between its layers, for going forward and nothing else.
    pub(in crate::model) fn forward_only(model: &Mlp<T>, activation: Activation) -> Self {
        Self::copy(model, activation, 0.0)
    }

    /// The same for learning, where this share of the hidden units is left out, with the transposed copies.
    pub(in crate::model) fn for_learning(
        path: Path,
        model: &Mlp<T>,
        activation: Activation,
        dropout: f64,
    ) -> Self {
        let mut network = Self::copy(model, activation, dropout);
        for layer in network.layers.iter_mut().skip(1) {
            layer.turned = Aligned::zeros(layer.outputs * padded::<T>(layer.inputs));
        }
        T::moved(path, &mut network);
        network
    }

    fn copy(model: &Mlp<T>, activation: Activation, dropout: f64) -> Self {
        let threshold = (dropout * 65_536.0).round().min(65_535.0) as u16;
        let sloped = activation != Activation::Relu || threshold > 0;
        let count = model.layers().len();
        let mut layers = Vec::with_capacity(count);
        for (index, matrix) in model.layers().iter().enumerate() {
            let (inputs, outputs) = (matrix.nrows() - 1, matrix.ncols());
            let step = padded::<T>(outputs);
            let last = index + 1 == count;
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
                turned: Aligned::zeros(0),
                gradient: Aligned::zeros((1 + inputs.next_multiple_of(4)) * step),
                active: Aligned::zeros(BLOCK * step),
                signal: Aligned::zeros(if last { 0 } else { BLOCK * step }),
                slope: Aligned::zeros(if last || !sloped { 0 } else { BLOCK * step }),
                draws: vec![0; if last || threshold == 0 { 0 } else { BLOCK * outputs }],
            });
        }
        let mut real = Aligned::zeros(layers.last().map_or(0, |last| last.step));
        real[..model.outputs()].fill(T::from_f64(1.0));
        Self { layers, real, activation, threshold, fresh: true }
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

    /// The mean of each layer's inputs over this many rows of the block that went through last, which were these padded
    /// features.
    pub(in crate::model) fn input_means(&self, features: &[T], columns: usize, rows: usize) -> Vec<Vec<f64>> {
        let mean = |values: &[T], columns: usize| {
            let mut sums = vec![0.0; columns];
            for row in values.chunks_exact(padded::<T>(columns)).take(rows) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value.to_f64());
            }
            sums.iter_mut().for_each(|sum| *sum /= rows as f64);
            sums
        };
        let hidden = self.layers.split_last().map_or(&[][..], |(_, before)| before);
        let hidden = hidden.iter().map(|layer| mean(&layer.active, layer.outputs));
        std::iter::once(mean(features, columns)).chain(hidden).collect()
    }

    /// Multiplications and additions a row costs forward, times three: about what a step costs.
    pub(in crate::model) fn work_per_row(&self) -> usize {
        self.layers.iter().map(|layer| layer.weights.len() * 3).sum()
    }
}

/// To be called when the weights have moved: gradients begin anew, and the transposed copies are renewed.
#[inline(always)]
pub(super) fn moved<T: Real, S: Lanes<T>>(s: S, network: &mut Network<T>) {
    network.fresh = true;
    turn(s, &mut network.layers);
}

/// Renews the transposed copies, square by square.
#[inline(always)]
fn turn<T: Real, S: Lanes<T>>(s: S, layers: &mut [Layer<T>]) {
    for layer in layers.iter_mut().skip(1) {
        let (inputs, outputs, step, to_step) =
            (layer.inputs, layer.outputs, layer.step, padded::<T>(layer.inputs));
        let (from, to) = (&layer.weights[step..], &mut *layer.turned);
        assert!(
            inputs * step <= from.len() && outputs * to_step <= to.len() && outputs <= step && inputs <= to_step
        );
        let (in_squares, out_squares) = (inputs - inputs % S::SIDE, outputs - outputs % S::SIDE);
        // A line of the cache is written by squares that follow each other.
        let line = GROUP / size_of::<T>();
        let lines = (0..in_squares).step_by(line);
        let squares = lines.flat_map(|input| (0..out_squares).step_by(S::SIDE).map(move |output| (input, output)));
        for (first, output) in squares {
            for input in (first..in_squares.min(first + line)).step_by(S::SIDE) {
                let (from, to) = (&from[input * step + output..], &mut to[output * to_step + input..]);
                // SAFETY: rows from input to input + SIDE are within inputs, columns from output to output + SIDE within
                // outputs, and there is room for all of them, as was asserted; `to` is borrowed for itself.
                unsafe { s.turn(from.as_ptr(), step, to.as_mut_ptr(), to_step) }
            }
        }
        // What is no whole square: columns on the right of all rows, then the rows below them.
        let mut one = |input: usize, output: usize| to[output * to_step + input] = from[input * step + output];
        (0..inputs).for_each(|input| (out_squares..outputs).for_each(|output| one(input, output)));
        (in_squares..inputs).for_each(|input| (0..out_squares).for_each(|output| one(input, output)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shape::Shape;
    use super::*;
    use proptest::prelude::*;

    /// The transposed copies of a model whose weights were moved on this path are those of the plain way.
    fn turned_as_plain<T: Real>(shape: &[usize], path: Path) {
        let model = Mlp::<f32>::init(&Shape::new(shape).expect("a shape"), 7);
        let model = model.cast::<T>().expect("small");
        let mut network = Network::for_learning(path, &model, Activation::Relu, 0.0);
        for layer in &mut network.layers {
            let step = layer.step;
            layer.weights[step..]
                .iter_mut()
                .enumerate()
                .for_each(|(place, weight)| *weight = T::from_f64(place as f64));
            layer.turned.fill(T::from_f64(-1.0));
        }
        T::moved(path, &mut network);
        assert!(network.fresh && network.layers[0].turned.is_empty());
        for layer in &network.layers[1..] {
            let to_step = padded::<T>(layer.inputs);
            for (place, &turned) in layer.turned.iter().enumerate() {
                let (output, input) = (place / to_step, place % to_step);
                let inside = input < layer.inputs;
                let plain =
                    if inside { layer.weights[(1 + input) * layer.step + output] } else { T::from_f64(-1.0) };
                assert!(turned == plain, "{shape:?} on {}: {input}, {output}", path.name());
            }
        }
    }

    proptest! {
        #[test]
        fn weights_are_transposed_as_the_plain_way_does(hidden in prop::collection::vec(1..70usize, 1..3), outputs in 1..40usize) {
            let shape = [&[3], hidden.as_slice(), &[outputs]].concat();
            for path in Path::available() {
                turned_as_plain::<f32>(&shape, path);
                turned_as_plain::<f64>(&shape, path);
            }
        }
    }
}
