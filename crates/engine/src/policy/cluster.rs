//! Owns what policies know of nodes: [`Cluster`] takes a node's new view when something has changed, and keeps what a
//! decision needs in order, so that none has to look at all nodes.

use super::lanes::{Lane, Lanes};
use super::{NodeView, REFUSAL_COST, TaskView};
use crate::types::{NodeId, Time};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// In this time without a task, half of what made a node look slow is forgotten.
const FORGET_HALF: f64 = 10.0;
/// A node that refuses nearly always is still tried now and then.
const HIGHEST_REFUSAL_RATE: f64 = 0.95;
/// Expectations are looked at again this often, for what time alone changes.
const REVIEW_EVERY: Duration = Duration::from_millis(500);
/// By this share an expectation may be off before it is made anew.
const NEAR: f64 = 0.05;
/// By this factor the size of tasks may change before all lanes are laid again.
const SAME_SIZE: f64 = 1.25;
/// Up to so many nodes the usual pace is always exact.
const FEW: usize = 64;

/// A number with an order, for seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seconds(pub(super) f64);

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A node, and what was made of its view.
struct Known {
    view: NodeView,
    /// Seconds for a unit of cost, as expected when the view was taken or reviewed.
    pace: f64,
    takes: bool,
    free: usize,
    /// Its place among those with free slots.
    free_place: Option<(Seconds, NodeId)>,
    /// Its slots that are taken.
    lanes: Vec<Lane>,
    /// When the first of its tasks should be done.
    first_end: Option<(Seconds, NodeId)>,
}

/// The nodes that answer.
pub struct Cluster {
    nodes: BTreeMap<NodeId, Known>,
    /// Those that are in no pause, in the order of their ids; `ours` without those of the original system.
    takers: Vec<NodeId>,
    ours: Vec<NodeId>,
    /// Those that would start a task at once, in the order of their ids, and the fastest first.
    idle: Vec<NodeId>,
    idle_ours: Vec<NodeId>,
    free: BTreeSet<(Seconds, NodeId)>,
    first_ends: BTreeSet<(Seconds, NodeId)>,
    lanes: Lanes,
    usual: f64,
    /// Paces learnt since the usual one was taken.
    learnt: usize,
    reviewed: Time,
    reviewed_usual: f64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            takers: Vec::new(),
            ours: Vec::new(),
            idle: Vec::new(),
            idle_ours: Vec::new(),
            free: BTreeSet::new(),
            first_ends: BTreeSet::new(),
            lanes: Lanes::new(1.0),
            // With nothing known any value does, as long as it is the same for all.
            usual: 1.0,
            learnt: 0,
            reviewed: Time::default(),
            reviewed_usual: 1.0,
        }
    }
}

impl Cluster {
    /// A cluster of these nodes.
    pub fn of(now: Time, views: &[NodeView]) -> Self {
        let mut cluster = Self::default();
        views.iter().for_each(|view| cluster.set(now, view.clone()));
        cluster.review(now, None);
        cluster
    }

    /// Takes a node's new view. It must be given again when the node's pause is over.
    pub fn set(&mut self, now: Time, view: NodeView) {
        let before = self.nodes.get(&view.id).map(|known| (known.view.pace, known.view.pace_since));
        let learnt = before != Some((view.pace, view.pace_since)) && (view.pace.is_some() || before.is_some());
        self.renew(now, view);
        if learnt {
            self.learn();
        }
    }

    /// A node does not answer, or may not be used, any more.
    pub fn remove(&mut self, id: NodeId) {
        if self.forget(id).is_some_and(|view| view.pace.is_some()) {
            self.learn();
        }
    }

    /// Looks again at what time alone changes, if it is time. `grain` is the usual cost of the tasks that wait.
    pub fn review(&mut self, now: Time, grain: Option<f64>) {
        if let Some(grain) = grain.filter(|grain| grain.is_finite() && *grain > 0.0) {
            let off = grain / self.lanes.grain();
            if !(1.0 / SAME_SIZE..=SAME_SIZE).contains(&off) {
                self.lanes = Lanes::new(grain);
                let lanes: Vec<Lane> = self.nodes.values().flat_map(|known| &known.lanes).copied().collect();
                lanes.into_iter().for_each(|lane| self.lanes.insert(lane));
            }
        }
        let usual_off = self.usual / self.reviewed_usual;
        if now.since(self.reviewed) >= REVIEW_EVERY || !(1.0 - NEAR..=1.0 + NEAR).contains(&usual_off) {
            (self.reviewed, self.reviewed_usual) = (now, self.usual);
            let is_off = |known: &&Known| (self.pace_of(now, &known.view) - known.pace).abs() > NEAR * known.pace;
            let off: Vec<NodeView> = self.nodes.values().filter(is_off).map(|known| known.view.clone()).collect();
            off.into_iter().for_each(|view| self.renew(now, view));
        }
        while let Some(&(end, id)) = self.first_ends.first()
            && end.0 < now.0.as_secs_f64()
        {
            let Some(view) = self.nodes.get(&id).map(|known| known.view.clone()) else { break };
            self.renew(now, view);
            if self.first_ends.first() == Some(&(end, id)) {
                break;
            }
        }
    }

