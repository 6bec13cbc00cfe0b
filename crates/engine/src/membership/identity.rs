//! Owns who a member is: where it answers, what it does, and which of the processes that lived there it is.

use core::net::{IpAddr, SocketAddr};
use std::fmt;

/// What a member does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// It does tasks.
    Node,
    /// It takes jobs and gives out tasks.
    Coordinator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Coordinator => "coordinator",
        })
    }
}

/// A process that takes part. Of two with one address the later stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity {
    /// Where it answers calls and, at the same port, gossip.
    pub address: SocketAddr,
    /// What it does.
    pub role: Role,
    /// A random name that changes when the process restarts.
    pub instance: u64,
    /// Its start in milliseconds, shifted by [`GENERATION_BITS`], and how often it came back after others took it for
    /// dead: what decides between two with one address.
    stamp: u64,
}

/// The bits of a stamp that count comebacks.
const GENERATION_BITS: u32 = 16;

impl Identity {
    /// A process that starts now: `started_ms` are milliseconds since some moment that restarts do not change.
    pub fn new(address: SocketAddr, role: Role, instance: u64, started_ms: u64) -> Self {
        // Scopes and flow labels mean nothing to others.
        let address = SocketAddr::new(address.ip(), address.port());
        Self { address, role, instance, stamp: started_ms << GENERATION_BITS }
    }

    /// Whoever is at an address: what a newcomer knows.
    pub(super) fn anyone_at(address: SocketAddr) -> Self {
        Self { address: SocketAddr::new(address.ip(), address.port()), role: Role::Node, instance: 0, stamp: 0 }
    }

    /// Whether it stands for whoever is at the address.
    pub(super) fn is_anyone(&self) -> bool {
        self.instance == 0 && self.stamp == 0
    }

    /// Itself, later than `other`; `None` at the end of numbers.
    pub(super) fn later_than(&self, other: &Self) -> Option<Self> {
        let stamp = self.stamp.max(other.stamp).checked_add(1)?;
        Some(Self { stamp, ..*self })
    }

    /// How often it refuted that it is suspect, `refuted` times since it last came back; it only grows.
    pub(super) fn incarnation(&self, refuted: u16) -> u64 {
        let generation = self.stamp & ((1 << GENERATION_BITS) - 1);
        (generation << u16::BITS) | u64::from(refuted)
    }

    pub(super) fn from_parts(ip: IpAddr, port: u16, role: Role, instance: u64, stamp: u64) -> Self {
        Self { address: SocketAddr::new(ip, port), role, instance, stamp }
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        self.later_than(self)
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.stamp, self.instance, self.role) > (adversary.stamp, adversary.instance, adversary.role)
    }
}
