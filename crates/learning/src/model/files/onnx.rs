//! Owns the ONNX format: a graph from raw features to probabilities or values, which any runtime opens.
//!
//! `features` [batch, features] go in; `probabilities` [batch, classes] or `value` [batch, 1] come out, all `float`.
//! Standardising is inside: the mean is the sum of two floats, so that features far from 0 lose nothing. The exact
//! numbers and the names of the classes stand in the metadata property `roundtable`, as JSON.

use super::super::activation::Activation;
use super::super::error::ModelError;
use super::super::form::{Model, Output};
use super::arrays::{self, Array, Arrays, Element, wrong};
use super::onnx_proto::*;
use super::{Format, description};
use crate::data::Scaling;
use prost::Message;
use std::borrow::Cow;

/// The row of [`super::FORMATS`].
pub(super) const FORMAT: Format = Format {
    extension: "onnx",
    about: "opens in onnxruntime and others: a graph from raw features to probabilities or values",
    write,
    read,
};

/// The metadata property that holds the description.
const KEY: &str = "roundtable";
/// The version of ONNX's own format, of 2021, and of its operators, of 2022: old enough for all runtimes.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

fn write(model: &Model) -> Result<Vec<u8>, ModelError> {
    let value = description::write(model, true);
    let proto = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "roundtable".to_owned(),
        graph: Some(graph(model)?),
        opset_import: opsets(),
        metadata_props: vec![StringStringEntryProto { key: KEY.to_owned(), value }],
    };
    Ok(proto.encode_to_vec())
}

fn read(bytes: &[u8]) -> Result<Model, ModelError> {
    if !is_sound(bytes) {
        return Err(wrong("not ONNX as roundtable writes it: cut off, or of too many parts"));
    }
    let proto = ModelProto::decode(bytes).map_err(|e| wrong(format!("not ONNX: {e}")))?;
    let text = proto.metadata_props.iter().find(|property| property.key == KEY);
    let (Some(text), Some(graph)) = (text, proto.graph) else {
        return Err(wrong("an ONNX graph that roundtable did not write; others cannot be read"));
    };
    let (form, notes) = description::read(&text.value)?;
    let mut arrays = Arrays::new();
    for tensor in graph.initializer.iter().filter(|tensor| tensor.name.starts_with("layers.")) {
        arrays.insert(tensor.name.clone(), to_array(tensor)?);
    }
    let model = description::join(arrays::to_weights(&arrays)?, form, notes)?;
    // Whatever else the graph says must be what its description says, or we would compute something else.
    if proto.opset_import != opsets() {
        return Err(changed("operators of another version".to_owned()));
    }
    match difference(&graph, &self::graph(&model)?) {
        Some(what) => Err(changed(what)),
        None => Ok(model),
    }
}

fn changed(what: String) -> ModelError {
    wrong(format!("its graph is not the one that its description stands for ({what}); only such graphs are read"))
}

/// What differs between two graphs.
fn difference(found: &GraphProto, expected: &GraphProto) -> Option<String> {
    let pairs = found.node.iter().zip(&expected.node);
    if let Some((node, _)) = pairs.into_iter().find(|(found, expected)| found != expected) {
        return Some(format!("node `{}`", node.output.first().unwrap_or(&node.op_type)));
    }
    let mut pairs = found.initializer.iter().zip(&expected.initializer);
    if let Some((tensor, _)) = pairs.find(|(found, expected)| found != expected) {
        return Some(format!("constant `{}`", tensor.name));
    }
    (found != expected).then(|| "its inputs, outputs or the number of its parts".to_owned())
}

fn opsets() -> Vec<OperatorSetIdProto> {
    vec![OperatorSetIdProto { domain: String::new(), version: OPSET }]
}

/// A graph while it is made. Nodes are added in the order in which they are computed.
struct Builder(GraphProto);

