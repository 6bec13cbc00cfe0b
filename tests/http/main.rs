//! HTTP on the coordinator.

mod answers;
mod client;
mod served;
mod updates;
