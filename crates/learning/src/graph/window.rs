//! Owns reading windows from nodes: where convolutions and pools look, and how many places there are.

use super::lower::{Node, Wrong};
use crate::model::images::Window;

/// The greatest of kernels, strides, dilations and paddings.
const MOST: usize = 1 << 16;

/// The window of a node with the usual attributes. `more` is padding of the image before it comes here.
pub(super) fn of(
    node: &Node<'_, '_>,
    size: [usize; 2],
    kernel: [usize; 2],
    more: [usize; 4],
) -> Result<Window, Wrong> {
    let pair = |name: &str| match node.ints(name)? {
        None => Ok([1, 1]),
        Some(&[down, across]) => Ok([positive(name, down)?, positive(name, across)?]),
        Some(list) => {
            Err(format!("{name} has {} numbers; only two-dimensional windows are supported", list.len()))
        }
    };
    let kernel = match node.ints("kernel_shape")? {
        None => kernel,
        Some(_) => pair("kernel_shape")?,
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    if kernel.iter().any(|&taps| taps == 0 || taps > MOST) {
        return Err(format!("a window of {} x {} pixels", kernel[0], kernel[1]));
    }
    let (mut pad, mut pad_end) = ([0; 2], [0; 2]);
    // Both are at most 2^16, so that nothing here can overflow.
    let reach = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1;
    let auto = node.text("auto_pad")?.unwrap_or("NOTSET");
    match auto {
        "NOTSET" => {
            let pads = node.ints("pads")?.unwrap_or(&[0; 4]);
            let &[top, left, bottom, right] = pads else {
                return Err(format!("pads has {} numbers instead of 4", pads.len()));
            };
            pad = [whole("pads", top)?, whole("pads", left)?];
            pad_end = [whole("pads", bottom)?, whole("pads", right)?];
        }
        "VALID" => {}
        "SAME_UPPER" | "SAME_LOWER" => {
            for axis in 0..2 {
                let places = size[axis].div_ceil(stride[axis]);
                let needed = places.saturating_sub(1).saturating_mul(stride[axis]).saturating_add(reach(axis));
                let all = needed.saturating_sub(size[axis]);
                let less = all / 2;
                (pad[axis], pad_end[axis]) =
                    if auto == "SAME_UPPER" { (less, all - less) } else { (all - less, less) };
            }
        }
        other => return Err(format!("auto_pad `{other}` is unknown")),
    }
    let more = |at: usize| (pad[at] + more[at], pad_end[at] + more[at + 2]);
    ([pad[0], pad_end[0]], [pad[1], pad_end[1]]) = ([more(0).0, more(0).1], [more(1).0, more(1).1]);
    let ceil = node.int("ceil_mode")?.unwrap_or(0) != 0;
    let mut out_size = [0; 2];
    for axis in 0..2 {
        let padded = size[axis].checked_add(pad[axis] + pad_end[axis]).ok_or("the padding is too wide")?;
        let Some(room) = padded.checked_sub(reach(axis)) else {
            return Err(format!("a window of {} pixels on {padded}", reach(axis)));
        };
        out_size[axis] = room / stride[axis] + 1;
        // A window more for the rest, if it begins in the image or the padding before it.
        if ceil && room % stride[axis] > 0 && out_size[axis] * stride[axis] < size[axis] + pad[axis] {
            out_size[axis] += 1;
        }
    }
    Ok(Window { size, out_size, kernel, stride, dilation, pad, pad_end })
}

fn positive(name: &str, value: i64) -> Result<usize, Wrong> {
    let size = usize::try_from(value).ok().filter(|&size| (1..=MOST).contains(&size));
    size.ok_or_else(|| format!("{name} holds {value}; it must be from 1 to {MOST}"))
}

fn whole(name: &str, value: i64) -> Result<usize, Wrong> {
    let size = usize::try_from(value).ok().filter(|&size| size <= MOST);
    size.ok_or_else(|| format!("{name} holds {value}; it must be from 0 to {MOST}"))
}
