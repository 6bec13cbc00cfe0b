//! Owns the calls about members, as every server answers them.

use super::{Gossip, MemberView, Role, Standing};
use crate::wire::convert;
use crate::wire::members::{self as wire, Member, MemberInfo, MemberState};
use std::sync::Arc;
use thrift::OrderedFloat;

/// What a server tells of itself that gossip does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Of a coordinator the epoch that it leads in or last heard of; of a node the highest that it has obeyed.
    pub epoch: u64,
    /// Whether it is the coordinator that leads.
    pub leads: bool,
    /// Of a node: tasks that it can run at once.
    pub slots: usize,
    /// Of a node: tasks that it runs.
    pub busy: usize,
    /// Of a node: its simulated load probability, 0 to 1.
    pub load: f64,
    /// Copies of files that it holds for others.
    pub held_blobs: u64,
    /// Bytes in them.
    pub held_bytes: u64,
}

/// A server that answers about itself.
pub trait Served: Send + Sync {
    /// What it tells of itself.
    fn facts(&self) -> Facts;

    /// Begins to leave: takes no more work, and ends when what it has is done. Returns at once.
    ///
    /// # Errors
    /// Why it must not leave now, for whoever asked.
    fn leave(self: Arc<Self>) -> Result<(), String>;
}

/// The calls about members, of one connection.
pub struct MemberCalls {
    gossip: Arc<Gossip>,
    server: Arc<dyn Served>,
}

impl MemberCalls {
    /// For a new connection to a server.
    pub fn new(gossip: Arc<Gossip>, server: Arc<dyn Served>) -> Self {
        Self { gossip, server }
    }

    /// See `members` in idl/members.thrift.
    ///
    /// # Errors
    /// None.
    pub fn members(&self) -> thrift::Result<Vec<Member>> {
        Ok(self.gossip.members().iter().map(to_wire).collect())
    }

    /// See `member_info` in idl/members.thrift.
    ///
    /// # Errors
    /// None.
    pub fn info(&self) -> thrift::Result<MemberInfo> {
        let facts = self.server.facts();
        let (sent, received) = self.gossip.traffic();
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let long = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(MemberInfo {
            me: to_wire(&self.gossip.me()),
            software: concat!("roundtable ", env!("CARGO_PKG_VERSION")).to_owned(),
            epoch: long(facts.epoch),
            leads: facts.leads,
            slots: count(facts.slots),
            busy: count(facts.busy),
            load: OrderedFloat(facts.load),
            gossip_sent_per_s: OrderedFloat(sent),
            gossip_received_per_s: OrderedFloat(received),
            held_blobs: long(facts.held_blobs),
            held_bytes: long(facts.held_bytes),
            uptime_s: OrderedFloat(self.gossip.uptime().as_secs_f64()),
        })
    }

    /// See `leave` in idl/members.thrift.
    ///
    /// # Errors
    /// The server must not leave now.
    pub fn leave(&self) -> thrift::Result<()> {
        self.server.clone().leave().map_err(convert::rejected)
    }
}

fn to_wire(member: &MemberView) -> Member {
    let state = match member.standing {
        Standing::Alive => MemberState::ALIVE,
        Standing::Suspect => MemberState::SUSPECT,
        Standing::Down => MemberState::DOWN,
        Standing::Leaving => MemberState::LEAVING,
    };
    let role = match member.role {
        Role::Node => wire::Role::NODE,
        Role::Coordinator => wire::Role::COORDINATOR,
    };
    let incarnation = i64::try_from(member.incarnation).unwrap_or(i64::MAX);
    let instance = format!("{:016x}", member.instance);
    Member { address: member.address.to_string(), role, state, incarnation, instance }
}

/// Answers the generated handler's calls about members from a field of this type.
macro_rules! answer_member_calls {
    ($handler:ty, $field:ident) => {
        impl $crate::wire::members::MemberSyncHandler for $handler {
            fn handle_members(&self) -> thrift::Result<Vec<$crate::wire::members::Member>> {
                self.$field.members()
            }

            fn handle_member_info(&self) -> thrift::Result<$crate::wire::members::MemberInfo> {
                self.$field.info()
            }

            fn handle_leave(&self) -> thrift::Result<()> {
                self.$field.leave()
            }
        }
    };
}

pub(crate) use answer_member_calls;
