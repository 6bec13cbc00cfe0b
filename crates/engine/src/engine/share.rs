//! Owns the fair share of the nodes: which of the jobs that wait gets the next slot, and why.
//!
//! Start-time fair queueing, on two levels. Each job has an account of what it has had for its weight, in queries or in
//! seconds of slots, and the one that has had least is next. All jobs counted in queries share one account in seconds
//! beside those of the others, with the sum of their weights. A job that comes, or comes back after it had nothing
//! waiting, begins where the others stand now: it neither owes nor hoards.

mod picks;
mod reason;

pub use reason::ShareReason;

use super::usual::Usual;
use crate::jobs::Measure;
use crate::types::{JobId, Time};
use picks::Picks;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// The seconds that a task is charged with at first, before any task of its job has been done.
const FIRST_CHARGE: f64 = 0.1;
/// The seconds that policies take the first task of a job for, before any has been done: no node waits for another for
/// the sake of a guess.
const FIRST_GUESS: f64 = 1e-3;
/// No task is taken to be shorter, in seconds.
const SHORTEST: f64 = 1e-9;
/// Weights below and above these are taken for them.
const WEIGHTS: (f64, f64) = (1e-6, 1e6);
/// So far ahead a job may be that stays on a node, in seconds of what jobs get for a weight.
const STAYS: f64 = 0.05;
/// How fast accounts grow is measured over so long.
const GROWTH_OVER: Duration = Duration::from_millis(500);

/// A number with an order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Had(f64);

impl Eq for Had {}

impl PartialOrd for Had {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Had {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Who has an account in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Job(JobId),
    /// All jobs counted in queries.
    Queries,
}

/// The place of a job among those that wait: lower ones go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    priority: Reverse<i32>,
    seconds: Had,
    holder: Holder,
    queries: Had,
    job: JobId,
}

struct Account {
    priority: i32,
    weight: f64,
    measure: Measure,
    /// Queries or seconds, for its weight.
    had: f64,
    /// Its tasks that wait, for any node or for a slot of one.
    waiting: usize,
    /// Its attempts that nobody has given up.
    at_work: usize,
    /// Tasks that it could hand out if there were room.
    unmade: u64,
    usual: Usual,
    /// The cost and the queries of the task that it handed out last.
    last: Option<(f64, u32)>,
}

impl Account {
    /// The cost of the task that it handed out last, as something to divide by.
    fn last_cost(&self) -> f64 {
        self.last.map(|(cost, _)| cost).filter(|cost| cost.is_finite() && *cost > 0.0).unwrap_or(1.0)
    }

    /// Tasks for what it gets for a weight of 1.
    fn turns(&self) -> Option<f64> {
        let (_, queries) = self.last?;
        let a_task = match self.measure {
            Measure::Queries => f64::from(queries.max(1)),
            Measure::Time => (self.usual.pace()? * self.last_cost()).max(SHORTEST),
        };
        Some(self.weight / a_task)
    }

    /// Whether both share by the same measure, and this one has anything to do.
    fn is_beside(&self, other: &Account) -> bool {
        let is_busy = self.waiting + self.at_work > 0 || self.unmade > 0;
        is_busy && self.measure == other.measure && self.priority == other.priority
    }
}

/// The jobs of one priority.
#[derive(Default)]
struct Class {
    jobs: usize,
    /// Those of them that are counted in queries.
    in_queries: usize,
    /// Seconds of all jobs counted in queries, for the weights of those at work.
    had: f64,
    weight: f64,
    waiting: usize,
    /// Where accounts stand now: in seconds, and in queries.
    seconds_now: f64,
    queries_now: f64,
    /// How fast the latter grows, for a second, and what it was when that was measured.
    growth: f64,
    measured: Option<(Time, f64)>,
}

/// The accounts of all jobs.
#[derive(Default)]
pub(super) struct Share {
    accounts: BTreeMap<JobId, Account>,
    classes: BTreeMap<i32, Class>,
}

impl Share {
    /// A job has come.
    pub(super) fn join(&mut self, job: JobId, weight: f64, priority: i32, measure: Measure) {
        let weight = if weight.is_nan() { 1.0 } else { weight.clamp(WEIGHTS.0, WEIGHTS.1) };
        let new = Account {
            priority,
            weight,
            measure,
            had: 0.0,
            waiting: 0,
            at_work: 0,
            unmade: 0,
            usual: Usual::default(),
            last: None,
        };
        if self.accounts.insert(job, new).is_none() {
            let class = self.classes.entry(priority).or_default();
            class.jobs += 1;
            class.in_queries += usize::from(measure == Measure::Queries);
        }
    }

    /// A job is over.
    pub(super) fn leave(&mut self, job: JobId) {
        let Some(account) = self.accounts.remove(&job) else { return };
        let Some(class) = self.classes.get_mut(&account.priority) else { return };
        class.jobs -= 1;
        if account.measure == Measure::Queries {
            class.in_queries -= 1;
            class.waiting -= account.waiting;
            if account.waiting + account.at_work > 0 {
                class.weight -= account.weight;
            }
        }
        if class.jobs == 0 {
            self.classes.remove(&account.priority);
        }
    }

