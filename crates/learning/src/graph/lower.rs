//! Owns the way from nodes to steps: what is known of each value, how it lies in memory, and who uses it.
//!
//! Shapes are those of one image: a batch is dealt with image by image.

use super::Limits;
use super::constant::{Constant, Data, show, volume};
use super::draft::{Draft, Kind, PickDraft};
use super::error::GraphError;
pub(super) use super::layout::{Layout, pixels};
use super::layout::{length, places};
pub(super) use super::node::Node;
use super::ops;
use super::read::{self, Graph};
use std::collections::BTreeMap;

/// What is wrong with a node, without its name.
pub(super) type Wrong = String;

/// The most multiply-adds, or steps as small, for one image.
const MAX_WORK: u64 = 1_000_000_000_000;

/// What writing a float counts for: as many multiply-adds take as long.
pub(super) const COPY: usize = 16;

/// A value that a run computes.
#[derive(Clone, Debug)]
pub(super) struct Computed {
    pub value: usize,
    pub dims: Vec<usize>,
    pub layout: Layout,
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub(super) enum Fact<'a> {
    Constant(Constant<'a>),
    Computed(Computed),
}

impl Fact<'_> {
    pub(super) fn dims(&self) -> &[usize] {
        match self {
            Fact::Constant(constant) => &constant.dims,
            Fact::Computed(computed) => &computed.dims,
        }
    }
}

/// A value while steps are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    /// Floats that it takes.
    pub length: usize,
    /// How many nodes use it, under whatever names.
    pub uses: usize,
    /// The draft that makes it; the input has none.
    pub maker: Option<usize>,
}

pub(super) struct Lowering<'a> {
    limits: Limits,
    facts: BTreeMap<&'a str, Fact<'a>>,
    /// How many nodes use a name.
    uses: BTreeMap<&'a str, usize>,
    pub values: Vec<Value>,
    pub drafts: Vec<Draft>,
    work: u64,
    /// Bytes of weights and tables so far.
    weights: usize,
    /// Values that are others with a frame of zeros: those, and how wide it is (top, left, bottom, right).
    pub pads: BTreeMap<usize, (Computed, [usize; 4])>,
}

/// The steps of a network, and where the image goes in and the classes come out.
pub(super) struct Lowered {
    pub values: Vec<Value>,
    pub drafts: Vec<Draft>,
    pub input: usize,
    pub output: usize,
    pub output_name: String,
    /// Multiply-adds for one image, or steps as small.
    pub work: u64,
    pub classes: usize,
}

/// Makes steps of a graph.
pub(super) fn lower(graph: Graph<'_>, limits: &Limits) -> Result<Lowered, GraphError> {
    let mut uses = BTreeMap::new();
    let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    inputs.chain(&graph.outputs).for_each(|name| *uses.entry(*name).or_insert(0) += 1);
    let mut lowering = Lowering {
        limits: *limits,
        facts: BTreeMap::new(),
        uses,
        values: Vec::new(),
        drafts: Vec::new(),
        work: 0,
        weights: 0,
        pads: BTreeMap::new(),
    };
    let (input, sizes) = graph.input;
    lowering.facts = graph.constants.into_iter().map(|(name, it)| (name, Fact::Constant(it))).collect();
    let dims: Vec<usize> = std::iter::once(1).chain(sizes.iter().skip(1).flatten().copied()).collect();
    let image = lowering.value(&dims, Layout::Plain, None).map_err(GraphError::Graph)?;
    lowering.values[image].uses = lowering.uses.get(input).copied().unwrap_or(0);
    lowering.facts.insert(input, Fact::Computed(Computed { value: image, dims, layout: Layout::Plain }));
    for node in &graph.nodes {
        let wrong = |what| GraphError::Node {
            node: read::name(node).to_owned(),
            operator: node.operator.to_owned(),
            what,
        };
        if !matches!(node.domain, "" | "ai.onnx") {
            return Err(wrong(format!("operators of `{}` are not supported", node.domain)));
        }
        let operator =
            ops::find(node.operator).ok_or_else(|| wrong("this operator is not supported".to_owned()))?;
        operator(&mut lowering, Node { proto: node, opset: graph.opset }).map_err(wrong)?;
    }
    lowering.finish(image, &graph.outputs)
}

