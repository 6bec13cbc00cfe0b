//! Owns the way from a file's bytes to nodes in the order in which they can be computed, without those nobody wants.

use super::constant::Constant;
use super::error::GraphError;
use super::proto::{self, GraphProto, NodeProto, ValueProto};
use std::collections::BTreeMap;

/// A graph whose names all lead somewhere.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub opset: i64,
    /// In an order in which each comes after those that it needs.
    pub nodes: Vec<NodeProto<'a>>,
    pub constants: BTreeMap<&'a str, Constant<'a>>,
    /// The one input that is no constant: its name and sizes.
    pub input: (&'a str, Vec<Option<usize>>),
    /// The names of the outputs, in the file's order.
    pub outputs: Vec<&'a str>,
}

/// The most nodes of a graph.
const MAX_NODES: usize = 50_000;

/// Reads a graph.
pub(super) fn read(bytes: &[u8]) -> Result<Graph<'_>, GraphError> {
    let model = proto::model(bytes)?;
    if !(1..=26).contains(&model.opset) {
        return Err(GraphError::graph(format!("it uses version {} of the operators", model.opset)));
    }
    let GraphProto { nodes, initializers, inputs, outputs } = model.graph;
    if nodes.len() > MAX_NODES {
        return Err(GraphError::graph(format!("it has {} nodes; at most {MAX_NODES} are read", nodes.len())));
    }
    let mut constants = BTreeMap::new();
    for tensor in &initializers {
        if constants.insert(tensor.name, Constant::read(tensor)?).is_some() {
            return Err(GraphError::malformed(format!("there are two tensors `{}`", tensor.name)));
        }
    }
    let input = input(&inputs, &constants)?;
    let outputs: Vec<&str> = outputs.iter().map(|output| output.name).collect();
    if outputs.is_empty() {
        return Err(GraphError::malformed("it has no output"));
    }
    let nodes = sort(nodes, input.0, &constants, &outputs)?;
    Ok(Graph { opset: model.opset, nodes, constants, input, outputs })
}

/// The one input that is given anew for each run.
fn input<'a>(
    inputs: &[ValueProto<'a>],
    constants: &BTreeMap<&str, Constant<'a>>,
) -> Result<(&'a str, Vec<Option<usize>>), GraphError> {
    let mut given = inputs.iter().filter(|input| !constants.contains_key(input.name));
    let (Some(input), None) = (given.next(), given.next()) else {
        let names: Vec<_> = inputs.iter().map(|i| i.name).filter(|name| !constants.contains_key(name)).collect();
        return Err(GraphError::graph(format!(
            "it has {} inputs ({}); one is needed, the images",
            names.len(),
            names.iter().take(5).copied().collect::<Vec<_>>().join(", ")
        )));
    };
    if input.data_type != 1 {
        return Err(GraphError::graph(format!(
            "its input `{}` has elements of the kind {}; 32-bit floats (1) are needed",
            input.name, input.data_type
        )));
    }
    let Some(dims) = &input.dims else {
        return Err(GraphError::graph(format!("it does not say which sizes its input `{}` has", input.name)));
    };
    let dims: Vec<Option<usize>> = dims
        .iter()
        // Nothing, or less than 1, stands for any size.
        .map(|size| size.and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0))
        .collect();
    if dims.len() < 2 {
        return Err(GraphError::graph(format!("its input `{}` has no batch and no features", input.name)));
    }
    if let Some(at) = dims.iter().skip(1).position(Option::is_none) {
        return Err(GraphError::graph(format!(
            "size {} of its input `{}` is free; only the batch may be: save the model for one size of images",
            at + 1,
            input.name
        )));
    }
    Ok((input.name, dims))
}

/// How a node is called in messages.
pub(super) fn name<'a>(node: &NodeProto<'a>) -> &'a str {
    match node.name {
        "" => node.outputs.first().copied().unwrap_or(""),
        name => name,
    }
}

fn wrong(node: &NodeProto<'_>, what: String) -> GraphError {
    GraphError::Node { node: name(node).to_owned(), operator: node.operator.to_owned(), what }
}

/// Who makes each value.
fn makers<'a>(
    nodes: &[NodeProto<'a>],
    input: &str,
    constants: &BTreeMap<&'a str, Constant<'a>>,
) -> Result<BTreeMap<&'a str, usize>, GraphError> {
    let mut makers = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for &output in node.outputs.iter().filter(|output| !output.is_empty()) {
            let known = output == input || constants.contains_key(output);
            if known || makers.insert(output, index).is_some() {
                return Err(wrong(node, format!("makes `{output}`, which there is already")));
            }
        }
    }
    Ok(makers)
}

/// Puts nodes into an order and leaves out what no output needs.
fn sort<'a>(
    nodes: Vec<NodeProto<'a>>,
    input: &str,
    constants: &BTreeMap<&'a str, Constant<'a>>,
    outputs: &[&'a str],
) -> Result<Vec<NodeProto<'a>>, GraphError> {
    let makers = makers(&nodes, input, constants)?;
    if let Some(output) =
        outputs.iter().find(|&&o| o != input && !constants.contains_key(o) && !makers.contains_key(o))
    {
        return Err(GraphError::malformed(format!("nothing makes the output `{output}`")));
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // Nodes that are begun, with how many of their inputs have been looked at.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for root in outputs.iter().filter_map(|output| makers.get(output)) {
        if marks[*root] == Mark::New {
            marks[*root] = Mark::Open;
            stack.push((*root, 0));
        }
        while let Some((index, looked)) = stack.last_mut() {
            let node = &nodes[*index];
            let Some(&wanted) = node.inputs.get(*looked) else {
                marks[*index] = Mark::Done;
                order.push(*index);
                stack.pop();
                continue;
            };
            *looked += 1;
            match makers.get(wanted) {
                Some(&maker) if marks[maker] == Mark::New => {
                    marks[maker] = Mark::Open;
                    stack.push((maker, 0));
                }
                Some(&maker) if marks[maker] == Mark::Open => {
                    return Err(wrong(node, format!("needs `{wanted}`, which needs the node itself: a cycle")));
                }
                Some(_) => {}
                None if wanted.is_empty() || wanted == input || constants.contains_key(wanted) => {}
                None => return Err(wrong(node, format!("needs `{wanted}`, which nothing makes"))),
            }
        }
    }
    let mut nodes: Vec<Option<NodeProto<'a>>> = nodes.into_iter().map(Some).collect();
    // The file's own order is one, as a rule: it keeps what belongs together near.
    let is_sorted = is_order(&order, &makers, &nodes);
    if is_sorted {
        order.sort_unstable();
    }
    Ok(order.into_iter().filter_map(|index| nodes[index].take()).collect())
}

/// Whether the wanted nodes, in the file's order, come after what they need.
fn is_order(wanted: &[usize], makers: &BTreeMap<&str, usize>, nodes: &[Option<NodeProto<'_>>]) -> bool {
    wanted.iter().all(|&index| {
        let inputs = nodes[index].iter().flat_map(|node| &node.inputs);
        inputs.filter_map(|input| makers.get(input)).all(|&maker| maker < index)
    })
}
