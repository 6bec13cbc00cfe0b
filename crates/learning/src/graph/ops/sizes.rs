//! Owns operators that make constants: given ones, filled ones, and the sizes of tensors.

use super::super::constant::{Constant, Data, volume};
use super::super::lower::{Lowering, Node, Wrong};

pub(super) fn constant<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let Constant { dims, data } = if let Some(attribute) = node.attribute("value") {
        let tensor = attribute.tensor.as_ref().ok_or("its value is no tensor")?;
        Constant::read(tensor).map_err(|error| error.to_string())?
    } else if let Some(value) = node.float("value_float")? {
        Constant::floats(Vec::new(), vec![value])
    } else if let Some(value) = node.int("value_int")? {
        Constant::ints(Vec::new(), vec![value])
    } else if let Some(values) = node.ints("value_ints")? {
        Constant::ints(vec![values.len()], values.to_vec())
    } else if let Some(attribute) = node.attribute("value_floats") {
        Constant::floats(vec![attribute.floats.len()], attribute.floats.clone())
    } else {
        return Err("it has no value that is supported".to_owned());
    };
    l.fold(node, dims, data);
    Ok(())
}

pub(super) fn constant_of_shape<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let sizes = l.ints(node, 0)?;
    let dims: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    let length = dims.as_ref().and_then(|dims| volume(dims)).filter(|&length| length > 0 || sizes.len() == 1);
    let (Some(dims), Some(length)) = (dims, length) else {
        return Err(format!("impossible sizes {sizes:?}"));
    };
    let value = match node.attribute("value") {
        None => Constant::floats(vec![1], vec![0.0]),
        Some(attribute) => {
            let tensor = attribute.tensor.as_ref().ok_or("its value is no tensor")?;
            Constant::read(tensor).map_err(|error| error.to_string())?
        }
    };
    let data = match (value.single(), value.as_ints()) {
        (Some(value), _) => {
            // It takes no memory before it is used; what uses it counts its own, but not what it is read into.
            l.allowed(length)?;
            Data::Fill(value)
        }
        (None, Some(&[value])) if length <= 1 << 16 => Data::Ints(vec![value; length].into()),
        _ => return Err("its value is not one number".to_owned()),
    };
    l.fold(node, dims, data);
    Ok(())
}

pub(super) fn shape<'a>(l: &mut Lowering<'a>, node: Node<'_, 'a>) -> Result<(), Wrong> {
    let fact = l.fact(node, 0)?;
    let rank = fact.dims().len() as i64;
    let place = |name: &str, otherwise: i64| -> Result<usize, Wrong> {
        let at = node.int(name)?.unwrap_or(otherwise);
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        Ok(at.clamp(0, rank) as usize)
    };
    let (start, end) = (place("start", 0)?, place("end", rank)?);
    let sizes: Vec<i64> = fact.dims()[start..end.max(start)].iter().map(|&size| size as i64).collect();
    let Constant { dims, data } = Constant::ints(vec![sizes.len()], sizes);
    l.fold(node, dims, data);
    Ok(())
}
