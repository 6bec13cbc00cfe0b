//! Owns tensors that are known when a network is read: weights, which stay in the file until they are wanted, and sizes.

use super::error::GraphError;
use super::proto::TensorProto;
use std::rc::Rc;

/// The most whole numbers of a constant: sizes, axes, places.
const MAX_INTS: usize = 1 << 16;

/// A tensor.
#[derive(Clone, Debug)]
pub(super) struct Constant<'a> {
    pub dims: Vec<usize>,
    pub data: Data<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Data<'a> {
    /// Little-endian `f32`, in the file.
    Raw(&'a [u8]),
    Floats(Rc<[f32]>),
    /// The same everywhere.
    Fill(f32),
    Ints(Rc<[i64]>),
}

/// The number of elements, if there is such a number.
pub(super) fn volume(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |volume, &size| volume.checked_mul(size))
}

/// Sizes for messages: `1 x 3 x 224 x 224`.
pub(super) fn show(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "a single number".to_owned();
    }
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

impl<'a> Constant<'a> {
    pub(super) fn ints(dims: Vec<usize>, ints: Vec<i64>) -> Self {
        Self { dims, data: Data::Ints(ints.into()) }
    }

    pub(super) fn floats(dims: Vec<usize>, floats: Vec<f32>) -> Self {
        Self { dims, data: Data::Floats(floats.into()) }
    }

    /// How many elements; whoever made the constant has looked that there is such a number.
    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The numbers, if they are floats.
    pub(super) fn to_floats(&self) -> Option<Vec<f32>> {
        match &self.data {
            Data::Raw(bytes) => Some(floats(bytes).collect()),
            Data::Floats(floats) => Some(floats.to_vec()),
            &Data::Fill(value) => Some(vec![value; self.len()]),
            Data::Ints(_) => None,
        }
    }

    /// The numbers, if they are whole ones.
    pub(super) fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The one float.
    pub(super) fn single(&self) -> Option<f32> {
        match &self.data {
            _ if self.len() != 1 => None,
            Data::Raw(bytes) => floats(bytes).next(),
            Data::Floats(floats) => floats.first().copied(),
            &Data::Fill(value) => Some(value),
            Data::Ints(_) => None,
        }
    }

    /// Reads a tensor of the file.
    pub(super) fn read(tensor: &TensorProto<'a>) -> Result<Self, GraphError> {
        let wrong = |what: String| GraphError::Malformed(format!("tensor `{}` {what}", tensor.name));
        if tensor.external {
            return Err(GraphError::Graph(format!(
                "tensor `{}` lies in another file; save the model as one file",
                tensor.name
            )));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let Some((dims, length)) = dims.and_then(|dims| volume(&dims).map(|length| (dims, length))) else {
            return Err(wrong(format!("has impossible sizes {:?}", tensor.dims)));
        };
        // Products of the other sizes are then never more than their volume.
        if length == 0 && dims.len() > 1 {
            return Err(wrong(format!("has no elements: {}", show(&dims))));
        }
        let data = match tensor.data_type {
            1 => {
                let bytes = match (tensor.raw, &tensor.floats) {
                    (Some(raw), _) => Data::Raw(raw),
                    (None, std::borrow::Cow::Borrowed(bytes)) => Data::Raw(bytes),
                    (None, std::borrow::Cow::Owned(bytes)) => Data::Floats(floats(bytes).collect()),
                };
                match bytes {
                    Data::Raw(bytes) if length.checked_mul(4) != Some(bytes.len()) => {
                        return Err(wrong(format!("has {} bytes for {length} floats", bytes.len())));
                    }
                    Data::Floats(floats) if floats.len() != length => {
                        return Err(wrong(format!("has {} floats instead of {length}", floats.len())));
                    }
                    data => data,
                }
            }
            11 => {
                let bytes = tensor.raw.unwrap_or(&tensor.doubles);
                if length.checked_mul(8) != Some(bytes.len()) {
                    return Err(wrong(format!("has {} bytes for {length} doubles", bytes.len())));
                }
                let doubles = bytes.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
                Data::Floats(doubles.map(|bytes| f64::from_le_bytes(bytes) as f32).collect())
            }
            kind @ (2 | 3 | 6 | 7 | 9) => {
                if length > MAX_INTS {
                    return Err(wrong(format!("has {length} whole numbers; at most {MAX_INTS} are read")));
                }
                let ints = match tensor.raw {
                    Some(raw) => raw_ints(raw, kind),
                    None => tensor.ints.clone(),
                };
                if ints.len() != length {
                    return Err(wrong(format!("has {} numbers instead of {length}", ints.len())));
                }
                Data::Ints(ints.into())
            }
            kind => {
                return Err(wrong(format!(
                    "has elements of the kind {kind}; only 32-bit floats, doubles and whole numbers are read"
                )));
            }
        };
        Ok(Self { dims, data })
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn raw_ints(raw: &[u8], kind: i64) -> Vec<i64> {
    match kind {
        7 => raw.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(i64::from_le_bytes).collect(),
        6 => raw.chunks_exact(4).filter_map(|b| b.try_into().ok()).map(|b| i32::from_le_bytes(b).into()).collect(),
        3 => raw.iter().map(|&b| i64::from(b as i8)).collect(),
        _ => raw.iter().map(|&b| b.into()).collect(),
    }
}