    /// Changes what a job has waiting and at work.
    fn count(&mut self, job: JobId, waiting: isize, at_work: isize) {
        let Some(account) = self.accounts.get_mut(&job) else { return };
        let Some(class) = self.classes.get_mut(&account.priority) else { return };
        let (waited, was_at_work) = (account.waiting, account.waiting + account.at_work > 0);
        account.waiting = waited.saturating_add_signed(waiting);
        account.at_work = account.at_work.saturating_add_signed(at_work);
        let wakes = waited == 0 && account.waiting > 0;
        match account.measure {
            Measure::Time if wakes => account.had = account.had.max(class.seconds_now),
            Measure::Time => {}
            Measure::Queries => {
                if wakes {
                    account.had = account.had.max(class.queries_now);
                }
                if class.waiting == 0 && account.waiting > 0 {
                    class.had = class.had.max(class.seconds_now);
                }
                class.waiting = (class.waiting + account.waiting).saturating_sub(waited);
                match (was_at_work, account.waiting + account.at_work > 0) {
                    (false, true) => class.weight += account.weight,
                    (true, false) => class.weight -= account.weight,
                    _ => {}
                }
            }
        }
    }

    /// A task waits.
    pub(super) fn waits(&mut self, job: JobId) {
        self.count(job, 1, 0);
    }

    /// A task waits no more, and is not sent either.
    pub(super) fn waits_no_more(&mut self, job: JobId) {
        self.count(job, -1, 0);
    }

    /// A task is sent that waited.
    pub(super) fn starts(&mut self, job: JobId) {
        self.count(job, -1, 1);
    }

    /// An attempt is over, or given up.
    pub(super) fn ends(&mut self, job: JobId) {
        self.count(job, 0, -1);
    }

    /// A task of a job has taken so many seconds for a unit of cost; whether what is usual has changed by that.
    pub(super) fn learn(&mut self, job: JobId, pace: f64) -> bool {
        self.accounts.get_mut(&job).is_some_and(|account| account.usual.learn(pace))
    }

    /// A job has handed out tasks; of one of them, if there are any, the cost and the queries.
    pub(super) fn hands_out(&mut self, job: JobId, task: Option<(f64, u32)>, unmade: u64) {
        let Some(account) = self.accounts.get_mut(&job) else { return };
        account.unmade = unmade;
        account.last = task.or(account.last);
    }

    /// How many tasks a job gets while the one beside it gets one that gets the fewest: by their weights, and by what a task
    /// is. 1 before its first task is known.
    pub(super) fn turns(&self, job: JobId) -> f64 {
        let Some(account) = self.accounts.get(&job) else { return 1.0 };
        let Some(turns) = account.turns() else { return 1.0 };
        let beside = self.accounts.values().filter(|other| other.is_beside(account));
        turns / beside.filter_map(Account::turns).fold(turns, f64::min)
    }

    /// How many more tasks a job could hand out.
    pub(super) fn unmade(&self, job: JobId) -> u64 {
        self.accounts.get(&job).map_or(0, |account| account.unmade)
    }

    /// What tasks of this cost are expected to take on a usual node, in seconds, for policies: so jobs of different kinds
    /// can be compared.
    pub(super) fn load(&self, job: JobId, cost: f64) -> f64 {
        let Some(account) = self.accounts.get(&job) else { return cost };
        cost * account.usual.pace().unwrap_or_else(|| FIRST_GUESS / account.last_cost())
    }

    /// The seconds that a unit of cost of a job usually takes, if any of its tasks has been done.
    pub(super) fn pace(&self, job: JobId) -> Option<f64> {
        self.accounts.get(&job)?.usual.pace()
    }

    /// The seconds that an attempt at a task of this cost is charged with until it has ended.
    pub(super) fn charge_of(&self, job: JobId, cost: f64) -> f64 {
        self.accounts.get(&job).and_then(|account| account.usual.pace()).map_or(FIRST_CHARGE, |pace| pace * cost)
    }

    /// A job has had so many queries more, or less.
    pub(super) fn had_queries(&mut self, job: JobId, queries: f64) {
        if let Some(account) = self.accounts.get_mut(&job).filter(|of| of.measure == Measure::Queries) {
            account.had += queries / account.weight;
        }
    }

    /// A job has had slots for so many seconds more, or less.
    pub(super) fn had_seconds(&mut self, job: JobId, seconds: f64) {
        let Some(account) = self.accounts.get_mut(&job) else { return };
        match (account.measure, self.classes.get_mut(&account.priority)) {
            (Measure::Time, _) => account.had += seconds / account.weight,
            (Measure::Queries, Some(class)) => class.had += seconds / class.weight.max(account.weight),
            _ => {}
        }
    }

