//! Owns the part of ONNX's `onnx.proto` that graphs are read from, as views of the file's bytes.
//!
//! Nothing is copied but lists of views, and there is a limit on how many there may be: so a file of a few megabytes
//! cannot take gigabytes.

use super::error::GraphError;
use crate::model::protobuf::{Fields, Value, varint};
use std::borrow::Cow;

/// The most parts of a file: nodes, names, attributes, numbers of attributes, tensors, sizes.
const MAX_PARTS: usize = 2_000_000;

/// A model: the graph and the version of its operators.
#[derive(Debug)]
pub(super) struct ModelProto<'a> {
    pub opset: i64,
    pub graph: GraphProto<'a>,
}

#[derive(Debug, Default)]
pub(super) struct GraphProto<'a> {
    pub nodes: Vec<NodeProto<'a>>,
    pub initializers: Vec<TensorProto<'a>>,
    pub inputs: Vec<ValueProto<'a>>,
    pub outputs: Vec<ValueProto<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct NodeProto<'a> {
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub name: &'a str,
    pub operator: &'a str,
    pub domain: &'a str,
    pub attributes: Vec<AttributeProto<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct AttributeProto<'a> {
    pub name: &'a str,
    pub float: Option<f32>,
    pub int: Option<i64>,
    pub text: Option<&'a [u8]>,
    pub tensor: Option<TensorProto<'a>>,
    pub floats: Vec<f32>,
    pub ints: Vec<i64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct TensorProto<'a> {
    pub name: &'a str,
    pub dims: Vec<i64>,
    pub data_type: i64,
    pub raw: Option<&'a [u8]>,
    /// Packed little-endian floats.
    pub floats: Cow<'a, [u8]>,
    /// Packed little-endian doubles.
    pub doubles: Cow<'a, [u8]>,
    /// `int32_data` and `int64_data`.
    pub ints: Vec<i64>,
    pub external: bool,
}

/// An input or output of the graph. The shape is `None` if the file says none.
#[derive(Debug, Default)]
pub(super) struct ValueProto<'a> {
    pub name: &'a str,
    pub data_type: i64,
    pub dims: Option<Vec<Option<i64>>>,
}

/// Counts parts while it reads.
struct Reader {
    left: usize,
}

type Read<T> = Result<T, GraphError>;

/// Reads a model.
pub(super) fn model(bytes: &[u8]) -> Read<ModelProto<'_>> {
    let mut reader = Reader { left: MAX_PARTS };
    let (mut graph, mut opset, mut ir_version) = (None, None, None);
    for field in Fields(bytes) {
        match cut(field, "the model")? {
            (1, Value::Varint(version)) => ir_version = Some(version),
            (7, Value::Bytes(bytes)) if graph.is_none() => graph = Some(reader.graph(bytes)?),
            (7, _) => return Err(GraphError::malformed("it has two graphs")),
            (8, Value::Bytes(bytes)) => {
                let (mut domain, mut version) = ("", 0);
                for field in Fields(bytes) {
                    match cut(field, "an operator set")? {
                        (1, Value::Bytes(bytes)) => domain = text(bytes)?,
                        (2, Value::Varint(number)) => version = number as i64,
                        _ => {}
                    }
                }
                if domain.is_empty() || domain == "ai.onnx" {
                    opset = Some(version);
                }
            }
            _ => {}
        }
    }
    if ir_version.is_none() {
        return Err(GraphError::malformed("it does not say which version of ONNX it is"));
    }
    let graph = graph.ok_or_else(|| GraphError::malformed("it has no graph"))?;
    // Files of the first versions say nothing.
    Ok(ModelProto { opset: opset.unwrap_or(1), graph })
}

fn cut<'a>(field: Option<(u64, Value<'a>)>, place: &str) -> Read<(u64, Value<'a>)> {
    field.ok_or_else(|| GraphError::malformed(format!("{place} is cut off or damaged")))
}

fn text(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes).map_err(|_| GraphError::malformed("a name in it is not UTF-8"))
}

