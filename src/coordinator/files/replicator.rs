//! Owns keeping copies: a thread that has the keeper's orders carried out, and what others ask of the keeper.

use super::courier::Courier;
use crate::placement::{Keeper, NodeKey, Order, Outcome, Settings};
use crate::rpc::{Address, RpcError};
use crate::store::Archive;
use crate::types::{Digest, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The keeper, and who waits for it.
pub(super) struct Keeping {
    start: Instant,
    /// Where nodes find what the coordinator has.
    pub(super) own: Address,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    keeper: Keeper,
    /// Nodes that have been told of, and whether they answer.
    nodes: BTreeMap<NodeKey, bool>,
    /// Something happened that the keeper may have orders for.
    news: bool,
    stop: bool,
}

impl Keeping {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed())
    }

    /// Changes what is known, and wakes whom it may concern.
    fn change(&self, change: impl FnOnce(&mut Keeper, Time)) {
        let now = self.now();
        let mut state = self.lock();
        change(&mut state.keeper, now);
        state.news = true;
        drop(state);
        self.changed.notify_all();
    }

    /// A node has told what it holds.
    pub(super) fn listed(&self, node: &NodeKey, held: &BTreeSet<Digest>) {
        self.change(|keeper, now| keeper.listed(node, held, now));
    }

    /// An order was answered.
    pub(super) fn done(&self, order: &Order, outcome: Outcome) {
        self.change(|keeper, now| keeper.done(order, outcome, now));
    }

    fn is_up(&self, node: &NodeKey) -> bool {
        self.lock().nodes.get(node).copied().unwrap_or(false)
    }
}

/// The thread that keeps copies, until it is dropped.
pub(super) struct Replicator {
    keeping: Arc<Keeping>,
    thread: Option<JoinHandle<()>>,
}

impl Replicator {
    /// Starts. It gives orders only while `leads` says so.
    pub(super) fn start(
        own: Address,
        settings: Settings,
        archive: Arc<Archive>,
        leads: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<Self, RpcError> {
        let keeper = Keeper::new(settings, Time::default());
        let state = State { keeper, nodes: BTreeMap::new(), news: false, stop: false };
        let keeping =
            Arc::new(Keeping { start: Instant::now(), own, state: Mutex::new(state), changed: Condvar::new() });
        let thread = std::thread::Builder::new().name("copies".to_owned());
        let run = {
            let keeping = keeping.clone();
            move || Loop { keeping, archive, leads, couriers: BTreeMap::new() }.run()
        };
        let thread = thread.spawn(run).map_err(|source| RpcError::CannotServe { source })?;
        Ok(Self { keeping, thread: Some(thread) })
    }

    /// A blob is to have copies; `fresh`: it has just been put.
    pub(super) fn want(&self, digest: Digest, size: u64, copies: usize, fresh: bool) {
        self.keeping.change(|keeper, _| keeper.want(digest, size, copies, fresh));
    }

    /// Only these are needed: the copies of all others are let go.
    pub(super) fn want_only(&self, needed: &BTreeSet<Digest>) {
        self.keeping.change(|keeper, _| keeper.want_only(needed));
    }

    /// Nodes answer or do not. Those not named are as they were.
    pub(super) fn nodes_changed(&self, nodes: &[(Address, bool)]) {
        let mut state = self.keeping.lock();
        for (address, up) in nodes {
            let node = NodeKey::new(&address.to_string());
            if state.nodes.insert(node.clone(), *up) == Some(*up) {
                continue;
            }
            state.news = true;
            if *up {
                state.keeper.node_up(node);
            } else {
                state.keeper.node_down(&node);
            }
        }
        drop(state);
        self.keeping.changed.notify_all();
    }

    /// No node is known to answer.
    pub(super) fn forget_nodes(&self) {
        let mut state = self.keeping.lock();
        for (node, _) in std::mem::take(&mut state.nodes) {
            state.keeper.node_down(&node);
        }
    }

    /// A node does not have what it was thought to hold.
    pub(super) fn doubt(&self, node: &Address) {
        self.keeping.change(|keeper, _| keeper.doubt(&NodeKey::new(&node.to_string())));
    }

    /// Waits until a blob has its copies, as many as there can be, or until `patience` is over.
    pub(super) fn wait(&self, digest: &Digest, copies: usize, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.keeping.lock();
        loop {
            let now = self.keeping.now();
            let enough = state.keeper.holders(digest).len() >= copies || state.keeper.is_settled(digest, now);
            let left = end.saturating_duration_since(Instant::now());
            if enough || left.is_zero() || state.stop {
                return;
            }
            // Time alone may settle it, too.
            let left = left.min(Duration::from_millis(100));
            let waited = self.keeping.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The bytes of a content that is to have copies.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.keeping.lock().keeper.size(digest)
    }

    /// The nodes that answer and hold a copy.
    pub(super) fn holders(&self, digest: &Digest) -> Vec<NodeKey> {
        self.keeping.lock().keeper.holders(digest)
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        self.keeping.lock().stop = true;
        self.keeping.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Loop {
    keeping: Arc<Keeping>,
    archive: Arc<Archive>,
    leads: Arc<dyn Fn() -> bool + Send + Sync>,
    couriers: BTreeMap<NodeKey, Courier>,
}

impl Loop {
    fn run(mut self) {
        let mut led = false;
        loop {
            // Asked without the lock: it may have to look at the store.
            let leads = (self.leads)();
            // What cannot be read now is tried again.
            led = leads && (led || self.load());
            let now = self.keeping.now();
            let mut state = self.keeping.lock();
            if state.stop {
                return;
            }
            state.news = false;
            let orders = if leads { state.keeper.orders(now) } else { Vec::new() };
            drop(state);
            let keeping = self.keeping.clone();
            self.couriers.retain(|node, _| keeping.is_up(node));
            orders.into_iter().for_each(|order| self.send(order));
            self.rest();
        }
    }

    /// Waits for news, or for the time at which something is to be done.
    fn rest(&self) {
        let mut state = self.keeping.lock();
        let mut pause = state.keeper.pause(self.keeping.now());
        while !state.news && !state.stop && !pause.is_zero() {
            let since = Instant::now();
            let waited = self.keeping.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            pause = pause.saturating_sub(since.elapsed());
        }
    }

    /// Reads from the archive what is to have copies: another coordinator may have put files. False if it cannot be read.
    fn load(&self) -> bool {
        let wanted = match super::wanted(&self.archive) {
            Ok(wanted) => wanted,
            Err(e) => {
                log::error!("until this can be read only new files are copied to nodes: {e}");
                return false;
            }
        };
        log::debug!("{} versions are to have copies", wanted.len());
        self.keeping.change(|keeper, now| {
            keeper.settle(now);
            for (digest, size, copies) in wanted {
                if !keeper.wants(&digest) {
                    keeper.want(digest, size, copies, false);
                }
            }
        });
        true
    }

    /// Gives an order to the node's courier.
    fn send(&mut self, order: Order) {
        let (Order::List { at: node } | Order::Release { at: node, .. } | Order::Copy { to: node, .. }) = &order;
        if !self.couriers.contains_key(node) {
            match Courier::start(node, &self.keeping) {
                Ok(courier) => {
                    self.couriers.insert(node.clone(), courier);
                }
                Err(reason) => {
                    log::warn!("no orders can be sent to {node}: {reason}");
                    self.keeping.done(&order, Outcome::Refused);
                    return;
                }
            }
        }
        if let Some(courier) = self.couriers.get(node) {
            courier.send(order);
        }
    }
}
