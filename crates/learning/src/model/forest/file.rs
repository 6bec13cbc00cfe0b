//! Owns forests as safetensors files: arrays over all trees one after the other, and a text that says what they are.
//!
//! `trees.root`, `trees.nodes` and `trees.mixed` tell of each tree where rows begin, how many splits it has and how many
//! leaves of several classes. A split sends rows whose value of `nodes.feature` is at most `nodes.threshold` to
//! `nodes.left`, others to `nodes.right`. Below 2^31 that is a split of the tree, a later one; else a leaf: `2^31 + c` is
//! one of class c only, and after those of all classes come the leaves of several. These have `mixed.classes` classes
//! each, told by `mixed.class` with their shares `mixed.share`.

use super::settings::MAX_TREES;
use super::tree::{LEAF_BIT, Node, Tree};
use super::{Forest, ForestSettings};
use crate::data::{MAX_CLASSES, MAX_COLUMNS};
use crate::model::ModelError;
use crate::model::files::arrays::{Array, Arrays, Element, wrong};
use crate::model::files::description::MAX_TEXT;
use crate::model::files::safetensors;
use crate::types::Digest;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::slice;

/// What the text says that the file is.
const KIND: &str = "random forest";
/// So many numbers are handed over at once.
const AT_ONCE: usize = 2048;
/// How far the shares in a leaf may be from 1 when they are added up.
const ROUNDING: f64 = 1e-3;

/// The text's form. What is not known here might change what the forest means, so it is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description<'a> {
    kind: Cow<'a, str>,
    /// How many classes there are.
    classes: usize,
    /// Their names, or none.
    #[serde(default, skip_serializing_if = "is_empty")]
    names: Cow<'a, [String]>,
    settings: Cow<'a, ForestSettings>,
    #[serde(default)]
    notes: Cow<'a, BTreeMap<String, String>>,
}

#[expect(clippy::ptr_arg, reason = "as serde calls it")]
fn is_empty(names: &Cow<'_, [String]>) -> bool {
    names.is_empty()
}

impl Forest {
    /// The forest as the bytes of a safetensors file, with anything worth telling: how it was grown, say. The same forest
    /// and notes give the same bytes.
    ///
    /// # Errors
    /// The names of the classes and the notes are too long for a file.
    pub fn to_safetensors(&self, notes: &BTreeMap<String, String>) -> Result<Vec<u8>, ModelError> {
        let description = Description {
            kind: Cow::Borrowed(KIND),
            classes: self.classes,
            names: Cow::Borrowed(&self.names),
            settings: Cow::Borrowed(&self.settings),
            notes: Cow::Borrowed(notes),
        };
        // Strings and numbers always have a JSON form.
        let text = serde_json::to_string(&description).unwrap_or_default();
        if text.len() > MAX_TEXT {
            let length = text.len();
            return Err(ModelError::Format(format!(
                "the names of the classes and notes take {length} bytes; a file holds at most {MAX_TEXT}"
            )));
        }
        let parts = self.parts();
        let mut bytes = head(&parts, Some(&text));
        bytes.reserve_exact(parts.iter().map(|part| part.element.size() * part.length).sum());
        parts.iter().for_each(|part| (part.write)(&mut |some| bytes.extend_from_slice(some)));
        Ok(bytes)
    }

    /// The SHA-256 of the file without its text: the identity of the trees.
    pub fn digest(&self) -> Digest {
        let parts = self.parts();
        Digest::of_written(|out| {
            out(&head(&parts, None));
            parts.iter().for_each(|part| (part.write)(out));
        })
    }

    /// Whether these bytes say that they are a forest's file.
    pub fn is_file(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Says {
            kind: String,
        }
        let text = safetensors::text(bytes).filter(|text| text.len() <= MAX_TEXT);
        text.and_then(|text| serde_json::from_str(&text).ok()).is_some_and(|Says { kind }| kind == KIND)
    }

