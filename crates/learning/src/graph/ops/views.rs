//! Owns operators that only change what sizes a tensor has, or nothing.

use super::super::constant::{Constant, show, volume};
use super::super::lower::{Computed, Fact, Layout, Lowering, Node, Wrong};
use super::super::node::axis;

/// The tensor with other sizes of the same volume.
fn resize<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>, fact: Fact<'a>, dims: Vec<usize>) -> Result<(), Wrong> {
    if volume(&dims) != volume(fact.dims()) || (volume(&dims) == Some(0) && dims.len() > 1) {
        return Err(format!("{} cannot become {}", show(fact.dims()), show(&dims)));
    }
    match fact {
        Fact::Constant(constant) => l.fold(node, dims, constant.data),
        Fact::Computed(x) if x.dims == dims => l.rename(node, x),
        Fact::Computed(x) => {
            let plain = l.plain(&x)?;
            let renamed = plain.value == x.value;
            let resized = Computed { dims, layout: Layout::Plain, ..plain };
            if renamed { l.rename(node, resized) } else { l.done(node, resized) }
        }
    }
    Ok(())
}

/// The input as it is.
pub(super) fn same<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    match l.fact(node, 0)? {
        Fact::Constant(Constant { dims, data }) => l.fold(node, dims, data),
        Fact::Computed(x) => l.rename(node, x),
    }
    Ok(())
}

pub(super) fn cast<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let to = node.int("to")?.ok_or("it does not say to what")?;
    match (to, l.fact(node, 0)?) {
        (1, Fact::Computed(x)) => l.rename(node, x),
        (1 | 11, Fact::Constant(constant)) => match constant.as_ints() {
            None => l.fold(node, constant.dims, constant.data),
            Some(ints) => {
                let floats = ints.iter().map(|&int| int as f32).collect();
                let Constant { dims, data } = Constant::floats(constant.dims.clone(), floats);
                l.fold(node, dims, data);
            }
        },
        (6 | 7, Fact::Constant(constant)) if constant.len() <= 1 << 16 => {
            let ints = match (constant.as_ints(), constant.to_floats()) {
                (Some(ints), _) => ints.to_vec(),
                (None, floats) => floats.unwrap_or_default().iter().map(|&x| x as i64).collect(),
            };
            let Constant { dims, data } = Constant::ints(constant.dims, ints);
            l.fold(node, dims, data);
        }
        _ => return Err(format!("to elements of the kind {to}; only 32-bit floats are supported")),
    }
    Ok(())
}

pub(super) fn reshape<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let wanted = l.ints_of(node, "shape", 1)?.ok_or("it has no shape")?;
    if wanted.len() > 16 {
        return Err(format!("{} sizes; at most 16 are supported", wanted.len()));
    }
    let zero_is_zero = node.flag("allowzero")?;
    let mut dims = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (at, &size) in wanted.iter().enumerate() {
        dims.push(match size {
            -1 if free.is_none() => {
                free = Some(at);
                1
            }
            0 if !zero_is_zero => {
                fact.dims().get(at).copied().ok_or_else(|| format!("there is no size {at} to be kept"))?
            }
            size => usize::try_from(size).map_err(|_| format!("impossible sizes {wanted:?}"))?,
        });
    }
    if let Some(at) = free {
        let (all, rest) = (volume(fact.dims()).unwrap_or(0), volume(&dims).unwrap_or(0));
        if rest == 0 || all % rest != 0 {
            return Err(format!("{} cannot become {wanted:?}", show(fact.dims())));
        }
        dims[at] = all / rest;
    }
    resize(l, node, fact, dims)
}

pub(super) fn flatten<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let dims = fact.dims();
    let at = node.int("axis")?.unwrap_or(1);
    // The axis behind the last one is one here.
    let at = if at == dims.len() as i64 { dims.len() } else { axis(at, dims.len())? };
    let dims = vec![dims[..at].iter().product(), dims[at..].iter().product()];
    resize(l, node, fact, dims)
}

pub(super) fn squeeze<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let dims = fact.dims();
    let mut goes: Vec<bool> = dims.iter().map(|&size| size == 1).collect();
    if let Some(axes) = l.ints_of(node, "axes", 1)? {
        goes.fill(false);
        for number in axes {
            let at = axis(number, dims.len())?;
            if dims[at] != 1 {
                return Err(format!("axis {at} of {} is not 1", show(dims)));
            }
            goes[at] = true;
        }
    }
    let dims = dims.iter().zip(goes).filter(|(_, goes)| !goes).map(|(&size, _)| size).collect();
    resize(l, node, fact, dims)
}

pub(super) fn unsqueeze<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let axes = l.ints_of(node, "axes", 1)?.ok_or("it has no axes")?;
    let rank = fact.dims().len() + axes.len();
    if rank > 16 {
        return Err(format!("{rank} axes; at most 16 are supported"));
    }
    let mut is_new = vec![false; rank];
    for number in axes {
        if std::mem::replace(&mut is_new[axis(number, rank)?], true) {
            return Err("an axis is there twice".to_owned());
        }
    }
    let mut old = fact.dims().iter();
    let dims = is_new.iter().map(|&new| if new { 1 } else { old.next().copied().unwrap_or(1) }).collect();
    resize(l, node, fact, dims)
}
