//! Owns what membership tells: members as they are seen, and what changed about them.

use super::identity::{Identity, Role};
use core::net::SocketAddr;
use std::fmt;

/// How a member stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// It answers.
    Alive,
    /// It did not answer; unless it shows that it lives in time, it is taken for dead.
    Suspect,
    /// It finishes its work, takes no more, and then goes.
    Leaving,
    /// It is gone.
    Down,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "ALIVE",
            Self::Suspect => "SUSPECT",
            Self::Leaving => "LEAVING",
            Self::Down => "DOWN",
        })
    }
}

/// A member as it is seen from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberView {
    /// Where it answers calls and gossip.
    pub address: SocketAddr,
    /// What it does.
    pub role: Role,
    /// How it stands.
    pub standing: Standing,
    /// A random name that changes when the process restarts.
    pub instance: u64,
    /// Grows each time that it refutes a suspicion.
    pub incarnation: u64,
}

impl MemberView {
    pub(super) fn new(identity: &Identity, standing: Standing, refuted: u16) -> Self {
        Self {
            address: identity.address,
            role: identity.role,
            standing,
            instance: identity.instance,
            incarnation: identity.incarnation(refuted),
        }
    }
}

impl fmt::Display for MemberView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.address)
    }
}

/// Why a member is no longer there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Departure {
    /// It did not answer, or others say that it does not.
    Silent,
    /// It said good-bye.
    Left,
    /// Another process answers at its address: it was restarted.
    Replaced,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "it does not answer",
            Self::Left => "it left",
            Self::Replaced => "it was restarted",
        })
    }
}

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A member is there that was not before.
    Up(MemberView),
    /// A member finishes its work and takes no more.
    Leaving(MemberView),
    /// A member is gone.
    Down(MemberView, Departure),
    /// Others took this process for dead; it says that it is not, and is back.
    CameBack,
}

/// What a driver is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// What; at most [`LONGEST`](super::LONGEST) bytes.
        bytes: Vec<u8>,
    },
    /// Tell whoever listens.
    Change(Change),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(member) => write!(f, "{member} is there"),
            Self::Leaving(member) => write!(f, "{member} finishes its work and leaves"),
            Self::Down(member, why) => write!(f, "{member} is gone: {why}"),
            Self::CameBack => f.write_str("others took this server for dead; it says that it is not"),
        }
    }
}