    /// When something is expected that no event tells of: a task is over the time that it should have taken.
    pub fn next_surprise(&self) -> Option<Time> {
        let end = self.first_ends.first()?.0;
        Duration::try_from_secs_f64(end.0).ok().map(Time)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes in the order of their ids.
    pub fn views(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().map(|known| &known.view)
    }

    /// The nodes that may have this task now, in the order of their ids.
    pub fn takers(&self, task: &TaskView) -> Takers<'_> {
        let ids = match (task.at_once, task.for_originals) {
            (true, true) => &self.idle,
            (true, false) => &self.idle_ours,
            (false, true) => &self.takers,
            (false, false) => &self.ours,
        };
        let mut skipped: Vec<usize> = task.avoid.iter().filter_map(|id| ids.binary_search(id).ok()).collect();
        skipped.sort_unstable();
        skipped.dedup();
        Takers { ids, skipped }
    }

    /// Whether any node may be given a task, with a free slot or not; `ours`: one that is not of the original system.
    pub fn has_takers(&self, ours: bool) -> bool {
        if ours { !self.ours.is_empty() } else { !self.takers.is_empty() }
    }

    /// Whether any node would start a task at once; `ours`: one that is not of the original system.
    pub fn has_free(&self, ours: bool) -> bool {
        if ours { !self.idle_ours.is_empty() } else { !self.idle.is_empty() }
    }

    /// Seconds that a node is expected to take for a unit of cost, refusals not counted.
    pub fn pace(&self, now: Time, id: NodeId) -> Option<f64> {
        self.nodes.get(&id).map(|known| self.pace_of(now, &known.view))
    }

    /// Those that would start a task at once, with the seconds that they need for a unit of cost, the fastest first.
    pub(super) fn fastest_free(&self) -> impl Iterator<Item = (f64, &NodeView, usize)> {
        self.free.iter().filter_map(|(pace, id)| {
            let known = self.nodes.get(id)?;
            Some((pace.0, &known.view, known.free))
        })
    }

    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// When, in seconds from now, each running task of a node should be done.
    pub(super) fn ends(&self, now: Time, view: &NodeView) -> impl Iterator<Item = f64> {
        let pace = self.pace_of(now, view);
        view.running.iter().map(move |&(since, cost)| {
            let elapsed = now.since(since).as_secs_f64();
            let expected = cost * pace;
            // A task that is over its time is likely to need as long again as it has had.
            if elapsed < expected { expected - elapsed } else { elapsed }
        })
    }

    /// What is expected of a node: of those that have done nothing yet what is usual; what made it look slow fades.
    fn pace_of(&self, now: Time, view: &NodeView) -> f64 {
        match view.pace {
            Some(known) if known > self.usual => {
                let forgotten = 0.5f64.powf(now.since(view.pace_since).as_secs_f64() / FORGET_HALF);
                self.usual + (known - self.usual) * forgotten
            }
            Some(known) => known,
            None => self.usual,
        }
    }

    /// Takes the usual pace anew: always in a small cluster, now and then in a large one.
    fn learn(&mut self) {
        self.learnt += 1;
        if self.learnt * FEW < self.nodes.len() {
            return;
        }
        self.learnt = 0;
        let mut paces: Vec<f64> = self.nodes.values().filter_map(|known| known.view.pace).collect();
        let middle = paces.len() / 2;
        self.usual = match paces.is_empty() {
            true => 1.0,
            false => *paces.select_nth_unstable_by(middle, f64::total_cmp).1,
        };
    }

    fn renew(&mut self, now: Time, view: NodeView) {
        let id = view.id;
        let pace = self.pace_of(now, &view);
        let takes = view.available_at <= now;
        let free = view.free(now);
        let lanes = self.lanes_of(now, &view, pace, free);
        let first_end = match view.running.is_empty() {
            true => None,
            false => lanes.iter().map(|lane| (Seconds(lane.free_at), id)).min(),
        };
        let free_place = (free > 0).then(|| (Seconds(tried_pace(pace, &view)), id));
        let new = Known { view, pace, takes, free, free_place, lanes, first_end };
        let old = self.nodes.remove(&id);
        self.exchange(id, old.as_ref(), Some(&new));
        self.nodes.insert(id, new);
    }