impl Reader {
    fn part(&mut self) -> Read<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| GraphError::malformed(format!("it has more than {MAX_PARTS} parts")))?;
        Ok(())
    }

    fn graph<'a>(&mut self, bytes: &'a [u8]) -> Read<GraphProto<'a>> {
        let mut graph = GraphProto::default();
        for field in Fields(bytes) {
            let (number, value) = cut(field, "the graph")?;
            self.part()?;
            match (number, value) {
                (1, Value::Bytes(bytes)) => graph.nodes.push(self.node(bytes)?),
                (5, Value::Bytes(bytes)) => graph.initializers.push(self.tensor(bytes)?),
                (11, Value::Bytes(bytes)) => graph.inputs.push(self.value(bytes)?),
                (12, Value::Bytes(bytes)) => graph.outputs.push(self.value(bytes)?),
                (15, _) => return Err(GraphError::graph("it has sparse tensors, which are not supported")),
                _ => {}
            }
        }
        Ok(graph)
    }

    fn node<'a>(&mut self, bytes: &'a [u8]) -> Read<NodeProto<'a>> {
        let mut node = NodeProto::default();
        for field in Fields(bytes) {
            let (number, value) = cut(field, "a node")?;
            self.part()?;
            match (number, value) {
                (1, Value::Bytes(bytes)) => node.inputs.push(text(bytes)?),
                (2, Value::Bytes(bytes)) => node.outputs.push(text(bytes)?),
                (3, Value::Bytes(bytes)) => node.name = text(bytes)?,
                (4, Value::Bytes(bytes)) => node.operator = text(bytes)?,
                (5, Value::Bytes(bytes)) => node.attributes.push(self.attribute(bytes)?),
                (7, Value::Bytes(bytes)) => node.domain = text(bytes)?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute<'a>(&mut self, bytes: &'a [u8]) -> Read<AttributeProto<'a>> {
        let mut attribute = AttributeProto::default();
        for field in Fields(bytes) {
            let (number, value) = cut(field, "an attribute")?;
            self.part()?;
            match (number, value) {
                (1, Value::Bytes(bytes)) => attribute.name = text(bytes)?,
                (2, Value::Four(bytes)) => attribute.float = Some(f32::from_le_bytes(bytes)),
                (3, Value::Varint(number)) => attribute.int = Some(number as i64),
                (4, Value::Bytes(bytes)) => attribute.text = Some(bytes),
                (5, Value::Bytes(bytes)) => attribute.tensor = Some(self.tensor(bytes)?),
                (7, Value::Four(bytes)) => attribute.floats.push(f32::from_le_bytes(bytes)),
                (7, Value::Bytes(bytes)) => {
                    for four in bytes.chunks(4) {
                        self.part()?;
                        let four = four.try_into().map_err(|_| GraphError::malformed("cut floats"))?;
                        attribute.floats.push(f32::from_le_bytes(four));
                    }
                }
                (8, value) => self.ints(value, &mut attribute.ints)?,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// One number, or packed ones.
    fn ints(&mut self, value: Value<'_>, to: &mut Vec<i64>) -> Read<()> {
        match value {
            Value::Varint(number) => {
                self.part()?;
                to.push(number as i64);
            }
            Value::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    self.part()?;
                    let number =
                        varint(&mut bytes).ok_or_else(|| GraphError::malformed("a cut list of numbers"))?;
                    to.push(number as i64);
                }
            }
            _ => return Err(GraphError::malformed("a list of numbers holds something else")),
        }
        Ok(())
    }

    fn tensor<'a>(&mut self, bytes: &'a [u8]) -> Read<TensorProto<'a>> {
        let mut tensor = TensorProto::default();
        for field in Fields(bytes) {
            let (number, value) = cut(field, "a tensor")?;
            self.part()?;
            match (number, value) {
                (1, value) => self.ints(value, &mut tensor.dims)?,
                (2, Value::Varint(number)) => tensor.data_type = number as i64,
                (4, Value::Bytes(bytes)) if tensor.floats.is_empty() => tensor.floats = bytes.into(),
                (4, Value::Bytes(bytes)) => tensor.floats.to_mut().extend(bytes),
                (4, Value::Four(bytes)) => tensor.floats.to_mut().extend(bytes),
                (5 | 7, value) => self.ints(value, &mut tensor.ints)?,
                (8, Value::Bytes(bytes)) => tensor.name = text(bytes)?,
                (9, Value::Bytes(bytes)) => tensor.raw = Some(bytes),
                (10, Value::Bytes(bytes)) if tensor.doubles.is_empty() => tensor.doubles = bytes.into(),
                (10, Value::Bytes(bytes)) => tensor.doubles.to_mut().extend(bytes),
                (10, Value::Eight(bytes)) => tensor.doubles.to_mut().extend(bytes),
                (13, _) => tensor.external = true,
                (14, Value::Varint(place)) => tensor.external |= place != 0,
                _ => {}
            }
        }
        Ok(tensor)
    }

    fn value<'a>(&mut self, bytes: &'a [u8]) -> Read<ValueProto<'a>> {
        let mut value = ValueProto::default();
        for field in Fields(bytes) {
            match cut(field, "an input or output")? {
                (1, Value::Bytes(bytes)) => value.name = text(bytes)?,
                (2, Value::Bytes(bytes)) => self.value_type(bytes, &mut value)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn value_type(&mut self, bytes: &[u8], value: &mut ValueProto<'_>) -> Read<()> {
        for field in Fields(bytes) {
            let (1, Value::Bytes(tensor)) = cut(field, "a type")? else { continue };
            for field in Fields(tensor) {
                match cut(field, "a type")? {
                    (1, Value::Varint(number)) => value.data_type = number as i64,
                    (2, Value::Bytes(shape)) => value.dims = Some(self.shape(shape)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn shape(&mut self, bytes: &[u8]) -> Read<Vec<Option<i64>>> {
        let mut dims = Vec::new();
        for field in Fields(bytes) {
            self.part()?;
            let (1, Value::Bytes(dim)) = cut(field, "a shape")? else { continue };
            let mut size = None;
            for field in Fields(dim) {
                if let (1, Value::Varint(number)) = cut(field, "a shape")? {
                    size = Some(number as i64);
                }
            }
            dims.push(size);
        }
        Ok(dims)
    }
}
