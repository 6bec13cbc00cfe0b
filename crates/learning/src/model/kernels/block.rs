//! Owns what happens to one block of rows: forward, error signal, backward; and the update after the last block.

use super::super::activation::Activation;
use super::super::loss::{LogProduct, Tally};
use super::super::real::Real;
use super::bend::{Dropout, bend, drop_out};
use super::entropy::{Goal, signals};
use super::lanes::Lanes;
use super::network::{BLOCK, Network, moved, padded};
use super::softmax::{TOGETHER, error_signals};
use super::tile::{Finish, Product, Start, add_rows, add_scaled, product};

/// Takes rows to logits. `features` are padded rows, `rows` rounded up to a multiple of 4 of them.
#[inline(always)]
pub(super) fn forward<T: Real, S: Lanes<T>>(s: S, network: &mut Network<T>, features: &[T], rows: usize) {
    let count = network.layers.len();
    let rows = rows.next_multiple_of(4).min(BLOCK);
    let activation = network.activation;
    for index in 0..count {
        let (before, rest) = network.layers.split_at_mut(index);
        let layer = &mut rest[0];
        let last = index + 1 == count;
        let (bias, weights) = layer.weights.split_at(layer.step);
        let finish = if last || activation != Activation::Relu { Finish::Keep } else { Finish::Relu };
        product(
            s,
            Product {
                rows,
                inner: layer.inputs,
                // All of the padding of logits, as that holds the last block's error signal.
                columns: if last { layer.step } else { layer.outputs },
                a: before.last().map_or(features, |previous| &previous.active),
                a_row: padded::<T>(layer.inputs),
                a_inner: 1,
                b: weights,
                b_row: layer.step,
                start: Start::Bias(bias),
                finish,
                out: &mut layer.active,
                out_row: layer.step,
            },
        );
        if !last && (activation != Activation::Relu || !layer.slope.is_empty()) {
            bend(s, activation, &mut layer.active[..rows * layer.step], &mut layer.slope);
        }
        if !last && network.threshold > 0 {
            let threshold = network.threshold;
            let scale = T::from_f64(1.0 / (1.0 - f64::from(threshold) / 65_536.0));
            let how = Dropout { draws: &layer.draws, threshold, scale };
            drop_out(how, layer.step, layer.outputs, &mut layer.active, &mut layer.slope);
        }
    }
}

/// Takes a block of rows forward and backward by the original's output rule: adds to the gradients and to the
/// log-likelihood.
#[inline(always)]
pub(super) fn step<T: Real, S: Lanes<T>>(
    s: S,
    network: &mut Network<T>,
    features: &[T],
    labels: &[u32],
    likelihood: &mut LogProduct,
) {
    let rows = labels.len();
    assert!(0 < rows && rows <= BLOCK);
    forward(s, network, features, rows);
    if let Some(last) = network.layers.last_mut() {
        let blocks = last.active.chunks_exact_mut(TOGETHER * last.step);
        for (signals, labels) in blocks.zip(labels.chunks(TOGETHER)) {
            // Rows of padding get some label; nobody looks at their signal.
            let label = std::array::from_fn(|row| labels.get(row).map_or(0, |&label| label as usize));
            let probabilities = error_signals(s, signals, &network.real, label);
            probabilities[..labels.len()].iter().for_each(|y| likelihood.multiply(y + 1e-6));
            likelihood.settle();
        }
    }
    backward(s, network, features, rows);
}

/// Takes a block of rows forward and backward: adds to the gradients of minus the loss, and to the tally.
#[inline(always)]
pub(super) fn learn<T: Real, S: Lanes<T>>(
    s: S,
    network: &mut Network<T>,
    features: &[T],
    goal: Goal<'_, T>,
    tally: &mut Tally,
) {
    let rows = goal.rows();
    assert!(0 < rows && rows <= BLOCK);
    forward(s, network, features, rows);
    if let Some(last) = network.layers.last_mut() {
        signals(s, &mut last.active, &network.real, goal, tally);
    }
    backward(s, network, features, rows);
}

/// Adds the gradients of a block, whose error signals stand in the last layer, or begins with them.
#[inline(always)]
fn backward<T: Real, S: Lanes<T>>(s: S, network: &mut Network<T>, features: &[T], rows: usize) {
    let fresh = std::mem::replace(&mut network.fresh, false);
    for index in (0..network.layers.len()).rev() {
        let (before, rest) = network.layers.split_at_mut(index);
        let layer = &mut rest[0];
        let in_step = padded::<T>(layer.inputs);
        let signal: &[T] = if layer.signal.is_empty() { &layer.active } else { &layer.signal };
        let (bias, gradient) = layer.gradient.split_at_mut(layer.step);
        if fresh {
            bias.fill(T::ZERO);
        }
        add_rows(s, rows, signal, layer.step, bias);
        product(
            s,
            Product {
                rows: layer.inputs.next_multiple_of(4),
                inner: rows,
                columns: layer.outputs,
                a: before.last().map_or(features, |previous| &previous.active),
                a_row: 1,
                a_inner: in_step,
                b: signal,
                b_row: layer.step,
                start: if fresh { Start::Zero } else { Start::Output },
                finish: Finish::Keep,
                out: gradient,
                out_row: layer.step,
            },
        );
        if let Some(previous) = before.last_mut() {
            let sloped = !previous.slope.is_empty();
            product(
                s,
                Product {
                    rows: rows.next_multiple_of(4),
                    inner: layer.outputs,
                    columns: layer.inputs,
                    a: signal,
                    a_row: layer.step,
                    a_inner: 1,
                    b: &layer.turned,
                    b_row: in_step,
                    start: Start::Zero,
                    finish: if sloped { Finish::Times(&previous.slope) } else { Finish::Gate(&previous.active) },
                    out: &mut previous.signal,
                    out_row: in_step,
                },
            );
        }
    }
}

/// Adds `eta` times the gradients to the weights and lets them begin anew; says whether all weights are finite.
#[inline(always)]
pub(super) fn update<T: Real, S: Lanes<T>>(s: S, network: &mut Network<T>, eta: T) -> bool {
    let zero = T::from_f64(0.0);
    let mut finite = true;
    for layer in &mut network.layers {
        add_scaled(s, eta, &layer.gradient, &mut layer.weights);
        let mut check = [s.splat(zero); 2];
        for group in layer.weights.chunks_exact(S::LANES) {
            // SAFETY: the chunk is LANES long. (Nothing times zero is NaN, unless it is NaN or infinite.)
            check[0] = s.fma(unsafe { s.load(group.as_ptr()) }, s.splat(zero), check[0]);
        }
        finite &= s.sum(check) == zero;
    }
    moved(s, network);
    finite
}
