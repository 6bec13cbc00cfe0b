//! Owns the seeds as they were given, and the addresses that they stand for.

use super::socket::reaches;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long until names are looked for again.
const AGAIN: Duration = Duration::from_secs(30);

/// Seeds and their addresses.
pub(super) struct Names {
    seeds: Vec<String>,
    /// Of the socket that is to reach them.
    local: SocketAddr,
    found: Mutex<Found>,
    changed: Condvar,
}

#[derive(Default)]
struct Found {
    /// The seed of each address.
    given: BTreeMap<SocketAddr, String>,
    stopping: bool,
}

impl Names {
    /// Seeds as host:port; those that are addresses are known at once.
    pub(super) fn new(seeds: Vec<String>, local: SocketAddr) -> Self {
        let literal = seeds.iter().filter_map(|seed| Some((seed.parse::<SocketAddr>().ok()?, seed.clone())));
        let given = literal.filter(|(address, _)| reaches(local, *address)).collect();
        let found = Mutex::new(Found { given, stopping: false });
        Self { seeds, local, found, changed: Condvar::new() }
    }

    /// Whether some are names, for which the system must be asked.
    pub(super) fn are_to_be_found(&self) -> bool {
        self.seeds.iter().any(|seed| seed.parse::<SocketAddr>().is_err())
    }

    /// Asks the system for all names, which may take long; whether what they stand for has changed.
    pub(super) fn find(&self) -> bool {
        let mut given = BTreeMap::new();
        for seed in &self.seeds {
            match seed.to_socket_addrs() {
                Ok(addresses) => {
                    let usable = addresses.filter(|address| reaches(self.local, *address));
                    given.extend(usable.map(|address| (address, seed.clone())));
                }
                Err(e) => {
                    log::debug!("the host of {seed} is not found: {e}");
                    // It is not forgotten because of a name server that is away for a while.
                    let known = self.lock().given.clone();
                    given.extend(known.into_iter().filter(|(_, known)| known == seed));
                }
            }
        }
        let mut found = self.lock();
        let is_new = found.given != given;
        found.given = given;
        is_new
    }

    /// The addresses found so far.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.lock().given.keys().copied().collect()
    }

    /// The seed that an address was given as.
    pub(super) fn given_for(&self, address: SocketAddr) -> Option<String> {
        self.lock().given.get(&address).cloned()
    }

    /// Waits until it is time to look again, or the end.
    pub(super) fn pause(&self) {
        let found = self.lock();
        let _ = self.changed.wait_timeout_while(found, AGAIN, |found| !found.stopping);
    }

    /// Ends a pause.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_at_once_and_names_when_they_are_found() {
        let local: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let names = Names::new(["127.0.0.1:9", "localhost:8", "[::1]:7"].map(str::to_owned).to_vec(), local);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(names.addresses(), [at("127.0.0.1:9")]);
        assert!(names.are_to_be_found());
        assert!(names.find() && !names.find());
        assert_eq!(names.given_for(at("127.0.0.1:8")).as_deref(), Some("localhost:8"));
        assert_eq!(names.given_for(at("127.0.0.1:7")), None);
        assert_eq!(names.addresses().len(), 2, "an IPv4 socket does not reach ::1");
    }
}
