//! Owns dense layers: `Gemm` and `MatMul` with weights that are known.

use super::super::constant::{Constant, show};
use super::super::draft::{ConvDraft, Kind};
use super::super::lower::{Computed, Fact, Layout, Lowering, Node, Wrong};
use super::super::steps::packed_bytes;
use crate::model::images::Window;

pub(super) fn gemm<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    if node.flag("transA")? {
        return Err("transA is not supported".to_owned());
    }
    let (x, weights) = (l.computed(node, 0)?, l.constant(node, 1)?);
    // Version 1 to 6 let it be an image.
    let dims = match &x.dims[..] {
        [first, rest @ ..] if rest.len() > 1 && node.opset < 9 => vec![*first, rest.iter().product()],
        dims => dims.to_vec(),
    };
    let x = if dims == x.dims { x } else { Computed { dims, ..l.plain(&x)? } };
    let &[rows, inner] = &x.dims[..] else {
        return Err(format!("its input is {}; rows of features are needed", show(&x.dims)));
    };
    let turned = node.flag("transB")?;
    let outputs = match weights.dims[..] {
        [outputs, links] if turned && links == inner => outputs,
        [links, outputs] if !turned && links == inner => outputs,
        _ => return Err(format!("weights of {} do not fit rows of {inner}", show(&weights.dims))),
    };
    let (alpha, beta) = (node.float("alpha")?.unwrap_or(1.0), node.float("beta")?.unwrap_or(1.0));
    let mut bias = vec![0.0; outputs];
    if let Some(fact) = l.optional(node, 2)? {
        let Fact::Constant(terms) = fact else { return Err("its input 2 must be a constant".to_owned()) };
        let count = terms.len();
        if terms.dims.last().is_some_and(|&last| last != count) || (count != 1 && count != outputs) {
            return Err(format!("terms of {} do not fit {outputs} outputs", show(&terms.dims)));
        }
        let terms = terms.to_floats().ok_or("its terms are whole numbers")?;
        bias.iter_mut().zip(terms.iter().cycle()).for_each(|(bias, term)| *bias = beta * term);
    }
    let made = layer(l, &x, Layer { rows, inner, outputs, weights, turned, alpha, bias })?;
    l.done(node, made);
    Ok(())
}

pub(super) fn matmul<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let (x, weights) = (l.computed(node, 0)?, l.constant(node, 1)?);
    let (Some((&inner, before)), &[links, outputs]) = (x.dims.split_last(), &weights.dims[..]) else {
        return Err(format!("only a matrix as its second input is supported, not {}", show(&weights.dims)));
    };
    if links != inner {
        return Err(format!("weights of {} do not fit rows of {inner}", show(&weights.dims)));
    }
    let rows: usize = before.iter().product();
    let dims: Vec<usize> = before.iter().copied().chain([outputs]).collect();
    // Rows of the last axis, whatever stood before it.
    let x = Computed { dims: vec![rows, inner], ..l.plain(&x)? };
    let bias = vec![0.0; outputs];
    let made = layer(l, &x, Layer { rows, inner, outputs, weights, turned: false, alpha: 1.0, bias })?;
    let made = if dims.len() == 2 { made } else { Computed { dims, ..l.plain(&made)? } };
    l.done(node, made);
    Ok(())
}

struct Layer<'a> {
    rows: usize,
    inner: usize,
    outputs: usize,
    weights: Constant<'a>,
    /// Whether the weights have a row for each output.
    turned: bool,
    alpha: f32,
    bias: Vec<f32>,
}

/// A convolution over one row of pixels, each of which sees itself.
fn layer<'a>(l: &mut Lowering<'a>, x: &Computed, layer: Layer<'a>) -> Result<Computed, Wrong> {
    let Layer { rows, inner, outputs, weights, turned, alpha, bias } = layer;
    if rows == 0 || inner == 0 || outputs == 0 {
        return Err("a layer without rows, features or outputs".to_owned());
    }
    l.keep(packed_bytes(1, inner, outputs, 1))?;
    l.work(&[rows, inner, outputs])?;
    let mut floats = weights.to_floats().ok_or("its weights are whole numbers")?;
    if !turned {
        let from = floats;
        floats = (0..outputs).flat_map(|output| from.iter().skip(output).step_by(outputs).copied()).collect();
    }
    if alpha != 1.0 {
        floats.iter_mut().for_each(|weight| *weight *= alpha);
    }
    let x = l.pixels(x)?;
    let draft = ConvDraft {
        window: Window::point([1, rows]),
        groups: 1,
        channels: inner,
        weights: floats,
        bias,
        planes: false,
        add: false,
        clip: None,
        curve: None,
    };
    l.push(Kind::Conv(Box::new(draft)), &[&x], vec![rows, outputs], Layout::Pixels)
}
