//! Owns operators that move elements: each element of the output is one of the input, or a number that fills gaps.

use super::super::constant::{Constant, Data, show, volume};
use super::super::draft::{FILL, Kind};
use super::super::lower::{Computed, Fact, Layout, Lowering, Node, Wrong, pixels};
use super::super::node::axis;
use super::super::steps::Concat;
use crate::model::images;

/// For each axis of the output and each place on it, how far that is from the input's first element; [`FILL`] is a gap.
pub(super) type Tables = Vec<Vec<u32>>;

/// From an element to the next on each axis.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; dims.len()];
    for at in (1..dims.len()).rev() {
        strides[at - 1] = strides[at].saturating_mul(dims[at]);
    }
    strides
}

/// All places of an axis: `step` from each to the next.
pub(super) fn line(size: usize, step: usize) -> impl Iterator<Item = u32> {
    // Those that matter are inside of a tensor that `room_for` has looked at.
    (0..size).map(move |place| place.saturating_mul(step) as u32)
}

/// The place of each element of the output in the input.
fn map(l: &mut Lowering<'_>, tables: &Tables) -> Result<Vec<u32>, Wrong> {
    let dims: Vec<usize> = tables.iter().map(Vec::len).collect();
    let length = l.room_for(&dims)?;
    l.allowed(length)?;
    let join = |a: u32, b: u32| if a == FILL || b == FILL { FILL } else { a.saturating_add(b) };
    let mut places = vec![0];
    for table in tables {
        places = places.iter().flat_map(|&a| table.iter().map(move |&b| join(a, b))).collect();
    }
    Ok(places)
}

/// Moves elements, now or in a run.
pub(super) fn moved<'a>(
    l: &mut Lowering<'a>,
    fact: Fact<'a>,
    tables: &Tables,
    fill: Option<f32>,
) -> Result<Fact<'a>, Wrong> {
    let dims: Vec<usize> = tables.iter().map(Vec::len).collect();
    let map = map(l, tables)?;
    match fact {
        Fact::Computed(x) => {
            let x = l.plain(&x)?;
            l.pick(&x, map, fill, dims, Layout::Plain).map(Fact::Computed)
        }
        Fact::Constant(constant) => {
            l.keep(map.len().checked_mul(8))?;
            let data = match (constant.as_ints(), constant.to_floats()) {
                (Some(ints), _) => {
                    let fill = fill.unwrap_or(0.0) as i64;
                    Data::Ints(map.iter().map(|&at| ints.get(at as usize).copied().unwrap_or(fill)).collect())
                }
                (None, floats) => {
                    let (floats, fill) = (floats.unwrap_or_default(), fill.unwrap_or(0.0));
                    Data::Floats(map.iter().map(|&at| floats.get(at as usize).copied().unwrap_or(fill)).collect())
                }
            };
            Ok(Fact::Constant(Constant { dims, data }))
        }
    }
}

/// The sizes that two have together.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Wrong> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], at: usize| (at + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let both = |at: usize| match (size(a, at), size(b, at)) {
        (a, b) if a == b || b == 1 => Ok(a),
        (1, b) => Ok(b),
        _ => Err(format!("{} and {} do not fit together", show(a), show(b))),
    };
    (0..rank).map(both).collect()
}

/// The place of each element of `dims` in a tensor of sizes `from`, where sizes of 1 stand for any.
pub(super) fn expanded(l: &mut Lowering<'_>, from: &[usize], dims: &[usize]) -> Result<Vec<u32>, Wrong> {
    let missing = dims.len() - from.len();
    let steps = strides(from);
    let table = |(at, &size): (usize, &usize)| {
        let step = at.checked_sub(missing).filter(|&at| from[at] != 1).map_or(0, |at| steps[at]);
        line(size, step).collect()
    };
    l.room_for(dims)?;
    let tables = dims.iter().enumerate().map(table).collect();
    map(l, &tables)
}

