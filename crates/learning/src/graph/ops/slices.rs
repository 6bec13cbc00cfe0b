//! Owns operators that take parts of a tensor.

use super::super::constant::{Constant, show};
use super::super::lower::{Computed, Fact, Lowering, Node, Wrong};
use super::super::node::axis;
use super::moves::{Tables, line, moved, strides};

/// All places of all axes.
fn whole(dims: &[usize]) -> Tables {
    let steps = strides(dims);
    dims.iter().zip(steps).map(|(&size, step)| line(size, step).collect()).collect()
}

pub(super) fn slice<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let dims = fact.dims().to_vec();
    l.room_for(&dims)?;
    let starts = l.ints_of(node, "starts", 1)?.ok_or("it has no starts")?;
    let ends = l.ints_of(node, "ends", 2)?.ok_or("it has no ends")?;
    let axes = l.ints_of(node, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match l.optional(node, 4)? {
        None => vec![1; starts.len()],
        Some(_) => l.ints(node, 4)?,
    };
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("its starts, ends, axes and steps are not equally many".to_owned());
    }
    let mut tables = whole(&dims);
    for (((start, end), number), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let at = axis(number, dims.len())?;
        let size = dims[at] as i64;
        let from_front = |place: i64| if place < 0 { place.saturating_add(size) } else { place };
        let (start, end) = (from_front(start), from_front(end));
        let all = std::mem::take(&mut tables[at]);
        tables[at] = match step {
            1.. => {
                let (start, end) = (start.clamp(0, size) as usize, end.clamp(0, size) as usize);
                all[start..end.max(start)].iter().copied().step_by(step.min(size.max(1)) as usize).collect()
            }
            0 => return Err("a step of 0".to_owned()),
            _ => {
                let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
                let places = (end + 1..=start).rev().step_by(step.unsigned_abs().min(1 << 32) as usize);
                places.map(|place| all[place as usize]).collect()
            }
        };
    }
    let made = moved(l, fact, &tables, None)?;
    l.set(node, 0, made);
    Ok(())
}

pub(super) fn split<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let dims = fact.dims().to_vec();
    l.room_for(&dims)?;
    let at = axis(node.int("axis")?.unwrap_or(0), dims.len())?;
    let parts = node.proto.outputs.len();
    let sizes: Vec<usize> = match l.ints_of(node, "split", 1)? {
        Some(sizes) => sizes.iter().filter_map(|&size| usize::try_from(size).ok()).collect(),
        None => {
            let each = dims[at].div_ceil(parts.max(1));
            (0..parts).map(|part| each.min(dims[at].saturating_sub(part * each))).collect()
        }
    };
    let sum = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
    if sizes.len() != parts || sum != Some(dims[at]) {
        return Err(format!("axis {at} of {} cannot be split into {sizes:?}", show(&dims)));
    }
    let mut first = 0;
    for (output, size) in sizes.into_iter().enumerate() {
        let mut tables = whole(&dims);
        tables[at] = tables[at][first..first + size].to_vec();
        let made = moved(l, fact.clone(), &tables, None)?;
        l.set(node, output, made);
        first += size;
    }
    Ok(())
}

pub(super) fn gather<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let dims = fact.dims().to_vec();
    l.room_for(&dims)?;
    let at = axis(node.int("axis")?.unwrap_or(0), dims.len())?;
    let places = l.constant(node, 1)?;
    let wanted = places.as_ints().ok_or("its places are not whole numbers")?;
    let step = strides(&dims)[at];
    let places_on_axis: Result<Vec<u32>, Wrong> =
        wanted.iter().map(|&place| axis(place, dims[at]).map(|place| (place * step) as u32)).collect();
    let mut tables = whole(&dims);
    tables[at] = places_on_axis?;
    let made = moved(l, fact, &tables, None)?;
    // The axis gives way to those of the places.
    let sizes: Vec<usize> = dims[..at].iter().chain(&places.dims).chain(&dims[at + 1..]).copied().collect();
    let made = match made {
        Fact::Constant(constant) => Fact::Constant(Constant { dims: sizes, ..constant }),
        Fact::Computed(x) => Fact::Computed(Computed { dims: sizes, ..x }),
    };
    l.set(node, 0, made);
    Ok(())
}
