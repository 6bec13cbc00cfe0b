//! Owns operators of two operands, with all that sizes of 1 stand for.

use super::super::constant::Constant;
use super::super::draft::Kind;
use super::super::lower::{COPY, Computed, Fact, Layout, Lowering, Node, Wrong, pixels};
use super::super::steps::{Combine, CombineRows};
use super::moves::{broadcast, expanded};
use super::norm::drawn;
use crate::model::images::{self, Curve, GROUP, Operator};

macro_rules! operators {
    ($($name:ident = $operator:ident;)+) => {$(
        pub(super) fn $name<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
            all(l, node, Operator::$operator)
        }
    )+};
}

operators! {
    add = Add;
    div = Div;
    max = Max;
    min = Min;
    mul = Mul;
    sub = Sub;
}

/// The operands from left to right; `Sum`, `Max` and `Min` may have any number.
fn all<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, operator: Operator) -> Result<(), Wrong> {
    let mut left = l.fact(node, 0)?;
    for input in 1..node.proto.inputs.len() {
        let right = l.fact(node, input)?;
        left = two(l, operator, left, right)?;
    }
    if let (Fact::Computed(x), 1) = (&left, node.proto.inputs.len()) {
        l.rename(node, x.clone());
    } else {
        l.set(node, 0, left);
    }
    Ok(())
}

fn two<'a>(l: &mut Lowering<'a>, operator: Operator, left: Fact<'a>, right: Fact<'a>) -> Result<Fact<'a>, Wrong> {
    let made = match (left, right) {
        (Fact::Constant(left), Fact::Constant(right)) => {
            return fold(l, operator, &left, &right).map(Fact::Constant);
        }
        (Fact::Computed(x), Fact::Constant(other)) => with_constant(l, operator, x, other, false)?,
        (Fact::Constant(other), Fact::Computed(x)) => with_constant(l, operator, x, other, true)?,
        (Fact::Computed(left), Fact::Computed(right)) => computed(l, operator, left, right)?,
    };
    Ok(Fact::Computed(made))
}

/// Two constants.
fn fold<'a>(
    l: &mut Lowering<'a>,
    operator: Operator,
    left: &Constant<'a>,
    right: &Constant<'a>,
) -> Result<Constant<'a>, Wrong> {
    let dims = broadcast(&left.dims, &right.dims)?;
    let (left_map, right_map) = (expanded(l, &left.dims, &dims)?, expanded(l, &right.dims, &dims)?);
    l.keep(left_map.len().checked_mul(4))?;
    let pairs = left_map.iter().zip(&right_map).map(|(&a, &b)| (a as usize, b as usize));
    if let (Some(left), Some(right)) = (left.as_ints(), right.as_ints()) {
        let each = pairs.map(|(a, b)| {
            let (a, b) = (left[a], right[b]);
            let found = match operator {
                Operator::Add => a.checked_add(b),
                Operator::Sub => a.checked_sub(b),
                Operator::Mul => a.checked_mul(b),
                Operator::Div => a.checked_div(b),
                Operator::Max => Some(a.max(b)),
                Operator::Min => Some(a.min(b)),
            };
            found.ok_or_else(|| format!("{a} and {b} have no result"))
        });
        return Ok(Constant::ints(dims, each.collect::<Result<_, _>>()?));
    }
    let (Some(left), Some(right)) = (left.to_floats(), right.to_floats()) else {
        return Err("one operand is whole, the other is not".to_owned());
    };
    Ok(Constant::floats(dims, pairs.map(|(a, b)| operator.apply(left[a], right[b])).collect()))
}

/// The constant as one number for each channel of these sizes, if it is that.
fn channel_row(dims: &[usize], constant: &Constant<'_>, floats: &[f32]) -> Option<Vec<f32>> {
    let (_, channels) = pixels(dims);
    let axis = if dims.len() == 4 && dims[0] == 1 { 1 } else { dims.len().checked_sub(1)? };
    let missing = dims.len().checked_sub(constant.dims.len())?;
    let others_are_one = constant.dims.iter().enumerate().all(|(at, &size)| size == 1 || at + missing == axis);
    match floats {
        &[single] => Some(vec![single; channels]),
        row if others_are_one && row.len() == channels => Some(row.to_vec()),
        _ => None,
    }
}

fn with_constant<'a>(
    l: &mut Lowering<'a>,
    operator: Operator,
    x: Computed,
    other: Constant<'a>,
    turned: bool,
) -> Result<Computed, Wrong> {
    let dims = broadcast(&x.dims, &other.dims)?;
    l.work(&[other.len(), COPY])?;
    let floats = other.to_floats().ok_or("whole numbers and floats")?;
    let row = if dims == x.dims { channel_row(&x.dims, &other, &floats) } else { None };
    if let Some(row) = row {
        let ones = || vec![1.0; row.len()];
        let nothing = || vec![0.0; row.len()];
        let linear = match (operator, turned) {
            (Operator::Add, _) => Some((ones(), row.clone())),
            (Operator::Sub, false) => Some((ones(), row.iter().map(|x| -x).collect())),
            (Operator::Sub, true) => Some((vec![-1.0; row.len()], row.clone())),
            (Operator::Mul, _) => Some((row.clone(), nothing())),
            (Operator::Div, false) => Some((row.iter().map(|x| 1.0 / x).collect(), nothing())),
            _ => None,
        };
        if linear.is_some_and(|(factors, terms)| drawn(l, &x, &factors, &terms)) {
            return Ok(taken(l, x));
        }
        let (step, row) = match (floats.len(), x.layout, pixels(&x.dims).0) {
            // Any layout is as good as another.
            (1, ..) => (GROUP, vec![floats[0]; GROUP]),
            (_, Layout::Pixels, _) | (.., 1) => {
                let step = images::step(row.len());
                let mut row = row;
                row.resize(step, 0.0);
                (step, row)
            }
            _ => (0, row),
        };
        if step > 0 {
            l.keep(row.len().checked_mul(4))?;
            let kind = Kind::Ready(Box::new(CombineRows { operator, turned, step, row: Some(row) }));
            return l.push(kind, &[&x], dims, x.layout);
        }
    }
    let other = l.make_computed(Fact::Constant(other))?;
    if turned { full(l, operator, other, x, dims) } else { full(l, operator, x, other, dims) }
}

