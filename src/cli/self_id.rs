//! Owns `roundtable self-id`.

use super::members::{document, info_of, role, state};
use super::{Failure, Run, output};
use crate::rpc::Address;
use clap::Args;
use std::time::Duration;

/// Ask a server, node or coordinator, who it is
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable self-id 127.0.0.1:9091")]
pub(super) struct SelfId {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    member: Address,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

impl Run for SelfId {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let info = info_of(&self.member).map_err(Failure::run)?;
        let me = &info.me;
        if self.json {
            let document = serde_json::to_string_pretty(&document(me, Some(&info))).map_err(Failure::run)?;
            return output::line(&document);
        }
        let uptime = humantime::format_duration(Duration::from_secs(info.uptime_s.0.max(0.0) as u64));
        let mut lines = vec![
            format!("{} {} instance {}", role(me), me.address, me.instance),
            format!("{} incarnation {}", state(me), me.incarnation),
            format!("software {}, up {uptime}", info.software),
        ];
        if role(me) == "node" {
            lines.push(format!("runs {} of {} tasks, load {}", info.busy, info.slots, info.load));
        } else {
            lines.push(format!("epoch {}{}", info.epoch, if info.leads { ", leads" } else { "" }));
        }
        output::lines(lines)
    }
}
