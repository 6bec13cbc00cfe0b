//! Owns the list of a server's connections: who is let in, who leaves for another, who may hold how many bytes.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::Pool;
use super::scan::ScanError;
use super::{FREE_WEIGHT, Limits};

/// How long to wait for a connection that was told to leave.
const LEAVING_TIME: Duration = Duration::from_secs(1);

/// A server's connections.
pub(super) struct Registry {
    table: Mutex<Table>,
    /// Signalled when an entry leaves, gives up its bytes, or the server stops.
    changed: Condvar,
    max_connections: usize,
    budget: usize,
    pool: Arc<Pool>,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// The sum of `held` over all entries.
    held: usize,
    stopping: bool,
}

struct Entry {
    socket: Arc<TcpStream>,
    /// `None` while it executes a call. Bytes of an unfinished message do not count as life.
    idle_since: Option<Instant>,
    message_since: Instant,
    /// The weight of its unanswered message beyond what is free.
    held: usize,
    /// Told to leave: its socket is shut, and no call of it will start.
    leaving: bool,
}

impl Entry {
    fn may_leave(&self) -> bool {
        self.idle_since.is_some() && !self.leaving
    }

    fn leave(&mut self) {
        self.leaving = true;
        // An error means that the peer is gone already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Registry {
    pub(super) fn new(limits: &Limits) -> Arc<Registry> {
        Arc::new(Registry {
            table: Mutex::default(),
            changed: Condvar::new(),
            max_connections: limits.max_connections,
            budget: limits.message_budget,
            pool: Arc::new(Pool::new(limits.message_budget / FREE_WEIGHT)),
        })
    }

    /// A place for a connection. If all are taken, the longest idle one loses its own; `None` if none is idle.
    pub(super) fn admit(self: &Arc<Self>, socket: Arc<TcpStream>) -> Option<Ticket> {
        let deadline = Instant::now() + LEAVING_TIME;
        let mut table = self.lock();
        while table.entries.len() >= self.max_connections {
            if table.stopping {
                return None;
            }
            if !table.entries.values().any(|e| e.leaving) {
                let idle = table.entries.values_mut().filter(|e| e.may_leave());
                let longest = idle.min_by_key(|e| e.idle_since)?;
                log::debug!("a connection idle for {:?} makes room", longest.idle_since.map(|t| t.elapsed()));
                longest.leave();
            }
            table = self.wait(table, deadline)?;
        }
        if table.stopping {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let now = Instant::now();
        let entry = Entry { socket, idle_since: Some(now), message_since: now, held: 0, leaving: false };
        table.entries.insert(id, entry);
        Some(Ticket { id, registry: Arc::clone(self) })
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// From now on nobody is let in. Wakes whoever waits.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits until the server stops, or for `time`.
    pub(super) fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut table = self.lock();
        while !table.stopping {
            match self.wait(table, deadline) {
                Some(woken) => table = woken,
                None => return,
            }
        }
    }

    /// Shuts all connections, and waits a second at most for those to leave that are not executing a call.
    pub(super) fn shut_all(&self) {
        let deadline = Instant::now() + LEAVING_TIME;
        let mut table = self.lock();
        table.entries.values_mut().for_each(Entry::leave);
        while table.entries.values().any(|e| e.idle_since.is_some()) {
            match self.wait(table, deadline) {
                Some(woken) => table = woken,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics between two halves of a change, so a poisoned table is still a good one.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` after the deadline.
    fn wait<'a>(&self, table: MutexGuard<'a, Table>, deadline: Instant) -> Option<MutexGuard<'a, Table>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        Some(self.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// A connection's place in the registry, given back on drop.
pub(super) struct Ticket {
    id: u64,
    registry: Arc<Registry>,
}

impl Ticket {
    /// Where all connections' messages take their memory from.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.registry.pool
    }

    /// The first byte of a message came.
    pub(super) fn message_begins(&self) {
        if let Some(entry) = self.registry.lock().entries.get_mut(&self.id) {
            entry.message_since = Instant::now();
        }
    }

    /// The message now weighs this much. If that is more than is left, the messages that have been under way
    /// longest, and their connections, are given up for it: an honest one is through in no time.
    pub(super) fn hold(&self, weight: usize) -> Result<(), ScanError> {
        let deadline = Instant::now() + LEAVING_TIME;
        let mut table = self.registry.lock();
        loop {
            let budget = self.registry.budget;
            let free = budget.saturating_sub(table.held);
            let entry = table.entries.get_mut(&self.id).ok_or(ScanError::Displaced)?;
            if entry.leaving {
                return Err(ScanError::Displaced);
            }
            let wanted = weight.saturating_sub(FREE_WEIGHT);
            let more = wanted.saturating_sub(entry.held);
            if more <= free {
                entry.held += more;
                table.held += more;
                return Ok(());
            }
            let since = entry.message_since;
            if wanted > budget {
                return Err(ScanError::OverBudget);
            }
            if !table.entries.values().any(|e| e.leaving && e.held > 0) {
                let slow = table.entries.values_mut().filter(|e| e.may_leave() && e.held > 0);
                let slowest = slow.filter(|e| e.message_since < since).min_by_key(|e| e.message_since);
                slowest.ok_or(ScanError::OverBudget)?.leave();
            }
            table = self.registry.wait(table, deadline).ok_or(ScanError::OverBudget)?;
        }
    }

    /// A call starts. False if the connection was told to leave: then it must not.
    pub(super) fn call_begins(&self) -> bool {
        match self.registry.lock().entries.get_mut(&self.id) {
            Some(entry) if !entry.leaving => {
                entry.idle_since = None;
                true
            }
            _ => false,
        }
    }

    /// The handler is done and its answer is being sent, as slowly as the peer may read.
    pub(super) fn answer_begins(&self) {
        if let Some(entry) = self.registry.lock().entries.get_mut(&self.id) {
            entry.idle_since.get_or_insert_with(Instant::now);
        }
        // A stopping server waits for whoever is not executing, and this one may now be shut.
        self.registry.changed.notify_all();
    }

    /// The answer is sent, and what the message held is free.
    pub(super) fn call_ends(&self) {
        let mut table = self.registry.lock();
        if let Some(entry) = table.entries.get_mut(&self.id) {
            // It has been idle since its answer began, if it gave one: what its peer sees is in that order.
            entry.idle_since.get_or_insert_with(Instant::now);
            let held = std::mem::take(&mut entry.held);
            table.held -= held;
        }
        drop(table);
        self.registry.changed.notify_all();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.registry.lock();
        if let Some(entry) = table.entries.remove(&self.id) {
            table.held -= entry.held;
        }
        drop(table);
        self.registry.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn socket() -> Arc<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    fn registry(max_connections: usize, message_budget: usize) -> Arc<Registry> {
        Registry::new(&Limits { max_connections, message_budget, ..Limits::default() })
    }

    /// A connection's thread, as far as the registry can tell: it leaves when its socket is shut.
    fn sit(ticket: Ticket, socket: Arc<TcpStream>) {
        std::thread::spawn(move || {
            let _ = std::io::Read::read(&mut &*socket, &mut [0]);
            drop(ticket);
        });
    }

    #[test]
    fn the_longest_idle_makes_room_and_the_executing_stay() {
        let registry = registry(2, 0);
        let busy = registry.admit(socket()).unwrap();
        assert!(busy.call_begins());
        let other = registry.admit(socket()).unwrap();
        assert!(other.call_begins());
        assert!(registry.admit(socket()).is_none(), "all execute");

        other.call_ends();
        drop(other);
        let kept = TcpListener::bind("127.0.0.1:0").unwrap();
        let quiet = Arc::new(TcpStream::connect(kept.local_addr().unwrap()).unwrap());
        sit(registry.admit(Arc::clone(&quiet)).unwrap(), quiet);
        let newcomer = registry.admit(socket()).unwrap();
        assert_eq!(registry.len(), 2);
        assert!(busy.registry.lock().entries.contains_key(&busy.id));
        drop(newcomer);
    }

    #[test]
    fn one_told_to_leave_starts_no_call() {
        let registry = registry(1, 0);
        let ticket = registry.admit(socket()).unwrap();
        registry.lock().entries.values_mut().for_each(Entry::leave);
        assert!(!ticket.call_begins());
        assert!(matches!(ticket.hold(FREE_WEIGHT + 1), Err(ScanError::Displaced)));
    }

    #[test]
    fn the_budget_goes_to_the_younger_message() {
        let registry = registry(3, 100);
        let kept = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket_of_slow = Arc::new(TcpStream::connect(kept.local_addr().unwrap()).unwrap());
        let slow = registry.admit(Arc::clone(&socket_of_slow)).unwrap();
        slow.message_begins();
        slow.hold(FREE_WEIGHT).unwrap();
        slow.hold(FREE_WEIGHT + 80).unwrap();
        let quick = registry.admit(socket()).unwrap();
        quick.message_begins();
        quick.hold(FREE_WEIGHT + 20).unwrap();
        assert!(matches!(slow.hold(FREE_WEIGHT + 81), Err(ScanError::OverBudget)));
        sit(slow, socket_of_slow);
        quick.hold(FREE_WEIGHT + 100).unwrap();
        assert!(matches!(quick.hold(FREE_WEIGHT + 101), Err(ScanError::OverBudget)));
        quick.call_ends();
        assert_eq!(registry.lock().held, 0);
    }
}
