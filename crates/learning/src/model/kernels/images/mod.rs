//! Owns the kernels of image networks: products with packed weights, depthwise convolutions, pools and curves.
//!
//! Images lie as rows of pixels, each pixel a row of channels that is padded to whole groups of 16. Padding holds
//! anything and is never read into what counts. As in the rest of the kernels, all paths give the same bits.

mod curve;
mod depthwise;
mod elements;
mod packed;
mod pool;
mod product;
mod window;

pub(crate) use curve::Curve;
pub(crate) use depthwise::Depthwise;
pub(crate) use elements::{Operator, exponentials};
pub(crate) use packed::Packed;
pub(crate) use pool::{Pool, Pooling};
pub(crate) use product::{Finish, NOWHERE, Product};
pub(crate) use window::Window;

pub(crate) use super::network::Aligned;
use super::*;

/// Channels of a group.
pub(crate) const GROUP: usize = 16;

/// Channels of a padded pixel.
pub(crate) fn step(channels: usize) -> usize {
    channels.next_multiple_of(GROUP)
}

/// See [`Product`].
pub(crate) fn product(path: Path, work: Product<'_>) {
    work.check();
    on_path!(path, product::product, (work: Product<'_>) -> ());
}

/// See [`Depthwise`].
pub(crate) fn depthwise(path: Path, work: Depthwise<'_>) {
    work.check();
    on_path!(path, depthwise::depthwise, (work: Depthwise<'_>) -> ());
}

/// See [`Pool`].
pub(crate) fn pool(path: Path, work: Pool<'_>) {
    on_path!(path, |s| pool::pool(work), (work: Pool<'_>) -> ());
}

/// Bends each element. The length is whole groups.
pub(crate) fn bend(path: Path, curve: Curve, data: &mut [f32]) {
    on_path!(path, curve::bend, (curve: Curve, data: &mut [f32]) -> ());
}

/// `out = left (operator) right`, element by element.
pub(crate) fn combine(path: Path, operator: Operator, left: &[f32], right: &[f32], out: &mut [f32]) {
    on_path!(path, |s| elements::combine(operator, left, right, out), (
        operator: Operator,
        left: &[f32],
        right: &[f32],
        out: &mut [f32]
    ) -> ());
}

/// `out = row * factor + term`, for each row of `out`; rows are as long as the factors.
pub(crate) fn scale(path: Path, from: &[f32], factors: &[f32], terms: &[f32], out: &mut [f32]) {
    on_path!(path, |s| elements::scale(from, factors, terms, out), (
        from: &[f32],
        factors: &[f32],
        terms: &[f32],
        out: &mut [f32]
    ) -> ());
}

/// The natural logarithm of a positive number, the same on every machine; NaN of others.
pub(crate) fn logarithm(x: f64) -> f64 {
    let mut product = LogProduct::ONE;
    product.multiply(x);
    product.ln()
}

/// `e^x` for `x <= 708`, the same on every machine.
pub(crate) fn exponential(x: f64) -> f64 {
    softmax::exp::<f64, Portable>(Portable, [x; 8])[0]
}

#[cfg(test)]
mod tests;