    /// Reads a forest and its notes.
    ///
    /// # Errors
    /// Names what is wrong with the bytes: not safetensors, no forest, an array missing, too many or of another type or
    /// length, a setting out of range, nodes that lead nowhere or back, a class or feature that there is not, shares
    /// that do not add up to 1.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let (mut arrays, text) = safetensors::decode(bytes)?;
        let text = text.filter(|text| text.len() <= MAX_TEXT);
        let text = text.ok_or_else(|| wrong("no description of a random forest (`roundtable`)"))?;
        let Description { kind, classes, names, settings, notes } = serde_json::from_str(&text).map_err(|e| {
            wrong(format!("its description (`roundtable`): {e}; was it written by a newer version?"))
        })?;
        if kind != KIND {
            return Err(wrong(format!("a {kind:?}, not a {KIND:?}")));
        }
        settings.check()?;
        let importances = numbers(&mut arrays, "importances", Element::F64, f64::from_le_bytes)?;
        let columns = importances.len();
        if !(1..=MAX_COLUMNS).contains(&columns) || !(1..=MAX_CLASSES).contains(&classes) {
            return Err(wrong(format!("{columns} features and {classes} classes; from 1 to 65536 of each")));
        }
        if let Some(place) = importances.iter().position(|importance| !importance.is_finite()) {
            return Err(ModelError::NotFinite {
                place: format!("`importances[{place}]`"),
                value: importances[place],
            });
        }
        let trees = trees(&mut arrays, columns, classes)?;
        if let Some(name) = arrays.keys().next() {
            return Err(wrong(format!("a tensor `{name}`, which no random forest has")));
        }
        if trees.len() != settings.n_estimators as usize {
            let (found, told) = (trees.len(), settings.n_estimators);
            return Err(wrong(format!("{found} trees, but n_estimators is {told}")));
        }
        let (names, settings) = (names.into_owned(), settings.into_owned());
        let forest = Self { trees, columns, classes, names: Vec::new(), settings, importances };
        let forest = if names.is_empty() { forest } else { forest.with_names(names)? };
        Ok((forest, notes.into_owned()))
    }

    /// All arrays, the larger elements first, so that each is aligned.
    fn parts(&self) -> Vec<Part<'_>> {
        let trees = &self.trees;
        let nodes = || trees.iter().flat_map(|tree| &tree.nodes);
        let mixed = |tree: &Tree| tree.begins.len() as u32 - 1;
        let counts = || trees.iter().flat_map(|tree| tree.begins.windows(2).map(|pair| pair[1] - pair[0]));
        let shares = || trees.iter().flat_map(|tree| &tree.shares);
        let classes = || trees.iter().flat_map(|tree| &tree.classes);
        [
            part("importances", Element::F64, || self.importances.iter().map(|x| x.to_le_bytes())),
            part("trees.root", Element::U32, || trees.iter().map(|tree| tree.root.to_le_bytes())),
            part("trees.nodes", Element::U32, || trees.iter().map(|tree| (tree.nodes.len() as u32).to_le_bytes())),
            part("trees.mixed", Element::U32, move || trees.iter().map(move |tree| mixed(tree).to_le_bytes())),
            part("nodes.threshold", Element::F32, move || nodes().map(|node| node.threshold.to_le_bytes())),
            part("nodes.left", Element::U32, move || nodes().map(|node| node.children[0].to_le_bytes())),
            part("nodes.right", Element::U32, move || nodes().map(|node| node.children[1].to_le_bytes())),
            part("mixed.classes", Element::U32, move || counts().map(u32::to_le_bytes)),
            part("mixed.share", Element::F32, move || shares().map(|share| share.to_le_bytes())),
            part("mixed.class", Element::U16, move || classes().map(|class| class.to_le_bytes())),
            part("nodes.feature", Element::U16, move || nodes().map(|node| node.feature.to_le_bytes())),
        ]
        .into()
    }
}

/// Some numbers of a file. They are made when they are written: a large forest is not to be in memory twice.
struct Part<'f> {
    name: &'static str,
    element: Element,
    /// How many numbers.
    length: usize,
    /// Hands their bytes over, some at a time.
    write: Box<Write<'f>>,
}

type Write<'f> = dyn Fn(&mut dyn FnMut(&[u8])) + 'f;

fn part<'f, const N: usize, I: Iterator<Item = [u8; N]>>(
    name: &'static str,
    element: Element,
    numbers: impl Fn() -> I + 'f,
) -> Part<'f> {
    let length = numbers().count();
    let write = move |out: &mut dyn FnMut(&[u8])| {
        let mut some = Vec::with_capacity(AT_ONCE * N);
        for number in numbers() {
            some.extend_from_slice(&number);
            if some.len() == AT_ONCE * N {
                out(&some);
                some.clear();
            }
        }
        out(&some);
    };
    Part { name, element, length, write: Box::new(write) }
}

