//! Owns the wire: the code generated from `idl/`, and (in [`convert`]) the only place where wire types become ours.

/// Made by `idl/generate.sh`; not edited by hand.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
#[rustfmt::skip]
pub mod generated {
    pub mod blobs;
    pub mod compute_node;
    pub mod coordinator;
    pub mod members;
}

pub mod convert;

/// The version of our calls, as `hello` tells it.
pub const PROTOCOL: i32 = 1;

/// The longest chunk of a blob that one message carries, in bytes.
pub const CHUNK: usize = 1 << 20;

pub use generated::{blobs, compute_node, coordinator, members};
