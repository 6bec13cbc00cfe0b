//! Owns normalisations: of batches, which are factors and terms by now, and over neighbouring channels.

use super::super::constant::show;
use super::super::draft::{Kind, ScaleDraft};
use super::super::lower::{COPY, Computed, Layout, Lowering, Node, Wrong, pixels};
use super::super::steps::Normalise;

pub(super) fn batch<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    if node.flag("training_mode")? {
        return Err("it is in training mode".to_owned());
    }
    let x = l.computed(node, 0)?;
    if !matches!(x.dims.len(), 2 | 4) || x.dims[0] != 1 {
        return Err(format!("its input is {}; an image or a row is needed", show(&x.dims)));
    }
    let channels = x.dims[1];
    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|input| l.floats(node, input, channels));
    let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
    let epsilon = f64::from(node.float("epsilon")?.unwrap_or(1e-5));
    // In double precision, since it happens once.
    let each = scale.iter().zip(&shift).zip(mean.iter().zip(&variance));
    let (factors, terms) = each
        .map(|((&scale, &shift), (&mean, &variance))| {
            let factor = f64::from(scale) / (f64::from(variance) + epsilon).sqrt();
            (factor as f32, (f64::from(shift) - f64::from(mean) * factor) as f32)
        })
        .unzip();
    self::scale(l, node, x, factors, terms)
}

/// Multiplies each channel and adds to it: in the weights of what makes it, if that can be.
pub(super) fn scale<'a>(
    l: &mut Lowering<'a>,
    node: Node<'_, 'a>,
    x: Computed,
    factors: Vec<f32>,
    terms: Vec<f32>,
) -> Result<(), Wrong> {
    if drawn(l, &x, &factors, &terms) {
        l.rename(node, x);
        return Ok(());
    }
    l.keep(factors.len().checked_mul(16))?;
    let x = l.pixels(&x)?;
    let draft = ScaleDraft { factors, terms, curve: None };
    let made = l.push(Kind::Scale(draft), &[&x], x.dims.clone(), Layout::Pixels)?;
    l.done(node, made);
    Ok(())
}

/// Draws factors and terms into what makes the value, and says whether that could be.
pub(super) fn drawn(l: &mut Lowering<'_>, x: &Computed, factors: &[f32], terms: &[f32]) -> bool {
    if x.layout != Layout::Pixels || pixels(&x.dims).1 != factors.len() {
        return false;
    }
    match l.own_maker(x).map(|draft| &mut draft.kind) {
        Some(Kind::Conv(conv)) if conv.is_bare() && conv.bias.len() == factors.len() => {
            conv.scale(factors, terms);
            true
        }
        Some(Kind::Scale(scale)) if scale.curve.is_none() && scale.factors.len() == factors.len() => {
            for ((a, b), (factor, term)) in
                scale.factors.iter_mut().zip(&mut scale.terms).zip(factors.iter().zip(terms))
            {
                *a *= factor;
                *b = b.mul_add(*factor, *term);
            }
            true
        }
        _ => false,
    }
}

pub(super) fn local<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let x = l.computed(node, 0)?;
    let x = l.pixels(&x)?;
    let &[1, channels, height, width] = &x.dims[..] else {
        return Err(format!("its input is {}; an image is needed", show(&x.dims)));
    };
    let size =
        node.int("size")?.and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=4096).contains(size));
    let size = size.ok_or("its size must be from 1 to 4096")?;
    l.work(&[height, width, channels, size, COPY])?;
    let alpha = node.float("alpha")?.unwrap_or(1e-4);
    let step = Normalise {
        channels,
        before: (size - 1) / 2,
        after: size / 2,
        alpha: alpha / size as f32,
        beta: node.float("beta")?.unwrap_or(0.75),
        bias: node.float("bias")?.unwrap_or(1.0),
    };
    let made = l.push(Kind::Ready(Box::new(step)), &[&x], x.dims.clone(), Layout::Pixels)?;
    l.done(node, made);
    Ok(())
}
