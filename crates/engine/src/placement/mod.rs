//! Owns where copies of files belong: which nodes hold a blob, and what is to be copied or let go for that.
//!
//! The rule: a blob's copies belong at the nodes that weigh most for it ([`Members::ranked`]), and any process that
//! knows the nodes can work out which these are. When a node comes or goes, only what it gains or loses moves. Copies
//! elsewhere are let go once all that belong are there, never before.

mod bucket;
mod keeper;
mod plan;
mod queue;
mod weigh;

pub use bucket::Bucket;
pub use keeper::{Keeper, Outcome, Settings};
pub use plan::{Allowance, Order, Places, Plan, Situation, Wanted, plan};
pub use weigh::{Members, NodeKey, holders};

#[cfg(test)]
mod tests;
