//! Owns files that are damaged or mean harm: reading them gives an error that says what is wrong, and nothing else.

use super::onnx::{Attribute, Model, bytes, number, tensor, value};
use super::{LIMITS, numbers, run};
use crate::graph::{GraphError, Limits, Network, Scratch};
use proptest::prelude::*;

/// A network with most kinds of steps.
pub(super) fn small() -> Vec<u8> {
    let mut model = Model::new(&[0, 3, 6, 5]);
    model.floats("w1", &[20, 3, 3, 3], &numbers(1, 540)).floats("b1", &[20], &numbers(2, 20));
    model.floats("w2", &[20, 1, 3, 3], &numbers(3, 180)).floats("w3", &[20, 20, 1, 1], &numbers(4, 400));
    model.floats("w4", &[7, 40], &numbers(5, 280)).floats("six", &[], &[6.0]).floats("zero", &[], &[0.0]);
    for name in ["scale", "shift", "mean"] {
        model.floats(name, &[20], &numbers(6, 20));
    }
    model.floats("variance", &[20], &[0.5; 20]);
    model.node("Conv", &["x", "w1", "b1"], "c1", &[("pads", Attribute::Ints(&[1; 4]))]);
    model.node("BatchNormalization", &["c1", "scale", "shift", "mean", "variance"], "n1", &[]);
    model.node("Clip", &["n1", "zero", "six"], "r1", &[]);
    let attributes = [("pads", Attribute::Ints(&[1; 4])), ("group", Attribute::Int(20))];
    model.node("Conv", &["r1", "w2"], "c2", &attributes).node("Sigmoid", &["c2"], "s2", &[]);
    model.node("Mul", &["c2", "s2"], "m2", &[]).node("Conv", &["m2", "w3"], "c3", &[]);
    model.node("Add", &["c3", "r1"], "a3", &[]).node("Concat", &["a3", "m2"], "k", &[("axis", Attribute::Int(1))]);
    let pool = [("kernel_shape", Attribute::Ints(&[3, 3])), ("strides", Attribute::Ints(&[2, 2]))];
    model.node("MaxPool", &["k"], "p", &pool).node("GlobalAveragePool", &["p"], "g", &[]);
    model.node("Flatten", &["g"], "f", &[]).node("Gemm", &["f", "w4"], "l", &[("transB", Attribute::Int(1))]);
    model.node("Softmax", &["l"], "y", &[("axis", Attribute::Int(1))]).file("y")
}

/// Reads it, and runs it if that can be; whatever it is, nothing panics.
fn try_file(file: &[u8]) -> Option<GraphError> {
    let limits = Limits { weights: 1 << 20, working: 1 << 20 };
    match Network::read(file, &limits) {
        Err(error) => Some(error),
        Ok(network) => {
            let features: usize = network.input().dims.iter().flatten().product();
            assert!(network.working_bytes(1) <= (1 << 20) + 4 * features.max(1 << 10), "{network:?}");
            network.run(1, &vec![0.5; features], &mut Scratch::new()).err()
        }
    }
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let file = small();
    assert!(try_file(&file).is_none());
    for length in 0..file.len() {
        // Whole fields may be missing at the end: the version of the operators.
        let error = try_file(&file[..length]);
        assert!(error.is_some() || length + 8 > file.len(), "{length} of {} bytes", file.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damage_never_panics(flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..8), 1..4)) {
        let mut file = small();
        for (at, bit) in flips {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        try_file(&file);
    }

    #[test]
    fn damaged_structure_never_panics(cuts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        // Weights are most of the file; here those that matter less are left out, so that more of the rest is hit.
        let mut file = tiny().file("y");
        for (at, byte) in cuts {
            let at = at.index(file.len());
            file[at] = byte;
        }
        try_file(&file);
    }

    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(try_file(&noise).is_some());
    }
}

