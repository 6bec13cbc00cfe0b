//! Owns what is said to one node about copies: threads that take its orders and tell what came of them.

use super::replicator::Keeping;
use crate::placement::{NodeKey, Order, Outcome};
use crate::rpc::{Address, Client, Dialer, Hangup, Input, Output, RpcError, Timeouts};
use crate::types::Digest;
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Threads that have copies made: as many as a node makes at once.
const COPIERS: usize = 2;
/// How long a node may take for a list, or to let a copy go.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes in a second that a node takes a copy at, at the least.
const SLOWEST: u64 = 1 << 20;
/// The most blobs in one answer.
const PAGE: i32 = 10_000;

type NodeClient = Client<ComputeNodeSyncClient<Input, Output>>;

/// The threads for one node, until it is dropped; orders that are left then count as lost.
pub(super) struct Courier {
    quick: Option<Sender<Order>>,
    fresh: Option<Sender<Order>>,
    counted: Option<Sender<Order>>,
    line: Arc<Line>,
}

/// What the threads of a courier share.
struct Line {
    node: NodeKey,
    address: Address,
    keeping: Arc<Keeping>,
    dialer: Dialer,
    /// How calls at work are ended; `None` once no more are to be made.
    hangups: Mutex<Option<Vec<Hangup>>>,
}

impl Courier {
    /// Starts threads for a node.
    pub(super) fn start(node: &NodeKey, keeping: &Arc<Keeping>) -> Result<Self, String> {
        let address: Address = node.as_str().parse().map_err(|e: RpcError| e.to_string())?;
        let timeouts = Timeouts { connect: Duration::from_secs(2), ..Timeouts::default() };
        let line = Arc::new(Line {
            node: node.clone(),
            address,
            keeping: keeping.clone(),
            dialer: Dialer { timeouts, ..Dialer::default() },
            hangups: Mutex::new(Some(Vec::new())),
        });
        let (quick, quick_orders) = unbounded();
        let (fresh, fresh_orders) = unbounded();
        let (counted, counted_orders) = unbounded();
        let courier = Self { quick: Some(quick), fresh: Some(fresh), counted: Some(counted), line };
        courier.spawn(move |line| line.answer_quick(&quick_orders))?;
        for _ in 0..COPIERS {
            let (fresh, counted) = (fresh_orders.clone(), counted_orders.clone());
            courier.spawn(move |line| line.have_copied(fresh, counted))?;
        }
        Ok(courier)
    }

    fn spawn(&self, run: impl FnOnce(&Line) + Send + 'static) -> Result<(), String> {
        let line = self.line.clone();
        let thread = std::thread::Builder::new().name(format!("copies {}", line.node));
        thread.spawn(move || run(&line)).map(drop).map_err(|e| e.to_string())
    }

    /// Takes an order.
    pub(super) fn send(&self, order: Order) {
        let to = match &order {
            Order::List { .. } | Order::Release { .. } => &self.quick,
            Order::Copy { counted: false, .. } => &self.fresh,
            Order::Copy { .. } => &self.counted,
        };
        // The threads live as long as the senders.
        if let Some(to) = to {
            let _ = to.send(order);
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        let hangups = self.line.hangups.lock().unwrap_or_else(PoisonError::into_inner).take();
        hangups.into_iter().flatten().for_each(|hangup| hangup.hang_up());
        // The threads end by themselves: one that is just dialling is not waited for.
        (self.quick, self.fresh, self.counted) = (None, None, None);
    }
}

impl Line {
    fn answer_quick(&self, orders: &Receiver<Order>) {
        let mut client = None;
        for order in orders {
            self.carry_out(&mut client, &order);
        }
    }

