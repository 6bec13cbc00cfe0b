//! Owns a writer of small ONNX files, for tests and benches: just the fields of protocol buffers.

/// An attribute of a node.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(&'a [i64]),
    /// A number.
    Float(f32),
    /// Text.
    Text(&'a str),
}

/// A file while it is made.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Vec<u8>,
    /// The version of the operators.
    pub opset: u64,
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value > 127 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A field that holds a number.
pub fn number(field: u64, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3, &mut bytes);
    varint(value, &mut bytes);
    bytes
}

/// A field that holds bytes.
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(field << 3 | 2, &mut bytes);
    varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

/// An input or output; a size of 0 is free.
pub fn value(name: &str, dims: &[u64]) -> Vec<u8> {
    let size = |&size: &u64| bytes(1, &if size == 0 { bytes(2, b"n") } else { number(1, size) });
    let shape: Vec<u8> = dims.iter().flat_map(size).collect();
    let tensor = [number(1, 1), bytes(2, &shape)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

/// A tensor.
pub fn tensor(name: &str, dims: &[u64], kind: u64, raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&size| number(1, size)).collect();
    [dims, number(2, kind), bytes(8, name.as_bytes()), bytes(9, raw)].concat()
}

impl Model {
    /// With the input `x` of these sizes.
    pub fn new(dims: &[u64]) -> Self {
        Self { graph: bytes(11, &value("x", dims)), opset: 17 }
    }

    /// Adds a field to the graph.
    pub fn field(&mut self, field: u64, value: &[u8]) -> &mut Self {
        self.graph.extend(bytes(field, value));
        self
    }

    /// Adds floats that do not change.
    pub fn floats(&mut self, name: &str, dims: &[u64], values: &[f32]) -> &mut Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.field(5, &tensor(name, dims, 1, &raw))
    }

    /// Adds whole numbers that do not change.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> &mut Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.field(5, &tensor(name, &[values.len() as u64], 7, &raw))
    }

    /// Adds a node, which is called like its output.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) -> &mut Self {
        let mut node: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name.as_bytes())).collect();
        node.extend(
            [bytes(2, output.as_bytes()), bytes(3, output.as_bytes()), bytes(4, operator.as_bytes())].concat(),
        );
        for (name, attribute) in attributes {
            let mut field = bytes(1, name.as_bytes());
            match *attribute {
                Attribute::Int(value) => field.extend(number(3, value as u64)),
                Attribute::Ints(values) => values.iter().for_each(|&value| field.extend(number(8, value as u64))),
                Attribute::Float(value) => {
                    field.push(2 << 3 | 5);
                    field.extend(value.to_le_bytes());
                }
                Attribute::Text(text) => field.extend(bytes(4, text.as_bytes())),
            }
            node.extend(bytes(5, &field));
        }
        self.field(1, &node)
    }

    /// The file, whose output is this.
    pub fn file(&self, output: &str) -> Vec<u8> {
        let graph = [&self.graph[..], &bytes(12, &value(output, &[]))].concat();
        let opset = bytes(8, &number(2, self.opset));
        [number(1, 8), bytes(7, &graph), opset].concat()
    }
}
