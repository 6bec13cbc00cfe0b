//! Owns what roundtable learns with: data sets, models and their kernels, image networks of others, and models as those see
//! them who ask. Pure: no sockets, files, threads or clock.
//!
//! A package of its own, since it is optimised in every build: its loops are what tests and users wait for, and the rest of
//! roundtable is not. `roundtable` shows all of its modules as its own.

#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod data;
pub mod graph;
pub mod model;
pub mod predictor;
pub mod types;