    /// Whether no job has an account.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.classes.is_empty()
    }

    /// Whether any job is counted in queries.
    pub(super) fn counts_queries(&self) -> bool {
        self.classes.values().any(|class| class.in_queries > 0)
    }

    /// The place of a job among those that wait.
    pub(super) fn turn(&self, job: JobId) -> Option<Turn> {
        let account = self.accounts.get(&job)?;
        let (seconds, holder, queries) = match account.measure {
            Measure::Time => (account.had, Holder::Job(job), 0.0),
            Measure::Queries => (self.classes.get(&account.priority)?.had, Holder::Queries, account.had),
        };
        let priority = Reverse(account.priority);
        Some(Turn { priority, seconds: Had(seconds), holder, queries: Had(queries), job })
    }

    /// The first of these jobs.
    pub(super) fn first(&self, jobs: impl Iterator<Item = JobId>) -> Option<JobId> {
        jobs.filter_map(|job| self.turn(job)).min().map(|turn| turn.job)
    }

    /// Whether a job has had so little more than `first`, the first in turn, that it may stay on a node.
    pub(super) fn may_stay(&self, job: JobId, first: JobId) -> bool {
        let (Some(its), Some(firsts)) = (self.turn(job), self.turn(first)) else { return false };
        // One that has no node at all does not wait for those that have.
        let waits = self.accounts.get(&first).is_some_and(|account| account.at_work > 0);
        let together = waits && its.priority == firsts.priority && its.holder == firsts.holder;
        let growth = self.classes.get(&its.priority.0).map_or(0.0, |class| class.growth);
        together && its.holder == Holder::Queries && its.queries.0 - firsts.queries.0 <= STAYS * growth
    }

    /// The job that a slot is for when it is the turn of `first`: one that the node has worked for `lately`, if `first` is
    /// none of those and can wait.
    pub(super) fn stays(&self, lately: &[JobId], first: JobId, waits: impl Fn(JobId) -> bool) -> JobId {
        if lately.contains(&first) {
            return first;
        }
        lately.iter().copied().find(|&job| waits(job) && self.may_stay(job, first)).unwrap_or(first)
    }

    /// A job that waits is given a slot: where accounts stand now, and why it is.
    pub(super) fn given(&mut self, now: Time, job: JobId) -> ShareReason {
        let Some(turn) = self.turn(job) else { return ShareReason::Fits };
        let others = self.accounts.iter().filter(|(id, account)| **id != job && account.waiting > 0);
        let other = others.filter_map(|(&other, _)| self.turn(other)).min();
        let reason = match &other {
            None => ShareReason::Alone,
            Some(other) => turn.reason(other, self.may_stay(job, other.job)),
        };
        if let Some(class) = self.classes.get_mut(&turn.priority.0) {
            class.seconds_now = class.seconds_now.max(turn.seconds.0);
            if turn.holder == Holder::Queries {
                // One may be ahead of the others, as it stays on a node, or as nothing else was bound to that: who comes begins
                // where those are.
                let least =
                    other.filter(|other| other.holder == Holder::Queries && other.priority == turn.priority);
                let least = least.map_or(turn.queries.0, |other| other.queries.0.min(turn.queries.0));
                class.queries_now = class.queries_now.max(least);
                class.measure(now);
            }
        }
        reason
    }

    /// The order in which these jobs would be served from now on.
    pub(super) fn picks(&self, jobs: impl Iterator<Item = JobId>) -> Picks<'_> {
        let mut classes: BTreeMap<Reverse<i32>, Vec<JobId>> = BTreeMap::new();
        for job in jobs {
            let Some(account) = self.accounts.get(&job) else { continue };
            classes.entry(Reverse(account.priority)).or_default().push(job);
        }
        Picks::new(self, classes)
    }
}

impl Class {
    fn measure(&mut self, now: Time) {
        match self.measured {
            Some((at, before)) if now.since(at) >= GROWTH_OVER => {
                self.growth = (self.queries_now - before) / now.since(at).as_secs_f64();
                self.measured = Some((now, self.queries_now));
            }
            Some(_) => {}
            None => self.measured = Some((now, self.queries_now)),
        }
    }
}

impl Turn {
    /// Why one is given a slot when the other waits.
    fn reason(&self, other: &Turn, may_stay: bool) -> ShareReason {
        let least = |by, measure, other| ShareReason::Least { job: self.job, other, by, measure };
        if self.priority < other.priority {
            return ShareReason::Priority;
        }
        match (self.holder == other.holder, self < other) {
            (true, true) => least(other.queries.0 - self.queries.0, Measure::Queries, Some(other.job)),
            (false, true) => {
                let named = (other.holder != Holder::Queries).then_some(other.job);
                least(other.seconds.0 - self.seconds.0, Measure::Time, named)
            }
            (true, false) if may_stay => {
                ShareReason::Stays { other: other.job, by: self.queries.0 - other.queries.0 }
            }
            _ => ShareReason::Fits,
        }
    }
}