pub(super) fn expand<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let wanted: Result<Vec<usize>, _> = l.ints(node, 1)?.iter().map(|&size| usize::try_from(size)).collect();
    let dims = broadcast(fact.dims(), &wanted.map_err(|_| "impossible sizes")?)?;
    let (missing, steps) = (dims.len() - fact.dims().len(), strides(fact.dims()));
    l.room_for(&dims)?;
    let table = |(at, &size): (usize, &usize)| {
        let step = at.checked_sub(missing).filter(|&at| fact.dims()[at] != 1).map_or(0, |at| steps[at]);
        line(size, step).collect()
    };
    let tables = dims.iter().enumerate().map(table).collect();
    let made = moved(l, fact, &tables, None)?;
    l.set(node, 0, made);
    Ok(())
}

/// Axes in another order.
fn turned(dims: &[usize], order: &[usize]) -> Tables {
    let steps = strides(dims);
    order.iter().map(|&at| line(dims[at], steps[at]).collect()).collect()
}

/// The value with its axes in this order, as ONNX lays it.
pub(super) fn turn(l: &mut Lowering<'_>, x: &Computed, order: &[usize]) -> Result<Computed, Wrong> {
    let x = l.plain(x)?;
    let dims = order.iter().map(|&at| x.dims[at]).collect();
    // Axes of size 1 may go anywhere.
    let real = order.iter().filter(|&&at| x.dims[at] > 1);
    if real.is_sorted() {
        return Ok(Computed { dims, ..x });
    }
    let map = map(l, &turned(&x.dims, order))?;
    l.pick(&x, map, None, dims, Layout::Plain)
}

pub(super) fn transpose<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let rank = fact.dims().len();
    let order = match node.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return Err(format!("{order:?} is no order of {rank} axes"));
    }
    l.room_for(fact.dims())?;
    let tables = turned(fact.dims(), &order);
    let made = match fact {
        Fact::Constant(_) => moved(l, fact, &tables, None)?,
        Fact::Computed(x) => {
            let made = turn(l, &x, &order)?;
            if made.value == x.value {
                l.rename(node, made);
                return Ok(());
            }
            Fact::Computed(made)
        }
    };
    l.set(node, 0, made);
    Ok(())
}

pub(super) fn pad<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let mode = node.text("mode")?.unwrap_or("constant");
    if mode != "constant" || l.optional(node, 3)?.is_some() {
        return Err("only padding of all axes with a constant is supported".to_owned());
    }
    let name = if node.opset < 2 { "paddings" } else { "pads" };
    let pads = l.ints_of(node, name, 1)?.ok_or("it has no pads")?;
    let rank = fact.dims().len();
    let pads: Vec<usize> =
        pads.iter().filter_map(|&pad| usize::try_from(pad).ok().filter(|pad| *pad < 1 << 16)).collect();
    if pads.len() != 2 * rank {
        return Err(format!("{rank} axes need {} pads, none of them negative or above 65535", 2 * rank));
    }
    let fill = match (node.float("value")?, l.optional(node, 2)?) {
        (Some(fill), _) => fill,
        (None, Some(Fact::Constant(constant))) => constant.single().ok_or("its filling is not one number")?,
        (None, Some(_)) => return Err("its filling must be a constant".to_owned()),
        (None, None) => 0.0,
    };
    let steps = strides(fact.dims());
    let dims: Vec<usize> = (0..rank).map(|at| pads[at] + fact.dims()[at] + pads[rank + at]).collect();
    l.room_for(fact.dims())?;
    l.room_for(&dims)?;
    let table = |at: usize| {
        let inner = line(fact.dims()[at], steps[at]);
        std::iter::repeat_n(FILL, pads[at])
            .chain(inner)
            .chain(std::iter::repeat_n(FILL, pads[rank + at]))
            .collect()
    };
    let tables: Tables = (0..rank).map(table).collect();
    let inner = match &fact {
        Fact::Computed(x) if rank == 4 && fill == 0.0 && [pads[0], pads[1], pads[4], pads[5]] == [0; 4] => {
            Some(x.clone())
        }
        _ => None,
    };
    let made = moved(l, fact, &tables, Some(fill))?;
    if let (Some(inner), Fact::Computed(made)) = (inner, &made) {
        l.pads.insert(made.value, (inner, [pads[2], pads[3], pads[6], pads[7]]));
    }
    l.set(node, 0, made);
    Ok(())
}

