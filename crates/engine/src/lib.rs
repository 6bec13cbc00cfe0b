//! Owns what roundtable decides: which node gets which task, what becomes of the answers, who is there, who leads and what
//! must not be forgotten; and a simulator that has all of it go wrong. Pure: no sockets, files, threads or clock.
//!
//! A package of its own, since the simulator's loops are long, and it is optimised in every build. `roundtable` shows all of
//! its modules as its own.

#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod engine;
pub mod jobs;
pub mod ledger;
pub mod local;
pub mod membership;
pub mod placement;
pub mod policy;
pub mod sim;
pub mod tenure;

use roundtable_learning::{data, model, predictor, types};