fn tiny() -> Model {
    let mut model = Model::new(&[1, 2, 4, 4]);
    model.floats("w", &[2, 2, 1, 1], &[1.0; 4]).ints("sizes", &[1, -1]).ints("starts", &[0]).ints("ends", &[2]);
    model.node("Conv", &["x", "w"], "c", &[("strides", Attribute::Ints(&[1, 1]))]);
    model.node(
        "AveragePool",
        &["c"],
        "p",
        &[("kernel_shape", Attribute::Ints(&[2, 2])), ("ceil_mode", Attribute::Int(1))],
    );
    model.node("Transpose", &["p"], "t", &[("perm", Attribute::Ints(&[0, 2, 3, 1]))]);
    model.node("Slice", &["t", "starts", "ends", "starts"], "s", &[]).node("Shape", &["s"], "z", &[]);
    model.node("Unsqueeze", &["s", "starts"], "u", &[]).node("LRN", &["c"], "v", &[("size", Attribute::Int(3))]);
    model.node("GlobalMaxPool", &["v"], "g", &[]).node("Reshape", &["u", "sizes"], "q", &[]);
    model.node("Flatten", &["g"], "h", &[]).node("Concat", &["q", "h"], "y", &[("axis", Attribute::Int(1))]);
    model
}

fn refusal(change: impl FnOnce(&mut Model) -> &mut Model) -> String {
    let mut model = tiny();
    change(&mut model);
    try_file(&model.file("y")).map_or("no error".to_owned(), |error| error.to_string())
}

#[test]
fn errors_name_the_node_and_what_is_wrong() {
    assert!(try_file(&tiny().file("y")).is_none());
    let output =
        |name: &str| try_file(&tiny().file(name)).map_or("no error".to_owned(), |error| error.to_string());
    let cases = [
        (output("nowhere"), "nothing makes the output `nowhere`"),
        (
            output("c"),
            "none of its outputs has one row of classes for each image: for one image they are `c` 1 x 2 x 4 x 4",
        ),
        (refusal(|m| m.node("Relu", &["c"], "c", &[])), "node `c` (Relu): makes `c`, which there is already"),
        (refusal(|m| m.field(5, &tensor("w", &[1], 1, &[0; 4]))), "two tensors `w`"),
        (refusal(|m| m.field(5, &tensor("a", &[3], 1, &[0; 4]))), "`a` has 4 bytes for 3 floats"),
        (refusal(|m| m.field(5, &tensor("a", &[u64::MAX], 1, &[]))), "impossible sizes [-1]"),
        (refusal(|m| m.field(5, &tensor("a", &[1 << 40, 1 << 40], 1, &[]))), "impossible sizes"),
        (refusal(|m| m.field(5, &tensor("a", &[1 << 40], 7, &[]))), "at most 65536 are read"),
        (refusal(|m| m.field(5, &tensor("a", &[1], 10, &[0; 2]))), "the kind 10"),
        (refusal(|m| m.field(5, &[tensor("a", &[1], 1, &[]), number(14, 1)].concat())), "another file"),
        (refusal(|m| m.field(11, &value("x2", &[1, 3]))), "it has 2 inputs (x, x2); one is needed"),
        (refusal(|m| m.field(15, &[])), "sparse"),
        (
            refusal(|m| {
                m.opset = 99;
                m
            }),
            "version 99 of the operators",
        ),
    ];
    for (says, part) in cases {
        assert!(says.contains(part), "{says}");
    }
}

/// What is said of a graph of this one node, `x` being 1 x 2 x 4 x 4.
fn node(operator: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
    let mut model = Model::new(&[1, 2, 4, 4]);
    model.floats("w", &[2, 2, 1, 1], &[1.0; 4]).floats("two", &[2], &[1.0; 2]).ints("huge", &[1 << 40, 1 << 40]);
    model.ints("large", &[1, 1 << 25]).ints("row", &[1, -1]).node(operator, inputs, "y", attributes);
    try_file(&model.file("y")).map_or("no error".to_owned(), |error| error.to_string())
}