/// A value that another step now makes in the node's place: the node no longer uses it.
fn taken(l: &mut Lowering<'_>, x: Computed) -> Computed {
    l.values[x.value].uses = l.values[x.value].uses.saturating_sub(1);
    x
}

fn computed<'a>(
    l: &mut Lowering<'a>,
    operator: Operator,
    left: Computed,
    right: Computed,
) -> Result<Computed, Wrong> {
    if left.dims == right.dims {
        let pairs = [(&left, &right), (&right, &left)];
        for (a, b) in pairs {
            if operator == Operator::Add && joined(l, a, b)? {
                return Ok(taken(l, a.clone()));
            }
            if operator == Operator::Mul
                && let Some(made) = swish(l, a, b)
            {
                return Ok(made);
            }
        }
        let layout = if left.layout == right.layout { left.layout } else { Layout::Pixels };
        let (left, right) = match layout {
            Layout::Pixels => (l.pixels(&left)?, l.pixels(&right)?),
            Layout::Plain => (left, right),
        };
        return l.push(Kind::Ready(Box::new(Combine(operator))), &[&left, &right], left.dims.clone(), layout);
    }
    let dims = broadcast(&left.dims, &right.dims)?;
    // One row for all pixels, as in squeeze and excitation.
    for (x, row, turned) in [(&left, &right, false), (&right, &left, true)] {
        let is_row = matches!((&x.dims[..], &row.dims[..]), (&[1, a, _, _], &[1, b, 1, 1]) if a == b);
        if x.dims == dims && is_row {
            let (x, row) = (l.pixels(x)?, l.pixels(row)?);
            let step = images::step(dims[1]);
            let kind = Kind::Ready(Box::new(CombineRows { operator, turned, step, row: None }));
            return l.push(kind, &[&x, &row], dims, Layout::Pixels);
        }
    }
    full(l, operator, left, right, dims)
}

/// Both operands in full size.
fn full<'a>(
    l: &mut Lowering<'a>,
    operator: Operator,
    left: Computed,
    right: Computed,
    dims: Vec<usize>,
) -> Result<Computed, Wrong> {
    let mut grown = |x: Computed| {
        let x = l.plain(&x)?;
        if x.dims == dims {
            return Ok::<_, Wrong>(x);
        }
        let map = expanded(l, &x.dims, &dims)?;
        l.pick(&x, map, None, dims.clone(), Layout::Plain)
    };
    let (left, right) = (grown(left)?, grown(right)?);
    l.push(Kind::Ready(Box::new(Combine(operator))), &[&left, &right], dims, Layout::Plain)
}

/// Lets the convolution that makes `a` add `b`, if it can.
fn joined(l: &mut Lowering<'_>, a: &Computed, b: &Computed) -> Result<bool, Wrong> {
    let can = match l.own_maker(a).map(|draft| &draft.kind) {
        Some(Kind::Conv(conv)) => conv.is_bare() && conv.groups == 1,
        _ => false,
    };
    if !can || a.value == b.value || a.layout != Layout::Pixels {
        return Ok(false);
    }
    let b = l.pixels(b)?;
    // It moves behind whatever makes the other operand.
    let moved = l.own_maker(a).map(|draft| {
        let mut moved = std::mem::replace(draft, draft.gone());
        if let Kind::Conv(conv) = &mut moved.kind {
            conv.add = true;
        }
        moved.inputs.push(b.value);
        moved
    });
    l.values[a.value].maker = Some(l.drafts.len());
    l.drafts.extend(moved);
    Ok(true)
}

/// `a` times a sigmoid of `a`, as one curve.
fn swish(l: &mut Lowering<'_>, a: &Computed, b: &Computed) -> Option<Computed> {
    let draft = l.own_maker(b)?;
    let curve = match draft.kind {
        Kind::Curve(Curve::Sigmoid) => Curve::Swish,
        Kind::Curve(Curve::HardSigmoid(slope, 0.5)) if (slope - 1.0 / 6.0).abs() < 1e-6 => Curve::HardSwish,
        _ => return None,
    };
    if draft.inputs != [a.value] || a.layout != b.layout {
        return None;
    }
    draft.kind = Kind::Curve(curve);
    let value = l.values[a.value];
    if value.uses == 2
        && let Some(Kind::Conv(conv)) = value.maker.map(|maker| &mut l.drafts[maker].kind)
        && conv.bend(curve)
    {
        if let Some(draft) = l.own_maker(b) {
            draft.kind = Kind::Gone;
        }
        l.values[a.value].uses = 0;
        return Some(a.clone());
    }
    l.values[a.value].uses = value.uses.saturating_sub(1);
    Some(taken(l, b.clone()))
}
