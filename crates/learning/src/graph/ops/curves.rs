//! Owns operators that bend each element by itself.

use super::super::constant::Data;
use super::super::draft::Kind;
use super::super::lower::{Fact, Lowering, Node, Wrong};
use crate::model::Path;
use crate::model::images::{self, Curve};

/// Bends the node's input: as part of what makes it, if that can be.
fn bend<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, curve: Curve) -> Result<(), Wrong> {
    let x = match l.fact(node, 0)? {
        Fact::Computed(x) => x,
        Fact::Constant(constant) => {
            l.keep(constant.len().checked_mul(4))?;
            let mut floats = constant.to_floats().ok_or("its input holds whole numbers")?;
            let length = floats.len();
            floats.resize(images::step(length), 1.0);
            images::bend(Path::detect(), curve, &mut floats);
            floats.truncate(length);
            l.fold(node, constant.dims, Data::Floats(floats.into()));
            return Ok(());
        }
    };
    let drawn = match l.own_maker(&x).map(|draft| &mut draft.kind) {
        Some(Kind::Conv(conv)) => conv.bend(curve),
        Some(Kind::Scale(scale)) if scale.curve.is_none() => {
            scale.curve = Some(curve);
            true
        }
        _ => false,
    };
    if drawn {
        l.rename(node, x);
    } else {
        let made = l.push(Kind::Curve(curve), &[&x], x.dims.clone(), x.layout)?;
        l.done(node, made);
    }
    Ok(())
}

macro_rules! curves {
    ($($name:ident = $curve:expr;)+) => {$(
        pub(super) fn $name<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
            bend(l, node, $curve)
        }
    )+};
}

curves! {
    abs = Curve::Abs;
    exp = Curve::Exp;
    hard_swish = Curve::HardSwish;
    inverse = Curve::Inverse;
    negative = Curve::Negative;
    relu = Curve::RELU;
    root = Curve::Root;
    sigmoid = Curve::Sigmoid;
    tanh = Curve::Tanh;
}

pub(super) fn leaky<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let slope = node.float("alpha")?.unwrap_or(0.01);
    bend(l, node, Curve::Leaky(slope))
}

pub(super) fn hard_sigmoid<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let (a, b) = (node.float("alpha")?.unwrap_or(0.2), node.float("beta")?.unwrap_or(0.5));
    bend(l, node, Curve::HardSigmoid(a, b))
}

pub(super) fn clip<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let bound = |name: &str, input: usize| match node.float(name)? {
        Some(bound) => Ok(Some(bound)),
        None => match l.optional(node, input)? {
            None => Ok(None),
            Some(Fact::Constant(constant)) => {
                constant.single().map(Some).ok_or_else(|| format!("its input {input} is not one number"))
            }
            Some(Fact::Computed(_)) => Err(format!("its input {input} must be a constant")),
        },
    };
    let low = bound("min", 1)?.unwrap_or(f32::NEG_INFINITY);
    let high = bound("max", 2)?.unwrap_or(f32::INFINITY);
    bend(l, node, Curve::Clip(low, high))
}
