//! Owns operators over an axis: softmax and means.

use super::super::constant::show;
use super::super::draft::Kind;
use super::super::lower::{Computed, Layout, Lowering, Node, Wrong};
use super::super::node::axis;
use super::super::steps::{RowMean, Softmax};
use super::{moves, pools};
use crate::model::images::Pooling;

pub(super) fn softmax<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    shares(l, node, false)
}

pub(super) fn log_softmax<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    shares(l, node, true)
}

fn shares<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, logarithm: bool) -> Result<(), Wrong> {
    let x = l.computed(node, 0)?;
    let rank = x.dims.len();
    // Before version 13 all axes from this one on are one.
    let old = node.opset < 13;
    let axis = axis(node.int("axis")?.unwrap_or(if old { 1 } else { -1 }), rank)?;
    let behind: usize = x.dims[axis + 1..].iter().product();
    if !old && behind > 1 {
        return Err(format!("over axis {axis} of {}; only the last one is supported", show(&x.dims)));
    }
    let length = if old { x.dims[axis..].iter().product() } else { x.dims[axis] };
    let x = l.plain(&x)?;
    let rows = x.dims.iter().product::<usize>() / length;
    let step = Softmax { rows, length, logarithm };
    let made = l.push(Kind::Ready(Box::new(step)), &[&x], x.dims.clone(), Layout::Plain)?;
    l.done(node, made);
    Ok(())
}

pub(super) fn mean<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    reduce(l, node, true)
}

pub(super) fn sum<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    reduce(l, node, false)
}

fn reduce<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, mean: bool) -> Result<(), Wrong> {
    let x = l.computed(node, 0)?;
    let rank = x.dims.len();
    let given = l.ints_of(node, "axes", 1)?;
    if given.as_ref().is_none_or(Vec::is_empty) && node.flag("noop_with_empty_axes")? {
        l.rename(node, x);
        return Ok(());
    }
    let mut over = vec![given.is_none(); rank];
    for &number in given.iter().flatten() {
        over[axis(number, rank)?] = true;
    }
    let keep = node.int("keepdims")?.unwrap_or(1) != 0;
    if mean && over == [false, false, true, true] && x.dims[0] == 1 {
        return pools::global(l, node, Pooling::Mean, keep);
    }
    // The axes that go come last.
    let order: Vec<usize> = (0..rank).filter(|&at| !over[at]).chain((0..rank).filter(|&at| over[at])).collect();
    let dims: Vec<usize> =
        (0..rank).filter(|&at| keep || !over[at]).map(|at| if over[at] { 1 } else { x.dims[at] }).collect();
    let length: usize = (0..rank).filter(|&at| over[at]).map(|at| x.dims[at]).product();
    let rows = x.dims.iter().product::<usize>() / length.max(1);
    let turned: Computed = moves::turn(l, &x, &order)?;
    let divisor = if mean { length as f32 } else { 1.0 };
    l.work(&[rows, length])?;
    let step = RowMean { rows, length, divisor };
    let made = l.push(Kind::Ready(Box::new(step)), &[&turned], dims, Layout::Plain)?;
    l.done(node, made);
    Ok(())
}
