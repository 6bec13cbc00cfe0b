//! Owns the choice of a node for a task: [`Policy`], one file for each, and the table [`POLICIES`].
//!
//! A policy is pure: it sees tasks, nodes and the time, and answers with decisions that carry their reasons. Its
//! random numbers come from the seed it was made with, so that the same events lead to the same decisions.

mod load_balancing;
mod random;
mod round_robin;

use crate::types::{NodeId, Time};
use std::time::Duration;

/// A task that waits for a node.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// How much work it is, in any unit that is the same for all tasks (floating-point operations, say).
    pub cost: f64,
    /// Nodes that must not get it: they are at work on it already.
    pub avoid: Vec<NodeId>,
}

/// A node that may be given tasks.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// How many tasks it runs at once; at least 1.
    pub slots: usize,
    /// For each running task: since when, and its cost.
    pub running: Vec<(Time, f64)>,
    /// The cost of the tasks that are bound to it and wait for a slot.
    pub queued: Vec<f64>,
    /// Seconds that it has taken for a unit of cost, if it has done anything yet.
    pub pace: Option<f64>,
    /// The share of tasks that it has refused lately, 0 to 1.
    pub refusal_rate: f64,
    /// It refused or failed, and is left alone until then.
    pub available_at: Time,
}

impl NodeView {
    /// Whether it would start another task at once.
    pub fn is_free(&self, now: Time) -> bool {
        self.available_at <= now && self.running.len() + self.queued.len() < self.slots
    }
}

/// Which node gets a task, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The node. If it has no free slot the task waits for that node, and for no other.
    pub node: NodeId,
    /// For the log, the report and the tests.
    pub reason: Reason,
}

/// Why a node was chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Drawn from this many nodes.
    Drawn {
        /// The nodes in the draw.
        among: usize,
    },
    /// Its turn.
    Turn,
    /// It will be done soonest.
    Soonest {
        /// The expected time until the task is done.
        expected: Duration,
        /// The share of tasks that it has refused lately.
        refusal_rate: f64,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Drawn { among } => write!(f, "drawn from {among} nodes"),
            Reason::Turn => write!(f, "its turn"),
            Reason::Soonest { expected, refusal_rate } => {
                write!(f, "done soonest, in {expected:.1?}")?;
                if *refusal_rate > 0.005 {
                    write!(f, " (refuses {:.0}%)", refusal_rate * 100.0)?;
                }
                Ok(())
            }
        }
    }
}

/// Gives tasks to nodes.
pub trait Policy: Send {
    /// Decides for as many of `tasks` as it wants to decide for now, each at most once: pairs of a place in `tasks`
    /// and a decision. The others are asked about again after the next event.
    ///
    /// `nodes` are those that answer, in the order of their ids.
    fn plan(&mut self, now: Time, tasks: &[TaskView], nodes: &[NodeView]) -> Vec<(usize, Decision)>;
}

/// A policy as users name it.
pub struct PolicyRow {
    /// Its number on the command line and on the wire.
    pub number: i32,
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Whether nodes under simulated load may refuse tasks.
    pub nodes_may_refuse: bool,
    /// Makes one from a seed.
    pub make: fn(u64) -> Box<dyn Policy>,
}

/// All policies. To add one, write its file and add its row.
pub static POLICIES: &[PolicyRow] = &[random::ROW, load_balancing::ROW, round_robin::ROW];

/// Finds a policy by number or name (upper or lower case).
///
/// # Errors
/// Says what there is to choose from.
pub fn find(text: &str) -> Result<&'static PolicyRow, UnknownPolicy> {
    let wanted = text.trim();
    POLICIES
        .iter()
        .find(|row| row.name.eq_ignore_ascii_case(wanted) || row.number.to_string() == wanted)
        .ok_or_else(|| UnknownPolicy(text.to_owned()))
}

/// Whether nodes may refuse under the policy of this number; unknown numbers do not let them.
pub fn nodes_may_refuse(number: i32) -> bool {
    POLICIES.iter().any(|row| row.number == number && row.nodes_may_refuse)
}

/// The table as a line of help: "1 or random: ...".
pub fn choices() -> String {
    let rows: Vec<String> =
        POLICIES.iter().map(|row| format!("{} {} ({})", row.number, row.name, row.about)).collect();
    rows.join(", ")
}

/// No policy has this number or name.
#[derive(Debug, thiserror::Error)]
#[error("there is no policy '{0}'; choose by number or name: {choices}", choices = choices())]
pub struct UnknownPolicy(String);
