//! Owns membership: who is in the cluster, as gossip tells it, and the calls by which servers answer about it.

mod calls;

pub use calls::MemberCalls;
pub(crate) use calls::answer_member_calls;