#[test]
fn nodes_that_ask_for_too_much_are_refused() {
    let ints = Attribute::Ints;
    let cases = [
        (node("Einsum", &["x"], &[]), "node `y` (Einsum): this operator is not supported"),
        (node("Conv", &["x", "y"], &[]), "needs `y`, which needs the node itself: a cycle"),
        (node("Conv", &["x", "nothing"], &[]), "needs `nothing`, which nothing makes"),
        (node("Conv", &["x"], &[]), "its input 1 is missing"),
        (node("Conv", &["x", "x"], &[]), "its input 1 must be a constant"),
        (node("Conv", &["x", "two"], &[]), "only two-dimensional windows"),
        (node("Conv", &["x", "w"], &[("group", Attribute::Int(2))]), "do not fit 2 channels"),
        (node("Conv", &["x", "w"], &[("group", Attribute::Int(-1))]), "do not fit 2 channels"),
        (node("Conv", &["x", "w"], &[("kernel_shape", ints(&[3, 3]))]), "is not that of its weights"),
        (node("Conv", &["x", "w"], &[("strides", ints(&[0, 1]))]), "strides holds 0"),
        (node("Conv", &["x", "w"], &[("pads", ints(&[-1, 0, 0, 0]))]), "pads holds -1"),
        (node("Conv", &["x", "w"], &[("pads", ints(&[60_000; 4]))]), "take more than the limit, 1048576 bytes"),
        (node("Conv", &["x", "w"], &[("auto_pad", Attribute::Text("SOME"))]), "auto_pad `SOME` is unknown"),
        (node("MaxPool", &["x"], &[("kernel_shape", ints(&[5, 5]))]), "a window of 5 pixels on 4"),
        (node("MaxPool", &["x"], &[("kernel_shape", ints(&[i64::MAX, 1]))]), "kernel_shape holds"),
        (node("MaxPool", &["x"], &[]), "it has no kernel_shape"),
        (node("Reshape", &["x", "huge"], &[]), "cannot become"),
        (node("ConstantOfShape", &["huge"], &[]), "impossible sizes"),
        (node("ConstantOfShape", &["large"], &[]), "take more than the limit"),
        (node("Expand", &["x", "huge"], &[]), "do not fit together"),
        (node("Gather", &["x", "row"], &[]), "there is no axis"),
        (node("Transpose", &["x"], &[("perm", ints(&[0, 0, 1, 2]))]), "is no order of 4 axes"),
        (node("Concat", &["x", "two"], &[]), "do not fit side by side"),
        (node("Add", &["x", "huge"], &[]), "do not fit together"),
        (node("Softmax", &["x"], &[("axis", Attribute::Int(9))]), "there is no axis 9 among 4"),
        (node("LRN", &["x"], &[("size", Attribute::Int(1 << 40))]), "its size must be from 1 to 4096"),
        (node("Cast", &["x"], &[("to", Attribute::Int(10))]), "to elements of the kind 10"),
        (node("Clip", &["x", "two"], &[]), "its input 1 is not one number"),
    ];
    for (says, part) in cases {
        assert!(says.contains(part), "`{part}` is not in: {says}");
    }
}

#[test]
fn limits_hold() {
    let file = small();
    for (weights, working, part) in
        [(1 << 10, 1 << 20, "weights and tables"), (1 << 20, 1 << 10, "more than the limit")]
    {
        let says = Network::read(&file, &Limits { weights, working }).unwrap_err().to_string();
        assert!(says.contains(part), "{says}");
    }
    // Many images that double and double.
    let mut model = Model::new(&[1, 1, 100, 100]);
    model.ints("sizes", &[1, 1, 200, 200]).node("Expand", &["x", "sizes"], "y", &[]);
    assert!(try_file(&model.file("y")).is_some());
    // A great deal of work in a small file.
    let mut model = Model::new(&[1, 16, 100, 100]);
    let pool = [("kernel_shape", Attribute::Ints(&[99, 99])), ("pads", Attribute::Ints(&[49; 4]))];
    let mut from = "x".to_owned();
    for index in 0..700 {
        let to = format!("p{index}");
        model.node("MaxPool", &[&from], &to, &pool);
        from = to;
    }
    let says = try_file(&model.node("GlobalMaxPool", &[&from], "y", &[]).file("y")).unwrap().to_string();
    assert!(says.contains("multiply-adds"), "{says}");
}

#[test]
fn many_small_parts_are_refused_before_they_take_memory() {
    let empty = bytes(1, &[]).repeat(3_000_000);
    let file = [number(1, 8), bytes(7, &empty)].concat();
    assert!(try_file(&file).unwrap().to_string().contains("more than 2000000 parts"));
    let file = [number(1, 8), bytes(7, &bytes(1, &[]).repeat(100_000))].concat();
    assert!(try_file(&file).unwrap().to_string().contains("at most 50000"));
}

#[test]
fn a_chain_of_a_thousand_nodes_is_no_recursion() {
    let mut model = Model::new(&[1, 4]);
    for index in (0..30_000).rev() {
        let from = if index == 0 { "x".to_owned() } else { format!("n{}", index - 1) };
        model.node("Relu", &[&from], &format!("n{index}"), &[]);
    }
    assert_eq!(run(&model.file("n29999"), 1, &[1.0, -1.0, 0.5, -0.5]).unwrap(), [1.0, 0.0, 0.5, 0.0]);
    let _ = LIMITS;
}