impl<'a> Lowering<'a> {
    /// Takes the first output that has one row for an image.
    fn finish(mut self, input: usize, outputs: &[&'a str]) -> Result<Lowered, GraphError> {
        let mut seen = Vec::new();
        for &name in outputs {
            let Some(Fact::Computed(found)) = self.facts.get(name).cloned() else { continue };
            let classes: usize = found.dims.iter().product();
            let is_row =
                found.dims.first() == Some(&1) && found.dims.iter().filter(|&&size| size > 1).count() <= 1;
            if !is_row {
                seen.push(format!("`{name}` {}", show(&found.dims)));
                continue;
            }
            let found = self.plain(&found).map_err(GraphError::Graph)?;
            return Ok(Lowered {
                values: self.values,
                drafts: self.drafts,
                input,
                output: found.value,
                output_name: name.to_owned(),
                work: self.work,
                classes,
            });
        }
        Err(GraphError::graph(format!(
            "none of its outputs has one row of classes for each image{}{}",
            if seen.is_empty() { "" } else { ": for one image they are " },
            seen.join(", ")
        )))
    }

    /// Counts multiply-adds, or steps as small.
    pub(super) fn work(&mut self, factors: &[usize]) -> Result<(), Wrong> {
        let work = factors.iter().try_fold(1_u64, |all, &factor| all.checked_mul(factor as u64));
        let sum = work.and_then(|work| work.checked_add(self.work)).filter(|&sum| sum <= MAX_WORK);
        self.work = sum.ok_or(format!("with this, an image takes more than {MAX_WORK:e} multiply-adds"))?;
        Ok(())
    }

    /// Counts bytes of weights and tables; `None` is more than there are.
    pub(super) fn keep(&mut self, bytes: Option<usize>) -> Result<(), Wrong> {
        let limit = self.limits.weights;
        self.work(&[bytes.unwrap_or(usize::MAX), COPY / 4])?;
        let sum = bytes.and_then(|bytes| bytes.checked_add(self.weights)).filter(|&sum| sum <= limit);
        self.weights =
            sum.ok_or_else(|| format!("with this, weights and tables take more than the limit, {limit} bytes"))?;
        Ok(())
    }

    /// Whether so many floats may be made for a moment.
    pub(super) fn allowed(&self, floats: usize) -> Result<(), Wrong> {
        let limit = self.limits.weights;
        if floats <= limit / 4 {
            Ok(())
        } else {
            Err(format!("{floats} numbers take more than the limit, {limit} bytes"))
        }
    }

    /// How many elements these sizes have, if a run may have such a value.
    pub(super) fn room_for(&mut self, dims: &[usize]) -> Result<usize, Wrong> {
        let limit = self.limits.working;
        let length = volume(dims).filter(|&length| length <= limit / 4 && length < u32::MAX as usize);
        let length =
            length.ok_or_else(|| format!("{} numbers take more than the limit, {limit} bytes", show(dims)))?;
        if length == 0 && dims.len() > 1 {
            return Err(format!("{}: a tensor without elements", show(dims)));
        }
        self.work(&[length, COPY])?;
        Ok(length)
    }

    /// What the value was before it got a frame of zeros, if it has one and nobody else wants it: top, left, bottom,
    /// right.
    pub(super) fn padding(&mut self, x: &Computed) -> Option<(Computed, [usize; 4])> {
        if self.values[x.value].uses == 1 { self.pads.get(&x.value).cloned() } else { None }
    }

    /// A new value.
    fn value(&mut self, dims: &[usize], layout: Layout, maker: Option<usize>) -> Result<usize, Wrong> {
        let limit = self.limits.working;
        let length = length(dims, layout).filter(|&length| length <= limit / 4 && length < u32::MAX as usize);
        let length =
            length.ok_or_else(|| format!("{} numbers take more than the limit, {limit} bytes", show(dims)))?;
        if length == 0 {
            return Err(format!("{}: a tensor without elements", show(dims)));
        }
        self.work(&[length, COPY])?;
        self.values.push(Value { length, uses: 0, maker });
        Ok(self.values.len() - 1)
    }

    /// Adds a step and returns what it makes.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        inputs: &[&Computed],
        dims: Vec<usize>,
        layout: Layout,
    ) -> Result<Computed, Wrong> {
        let value = self.value(&dims, layout, Some(self.drafts.len()))?;
        let inputs = inputs.iter().map(|input| input.value).collect();
        self.drafts.push(Draft { kind, inputs, output: value });
        Ok(Computed { value, dims, layout })
    }

