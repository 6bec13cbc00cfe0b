//! Owns a look into an ONNX file that takes no memory: who wrote it, and whether its output is a softmax's.

use crate::model::protobuf::{Fields, Value};

/// The metadata property that our own models have.
const OURS: &[u8] = b"roundtable";
/// So many nodes that only pass numbers on are followed back from the output.
const HOPS: usize = 16;

/// Whether the file says that it holds a model of ours.
pub(super) fn is_ours(bytes: &[u8]) -> bool {
    let mut properties = fields(bytes).filter(|&(number, _)| number == 14);
    properties.any(|(_, property)| fields(property).any(|field| field == (1, OURS)))
}

/// Whether what comes out under this name is a softmax's, and so probabilities.
pub(super) fn is_softmax(bytes: &[u8], output: &str) -> bool {
    let Some((_, graph)) = fields(bytes).find(|&(number, _)| number == 7) else { return false };
    let nodes = || fields(graph).filter(|&(number, _)| number == 1).map(|(_, node)| node);
    let mut name = output.as_bytes();
    for _ in 0..HOPS {
        let Some(node) = nodes().find(|&node| fields(node).any(|field| field == (2, name))) else { return false };
        let field =
            |wanted| fields(node).find(|&(number, _)| number == wanted).map_or(&[][..], |(_, field)| field);
        match field(4) {
            b"Softmax" => return true,
            b"Identity" | b"Dropout" | b"Reshape" | b"Flatten" | b"Squeeze" | b"Unsqueeze" | b"Cast" => {
                name = field(1)
            }
            _ => return false,
        }
    }
    false
}

/// The fields of a message that have a length, with their numbers; ends where the message is damaged.
fn fields(message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    Fields(message).map_while(|field| field).filter_map(|(number, value)| match value {
        Value::Bytes(bytes) => Some((number, bytes)),
        _ => None,
    })
}