    /// Puts a node where it belongs in all that is in order; what stays the same is left alone.
    fn exchange(&mut self, id: NodeId, old: Option<&Known>, new: Option<&Known>) {
        let none: &[Lane] = &[];
        let lanes = |known: Option<&'_ Known>| known.map_or(none.to_vec(), |known| known.lanes.clone());
        if old.map(|old| &old.lanes) != new.map(|new| &new.lanes) {
            lanes(old).into_iter().for_each(|lane| self.lanes.remove(lane));
            lanes(new).into_iter().for_each(|lane| self.lanes.insert(lane));
        }
        replace(&mut self.first_ends, old.and_then(|old| old.first_end), new.and_then(|new| new.first_end));
        replace(&mut self.free, old.and_then(|old| old.free_place), new.and_then(|new| new.free_place));
        let is_of_ours = |known: &&Known| !known.view.is_original;
        let takes = |known: Option<&Known>| known.is_some_and(|known| known.takes);
        let ours = |known: Option<&Known>| known.filter(is_of_ours).is_some_and(|known| known.takes);
        belongs(&mut self.takers, id, takes(old), takes(new));
        belongs(&mut self.ours, id, ours(old), ours(new));
        let is_idle = |known: Option<&Known>| known.is_some_and(|known| known.free > 0);
        belongs(&mut self.idle, id, is_idle(old), is_idle(new));
        let is_idle = |known: Option<&Known>| is_idle(known.filter(is_of_ours));
        belongs(&mut self.idle_ours, id, is_idle(old), is_idle(new));
    }

    fn lanes_of(&self, now: Time, view: &NodeView, pace: f64, free: usize) -> Vec<Lane> {
        let (at, pause) = (now.0.as_secs_f64(), view.available_at.since(now).as_secs_f64());
        let tried = tried_pace(pace, view);
        let mut ends: Vec<f64> = self.ends(now, view).map(|end| end.max(pause)).collect();
        // Slots that are neither free nor at work are in a pause, or have tasks waiting for them.
        ends.resize(view.slots.saturating_sub(free).max(ends.len()), pause);
        if let Some(last) = ends.last_mut() {
            *last += view.queued_cost * tried;
        }
        ends.iter().map(|end| Lane { node: view.id, free_at: at + end, pace: tried }).collect()
    }

    fn forget(&mut self, id: NodeId) -> Option<NodeView> {
        let known = self.nodes.remove(&id)?;
        self.exchange(id, Some(&known), None);
        Some(known.view)
    }
}

/// The pace with the refusals that must be expected on the way.
pub(super) fn tried_pace(pace: f64, view: &NodeView) -> f64 {
    let rate = view.refusal_rate.min(HIGHEST_REFUSAL_RATE);
    pace * (1.0 + REFUSAL_COST * rate / (1.0 - rate))
}

fn replace<T: Ord>(set: &mut BTreeSet<T>, old: Option<T>, new: Option<T>) {
    if old != new {
        old.map(|old| set.remove(&old));
        set.extend(new);
    }
}

/// Sees to it that an id is in a sorted list, or is not.
fn belongs(sorted: &mut Vec<NodeId>, id: NodeId, did: bool, does: bool) {
    if did == does {
        return;
    }
    match sorted.binary_search(&id) {
        Ok(place) if !does => drop(sorted.remove(place)),
        Err(place) if does => sorted.insert(place, id),
        _ => {}
    }
}

/// The nodes that may have a task, in the order of their ids.
pub struct Takers<'a> {
    ids: &'a [NodeId],
    /// The places of those that may not.
    skipped: Vec<usize>,
}

impl Takers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len() - self.skipped.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them by its place.
    pub fn get(&self, place: usize) -> Option<NodeId> {
        let mut at = place;
        for &skipped in &self.skipped {
            at += usize::from(skipped <= at);
        }
        self.ids.get(at).copied()
    }

    /// The first one with a higher id than `last`, or the first of all.
    pub fn after(&self, last: Option<NodeId>) -> Option<NodeId> {
        let from = last.map_or(0, |last| self.ids.partition_point(|&id| id <= last));
        let may = |at: &usize| !self.skipped.contains(at);
        let place = (from..self.ids.len()).find(may).or_else(|| (0..from).find(may))?;
        self.ids.get(place).copied()
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.ids.iter().enumerate().filter(|(at, _)| !self.skipped.contains(at)).map(|(_, &id)| id)
    }
}
