//! Owns pools.

use super::super::constant::show;
use super::super::draft::Kind;
use super::super::lower::{COPY, Layout, Lowering, Node, Wrong};
use super::super::steps::{GlobalPool, Pool};
use super::super::window;
use crate::model::images::{self, Pooling};

pub(super) fn max<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    if node.proto.outputs.len() > 1 {
        return Err("the places of the greatest are not supported".to_owned());
    }
    over_windows(l, node, Pooling::Max)
}

pub(super) fn average<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let with = node.flag("count_include_pad")?;
    over_windows(l, node, if with { Pooling::MeanWithPadding } else { Pooling::Mean })
}

fn over_windows<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, pooling: Pooling) -> Result<(), Wrong> {
    let x = l.computed(node, 0)?;
    let &[1, channels, height, width] = &x.dims[..] else {
        return Err(format!("its input is {}; an image is needed", show(&x.dims)));
    };
    if node.ints("kernel_shape")?.is_none() {
        return Err("it has no kernel_shape".to_owned());
    }
    let window = window::of(&node, [height, width], [1, 1], [0; 4])?;
    let [down, across] = window.out_size;
    let seen = [0, 1].map(|axis| window.kernel[axis].min(window.size[axis]));
    l.work(&[down, across, channels, seen[0], seen[1], COPY / 4])?;
    let x = l.pixels(&x)?;
    let step = Pool { window, step: images::step(channels), pooling };
    let dims = vec![1, channels, down, across];
    let made = l.push(Kind::Ready(Box::new(step)), &[&x], dims, Layout::Pixels)?;
    l.done(node, made);
    Ok(())
}

pub(super) fn global_average<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    global(l, node, Pooling::Mean, true)
}

pub(super) fn global_max<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    global(l, node, Pooling::Max, true)
}

/// A pool over all pixels; sizes of 1 are kept or not.
pub(super) fn global<'a>(
    l: &mut Lowering<'a>,
    node: Node<'_, 'a>,
    pooling: Pooling,
    keep: bool,
) -> Result<(), Wrong> {
    let x = l.computed(node, 0)?;
    let &[1, channels, height, width] = &x.dims[..] else {
        return Err(format!("its input is {}; an image is needed", show(&x.dims)));
    };
    let x = l.pixels(&x)?;
    l.work(&[height, width, channels])?;
    let step = GlobalPool { pixels: height * width, step: images::step(channels), pooling };
    let dims = if keep { vec![1, channels, 1, 1] } else { vec![1, channels] };
    let made = l.push(Kind::Ready(Box::new(step)), &[&x], dims, Layout::Pixels)?;
    l.done(node, made);
    Ok(())
}
