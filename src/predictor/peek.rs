//! Owns a look into an ONNX file that takes no memory: who wrote it, and whether its output is a softmax's.

/// The metadata property that our own models have.
const OURS: &[u8] = b"roundtable";
/// So many nodes that only pass numbers on are followed back from the output.
const HOPS: usize = 16;

/// Whether the file says that it holds a model of ours.
pub(super) fn is_ours(bytes: &[u8]) -> bool {
    let mut properties = Fields(bytes).filter(|&(number, _)| number == 14);
    properties.any(|(_, property)| Fields(property).any(|field| field == (1, OURS)))
}

/// Whether what comes out under this name is a softmax's, and so probabilities.
pub(super) fn is_softmax(bytes: &[u8], output: &str) -> bool {
    let Some((_, graph)) = Fields(bytes).find(|&(number, _)| number == 7) else { return false };
    let nodes = || Fields(graph).filter(|&(number, _)| number == 1).map(|(_, node)| node);
    let mut name = output.as_bytes();
    for _ in 0..HOPS {
        let Some(node) = nodes().find(|&node| Fields(node).any(|field| field == (2, name))) else { return false };
        let field =
            |wanted| Fields(node).find(|&(number, _)| number == wanted).map_or(&[][..], |(_, field)| field);
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
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = varint(&mut self.0)?;
            let length = match key & 7 {
                0 => {
                    varint(&mut self.0)?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut self.0)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (field, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            if key & 7 == 2 {
                return Some((key >> 3, field));
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}
