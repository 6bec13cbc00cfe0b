//! Owns `roundtable members`.

use super::coordinators::Coordinators;
use super::{Failure, Run, output, table};
use crate::rpc::{Address, Dialer, RpcError, Timeouts};
use crate::wire::members::{Member, MemberInfo, MemberState, MemberSyncClient, Role, TMemberSyncClient};
use clap::Args;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

/// How long a server may take to connect, and to answer, before it is told of without what it would have said.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many servers are asked at once.
const AT_ONCE: usize = 64;

/// List all servers that one of them knows of, and what each says of itself
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  roundtable members
  roundtable members --member 127.0.0.1:9091 --json")]
pub(super) struct Members {
    #[command(flatten)]
    coordinators: Coordinators,
    /// Ask this server, node or coordinator, instead
    #[arg(long, value_name = "HOST:PORT")]
    member: Option<Address>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for Members {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let members = self.ask().map_err(Failure::run)?;
        let known: Vec<(Member, Option<MemberInfo>)> = inform(members);
        if self.json {
            let all: Vec<Value> = known.iter().map(|(member, info)| document(member, info.as_ref())).collect();
            return output::line(&serde_json::to_string_pretty(&all).map_err(Failure::run)?);
        }
        let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
        rows.extend(known.iter().map(|(member, info)| row(member, info.as_ref())));
        output::lines(table::lay_out(&rows))
    }
}

impl Members {
    /// The list of the first that answers.
    fn ask(&self) -> Result<Vec<Member>, RpcError> {
        let of = |address: &Address| dial(address)?.call(|c| c.members());
        match &self.member {
            Some(member) => of(member),
            None => self.coordinators.first_that_answers(of),
        }
    }
}

/// What a server says of itself; waits a second for it to connect, and for each answer.
pub(super) fn info_of(address: &Address) -> Result<MemberInfo, RpcError> {
    dial(address)?.call(|c| c.member_info())
}

type MemberClient = crate::rpc::Client<MemberSyncClient<crate::rpc::Input, crate::rpc::Output>>;

/// A client for the calls about members that does not wait long.
pub(super) fn dial(address: &Address) -> Result<MemberClient, RpcError> {
    let timeouts = Timeouts { connect: PATIENCE, answer: Some(PATIENCE), message: PATIENCE, write: PATIENCE };
    let dialer = Dialer { timeouts, ..Dialer::default() };
    Ok(dialer.dial(address)?.client(MemberSyncClient::new))
}

/// Asks all that are not down, many at once.
fn inform(members: Vec<Member>) -> Vec<(Member, Option<MemberInfo>)> {
    let info = |member: &Member| {
        let address: Address = member.address.parse().ok()?;
        // Another process may live there now.
        info_of(&address).ok().filter(|info| info.me.instance == member.instance)
    };
    let mut known = Vec::new();
    for some in members.chunks(AT_ONCE) {
        known.extend(thread::scope(|scope| {
            let ask = |member: &Member| {
                let member = member.clone();
                let is_down = member.state == MemberState::DOWN;
                (member.clone(), (!is_down).then(|| scope.spawn(move || info(&member))))
            };
            let asked: Vec<_> = some.iter().map(ask).collect();
            let answer = |(member, asked): (Member, Option<thread::ScopedJoinHandle<'_, _>>)| {
                (member, asked.and_then(|thread| thread.join().ok()).flatten())
            };
            asked.into_iter().map(answer).collect::<Vec<_>>()
        }));
    }
    known
}

const HEAD: [&str; 11] = [
    "address",
    "role",
    "state",
    "incarnation",
    "epoch",
    "load",
    "slots",
    "gossip out",
    "gossip in",
    "copies",
    "up",
];

fn row(member: &Member, info: Option<&MemberInfo>) -> Vec<String> {
    let told = |tell: &dyn Fn(&MemberInfo) -> String| info.map_or_else(|| "-".to_owned(), tell);
    let of_node = |tell: &dyn Fn(&MemberInfo) -> String| {
        if member.role == Role::NODE { told(tell) } else { "-".to_owned() }
    };
    vec![
        member.address.clone(),
        match info {
            Some(info) if info.leads => format!("{} (leads)", role(member)),
            _ => role(member).to_owned(),
        },
        state(member).to_owned(),
        member.incarnation.to_string(),
        told(&|info| info.epoch.to_string()),
        of_node(&|info| format!("{:.2}", info.load)),
        of_node(&|info| format!("{}/{}", info.busy, info.slots)),
        told(&|info| format!("{:.0} B/s", info.gossip_sent_per_s)),
        told(&|info| format!("{:.0} B/s", info.gossip_received_per_s)),
        of_node(&|info| info.held_blobs.to_string()),
        told(&|info| humantime::format_duration(Duration::from_secs(info.uptime_s.0.max(0.0) as u64)).to_string()),
    ]
}

pub(super) fn role(member: &Member) -> &'static str {
    if member.role == Role::COORDINATOR { "coordinator" } else { "node" }
}

pub(super) fn state(member: &Member) -> &'static str {
    match member.state {
        MemberState::ALIVE => "ALIVE",
        MemberState::SUSPECT => "SUSPECT",
        MemberState::DOWN => "DOWN",
        MemberState::LEAVING => "LEAVING",
        _ => "UNKNOWN",
    }
}

/// A member as JSON; what it did not say is null.
pub(super) fn document(member: &Member, info: Option<&MemberInfo>) -> Value {
    json!({
        "address": member.address,
        "role": role(member),
        "state": state(member),
        "incarnation": member.incarnation,
        "instance": member.instance,
        "software": info.map(|info| &info.software),
        "epoch": info.map(|info| info.epoch),
        "leads": info.map(|info| info.leads),
        "slots": info.map(|info| info.slots),
        "busy": info.map(|info| info.busy),
        "load": info.map(|info| info.load.0),
        "gossip_sent_per_s": info.map(|info| info.gossip_sent_per_s.0),
        "gossip_received_per_s": info.map(|info| info.gossip_received_per_s.0),
        "held_blobs": info.map(|info| info.held_blobs),
        "held_bytes": info.map(|info| info.held_bytes),
        "uptime_s": info.map(|info| info.uptime_s.0),
    })
}
