//! Owns membership over UDP: who is in the cluster, and the calls by which servers answer about it.
//!
//! [`Membership`] knows what to say and when; here are the socket, the clock and the thread. The same state answers the
//! calls, under one lock that is never held while anything is sent or told.

mod calls;
mod names;
mod rate;
mod socket;

pub(crate) use calls::answer_member_calls;
pub use calls::{Facts, MemberCalls, Served};
pub use socket::GossipError;

pub use crate::membership::{Change, Departure, MemberView, Role, Settings, Standing};

use crate::membership::{Identity, LONGEST, Membership, Output};
use crate::types::Time;
use core::net::SocketAddr;
use names::Names;
use rate::Rate;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest that the thread waits for a datagram: the end is noticed by then.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// A wait after an error of the socket, so that one that stays does not take a processor.
const BACK_OFF: Duration = Duration::from_millis(10);
/// How many datagrams that have come are heard before what is due is done.
const BURST: usize = 512;

/// How a server takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where gossip comes in: at the port of the server's calls.
    pub socket: Arc<UdpSocket>,
    /// The name or address that the others are told; if there is none, the one listened at, or the one by which the
    /// first seed is reached.
    pub advertise: Option<String>,
    /// host:port of members that may be there: any one that is introduces us to all.
    pub seeds: Vec<String>,
    /// How often members ask after each other, and how long they wait.
    pub settings: Settings,
}

impl Config {
    /// At the address and port of a listener, with nobody to look for yet.
    ///
    /// # Errors
    /// The port is taken for datagrams, or the system does not give the socket.
    pub fn beside(listener: &TcpListener) -> Result<Self, GossipError> {
        let socket = Arc::new(socket::beside(listener)?);
        Ok(Self { socket, advertise: None, seeds: Vec::new(), settings: Settings::default() })
    }
}

/// What a listener is told.
#[derive(Clone, Debug)]
pub struct News {
    /// What changed.
    pub change: Change,
    /// The seed, as it was given, that the changed member is: a list of nodes may name it otherwise than it does itself.
    pub given_as: Option<String>,
}

/// A server's part in gossip, until it is stopped or dropped; then it says good-bye.
pub struct Gossip {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    /// `None` if the server takes no part.
    socket: Option<Arc<UdpSocket>>,
    local: SocketAddr,
    start: Instant,
    state: Mutex<State>,
    names: Names,
    stopping: AtomicBool,
}

struct State {
    membership: Membership,
    sent: Rate,
    received: Rate,
}

impl Gossip {
    /// Takes part from now on. `told` hears of all changes, in their order, on the thread of gossip.
    ///
    /// # Errors
    /// The address to be told to others is none, or a thread cannot be started.
    pub fn start(
        config: Config,
        role: Role,
        instance: u64,
        told: impl Fn(News) + Send + 'static,
    ) -> Result<Self, GossipError> {
        let local = config.socket.local_addr().map_err(GossipError::cannot_start)?;
        let address = socket::advertised(local, config.advertise.as_deref(), &config.seeds)?;
        let me = Identity::new(address, role, instance, now_ms());
        let gossip = Self::with(Some(config.socket.clone()), local, me, config.settings, config.seeds);
        let mut threads = gossip.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = gossip.shared.clone();
        let thread = std::thread::Builder::new().name("gossip".to_owned());
        let hear = move || shared.run(&config.socket, &told);
        threads.push(thread.spawn(hear).map_err(GossipError::cannot_start)?);
        // Literal addresses are tried at once, names when they are found.
        gossip.shared.try_seeds();
        if gossip.shared.names.are_to_be_found() {
            let shared = gossip.shared.clone();
            let thread = std::thread::Builder::new().name("gossip-names".to_owned());
            threads.push(thread.spawn(move || shared.find_names()).map_err(GossipError::cannot_start)?);
        }
        drop(threads);
        Ok(gossip)
    }

    /// A server that takes no part: it knows of itself alone.
    pub fn alone(address: SocketAddr, role: Role, instance: u64) -> Self {
        let me = Identity::new(address, role, instance, now_ms());
        Self::with(None, address, me, Settings::default(), Vec::new())
    }