impl Builder {
    /// Adds a node and returns the name of its output.
    fn node(&mut self, operator: &str, inputs: &[&str], output: &str) -> String {
        self.0.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
            ..NodeProto::default()
        });
        output.to_owned()
    }

    /// Gives the node that was added last an attribute.
    fn attribute(&mut self, name: &str, value: i64) {
        if let Some(node) = self.0.node.last_mut() {
            node.attribute.push(AttributeProto { name: name.to_owned(), i: value, r#type: INT });
        }
    }

    /// Adds numbers that do not change, as a vector, and returns their name.
    fn constant(&mut self, name: &str, values: impl Iterator<Item = f32>) -> String {
        let raw_data: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        let dims = vec![(raw_data.len() / 4) as i64];
        self.0.initializer.push(TensorProto { dims, data_type: FLOAT, name: name.to_owned(), raw_data });
        name.to_owned()
    }

    /// `(features - mean) / deviation`
    fn standardise(&mut self, features: &str, scaling: &Scaling) -> String {
        let high = |&mean: &f64| mean as f32;
        let low = |&mean: &f64| (mean - f64::from(mean as f32)) as f32;
        let high = self.constant("inputs.mean.high", scaling.mean().iter().map(high));
        let low = self.constant("inputs.mean.low", scaling.mean().iter().map(low));
        let deviation = self.constant("inputs.deviation", scaling.deviation().iter().map(|&value| value as f32));
        let nearly = self.node("Sub", &[features, &high], "inputs.nearly_centred");
        let centred = self.node("Sub", &[&nearly, &low], "inputs.centred");
        self.node("Div", &[&centred, &deviation], "inputs.standardised")
    }

    /// What happens between the layers; GELU is in the operators only from 20 on.
    fn activate(&mut self, x: &str, activation: Activation) -> String {
        let name = |part: &str| format!("{x}.{part}");
        match activation {
            Activation::Relu => self.node("Relu", &[x], &name("relu")),
            Activation::Tanh => self.node("Tanh", &[x], &name("tanh")),
            Activation::Gelu => {
                let square = self.node("Mul", &[x, x], &name("square"));
                let cube = self.node("Mul", &[&square, x], &name("cube"));
                let some_cube = self.node("Mul", &[&cube, "gelu.cubic"], &name("some_cube"));
                let sum = self.node("Add", &[x, &some_cube], &name("sum"));
                let scaled = self.node("Mul", &[&sum, "gelu.scale"], &name("scaled"));
                let tanh = self.node("Tanh", &[&scaled], &name("tanh"));
                let gate = self.node("Add", &[&tanh, "gelu.one"], &name("gate"));
                let half = self.node("Mul", &[x, "gelu.half"], &name("half"));
                self.node("Mul", &[&half, &gate], &name("gelu"))
            }
        }
    }
}

fn graph(model: &Model) -> Result<GraphProto, ModelError> {
    check_range(model)?;
    let mut builder = Builder(GraphProto { name: "roundtable".to_owned(), ..GraphProto::default() });
    let (layers, form) = (model.weights.layers().len(), &model.form);
    let mut x = "features".to_owned();
    if let Some(scaling) = &form.inputs {
        x = builder.standardise(&x, scaling);
    }
    if form.activation == Activation::Gelu && layers > 1 {
        let scale = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
        for (name, value) in [("cubic", 0.044715), ("scale", scale as f32), ("one", 1.0), ("half", 0.5)] {
            builder.constant(&format!("gelu.{name}"), [value].into_iter());
        }
    }
    let tensors = arrays::of_weights(&model.weights).into_iter().map(|(name, array)| TensorProto {
        dims: array.shape.iter().map(|&size| size as i64).collect(),
        data_type: FLOAT,
        name,
        raw_data: array.bytes.into_owned(),
    });
    builder.0.initializer.extend(tensors);
    for layer in 0..layers {
        let name = |part: &str| format!("layers.{layer}.{part}");
        x = builder.node("Gemm", &[&x, &name("weight"), &name("bias")], &name("outputs"));
        builder.attribute("transB", 1);
        if layer + 1 < layers {
            x = builder.activate(&x, form.activation);
        }
    }
    let (output, width) = match &form.output {
        Output::Classes(_) => {
            let output = builder.node("Softmax", &[&x], "probabilities");
            builder.attribute("axis", 1);
            (output, model.weights.outputs())
        }
        &Output::Value { mean, deviation } => {
            let deviation = builder.constant("output.deviation", [deviation as f32].into_iter());
            let mean = builder.constant("output.mean", [mean as f32].into_iter());
            let scaled = builder.node("Mul", &[&x, &deviation], "output.scaled");
            (builder.node("Add", &[&scaled, &mean], "value"), 1)
        }
    };
    builder.0.input = vec![floats("features", model.weights.inputs())];
    builder.0.output = vec![floats(&output, width)];
    Ok(builder.0)
}

/// Refuses numbers that a float of 32 bits cannot hold.
fn check_range(model: &Model) -> Result<(), ModelError> {
    let no_pairs = (&[][..], &[][..]);
    let (means, deviations) = model.form.inputs.as_ref().map_or(no_pairs, |s| (s.mean(), s.deviation()));
    let (mean, deviation) = match model.form.output {
        Output::Classes(_) => (0.0, 1.0),
        Output::Value { mean, deviation } => (mean, deviation),
    };
    let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
    let bad_mean = means.iter().chain([&mean]).find(|mean| mean.abs() > *range.end());
    let bad_deviation = deviations.iter().chain([&deviation]).find(|deviation| !range.contains(deviation));
    match bad_mean.map(|mean| ("mean", mean)).or(bad_deviation.map(|deviation| ("deviation", deviation))) {
        None => Ok(()),
        Some((what, value)) => Err(ModelError::Format(format!(
            "ONNX computes with 32-bit floats, which cannot hold the {what} {value:e}; .safetensors and .npz can"
        ))),
    }
}

/// The type of an input or output: [batch, width].
fn floats(name: &str, width: usize) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: "batch".to_owned(), dim_value: 0 };
    let width = DimensionProto { dim_param: String::new(), dim_value: width as i64 };
    let shape = Some(TensorShapeProto { dim: vec![batch, width] });
    let tensor_type = Some(TensorTypeProto { elem_type: FLOAT, shape });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