pub(super) fn concat<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let facts = (0..node.proto.inputs.len()).map(|at| l.fact(node, at)).collect::<Result<Vec<_>, _>>()?;
    let first = facts.first().ok_or("it has no input")?.dims().to_vec();
    let at = axis(node.int("axis")?.unwrap_or(1), first.len())?;
    let mut dims = first.clone();
    dims[at] = 0;
    for fact in &facts {
        let fits = fact.dims().len() == first.len()
            && (0..first.len()).all(|other| other == at || fact.dims()[other] == first[other]);
        if !fits {
            return Err(format!("{} and {} do not fit side by side", show(&first), show(fact.dims())));
        }
        dims[at] = dims[at].checked_add(fact.dims()[at]).ok_or("too many elements")?;
    }
    l.room_for(&dims)?;
    let constants: Option<Vec<&Constant<'_>>> = facts
        .iter()
        .map(|fact| match fact {
            Fact::Constant(constant) => Some(constant),
            Fact::Computed(_) => None,
        })
        .collect();
    if let Some(constants) = constants {
        let made = constants_side_by_side(l, &constants, dims, at)?;
        l.set(node, 0, Fact::Constant(made));
        return Ok(());
    }
    let channels_of_image = first.len() == 4 && first[0] == 1 && at == 1;
    let mut inputs = Vec::with_capacity(facts.len());
    for fact in facts {
        let x = l.make_computed(fact)?;
        inputs.push(if channels_of_image { l.pixels(&x)? } else { l.plain(&x)? });
    }
    let (step, layout) = if channels_of_image {
        let pieces = inputs.iter().map(|x| (images::step(x.dims[1]), x.dims[1])).collect();
        (Concat { rows: pixels(&dims).0, step: images::step(dims[1]), pieces }, Layout::Pixels)
    } else {
        let behind = |dims: &[usize]| dims[at..].iter().product::<usize>();
        let pieces = inputs.iter().map(|x| (behind(&x.dims), behind(&x.dims))).collect();
        (Concat { rows: dims[..at].iter().product(), step: behind(&dims), pieces }, Layout::Plain)
    };
    let made = l.push(Kind::Ready(Box::new(step)), &inputs.iter().collect::<Vec<_>>(), dims, layout)?;
    l.done(node, made);
    Ok(())
}

fn constants_side_by_side<'a>(
    l: &mut Lowering<'a>,
    constants: &[&Constant<'a>],
    dims: Vec<usize>,
    at: usize,
) -> Result<Constant<'a>, Wrong> {
    l.keep(volume(&dims).and_then(|length| length.checked_mul(8)))?;
    let rows: usize = dims[..at].iter().product();
    let behind = |constant: &Constant<'_>| constant.dims[at..].iter().product::<usize>();
    let ints: Option<Vec<&[i64]>> = constants.iter().map(|constant| constant.as_ints()).collect();
    if let Some(ints) = ints {
        let each = (0..rows).flat_map(|row| {
            ints.iter()
                .zip(constants)
                .flat_map(move |(ints, constant)| ints[row * behind(constant)..][..behind(constant)].to_vec())
        });
        return Ok(Constant::ints(dims, each.collect()));
    }
    let floats: Option<Vec<Vec<f32>>> = constants.iter().map(|constant| constant.to_floats()).collect();
    let floats = floats.ok_or("whole numbers and floats side by side")?;
    let mut all = Vec::with_capacity(rows * dims[at..].iter().product::<usize>());
    for row in 0..rows {
        for (floats, constant) in floats.iter().zip(constants) {
            all.extend_from_slice(&floats[row * behind(constant)..][..behind(constant)]);
        }
    }
    Ok(Constant::floats(dims, all))
}
