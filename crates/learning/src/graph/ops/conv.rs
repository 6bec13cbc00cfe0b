//! Owns the operator `Conv`.

use super::super::constant::show;
use super::super::draft::{ConvDraft, Kind};
use super::super::lower::{Computed, Layout, Lowering, Node, Wrong};
use super::super::steps::packed_bytes;
use super::super::window;
use crate::model::images::Window;

/// Channels of an image that is read as ONNX lays it.
const FEW: usize = 8;

pub(super) fn conv<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let (x, kernel) = (l.computed(node, 0)?, l.constant(node, 1)?);
    let &[1, channels, height, width] = &x.dims[..] else {
        return Err(format!("its input is {}; an image (1 x channels x height x width) is needed", show(&x.dims)));
    };
    let &[outputs, each, down, across] = &kernel.dims[..] else {
        return Err(format!("its weights are {}; only two-dimensional windows are supported", show(&kernel.dims)));
    };
    let groups = node.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0 && outputs % groups == 0 && outputs > 0);
    let fits = groups.filter(|&groups| each.checked_mul(groups) == Some(channels));
    let Some(groups) = fits else {
        return Err(format!("weights of {} do not fit {channels} channels in its groups", show(&kernel.dims)));
    };
    let (x, more) = unpadded(l, &x);
    let size = if more == [0; 4] { [height, width] } else { [x.dims[2], x.dims[3]] };
    let window = window::of(&node, size, [down, across], more)?;
    if window.kernel != [down, across] {
        return Err(format!("kernel_shape {:?} is not that of its weights, {down} x {across}", window.kernel));
    }
    let [out_height, out_width] = window.out_size;
    let bytes = packed_bytes(groups, channels, outputs, window.taps());
    l.keep(bytes)?;
    l.work(&[out_height, out_width, bytes.unwrap_or(usize::MAX) / 4])?;
    let weights = kernel.to_floats().ok_or("its weights are whole numbers")?;
    let bias = match l.optional(node, 2)? {
        None => vec![0.0; outputs],
        Some(_) => l.floats(node, 2, outputs)?,
    };
    let planes = x.layout == Layout::Plain && groups == 1 && channels <= FEW && is_narrow(&window);
    let x = if planes { x } else { l.pixels(&x)? };
    let draft = ConvDraft { window, groups, channels, weights, bias, planes, add: false, clip: None, curve: None };
    let dims = vec![1, outputs, out_height, out_width];
    let made = l.push(Kind::Conv(Box::new(draft)), &[&x], dims, Layout::Pixels)?;
    l.done(node, made);
    Ok(())
}

/// Whether the image with its padding is not much larger than without; taps of a row must be next to each other.
fn is_narrow(window: &Window) -> bool {
    let rows = |axis: usize| {
        let most = 2 * window.size[axis] + 32;
        window.kernel[axis] * window.dilation[axis] < 64
            && window.pad[axis] + window.pad_end[axis] < 32
            && window.out_size[axis] * window.stride[axis] < most
    };
    rows(0) && rows(1) && window.dilation[1] == 1
}

/// The image before it was padded with zeros, if nobody else wants it padded, and how much it was: top, left, bottom,
/// right.
fn unpadded(l: &mut Lowering<'_>, x: &Computed) -> (Computed, [usize; 4]) {
    match l.padding(x) {
        Some((inner, more)) => (inner, more),
        None => (x.clone(), [0; 4]),
    }
}
