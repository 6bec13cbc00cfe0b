//! Owns the calls about members, as every server answers them.

use crate::wire::convert;
use crate::wire::members::{Member, MemberInfo};

/// The calls about members, of one server.
#[derive(Default)]
pub struct MemberCalls {}

impl MemberCalls {
    /// See `members` in idl/members.thrift.
    ///
    /// # Errors
    /// The server takes no part in gossip.
    pub fn members(&self) -> thrift::Result<Vec<Member>> {
        Err(convert::application_error("this server takes no part in gossip".to_owned()))
    }

    /// See `member_info` in idl/members.thrift.
    ///
    /// # Errors
    /// The server takes no part in gossip.
    pub fn info(&self) -> thrift::Result<MemberInfo> {
        Err(convert::application_error("this server takes no part in gossip".to_owned()))
    }

    /// See `leave` in idl/members.thrift.
    ///
    /// # Errors
    /// The server takes no part in gossip.
    pub fn leave(&self) -> thrift::Result<()> {
        Err(convert::rejected("this server takes no part in gossip"))
    }
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