    /// The node's input, if it is given.
    pub(super) fn optional(&self, node: Node<'_, 'a>, input: usize) -> Result<Option<Fact<'a>>, Wrong> {
        match node.proto.inputs.get(input) {
            None | Some(&"") => Ok(None),
            Some(name) => {
                let fact = self.facts.get(name).cloned();
                fact.map(Some).ok_or_else(|| format!("its input `{name}` is not known"))
            }
        }
    }

    pub(super) fn fact(&self, node: Node<'_, 'a>, input: usize) -> Result<Fact<'a>, Wrong> {
        self.optional(node, input)?.ok_or_else(|| format!("its input {input} is missing"))
    }

    /// The node's input as a value of the run.
    pub(super) fn computed(&mut self, node: Node<'_, 'a>, input: usize) -> Result<Computed, Wrong> {
        let fact = self.fact(node, input)?;
        self.make_computed(fact)
    }

    /// A constant becomes a step that writes it.
    pub(super) fn make_computed(&mut self, fact: Fact<'a>) -> Result<Computed, Wrong> {
        match fact {
            Fact::Computed(computed) => Ok(computed),
            Fact::Constant(constant) => {
                self.keep(constant.len().checked_mul(4))?;
                let floats = constant.to_floats().ok_or("whole numbers where floats are needed")?;
                self.push(Kind::Constant(floats), &[], constant.dims, Layout::Plain)
            }
        }
    }

    /// The node's input as a constant.
    pub(super) fn constant(&self, node: Node<'_, 'a>, input: usize) -> Result<Constant<'a>, Wrong> {
        match self.fact(node, input)? {
            Fact::Constant(constant) => Ok(constant),
            Fact::Computed(_) => Err(format!("its input {input} must be a constant")),
        }
    }

    /// The node's input as constant floats of which there are `count`.
    pub(super) fn floats(&self, node: Node<'_, 'a>, input: usize, count: usize) -> Result<Vec<f32>, Wrong> {
        let constant = self.constant(node, input)?;
        if constant.len() != count {
            return Err(format!("its input {input} has {} numbers instead of {count}", constant.len()));
        }
        constant.to_floats().ok_or_else(|| format!("its input {input} holds whole numbers instead of floats"))
    }

    /// The node's input as constant whole numbers.
    pub(super) fn ints(&self, node: Node<'_, 'a>, input: usize) -> Result<Vec<i64>, Wrong> {
        let constant = self.constant(node, input)?;
        let ints = constant.as_ints().map(<[i64]>::to_vec);
        ints.ok_or_else(|| format!("its input {input} holds floats instead of whole numbers"))
    }

    /// Whole numbers that are an attribute in old versions and an input in new ones.
    pub(super) fn ints_of(&self, node: Node<'_, 'a>, name: &str, input: usize) -> Result<Option<Vec<i64>>, Wrong> {
        match node.ints(name)? {
            Some(ints) => Ok(Some(ints.to_vec())),
            None if self.optional(node, input)?.is_some() => self.ints(node, input).map(Some),
            None => Ok(None),
        }
    }

    /// Says what an output of the node is.
    pub(super) fn set(&mut self, node: Node<'_, 'a>, output: usize, fact: Fact<'a>) {
        let Some(&name) = node.proto.outputs.get(output) else { return };
        if let Fact::Computed(computed) = &fact {
            self.values[computed.value].uses += self.uses.get(name).copied().unwrap_or(0);
        }
        self.facts.insert(name, fact);
    }

    /// Says that the node's first output is this, which used to be one of its inputs or of what went into those.
    pub(super) fn rename(&mut self, node: Node<'_, 'a>, computed: Computed) {
        self.values[computed.value].uses = self.values[computed.value].uses.saturating_sub(1);
        self.set(node, 0, Fact::Computed(computed));
    }

    /// Says what the node's first output is.
    pub(super) fn done(&mut self, node: Node<'_, 'a>, computed: Computed) {
        self.set(node, 0, Fact::Computed(computed));
    }

    /// Says that the node's first output is a constant.
    pub(super) fn fold(&mut self, node: Node<'_, 'a>, dims: Vec<usize>, data: Data<'a>) {
        self.set(node, 0, Fact::Constant(Constant { dims, data }));
    }

    /// The step that makes a value, if nobody else uses the value.
    pub(super) fn own_maker(&mut self, computed: &Computed) -> Option<&mut Draft> {
        let value = self.values[computed.value];
        if value.uses == 1 { self.drafts.get_mut(value.maker?) } else { None }
    }

    /// The value as ONNX lays it.
    pub(super) fn plain(&mut self, x: &Computed) -> Result<Computed, Wrong> {
        if x.layout == Layout::Plain || pixels(&x.dims).0 == 1 {
            return Ok(Computed { layout: Layout::Plain, ..x.clone() });
        }
        let map = places(&x.dims).collect();
        self.pick(x, map, None, x.dims.clone(), Layout::Plain)
    }

    /// The value as padded pixels.
    pub(super) fn pixels(&mut self, x: &Computed) -> Result<Computed, Wrong> {
        if x.layout == Layout::Pixels || pixels(&x.dims).0 == 1 {
            return Ok(Computed { layout: Layout::Pixels, ..x.clone() });
        }
        let mut map = vec![0; length(&x.dims, Layout::Pixels).ok_or("too large")?];
        for (from, to) in places(&x.dims).enumerate() {
            map[to as usize] = from as u32;
        }
        self.pick(x, map, None, x.dims.clone(), Layout::Pixels)
    }

    /// Adds a step that takes each element from the place that the map says.
    pub(super) fn pick(
        &mut self,
        x: &Computed,
        map: Vec<u32>,
        fill: Option<f32>,
        dims: Vec<usize>,
        layout: Layout,
    ) -> Result<Computed, Wrong> {
        // Two in a row are one, if nobody wants what is between.
        let maker = self.values[x.value].maker;
        let (mut map, mut fill, mut input) = (map, fill, x.value);
        if let Some(before) = maker.map(|maker| &self.drafts[maker])
            && let Kind::Pick(first) = &before.kind
            && first.joins(fill)
        {
            first.then(&mut map);
            (fill, input) = (fill.or(first.fill), before.inputs[0]);
            if self.values[x.value].uses == 0 {
                // An inner one: it was made for this.
                let maker = maker.unwrap_or_default();
                self.drafts[maker].kind = Kind::Gone;
            }
        }
        self.keep(map.len().checked_mul(4))?;
        let input = Computed { value: input, ..x.clone() };
        self.push(Kind::Pick(PickDraft { map, fill }), &[&input], dims, layout)
    }
}