    /// What was put a moment ago goes before what is restored.
    fn have_copied(&self, mut fresh: Receiver<Order>, mut counted: Receiver<Order>) {
        let mut client = None;
        let (mut fresh_ended, mut counted_ended) = (false, false);
        while !(fresh_ended && counted_ended) {
            let order = select_biased! {
                recv(fresh) -> order => order.map_err(|_| {
                    fresh_ended = true;
                    fresh = crossbeam_channel::never();
                }),
                recv(counted) -> order => order.map_err(|_| {
                    counted_ended = true;
                    counted = crossbeam_channel::never();
                }),
            };
            if let Ok(order) = order {
                self.carry_out(&mut client, &order);
            }
        }
    }

    fn carry_out(&self, client: &mut Option<NodeClient>, order: &Order) {
        let outcome = match self.try_order(client, order) {
            Ok(()) => Outcome::Done,
            Err(RpcError::Remote { address, reason }) => {
                log::warn!("{address} answers {}: {reason}", told(order));
                Outcome::Refused
            }
            Err(e @ (RpcError::UnknownMethod { .. } | RpcError::Refused { .. })) => {
                log::info!("{e}: it holds no copies");
                Outcome::Refused
            }
            Err(e) => {
                log::debug!("{}: {e}", told(order));
                *client = None;
                Outcome::Lost
            }
        };
        self.keeping.done(order, outcome);
    }

    fn try_order(&self, client: &mut Option<NodeClient>, order: &Order) -> Result<(), RpcError> {
        if client.as_ref().is_none_or(Client::is_broken) {
            *client = Some(self.dial()?);
        }
        let Some(client) = client else { return Err(RpcError::Closed { address: self.address.clone() }) };
        client.set_timeout(Some(ANSWER));
        match order {
            Order::List { at } => {
                let held = list(client)?;
                self.keeping.listed(at, &held);
                Ok(())
            }
            Order::Release { digest, .. } => client.call(|c| c.release_blob(digest.to_string())),
            Order::Copy { digest, size, from, .. } => {
                client.set_timeout(Some(Duration::from_secs(60 + size / SLOWEST)));
                let own = self.own().to_string();
                let sources = [own].into_iter().chain(from.iter().map(NodeKey::to_string)).collect();
                client.call(|c| c.hold_blob(digest.to_string(), *size as i64, sources))
            }
        }
    }

    fn dial(&self) -> Result<NodeClient, RpcError> {
        let ended = || RpcError::Closed { address: self.address.clone() };
        if self.hangups.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(ended());
        }
        let client = self.dialer.dial(&self.address)?.client(ComputeNodeSyncClient::new);
        let mut hangups = self.hangups.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(hangups) = &mut *hangups else { return Err(ended()) };
        if hangups.len() > COPIERS {
            // One of each thread is in use; older ones have ended.
            hangups.remove(0);
        }
        hangups.push(client.hangup());
        Ok(client)
    }

    /// The coordinator's address as the node can reach it.
    fn own(&self) -> Address {
        let own = &self.keeping.own;
        if !own.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified()) {
            return own.clone();
        }
        // Nothing is sent: the system only says which of our addresses it would send from.
        let from = || {
            let socket = UdpSocket::bind((own.host.as_str(), 0))?;
            socket.connect((self.address.host.as_str(), self.address.port))?;
            socket.local_addr()
        };
        from().map_or_else(|_| own.clone(), |from| Address::new(from.ip().to_string(), own.port))
    }
}

fn list(client: &mut NodeClient) -> Result<BTreeSet<Digest>, RpcError> {
    let mut held = BTreeSet::new();
    loop {
        let after = held.last().map(Digest::to_string).unwrap_or_default();
        let page = client.call(|c| c.held_blobs(after, PAGE))?;
        let before = held.len();
        held.extend(page.iter().filter_map(|blob| Digest::parse(&blob.digest)));
        // A node that tells the same again would go on for ever.
        if held.len() == before {
            return Ok(held);
        }
    }
}

fn told(order: &Order) -> String {
    match order {
        Order::List { .. } => "what it holds".to_owned(),
        Order::Copy { digest, .. } => format!("a copy of {}", digest.short()),
        Order::Release { digest, .. } => format!("letting {} go", digest.short()),
    }
}