fn to_array(tensor: &TensorProto) -> Result<Array<'_>, ModelError> {
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let length = shape.iter().flatten().try_fold(4_usize, |length, &size| length.checked_mul(size));
    match shape {
        Some(shape) if tensor.data_type == FLOAT && length == Some(tensor.raw_data.len()) => {
            Ok(Array { element: Element::F32, shape, bytes: Cow::Borrowed(&tensor.raw_data) })
        }
        _ => Err(wrong(format!("`{}` is not a tensor of floats as raw data", tensor.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{examples, small};
    use super::*;

    fn proto() -> ModelProto {
        ModelProto::decode(&write(&small()).unwrap()[..]).unwrap()
    }

    fn refusal(change: impl FnOnce(&mut ModelProto)) -> String {
        let mut proto = proto();
        change(&mut proto);
        read(&proto.encode_to_vec()).unwrap_err().to_string()
    }

    fn graph_of(proto: &mut ModelProto) -> &mut GraphProto {
        proto.graph.as_mut().unwrap()
    }

    #[test]
    fn changed_graphs_are_refused() {
        let says = refusal(|proto| graph_of(proto).node[3].op_type = "Selu".into());
        assert!(says.contains("(node `layers.0.outputs"), "{says}");
        let says = refusal(|proto| graph_of(proto).initializer[2].raw_data[0] ^= 1);
        assert!(says.contains("(constant `inputs.deviation`)"), "{says}");
        let says = refusal(|proto| drop(graph_of(proto).node.pop()));
        assert!(says.contains("number of its parts"), "{says}");
        let says = refusal(|proto| graph_of(proto).input[0].name = "x".into());
        assert!(says.contains("its inputs"), "{says}");
        let says = refusal(|proto| proto.opset_import[0].version = 13);
        assert!(says.contains("operators of another version"), "{says}");
        for says in [refusal(|proto| proto.metadata_props.clear()), refusal(|proto| proto.graph = None)] {
            assert!(says.contains("roundtable did not write"), "{says}");
        }
        let says = refusal(|proto| graph_of(proto).initializer.retain(|tensor| tensor.name != "layers.1.bias"));
        assert!(says.contains("3 tensors"), "{says}");
        let says = refusal(|proto| graph_of(proto).initializer[3].raw_data.truncate(9));
        assert!(says.contains("`layers.0.bias` is not a tensor of floats"), "{says}");
        let says = refusal(|proto| graph_of(proto).initializer[3].dims = vec![i64::MAX, i64::MAX]);
        assert!(says.contains("`layers.0.bias` is not a tensor of floats"), "{says}");
    }

    #[test]
    fn what_other_tools_add_is_no_matter() {
        let mut proto = proto();
        proto.producer_name = "another".into();
        proto.metadata_props.insert(0, StringStringEntryProto { key: "who".into(), value: "me".into() });
        let mut bytes = proto.encode_to_vec();
        // Field 6, `doc_string`.
        bytes.extend([6 << 3 | 2, 2, b'h', b'i']);
        assert_eq!(read(&bytes).unwrap(), small());
    }

    #[test]
    fn many_small_parts_are_refused_before_they_take_memory() {
        // Empty nodes: field 1 of the graph, which is field 7.
        let nodes = [1 << 3 | 2, 0].repeat(20_000);
        let length = nodes.len() as u64;
        let head = [7 << 3 | 2, (length & 127 | 128) as u8, (length >> 7 & 127 | 128) as u8, (length >> 14) as u8];
        let says = read(&[&head[..], &nodes].concat()).unwrap_err().to_string();
        assert!(says.contains("too many parts"), "{says}");
        assert!(!is_sound(&[255; 30]) && !is_sound(&[8]) && !is_sound(&[7 << 3 | 2, 5, 0]) && is_sound(b""));
        let deep = super::super::tests::deepest();
        assert!(read(&write(&deep).unwrap()).unwrap() == deep);
        assert!(examples().iter().all(|model| is_sound(&write(model).unwrap())));
    }

    #[test]
    fn numbers_beyond_floats_are_refused() {
        for (mean, deviation, part) in [(1e39, 1.0, "mean 1e39"), (0.0, 1e-40, "deviation 1e-40")] {
            let mut model = small();
            model.form.inputs = Scaling::new(vec![mean; 3], vec![deviation; 3]);
            let says = write(&model).unwrap_err().to_string();
            assert!(says.contains(part) && says.contains(".npz can"), "{says}");
        }
    }
}
