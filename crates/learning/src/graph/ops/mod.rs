//! Owns the operators: a table of them, each of which looks at a node's inputs and attributes and adds steps.
//!
//! To add one, write its function into the file of its family and add its row.

mod arithmetic;
mod conv;
mod curves;
mod dense;
mod moves;
mod norm;
mod pools;
mod rows;
mod sizes;
mod slices;
mod views;

use super::lower::{Lowering, Node, Wrong};

/// Makes steps of a node.
pub(super) type Operator = for<'a> fn(&mut Lowering<'a>, Node<'_, 'a>) -> Result<(), Wrong>;

/// All operators.
const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", curves::abs),
    ("Add", arithmetic::add),
    ("AveragePool", pools::average),
    ("BatchNormalization", norm::batch),
    ("Cast", views::cast),
    ("Clip", curves::clip),
    ("Concat", moves::concat),
    ("Constant", sizes::constant),
    ("ConstantOfShape", sizes::constant_of_shape),
    ("Conv", conv::conv),
    ("Div", arithmetic::div),
    ("Dropout", views::same),
    ("Exp", curves::exp),
    ("Expand", moves::expand),
    ("Flatten", views::flatten),
    ("Gather", slices::gather),
    ("Gemm", dense::gemm),
    ("GlobalAveragePool", pools::global_average),
    ("GlobalMaxPool", pools::global_max),
    ("HardSigmoid", curves::hard_sigmoid),
    ("HardSwish", curves::hard_swish),
    ("Identity", views::same),
    ("LRN", norm::local),
    ("LeakyRelu", curves::leaky),
    ("LogSoftmax", rows::log_softmax),
    ("MatMul", dense::matmul),
    ("Max", arithmetic::max),
    ("MaxPool", pools::max),
    ("Min", arithmetic::min),
    ("Mul", arithmetic::mul),
    ("Neg", curves::negative),
    ("Pad", moves::pad),
    ("Reciprocal", curves::inverse),
    ("ReduceMean", rows::mean),
    ("ReduceSum", rows::sum),
    ("Relu", curves::relu),
    ("Reshape", views::reshape),
    ("Shape", sizes::shape),
    ("Sigmoid", curves::sigmoid),
    ("Slice", slices::slice),
    ("Softmax", rows::softmax),
    ("Split", slices::split),
    ("Sqrt", curves::root),
    ("Squeeze", views::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::add),
    ("Tanh", curves::tanh),
    ("Transpose", moves::transpose),
    ("Unsqueeze", views::unsqueeze),
];

/// The operator of this name.
pub(super) fn find(name: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(known, _)| *known == name).map(|&(_, operator)| operator)
}