/// What stands in a file before these numbers.
fn head(parts: &[Part<'_>], text: Option<&str>) -> Vec<u8> {
    safetensors::head(parts.iter().map(|part| (part.name, part.element, slice::from_ref(&part.length))), text)
}

/// Takes an array of numbers out of a file's.
fn numbers<T, const N: usize>(
    arrays: &mut Arrays<'_>,
    name: &str,
    expected: Element,
    number: fn([u8; N]) -> T,
) -> Result<Vec<T>, ModelError> {
    let array = arrays.remove(name).ok_or_else(|| wrong(format!("there is no tensor `{name}`")))?;
    let Array { element, shape, bytes } = array;
    if element != expected || shape.len() != 1 {
        return Err(wrong(format!(
            "`{name}` is of type {element:?} and shape {shape:?}; it must be {expected:?} and of one dimension"
        )));
    }
    Ok(bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect())
}

/// Reads all trees.
fn trees(arrays: &mut Arrays<'_>, columns: usize, classes: usize) -> Result<Vec<Tree>, ModelError> {
    let root = numbers(arrays, "trees.root", Element::U32, u32::from_le_bytes)?;
    let counts = numbers(arrays, "trees.nodes", Element::U32, u32::from_le_bytes)?;
    let mixed = numbers(arrays, "trees.mixed", Element::U32, u32::from_le_bytes)?;
    let threshold = numbers(arrays, "nodes.threshold", Element::F32, f32::from_le_bytes)?;
    let left = numbers(arrays, "nodes.left", Element::U32, u32::from_le_bytes)?;
    let right = numbers(arrays, "nodes.right", Element::U32, u32::from_le_bytes)?;
    let of_leaves = numbers(arrays, "mixed.classes", Element::U32, u32::from_le_bytes)?;
    let share = numbers(arrays, "mixed.share", Element::F32, f32::from_le_bytes)?;
    let class = numbers(arrays, "mixed.class", Element::U16, u16::from_le_bytes)?;
    let feature = numbers(arrays, "nodes.feature", Element::U16, u16::from_le_bytes)?;
    if root.is_empty() || root.len() > MAX_TREES as usize {
        return Err(wrong(format!("{} trees; from 1 to {MAX_TREES}", root.len())));
    }
    let sum = |counts: &[u32]| counts.iter().map(|&count| u64::from(count)).sum::<u64>();
    for (what, expected, lengths) in [
        ("trees", root.len() as u64, &[counts.len(), mixed.len()][..]),
        ("splits", sum(&counts), &[threshold.len(), left.len(), right.len(), feature.len()]),
        ("mixed leaves", sum(&mixed), &[of_leaves.len()]),
        ("classes in mixed leaves", sum(&of_leaves), &[share.len(), class.len()]),
    ] {
        if let Some(length) = lengths.iter().find(|&&length| length as u64 != expected) {
            return Err(wrong(format!("there should be {expected} {what}, but a tensor has {length}")));
        }
    }
    let (mut node, mut leaf, mut entry) = (0, 0, 0);
    let tree = |(number, &root): (usize, &u32)| {
        let nodes = node..node + counts[number] as usize;
        let leaves = leaf..leaf + mixed[number] as usize;
        let (mut begins, mut end) = (vec![0], 0);
        for &count in &of_leaves[leaves.clone()] {
            end += count as usize;
            begins.push(u32::try_from(end).map_err(|_| wrong(format!("tree {number} is too large")))?);
        }
        let entries = entry..entry + end;
        (node, leaf, entry) = (nodes.end, leaves.end, entries.end);
        let of_place = |place: usize| Node {
            threshold: threshold[place],
            feature: feature[place],
            children: [left[place], right[place]],
        };
        let tree = Tree {
            root,
            nodes: nodes.map(of_place).collect(),
            begins,
            classes: class[entries.clone()].to_vec(),
            shares: share[entries].to_vec(),
        };
        check(&tree, columns, classes).map_err(|what| wrong(format!("tree {number}, {what}")))?;
        Ok(tree)
    };
    root.iter().enumerate().map(tree).collect()
}

/// Fails unless each row comes to a leaf, whatever its features, and each leaf has shares of classes.
fn check(tree: &Tree, columns: usize, classes: usize) -> Result<(), String> {
    let Tree { root, nodes, begins, .. } = tree;
    let mixed = begins.len() - 1;
    // Children after their parents: no way leads in a circle.
    let is_place = |child: u32, least: usize| match child & LEAF_BIT {
        0 => (least..nodes.len()).contains(&(child as usize)),
        _ => ((child & !LEAF_BIT) as usize) < classes + mixed,
    };
    if !is_place(*root, 0) {
        return Err(format!("the root is {root}, of {} splits and {mixed} mixed leaves", nodes.len()));
    }
    for (place, node) in nodes.iter().enumerate() {
        let good = node.children.iter().all(|&child| is_place(child, place + 1));
        if !good || usize::from(node.feature) >= columns || !node.threshold.is_finite() {
            let Node { threshold, feature, children: [left, right] } = node;
            return Err(format!(
                "split {place} has feature {feature}, threshold {threshold}, children {left} and {right}, which cannot \
                 be with {columns} features, {classes} classes, {} splits and {mixed} mixed leaves",
                nodes.len()
            ));
        }
    }
    for leaf in 0..mixed {
        let (mut sum, mut before) = (0.0, None);
        for (class, share) in tree.mixed(leaf) {
            if usize::from(class) >= classes || before >= Some(class) || !(share > 0.0 && share <= 1.0) {
                return Err(format!("mixed leaf {leaf} has class {class} with the share {share}"));
            }
            (sum, before) = (sum + f64::from(share), Some(class));
        }
        if (sum - 1.0_f64).abs() > ROUNDING {
            return Err(format!("mixed leaf {leaf} has shares that add up to {sum}"));
        }
    }
    Ok(())
}
