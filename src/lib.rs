//! Trains small models in rounds across whatever machines are at hand.

pub mod cli;
pub mod client;
pub mod coordinator;
pub mod data;
pub mod engine;
pub mod ingest;
pub mod jobs;
pub mod model;
pub mod node;
pub mod policy;
pub mod rpc;
pub mod store;
pub mod types;
pub mod wire;