    fn with(
        socket: Option<Arc<UdpSocket>>,
        local: SocketAddr,
        me: Identity,
        settings: Settings,
        seeds: Vec<String>,
    ) -> Self {
        let membership = Membership::new(me, settings, rand::random());
        let state = Mutex::new(State { membership, sent: Rate::default(), received: Rate::default() });
        let names = Names::new(seeds, local);
        let stopping = AtomicBool::new(false);
        let shared = Shared { socket, local, start: Instant::now(), state, names, stopping };
        Self { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// This server, as the others are told of it.
    pub fn me(&self) -> MemberView {
        self.shared.lock().membership.me()
    }

    /// All members that are known, this server first, then by address.
    pub fn members(&self) -> Vec<MemberView> {
        self.shared.lock().membership.members()
    }

    /// The seed, as it was given, that stands at an address.
    pub fn given_as(&self, address: SocketAddr) -> Option<String> {
        self.shared.names.given_for(address)
    }

    /// Bytes per second sent and received, averaged over the last 10 s.
    pub fn traffic(&self) -> (f64, f64) {
        let now = self.shared.now();
        let state = self.shared.lock();
        (state.sent.per_second(now), state.received.per_second(now))
    }

    /// How long ago it started.
    pub fn uptime(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Tells all that this server finishes its work and takes no more.
    pub fn set_leaving(&self) {
        let now = self.shared.now();
        let outputs = self.shared.lock().membership.set_leaving(now);
        self.shared.send(now, outputs);
    }

    /// Says good-bye and takes no part any more. Again, it does nothing.
    pub fn stop(&self) {
        let now = self.shared.now();
        let outputs = self.shared.lock().membership.leave(now);
        self.shared.send(now, outputs);
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.names.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // The thread that finds names may wait for the system for long, and touches nothing after that.
            if thread.thread().name() != Some("gossip-names") && thread.join().is_err() {
                log::error!("the thread of gossip had panicked");
            }
        }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn now(&self) -> Time {
        Time(self.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears and says until the end.
    fn run(&self, socket: &UdpSocket, told: &dyn Fn(News)) {
        let mut bytes = [0; LONGEST + 1];
        while !self.stopping.load(Ordering::Acquire) {
            let due = self.lock().membership.next_wakeup();
            let wait = due.map_or(LONGEST_WAIT, |due| due.since(self.now())).min(LONGEST_WAIT);
            if !wait.is_zero() {
                let heard = socket.set_read_timeout(Some(wait)).and_then(|()| self.hear(socket, &mut bytes, told));
                if heard.is_err_and(|e| !is_silence(&e)) {
                    std::thread::sleep(BACK_OFF);
                }
                continue;
            }
            // What has come already may be the answer that is due.
            let burst = socket.set_nonblocking(true).map(|()| {
                let mut left = BURST;
                while left > 0 && self.hear(socket, &mut bytes, told).is_ok() {
                    left -= 1;
                }
            });
            if burst.and_then(|()| socket.set_nonblocking(false)).is_err() {
                std::thread::sleep(BACK_OFF);
            }
            let now = self.now();
            let outputs = self.lock().membership.tick(now);
            self.perform(now, outputs, told);
        }
    }

    /// Hears one datagram.
    fn hear(&self, socket: &UdpSocket, bytes: &mut [u8], told: &dyn Fn(News)) -> io::Result<()> {
        let (length, from) = socket.recv_from(bytes)?;
        let now = self.now();
        let outputs = {
            let mut state = self.lock();
            let outputs = state.membership.receive(now, socket::as_told(from), &bytes[..length]);
            if outputs.is_ok() {
                state.received.add(now, length);
            }
            outputs
        };
        match outputs {
            Ok(outputs) => self.perform(now, outputs, told),
            Err(e) => log::trace!("from {from}: {e}"),
        }
        Ok(())
    }

    fn try_seeds(&self) {
        let addresses = self.names.addresses();
        let now = self.now();
        let outputs = self.lock().membership.join(now, &addresses);
        self.send(now, outputs);
    }

    /// Finds names again and again: what they stand for may change.
    fn find_names(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            if self.names.find() {
                self.try_seeds();
            }
            self.names.pause();
        }
    }

    fn perform(&self, now: Time, outputs: Vec<Output>, told: &dyn Fn(News)) {
        let changes: Vec<Change> = outputs
            .iter()
            .filter_map(|output| if let Output::Change(change) = output { Some(*change) } else { None })
            .collect();
        self.send(now, outputs);
        for change in changes {
            let given_as = match &change {
                Change::Up(member) | Change::Leaving(member) | Change::Down(member, _) => {
                    self.names.given_for(member.address)
                }
                Change::CameBack => None,
            };
            told(News { change, given_as });
        }
    }

    fn send(&self, now: Time, outputs: Vec<Output>) {
        let Some(socket) = &self.socket else { return };
        let mut sent = 0;
        for output in outputs {
            if let Output::Send { to, bytes } = output {
                match socket.send_to(&bytes, socket::as_sent(self.local, to)) {
                    Ok(count) => sent += count,
                    // As if it were lost on the way, which gossip is made for.
                    Err(e) => log::debug!("gossip to {to} was not sent: {e}"),
                }
            }
        }
        if sent > 0 {
            self.lock().sent.add(now, sent);
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Milliseconds since 1970: of two processes at one address the one that started later is the one that lives.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
