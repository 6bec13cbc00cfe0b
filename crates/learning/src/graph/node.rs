//! Owns how operators read a node's attributes.

use super::lower::Wrong;
use super::proto::{AttributeProto, NodeProto};

/// A node with the version of its operator.
#[derive(Clone, Copy)]
pub(super) struct Node<'n, 'a> {
    pub proto: &'n NodeProto<'a>,
    pub opset: i64,
}

impl<'n, 'a> Node<'n, 'a> {
    pub(super) fn attribute(&self, name: &str) -> Option<&'n AttributeProto<'a>> {
        self.proto.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Wrong> {
        let of =
            |attribute: &AttributeProto<'_>| attribute.int.ok_or(format!("attribute `{name}` is no whole number"));
        self.attribute(name).map(of).transpose()
    }

    /// Whether the attribute is there and not 0.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Wrong> {
        Ok(self.int(name)?.unwrap_or(0) != 0)
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Wrong> {
        let of =
            |attribute: &AttributeProto<'_>| attribute.float.ok_or(format!("attribute `{name}` is no number"));
        self.attribute(name).map(of).transpose()
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'n [i64]>, Wrong> {
        Ok(self.attribute(name).map(|attribute| &attribute.ints[..]))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Wrong> {
        let of = |attribute: &AttributeProto<'a>| {
            let text = attribute.text.and_then(|text| std::str::from_utf8(text).ok());
            text.ok_or(format!("attribute `{name}` is no text"))
        };
        self.attribute(name).map(of).transpose()
    }
}

/// An axis that may be counted from the end, as one from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Wrong> {
    let count = rank as i64;
    let found = if (0..count).contains(&axis) { Some(axis) } else { axis.checked_add(count) };
    found
        .filter(|axis| (0..count).contains(axis))
        .map(|axis| axis as usize)
        .ok_or_else(|| format!("there is no axis {axis} among {rank}"))
}
