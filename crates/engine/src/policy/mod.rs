//! Owns the choice of a node for a task: [`Policy`], one file for each, and the table [`POLICIES`].
//!
//! A policy is pure: it sees tasks, nodes and the time, and answers with decisions that carry their reasons. Its
//! random numbers come from the seed it was made with, so that the same events lead to the same decisions.

mod cluster;
mod lanes;
mod load_balancing;
mod random;
mod round_robin;

pub use cluster::{Cluster, Takers};

use crate::types::{NodeId, Time};
use std::time::Duration;

/// What a refusal costs, as a share of what the task would have taken: the node is left alone for that long.
pub const REFUSAL_COST: f64 = 1.0 / 32.0;

/// A task that waits for a node.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// How much work it is, in any unit that is the same for all tasks (floating-point operations, say).
    pub cost: f64,
    /// Nodes that must not get it: they are at work on it already.
    pub avoid: Vec<NodeId>,
    /// Whether a node of the original system can do it.
    pub for_originals: bool,
    /// It is a copy of a task that somebody is at: only a node that would start it at once may have it.
    pub at_once: bool,
}

impl TaskView {
    /// A task of this cost that any node may have.
    pub fn of(cost: f64) -> Self {
        Self { cost, avoid: Vec::new(), for_originals: true, at_once: false }
    }
}

/// The tasks that wait for a node.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// The first of them, in order.
    pub first: &'a [TaskView],
    /// How many there are with those behind them.
    pub tasks: usize,
    /// The cost of all of them.
    pub cost: f64,
}

impl<'a> Waiting<'a> {
    /// These tasks and none behind them.
    pub fn only(tasks: &'a [TaskView]) -> Self {
        Self { first: tasks, tasks: tasks.len(), cost: tasks.iter().map(|task| task.cost).sum() }
    }
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
    /// How many tasks are bound to it and wait for a slot.
    pub queued: usize,
    /// The cost of those.
    pub queued_cost: f64,
    /// Seconds that it has taken for a unit of cost, if it has done anything yet.
    pub pace: Option<f64>,
    /// When that was learnt.
    pub pace_since: Time,
    /// The share of tasks that it has refused lately, 0 to 1.
    pub refusal_rate: f64,
    /// It refused or failed, and is left alone until then.
    pub available_at: Time,
    /// Whether it is a node of the original system, which knows one kind of task.
    pub is_original: bool,
}

impl NodeView {
    /// A node with one slot that has done nothing yet.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            slots: 1,
            running: Vec::new(),
            queued: 0,
            queued_cost: 0.0,
            pace: None,
            pace_since: Time::default(),
            refusal_rate: 0.0,
            available_at: Time::default(),
            is_original: false,
        }
    }

    /// How many tasks it would start at once.
    pub fn free(&self, now: Time) -> usize {
        let taken = self.running.len() + self.queued;
        if self.available_at <= now { self.slots.saturating_sub(taken) } else { 0 }
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

const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

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

impl Reason {
    /// The same where it is not known yet what tasks take.
    pub fn without_time(self) -> Self {
        match self {
            Reason::Soonest { refusal_rate, .. } => Reason::Soonest { expected: Duration::MAX, refusal_rate },
            other => other,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Drawn { among } => write!(f, "drawn from {among} nodes"),
            Reason::Turn => write!(f, "its turn"),
            Reason::Soonest { expected, refusal_rate } => {
                write!(f, "done soonest")?;
                // Before any pace is known the cost stands in its place.
                if *expected < A_YEAR {
                    write!(f, ", in {expected:.1?}")?;
                }
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
    /// Decides for as many of the first waiting tasks as it wants to decide for now, each at most once: pairs of a place
    /// in `waiting.first` and a decision. If there was any it is asked again at once, else after the next event.
    fn plan(&mut self, now: Time, waiting: &Waiting, nodes: &Cluster) -> Vec<(usize, Decision)>;

    /// Whether it gives tasks only to nodes that start them at once, so that it need not be asked while none is free.
    fn waits_for_slots(&self) -> bool {
        false
    }
}

/// A policy as users name it.
#[derive(Debug)]
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
