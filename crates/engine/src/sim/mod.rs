//! Owns the simulator: the real engine, policies, jobs, leadership and log under virtual time, with make-believe nodes, a
//! make-believe network and a make-believe store in which everything may go wrong.
//!
//! ```
//! # use roundtable_engine as roundtable;
//! use roundtable::{policy, sim};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let work = sim::Workload::counting(3, 40, Duration::from_secs(2), 0.2, 1);
//! let setup = sim::Setup::new(policy::find("load-balancing")?, 4, work);
//! let summary = sim::simulate(&setup, &|| Duration::ZERO);
//! assert_eq!(summary.violation, None);
//! assert!(summary.makespan.is_some_and(|took| took > Duration::from_secs(60)));
//! # Ok(())
//! # }
//! ```
//!
//! A run is a function of its [`Setup`] alone: the same seed gives the same run, event for event. After every event
//! the rules of [`Rule`] are checked from outside, by what is in the store and by what was told; [`BUGS`] shows that they
//! are worth something.

mod bugs;
mod calls;
mod clock;
mod coordinator;
mod counting;
mod drawn;
mod fairness;
mod faults;
mod gossip;
mod invariants;
mod mistakes;
mod network;
mod node;
mod queries;
mod queue;
mod setup;
mod shared;
#[cfg(test)]
mod shared_tests;
mod store;
mod summary;
mod term;
mod troubles;
mod watch;
mod workload;
mod world;

pub use bugs::{BUGS, Bug, find as find_bug};
pub use drawn::{FAULT_KINDS, FaultKind};
pub use fairness::{Fairness, gap, rates};
pub use faults::{Fault, Plan, Trouble};
pub use gossip::{Noticed, gossip};
pub use invariants::{Rule, Violation};
pub use network::{Cut, Links, Site};
pub use setup::{NodeSetup, Setup};
pub use shared::{PART, Shared, SharedJob, SharedOutcome, SharedSummary, SharedWork, simulate_shared};
pub use summary::{Summary, quantile};
pub use workload::Workload;
pub use world::simulate;
